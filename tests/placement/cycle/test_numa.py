"""CPUs of their own for pods that say LSE or LSR."""

import json
from typing import Any

import pytest
from tests.builders import node
from tests.placement.cycle.api import Api, pod

from neaptide.model import objects as o
from neaptide.placement.cycle.numa import NO_TOPOLOGY, SPEC, STATUS, TOPOLOGY
from neaptide.placement.cycle.profile import CycleProfile

PROFILE = CycleProfile()
DETAIL = [{"id": cpu, "core": cpu % 4, "socket": cpu % 4 // 2, "node": cpu % 4 // 2} for cpu in range(8)]


def machine(name: str, **extra: Any) -> o.Node:
    return node(name, cpu="8", annotations={TOPOLOGY: json.dumps({"detail": DETAIL})}, **extra)


def bound(name: str, cpus: str, *, qos: str = "LSR", **extra: Any) -> o.Pod:
    return pod(name, cpu=cpus, labels={"koordinator.sh/qosClass": qos}, **extra)


def status(api: Api, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(api.annotations[f"default/{name}"][STATUS])
    return found


def test_pods_get_whole_cores_of_their_own_and_their_numa_node_is_written_down() -> None:
    api = Api([machine("a"), bound("x", "2"), bound("y", "2", qos="LSE")], PROFILE)
    api.settle()
    sets = {name: status(api, name)["cpuset"] for name in "xy"}
    assert sorted(sets.values()) == ["0,4", "1,5"]
    assert status(api, "x")["numaNodeResources"] == [{"node": 0, "resources": {"cpu": "2"}}]


def test_what_pods_have_already_is_not_given_out_again() -> None:
    there = bound("x", "4", node="a", annotations={STATUS: json.dumps({"cpuset": "0-1,4-5"})})
    api = Api([machine("a"), there, bound("y", "2")], PROFILE)
    api.settle()
    assert status(api, "y")["cpuset"] == "2,6"


def test_a_pods_wish_is_respected() -> None:
    wish = {SPEC: json.dumps({"preferredCPUBindPolicy": "SpreadByPCPUs"})}
    api = Api([machine("a"), bound("x", "2", annotations=wish)], PROFILE)
    api.settle()
    assert status(api, "x")["cpuset"] == "0-1"


def test_a_node_that_forbids_two_numa_nodes_takes_no_pod_that_needs_them() -> None:
    labels = {"node.koordinator.sh/numa-topology-policy": "SingleNUMANode"}
    api = Api([machine("a", labels=labels), bound("x", "6")], PROFILE)
    api.settle()
    assert not api.bound
    assert "Insufficient CPUs in one NUMA node" in api.said["default/x"]


def test_a_node_of_unknown_topology_takes_none_and_other_pods_all_the_same() -> None:
    api = Api([node("a", cpu="8"), bound("x", "2"), pod("plain", cpu="2")], PROFILE)
    api.settle()
    assert [name for name, _ in api.bound] == ["default/plain"]
    assert NO_TOPOLOGY in api.said["default/x"]


def test_parts_of_cpus_are_refused_in_words() -> None:
    api = Api([machine("a"), bound("x", "1500m")], PROFILE)
    api.settle()
    assert not api.bound
    assert "whole CPUs, not 1500m" in api.said["default/x"]


def test_cpus_are_free_again_when_a_pod_leaves() -> None:
    api = Api([machine("a"), bound("x", "6"), bound("y", "6")], PROFILE)
    api.settle()
    first = api.bound[0][0]
    api.delete("Pod", first)
    api.settle()
    assert len(api.bound) == 2


@pytest.mark.parametrize(
    ("wishes", "label"),
    [
        ({"preferredCPUBindPolicy": "SpreadByPCPUs"}, "FullPCPUsOnly"),
        ({"preferredCPUBindPolicy": "SpreadByPCPUs", "requiredCPUBindPolicy": "FullPCPUs"}, ""),
    ],
    ids=["the node's label", "the pod's requirement"],
)
def test_what_is_required_goes_before_what_a_pod_prefers(wishes: dict[str, str], label: str) -> None:
    x = bound("x", "2", annotations={SPEC: json.dumps(wishes)})
    api = Api([machine("a", labels={"node.koordinator.sh/cpu-bind-policy": label}), x], PROFILE)
    api.settle()
    assert status(api, "x")["cpuset"] == "0,4"
