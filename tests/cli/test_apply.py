"""`neaptide apply` on a real control plane: from here where nobody leads, through the controller where one does."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.kube.live import eventually
from tests.testbed.asking import deployment, done, items

from neaptide.cli.app import run
from neaptide.kube.crds.definitions import DEFINITIONS
from neaptide.model.workloads import SUSPENDED_REPLICAS
from neaptide.testbed.cluster import Testbed

Captured = pytest.CaptureFixture[str]
REPLICAS, DEPLOYMENTS = 2, 10


@pytest.fixture
def deployments(control_plane: Testbed, namespace: str) -> str:
    """A namespace with Deployments."""
    made = [json.loads(deployment(f"web-{number:02d}", REPLICAS)) for number in range(DEPLOYMENTS)]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": made})
    done(control_plane, "create", "-n", namespace, "-f", "-", content=listed)
    return namespace


def applied(testbed: Testbed, namespace: str, *flags: str, **rule: Any) -> int:
    """Run `apply` with a policy that suspends every Deployment of a namespace."""
    suspending = {
        "selector": {"kinds": ["Deployment"], "namespaces": [namespace]},
        "windows": [{"schedule": "0 0 29 2 *", "durationSeconds": 1}],
        "graceSeconds": 0,
        "deadlineSeconds": None,
    }
    assignment = f"time-windows.rules={json.dumps([suspending | rule])}"
    where = ("--kubeconfig", str(testbed.kubeconfig), "--lease-namespace", namespace)
    return run(["apply", "--policy", "time-windows", "--set", assignment, *where, *flags])


def suspended(testbed: Testbed, namespace: str) -> int:
    found = items(testbed, "deployments", "-n", namespace)
    return sum(SUSPENDED_REPLICAS in each["metadata"].get("annotations", {}) for each in found)


def test_what_was_shown_is_done_and_a_second_time_there_is_nothing_to_do(
    control_plane: Testbed, deployments: str, capsys: Captured
) -> None:
    assert applied(control_plane, deployments, "--yes") == 0
    said = capsys.readouterr()
    assert said.out.count("Suspend") == DEPLOYMENTS
    assert f"{DEPLOYMENTS} of {DEPLOYMENTS} actions are done" in said.err
    assert suspended(control_plane, deployments) == DEPLOYMENTS
    assert applied(control_plane, deployments, "--yes") == 0
    assert capsys.readouterr().out == "nothing to do\n"


def test_without_a_yes_nothing_is_done(
    control_plane: Testbed, deployments: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert applied(control_plane, deployments) == 2
    assert "--yes is wanted" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: "n")
    assert applied(control_plane, deployments) == 2
    assert "nothing was done" in capsys.readouterr().err
    assert suspended(control_plane, deployments) == 0


@pytest.fixture
def led(own_control_plane: Testbed, tmp_path: Path) -> Iterator[Testbed]:
    """A control plane with the kinds of neaptide.io and a controller that leads in the namespace default, and has no Policies."""
    for each in DEFINITIONS:
        done(own_control_plane, "create", "-f", "-", content=json.dumps(each.manifest()))
    for each in DEFINITIONS:
        done(own_control_plane, "wait", "--for=condition=Established", f"crd/{each.name}")
    where = ("--kubeconfig", str(own_control_plane.kubeconfig), "--lease-namespace", "default", "--identity", "leader")
    command = [sys.executable, "-m", "neaptide", "run", *where, "--interval", "0.5"]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stderr=log) as controller:  # noqa: S603 - our own
        eventually(lambda: '"leading"' in (tmp_path / "log").read_text())
        yield own_control_plane
        controller.terminate()


def test_where_a_controller_leads_it_does_what_was_said_yes_to_and_a_person_can_approve_by_name(
    led: Testbed, capsys: Captured
) -> None:
    done(led, "create", "-f", "-", content=deployment("web-a", REPLICAS))
    assert applied(led, "default", "--yes") == 0
    said = capsys.readouterr()
    assert "the controller leader does it" in said.err
    assert "1 of 1 actions are done" in said.err
    assert suspended(led, "default") == 1
    (plan,) = (each["metadata"]["name"] for each in items(led, "plans"))
    assert run(["approve", plan, "--yes", "--kubeconfig", str(led.kubeconfig)]) == 2
    assert f"the Plan {plan} is Done" in capsys.readouterr().err


def test_a_plan_that_is_not_there_is_named(kubeconfig: Path, capsys: Captured) -> None:
    assert run(["approve", "no-such-plan", "--yes", "--kubeconfig", str(kubeconfig)]) == 2
    assert "plans/no-such-plan" in capsys.readouterr().err
