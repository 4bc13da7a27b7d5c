"""A cluster that Neaptide runs alone, on a real control plane: nodes come for pods, end when they are told to, and go when nobody needs them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.kube.live import eventually, found, make
from tests.testbed.asking import deployment, done, items

from neaptide.policies.interruption import ENDS_AT
from neaptide.policies.interruption import TAINT as INTERRUPTED
from neaptide.policies.protected import TAINT as STOPPED
from neaptide.testbed.cluster import Testbed

PRICES = """instance_type,capacity_type,price_per_hour,cpu_milli,memory_mib,pods
small,on-demand,0.1,2000,8192,50
large,on-demand,0.5,8000,32768,110
"""
POOLS = '[{"name": "work"}]'


@contextmanager
def controller(
    testbed: Testbed, directory: Path, *flags: str, identity: str = "one"
) -> Iterator[subprocess.Popen[bytes]]:
    """`neaptide run` with policies that it enforces."""
    prices = directory / "prices.csv"
    prices.write_text(PRICES, encoding="utf-8")
    command = [sys.executable, "-m", "neaptide", "run", "--only=loop", "--provider=kwok", "--enforce", "--interval=1"]
    command += [
        f"--kubeconfig={testbed.kubeconfig}",
        f"--prices={prices}",
        f"--identity={identity}",
        "--lease-seconds=6",
    ]
    with (directory / f"{identity}.log").open("wb") as output:
        process = subprocess.Popen([*command, *flags], stdout=output, stderr=output)  # noqa: S603 - the project's own
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=60)


def bound(testbed: Testbed) -> int:
    return sum("nodeName" in each["spec"] for each in items(testbed, "pods", "--namespace=default"))


def taints(testbed: Testbed, name: str) -> set[str]:
    return {each["key"] for each in found(testbed, "node", name).get("spec", {}).get("taints", [])}


def nodes(testbed: Testbed) -> list[str]:
    return [each["metadata"]["name"] for each in items(testbed, "nodes")]


@pytest.mark.slow
def test_nodes_come_for_pods_that_wait_and_a_replica_that_takes_over_buys_none_twice(
    own_control_plane: Testbed, tmp_path: Path
) -> None:
    testbed, flags = own_control_plane, ("--policy=provision", f"--set=provision.pools={POOLS}")
    with controller(testbed, tmp_path, *flags) as first:
        done(testbed, "create", "-f", "-", content=deployment("web", 6))
        eventually(lambda: bound(testbed) == 6, "every pod has a node")
        bought = nodes(testbed)
        with controller(testbed, tmp_path, *flags, identity="two"):
            first.kill()
            first.wait(timeout=60)
            done(testbed, "scale", "deployment", "web", "--replicas=30")
            eventually(lambda: bound(testbed) == 30, "the other replica buys", within=180)
    labels = [each["metadata"]["labels"] for each in items(testbed, "nodes")]
    assert {each["karpenter.sh/nodepool"] for each in labels} == {"work"}
    assert set(bought) < set(nodes(testbed))
    assert len(labels) <= 30  # however the pods came in batches: a node for each at most


@pytest.mark.slow
def test_a_node_that_ends_is_emptied_onto_its_replacement(own_control_plane: Testbed, tmp_path: Path) -> None:
    testbed = own_control_plane
    flags = (
        "--policy=interruption",
        "--policy=provision",
        f"--set=provision.pools={POOLS}",
        f"--set=interruption.pools={POOLS}",
    )
    with controller(testbed, tmp_path, *flags, f"--notices={tmp_path / 'notices'}"):
        done(testbed, "create", "-f", "-", content=deployment("web", 3))
        eventually(lambda: bound(testbed) == 3, "every pod has a node")
        (ending,) = {each["spec"]["nodeName"] for each in items(testbed, "pods", "--namespace=default")}
        eventually(lambda: running(testbed) == 3, "every pod runs")
        (tmp_path / "notices").write_text(json.dumps({"node": ending}) + "\n")
        eventually(lambda: INTERRUPTED in taints(testbed, ending), "it takes no more pods")
        eventually(lambda: on(testbed, ending) == 0 and running(testbed) == 3, "its pods run elsewhere", within=180)
        with (tmp_path / "notices").open("a") as more:
            more.write(json.dumps({"node": ending, "withdrawn": True}) + "\n")
        eventually(lambda: INTERRUPTED not in taints(testbed, ending), "no taint is left")


@pytest.mark.slow
def test_a_node_goes_when_its_last_protected_pod_ends_and_not_before(
    own_control_plane: Testbed, tmp_path: Path
) -> None:
    testbed = own_control_plane
    with controller(testbed, tmp_path, "--policy=provision", f"--set=provision.pools={POOLS}"):
        make(testbed, protected("train"), namespace="default")
        eventually(lambda: bound(testbed) == 1, "it has a node")
    (held,) = nodes(testbed)
    taint = f"{STOPPED}=neaptide.1000000000:NoSchedule"
    with controller(testbed, tmp_path, "--policy=protected", "--set=protected.releasingAtOnce=3", identity="two"):
        done(testbed, "taint", "node", held, taint)
        make(testbed, protected("late", tolerations=[{"operator": "Exists"}]), namespace="default")
        eventually(lambda: bound(testbed) == 2, "another one comes in spite of the taint")
        finish(testbed, "train")
        eventually(lambda: found(testbed, "pod", "train", "default")["status"]["phase"] == "Succeeded")
        assert held in nodes(testbed)
        finish(testbed, "late")
        eventually(lambda: held not in nodes(testbed), "the node is given back")


@pytest.mark.slow
def test_an_annotation_ends_a_node_and_a_crash_leaves_no_taint_behind(
    own_control_plane: Testbed, tmp_path: Path
) -> None:
    testbed, flags = (
        own_control_plane,
        ("--policy=interruption", "--policy=provision", f"--set=provision.pools={POOLS}"),
    )
    with controller(testbed, tmp_path, *flags) as first:
        done(testbed, "create", "-f", "-", content=deployment("web", 1))
        eventually(lambda: bound(testbed) == 1)
        (ending,) = nodes(testbed)
        done(testbed, "annotate", "node", ending, f"{ENDS_AT}=soon")
        eventually(lambda: INTERRUPTED in taints(testbed, ending))
        first.kill()
        first.wait(timeout=60)
    done(testbed, "annotate", "node", ending, f"{ENDS_AT}-")
    with controller(testbed, tmp_path, *flags, identity="two"):
        eventually(lambda: INTERRUPTED not in taints(testbed, ending), "its successor takes the taint off", within=180)


def protected(name: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "train", "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}
    meta = {"name": name, "annotations": {"karpenter.sh/do-not-disrupt": "true"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {"containers": [container], "restartPolicy": "Never", **spec},
    }


def finish(testbed: Testbed, name: str) -> None:
    done(
        testbed, "patch", "pod", name, "--namespace=default", "--subresource=status", "--type=merge",
        '--patch={"status": {"phase": "Succeeded"}}',
    )  # fmt: skip


def running(testbed: Testbed) -> int:
    pods = items(testbed, "pods", "--namespace=default")
    return sum(each["status"]["phase"] == "Running" and "deletionTimestamp" not in each["metadata"] for each in pods)


def on(testbed: Testbed, node: str) -> int:
    return len(items(testbed, "pods", "--namespace=default", f"--field-selector=spec.nodeName={node}"))
