"""Our own scheduler alone: pods that have opted in overflow to virtual nodes, and nobody else does."""

from typing import Any

import pytest
from msgspec.structs import replace
from tests.builders import node
from tests.placement.cycle.api import Api, pod

from neaptide.model import objects as o
from neaptide.model.virtual_names import INJECTION, MODE, TAINT, TYPE, VIRTUAL

REAL = node("real", cpu="2")
VIRTUAL_NODE = node(
    "a-virtual",  # before the real one by name and by order: of equals it would be taken
    cpu="3000",
    memory="12Ti",
    pods="3000",
    labels={TYPE: VIRTUAL},
    taints=(o.Taint(TAINT, "simulated", "NoSchedule"),),
)
OPEN = o.Namespace(o.Metadata(name="default", labels={INJECTION: "enabled"}))
CLOSED = o.Namespace(o.Metadata(name="default"))


@pytest.mark.parametrize("count", [3, 40], ids=["one by one", "as a batch"])
def test_real_nodes_are_filled_to_the_last_core_and_the_rest_overflows(count: int) -> None:
    api = Api([OPEN, VIRTUAL_NODE, REAL, *(pod(f"p{each}", cpu="1") for each in range(count))])
    api.settle()
    nodes = [each for _, each in api.bound]
    assert (nodes.count("real"), nodes.count("a-virtual")) == (2, count - 2)


@pytest.mark.parametrize(
    ("namespace", "labels", "goes"),
    [
        pytest.param(OPEN, {}, True, id="the namespace has opted in"),
        pytest.param(CLOSED, {}, False, id="nobody has opted in"),
        pytest.param(CLOSED, {INJECTION: "enabled"}, True, id="the pod has"),
        pytest.param(OPEN, {INJECTION: "disabled"}, False, id="the pod has opted out"),
    ],
)
def test_who_goes_to_virtual_nodes(namespace: o.Namespace, labels: dict[str, str], goes: bool) -> None:
    api = Api([namespace, VIRTUAL_NODE, REAL, pod("p", cpu="4", labels=labels)])
    api.settle()
    assert bool(api.bound) is goes
    if not goes:
        assert "1 node(s) had untolerated taint(s)" in api.said["default/p"]


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param({"spec": {"host_network": True}}, id="hostNetwork"),
        pytest.param({"spec": {"host_pid": True}}, id="hostPID"),
        pytest.param({"spec": {"host_ipc": True}}, id="hostIPC"),
        pytest.param(
            {"spec": {"volumes": (o.Volume(name="v", host_path=o.HostPathSource("/var/log")),)}}, id="hostPath"
        ),
        pytest.param({"owner": ("DaemonSet", "agent")}, id="a DaemonSet's"),
        pytest.param({"container": {"security_context": o.SecurityContext(privileged=True)}}, id="privileged"),
        pytest.param({"container": {"ports": (o.ContainerPort(host_port=80),)}}, id="hostPort"),
    ],
)
def test_a_pod_that_needs_a_machine_waits_for_one(extra: dict[str, Any]) -> None:
    container = extra.pop("container", {})
    wanted = pod("p", cpu="4", **extra)
    containers = tuple(replace(each, **container) for each in wanted.spec.containers)
    api = Api([OPEN, VIRTUAL_NODE, REAL, replace(wanted, spec=replace(wanted.spec, containers=containers))])
    api.settle()
    assert not api.bound
    api.apply(node("large", cpu="8"))
    api.settle()
    assert api.bound == [("default/p", "large")]


@pytest.mark.parametrize(
    ("annotation", "namespace", "fields", "bound"),
    [
        pytest.param("virtual-only", OPEN, {}, "a-virtual", id="virtual-only, whatever room there is"),
        pytest.param("overflow", OPEN, {}, "real", id="overflow"),
        pytest.param("prefer-real", OPEN, {}, "real", id="prefer-real"),
        pytest.param("sometimes", OPEN, {}, "real", id="a word that is no mode"),
        pytest.param("virtual-only", CLOSED, {}, "real", id="nobody has opted in"),
        pytest.param("virtual-only", OPEN, {"labels": {INJECTION: "disabled"}}, "real", id="the pod has opted out"),
        pytest.param("virtual-only", OPEN, {"owner": ("DaemonSet", "agent")}, "real", id="a DaemonSet's"),
        pytest.param("virtual-only", OPEN, {"spec": {"host_network": True}}, "real", id="it needs a machine"),
        pytest.param(
            "virtual-only",
            OPEN,
            {"spec": {"tolerations": (o.Toleration(key=TAINT, value="other"),)}},
            "real",
            id="its author has seen to virtual nodes",
        ),
    ],
)
def test_the_annotation_of_a_pod_says_where_it_goes(
    annotation: str, namespace: o.Namespace, fields: dict[str, Any], bound: str
) -> None:
    wanted = pod("p", cpu="1", **fields)
    wanted = replace(wanted, metadata=replace(wanted.metadata, annotations={MODE: annotation}))
    api = Api([namespace, VIRTUAL_NODE, REAL, wanted])
    api.settle()
    assert api.bound == [("default/p", bound)]


def test_a_pod_that_wants_virtual_nodes_only_waits_for_one_and_says_so() -> None:
    wanted = pod("p", cpu="1")
    wanted = replace(wanted, metadata=replace(wanted.metadata, annotations={MODE: "virtual-only"}))
    api = Api([OPEN, REAL, wanted])
    api.settle()
    assert "1 node(s) were no virtual nodes" in api.said["default/p"]
    api.apply(VIRTUAL_NODE)
    api.settle()
    assert api.bound == [("default/p", "a-virtual")]


def test_kube_systems_pods_do_not_overflow() -> None:
    system = o.Namespace(o.Metadata(name="kube-system", labels={INJECTION: "enabled"}))
    api = Api([system, VIRTUAL_NODE, pod("p", cpu="1", namespace="kube-system")])
    api.settle()
    assert not api.bound


def test_a_pod_that_waits_goes_as_soon_as_its_namespace_opts_in() -> None:
    api = Api([CLOSED, VIRTUAL_NODE, REAL, *(pod(f"p{each}", cpu="4") for each in range(10))])
    api.settle()
    assert not api.bound
    api.apply(OPEN)
    api.settle()
    assert {each for _, each in api.bound} == {"a-virtual"}
    assert len(api.bound) == 10


def test_a_pod_that_waits_goes_as_soon_as_a_virtual_node_is_there() -> None:
    api = Api([OPEN, REAL, pod("p", cpu="4")])
    api.settle()
    assert not api.bound
    api.apply(VIRTUAL_NODE)
    api.settle()
    assert api.bound == [("default/p", "a-virtual")]


def test_nobody_is_preempted_for_a_pod_that_can_overflow() -> None:
    api = Api([OPEN, VIRTUAL_NODE, REAL, pod("low", cpu="2", priority=1, node="real"), pod("p", cpu="2", priority=9)])
    api.settle()
    assert api.evicted == []
    assert api.bound == [("default/p", "a-virtual")]


def test_a_pod_that_must_go_to_a_virtual_node_goes_there() -> None:
    api = Api([OPEN, VIRTUAL_NODE, REAL, pod("p", cpu="1", spec={"node_selector": {TYPE: VIRTUAL}})])
    api.settle()
    assert api.bound == [("default/p", "a-virtual")]


def test_another_taint_of_a_virtual_node_is_not_forgiven() -> None:
    taints = (*VIRTUAL_NODE.spec.taints, o.Taint("maintenance", "", "NoSchedule"))
    api = Api([OPEN, replace(VIRTUAL_NODE, spec=replace(VIRTUAL_NODE.spec, taints=taints)), pod("p", cpu="1")])
    api.settle()
    assert not api.bound
