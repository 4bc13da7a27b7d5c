"""The command, as a process: what it refuses, and a node that lives and ends with it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.kube.live import eventually, found, make
from tests.testbed.asking import done
from tests.virtualnode.virtual import on

from neaptide.cli import app
from neaptide.testbed.cluster import Testbed


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--provider=magic",), "provider: 'magic' is not accepted; accepted: containerd, cluster, simulated"),
        (("--provider=simulated", "--nodes=0"), "--nodes: '0' is not accepted; accepted: 1 to 100"),
        (("--provider=simulated", "--label=x"), "--label: 'x' is not accepted; accepted: key=value"),
        (("--provider=simulated", "--settings=gone.yaml"), "gone.yaml"),
        (("--provider=simulated", "--ledger=ledger", "--tariff=free"), "--tariff free"),
    ],
)
def test_what_is_not_accepted_is_said(
    flags: tuple[str, ...], said: str, kubeconfig: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = app.run(["virtual-node", "--name=v", "--port=0", f"--kubeconfig={kubeconfig}", *flags])
    assert code == 2
    assert said in capsys.readouterr().err


def test_the_name_of_a_real_node_is_refused(control_plane: Testbed, capsys: pytest.CaptureFixture[str]) -> None:
    make(control_plane, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "vk-real"}})
    flags = ("--provider=simulated", f"--kubeconfig={control_plane.kubeconfig}", "--port=0", "--address=127.0.0.1")
    assert app.run(["virtual-node", "--name=vk-real", *flags]) == 2
    assert "node vk-real exists and its label type is not virtual-kubelet" in capsys.readouterr().err
    done(control_plane, "delete", "node", "vk-real", "--wait=false")


def test_settings_that_a_provider_does_not_know_are_named(
    kubeconfig: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.yaml").write_text("startSecond: 1\n")
    flags = ("--provider=simulated", f"--settings={tmp_path / 's.yaml'}")
    assert app.run(["virtual-node", "--name=v", "--port=0", f"--kubeconfig={kubeconfig}", *flags]) == 2
    assert "startSecond" in capsys.readouterr().err


def test_a_killed_process_leaves_pods_that_the_next_one_ends_and_the_bill_has_their_seconds_once(
    control_plane: Testbed, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "s.yaml").write_text("startSeconds: 0\nsecondsPerMb: 0\n")
    flags = (
        "--settings",
        tmp_path / "s.yaml",
        "--ledger",
        tmp_path / "ledger",
        "--port",
        "0",
        "--address",
        "127.0.0.1",
        "--identity",
        "one",
    )
    said = (
        "virtual-node",
        "--name",
        "vk-cli",
        "--provider",
        "simulated",
        *flags,
        "--kubeconfig",
        control_plane.kubeconfig,
    )
    make(control_plane, on("vk-cli", "p", nodeName="vk-cli"), namespace=namespace)
    with neaptide(*said) as first:
        eventually(lambda: phase(control_plane, namespace) == "Running", "the pod runs")
        eventually(lambda: bill(tmp_path), "its lease is open")
        first.kill()
    with neaptide(*said) as second:
        eventually(lambda: phase(control_plane, namespace) == "Failed", "its run ended with its provider, and is lost")
        done(control_plane, "delete", "pod", "p", "--namespace", namespace, "--timeout=60s")
        second.send_signal(signal.SIGTERM)
        assert second.wait(60) == 0
    done(control_plane, "delete", "node", "vk-cli", "--wait=false")
    (line,) = bill(tmp_path)
    assert "Pod/p" in json.dumps(line)


def bill(directory: Path) -> list[dict[str, Any]]:
    if not (directory / "ledger").exists():
        return []
    with neaptide("bill", "--ledger", directory / "ledger", "--by", "workload", "--output", "json") as process:
        lines: list[dict[str, Any]] = json.loads(process.communicate(timeout=60)[0] or '{"lines": []}')["lines"]
    return lines


def neaptide(*arguments: object) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "neaptide", *map(str, arguments)]
    return subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE)  # noqa: S603 - our own program


def phase(testbed: Testbed, namespace: str) -> str:
    return str(found(testbed, "pod", "p", namespace).get("status", {}).get("phase", "gone"))
