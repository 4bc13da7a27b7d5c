"""A cluster that Neaptide runs alone, on a real control plane: nodes come for pods, end when they are told to, and go when nobody needs them."""

import json
import subprocess
import sys
import time
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
from neaptide.policies.protected_grace import TERMINATES_AT
from neaptide.testbed.cluster import Testbed

PRICES = """instance_type,capacity_type,price_per_hour,cpu_milli,memory_mib,pods
small,on-demand,0.1,2000,8192,50
large,on-demand,0.5,8000,32768,110
"""
LET_GO = 480.0
"""Seconds in which a node is given back that another policy, `provision`, has just opened: for five minutes it is that policy's."""
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
        eventually(lambda: held not in nodes(testbed), "the node is given back", within=LET_GO)


@pytest.mark.slow
def test_at_its_deadline_a_node_goes_and_what_is_left_on_it_was_announced_and_asked_first(
    own_control_plane: Testbed, tmp_path: Path
) -> None:
    testbed = own_control_plane
    with controller(testbed, tmp_path, "--policy=provision", f"--set=provision.pools={POOLS}"):
        make(testbed, protected("train"), namespace="default")
        eventually(lambda: running(testbed) == 1, "it runs")
    (held,) = nodes(testbed)
    done(testbed, "taint", "node", held, f"{STOPPED}=neaptide.{int(time.time())}:NoSchedule")
    grace = '--set=protected.grace={"terminationSeconds": 60, "askSeconds": 30}'
    with controller(testbed, tmp_path, "--policy=protected", grace, identity="two"):
        eventually(lambda: TERMINATES_AT in found(testbed, "node", held)["metadata"]["annotations"], "it is announced")
        assert running(testbed) == 1, "nobody is asked yet"
        eventually(lambda: any("default/train" in each for each in notes(testbed)), "who is left is said")
        eventually(lambda: held not in nodes(testbed), "the node is given back", within=LET_GO)
    assert any("s to end" in each for each in notes(testbed)), "it was asked"


@pytest.mark.slow
def test_a_machine_that_stays_silent_is_replaced_but_none_while_many_are_silent(
    own_control_plane: Testbed, tmp_path: Path
) -> None:
    testbed = own_control_plane
    flags = ("--policy=provision", "--policy=repair", "--set=repair.unreadySeconds=30")
    with controller(testbed, tmp_path, *flags, f"--set=provision.pools={POOLS}"):
        done(testbed, "create", "-f", "-", content=deployment("web", 1))
        eventually(lambda: running(testbed) == 1, "it runs")
        (good,) = nodes(testbed)
        make(testbed, silent("one"), silent("two"), protected("lone", nodeName="one", cpu="7"), namespace="default")
        time.sleep(40)  # longer than a silent machine is left alone
        assert set(nodes(testbed)) == {good, "one", "two"}, "it is not about one machine"
        done(testbed, "delete", "node", "two")
        eventually(lambda: "one" not in nodes(testbed), "it is given back")
    assert good in nodes(testbed)
    assert sum(each.startswith("repaired-") for each in nodes(testbed)) == 1, "its pod had no room elsewhere"


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


def silent(name: str) -> dict[str, Any]:
    """A large machine on which no kubelet runs."""
    kind = {"node.kubernetes.io/instance-type": "large", "karpenter.sh/capacity-type": "on-demand"}
    room = {"cpu": "8", "memory": "32Gi", "pods": "110"}
    meta = {"name": name, "labels": {"kubernetes.io/hostname": name, **kind}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "status": {"capacity": room, "allocatable": room}}


def protected(name: str, *, cpu: str = "500m", **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "train", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}
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


def notes(testbed: Testbed) -> list[str]:
    """What all Events say."""
    return [each.get("note", "") for each in items(testbed, "events.events.k8s.io", "--all-namespaces")]


def running(testbed: Testbed) -> int:
    pods = items(testbed, "pods", "--namespace=default")
    return sum(each["status"]["phase"] == "Running" and "deletionTimestamp" not in each["metadata"] for each in pods)


def on(testbed: Testbed, node: str) -> int:
    return len(items(testbed, "pods", "--namespace=default", f"--field-selector=spec.nodeName={node}"))
