"""Known cases of kube-scheduler's filters, as tables."""

from typing import Any

import pytest

from neaptide.model import objects as o
from neaptide.model.any_object import AnyObject
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.place import Placement

HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
SPREAD = "node(s) didn't match pod topology spread constraints"
NO_KEY = "node(s) didn't match pod topology spread constraints (missing required label)"
AFFINITY = "node(s) didn't match pod affinity rules"
ANTI = "node(s) didn't match pod anti-affinity rules"
EXISTING = "node(s) didn't satisfy existing pods anti-affinity rules"


def node(
    name: str, zone: str = "", *, taints: tuple[o.Taint, ...] = (), cordoned: bool = False, **labels: str
) -> o.Node:
    zones = {ZONE: zone} if zone else {}
    allocatable = {"cpu": "4", "memory": "8Gi", "pods": "10"}
    meta = o.Metadata(name=name, labels={HOST: name, **zones, **labels})
    return o.Node(meta, o.NodeSpec(cordoned, taints), o.NodeStatus(allocatable=allocatable))


def pod(name: str, on: str = "", *, namespace: str = "default", labels: str = "app=web", **spec: Any) -> o.Pod:
    """A pod with labels written as `a=b,c=d`."""
    meta = o.Metadata(
        name=name, namespace=namespace, labels=dict(each.split("=") for each in labels.split(",") if each)
    )
    containers = spec.pop("containers", (o.Container("main"),))
    return o.Pod(meta, o.PodSpec(containers=containers, node_name=on, **spec))


def selector(labels: str) -> o.LabelSelector:
    return o.LabelSelector(dict(each.split("=") for each in labels.split(",") if each))


def spread(key: str = ZONE, skew: int = 1, labels: str = "app=web", **more: Any) -> o.TopologySpreadConstraint:
    return o.TopologySpreadConstraint(skew, key, label_selector=selector(labels), **more)


def term(key: str = ZONE, labels: str = "app=web", **more: Any) -> o.PodAffinityTerm:
    return o.PodAffinityTerm(key, selector(labels), **more)


def together(*terms: o.PodAffinityTerm) -> dict[str, Any]:
    return {"affinity": o.Affinity(pod_affinity=o.PodAffinity(terms))}


def apart(*terms: o.PodAffinityTerm) -> dict[str, Any]:
    return {"affinity": o.Affinity(pod_anti_affinity=o.PodAffinity(terms))}


def required(*terms: o.NodeSelectorTerm) -> dict[str, Any]:
    return {"affinity": o.Affinity(o.NodeAffinity(o.NodeSelector(terms)))}


def refusals(items: list[AnyObject], new: o.Pod) -> dict[str, str]:
    """By node, why it cannot take a pod."""
    snapshot = ClusterSnapshot()
    for item in (*items, new):
        snapshot.set(item)
    placement = Placement(snapshot)
    row = snapshot.pods.by_key[f"{new.metadata.namespace}/{new.metadata.name}"]
    return {snapshot.nodes.names[at]: ", ".join(why.reasons) for at, why in placement.verdicts(row).items()}


THREE: list[AnyObject] = [node("a", "z1"), node("b", "z2"), node("c", "z3")]
Case = tuple[list[AnyObject], o.Pod, dict[str, str]]

SPREAD_CASES: dict[str, Case] = {
    "the emptiest zones take the pod": (
        [*THREE, pod("1", "a")],
        pod("new", topology_spread_constraints=(spread(),)),
        {"a": SPREAD},
    ),
    "a skew of two leaves room for one more": (
        [*THREE, pod("1", "a")],
        pod("new", topology_spread_constraints=(spread(skew=2),)),
        {},
    ),
    "a pod that its selector does not select adds nothing": (
        [*THREE, pod("1", "a")],
        pod("new", labels="app=other", topology_spread_constraints=(spread(),)),
        {},
    ),
    "fewer zones than minDomains: every zone counts against zero": (
        [*THREE, pod("1", "a"), pod("2", "b"), pod("3", "c")],
        pod("new", topology_spread_constraints=(spread(min_domains=4),)),
        {"a": SPREAD, "b": SPREAD, "c": SPREAD},
    ),
    "as many zones as minDomains: the least zone counts": (
        [*THREE, pod("1", "a"), pod("2", "b"), pod("3", "c")],
        pod("new", topology_spread_constraints=(spread(min_domains=3),)),
        {},
    ),
    "a node without the key": ([*THREE, node("d")], pod("new", topology_spread_constraints=(spread(),)), {"d": NO_KEY}),
    "pods on nodes that lack a key of a sister constraint are not counted": (
        [node("a", "z1", rack="r1"), node("b", "z2", rack="r1"), node("c", "z1"), pod("1", "c")],
        pod("new", topology_spread_constraints=(spread(), spread("rack", 3))),
        {"c": NO_KEY},
    ),
    "nodes outside the node selector make no domain": (
        [node("a", "z1", disk="ssd"), node("b", "z2"), pod("1", "a")],
        pod("new", node_selector={"disk": "ssd"}, topology_spread_constraints=(spread(),)),
        {"b": "node(s) didn't match Pod's node affinity/selector"},
    ),
    "unless nodeAffinityPolicy is Ignore": (
        [node("a", "z1", disk="ssd"), node("b", "z2"), pod("1", "a")],
        pod("new", node_selector={"disk": "ssd"}, topology_spread_constraints=(spread(node_affinity_policy="Ignore"),)),
        {"a": SPREAD, "b": "node(s) didn't match Pod's node affinity/selector"},
    ),
    "tainted nodes make a domain": (
        [node("a", "z1"), node("b", "z2", taints=(o.Taint("x", "", "NoSchedule"),)), pod("1", "a")],
        pod("new", topology_spread_constraints=(spread(),)),
        {"a": SPREAD, "b": "node(s) had untolerated taint(s)"},
    ),
    "unless nodeTaintsPolicy is Honor": (
        [node("a", "z1"), node("b", "z2", taints=(o.Taint("x", "", "NoSchedule"),)), pod("1", "a")],
        pod("new", topology_spread_constraints=(spread(node_taints_policy="Honor"),)),
        {"b": "node(s) had untolerated taint(s)"},
    ),
    "matchLabelKeys counts pods of the same revision only": (
        [*THREE, pod("1", "a", labels="app=web,rev=1")],
        pod("new", labels="app=web,rev=2", topology_spread_constraints=(spread(match_label_keys=("rev",)),)),
        {},
    ),
    "pods of another namespace are not counted": (
        [*THREE, pod("1", "a", namespace="other")],
        pod("new", topology_spread_constraints=(spread(),)),
        {},
    ),
    "an empty selector counts no pod but the new one": (
        [*THREE, pod("1", "a"), pod("2", "a")],
        pod("new", topology_spread_constraints=(spread(labels=""),)),
        {},
    ),
}

NOT_X = o.LabelSelector({}, (o.Requirement("team", "NotIn", ("x",)),))
AFFINITY_CASES: dict[str, Case] = {
    "the zone of a matching pod": (
        [*THREE, pod("1", "a")],
        pod("new", **together(term())),
        {"b": AFFINITY, "c": AFFINITY},
    ),
    "the first pod of its kind goes anywhere that has the key": (
        [*THREE, node("d")],
        pod("new", **together(term())),
        {"d": AFFINITY},
    ),
    "but only if it matches its own terms": (
        THREE,
        pod("new", labels="app=other", **together(term())),
        {"a": AFFINITY, "b": AFFINITY, "c": AFFINITY},
    ),
    "one pod must match all terms": (
        [*THREE, pod("1", "a", labels="app=web"), pod("2", "a", labels="tier=db")],
        pod("new", labels="app=x", **together(term(), term(labels="tier=db"))),
        {"a": AFFINITY, "b": AFFINITY, "c": AFFINITY},
    ),
    "a matching pod on a node without the key does not stop the first": (
        [*THREE, node("d"), pod("1", "d")],
        pod("new", **together(term())),
        {"d": AFFINITY},
    ),
    "away from its own kind": ([*THREE, pod("1", "a")], pod("new", **apart(term(HOST))), {"a": ANTI}),
    "pods that are there keep it away": (
        [*THREE, pod("1", "a", labels="app=x", **apart(term()))],
        pod("new"),
        {"a": EXISTING},
    ),
    "even from a namespace that the term names": (
        [*THREE, pod("1", "a", namespace="other", **apart(term(namespaces=("default",))))],
        pod("new"),
        {"a": EXISTING},
    ),
    "a term without namespaces means the pod's own": (
        [*THREE, pod("1", "a", namespace="other", **apart(term()))],
        pod("new"),
        {},
    ),
    "a namespace selector selects by the namespace's labels": (
        [
            *THREE,
            o.Namespace(o.Metadata(name="other", labels={"team": "x"})),
            pod("1", "a", namespace="other"),
            pod("2", "b", namespace="third"),
        ],
        pod("new", **apart(term(namespace_selector=selector("team=x")))),
        {"a": ANTI},
    ),
    "an empty namespace selector selects every namespace": (
        [*THREE, pod("1", "a", namespace="other"), pod("2", "b", namespace="third")],
        pod("new", **apart(term(namespace_selector=o.LabelSelector()))),
        {"a": ANTI, "b": ANTI},
    ),
    "a namespace selector that no labels meet too selects every namespace, for the pod that is placed": (
        [*THREE, o.Namespace(o.Metadata(name="other", labels={"team": "x"})), pod("1", "a", namespace="other")],
        pod("new", **apart(term(namespace_selector=NOT_X))),
        {"a": ANTI},
    ),
    "but not for the pods that are there": (
        [
            *THREE,
            o.Namespace(o.Metadata(name="default", labels={"team": "x"})),
            pod("1", "a", namespace="other", labels="app=y", **apart(term(namespace_selector=NOT_X))),
        ],
        pod("new"),
        {},
    ),
    "matchLabelKeys: apart from the same revision only": (
        [*THREE, pod("1", "a", labels="app=web,rev=1"), pod("2", "b", labels="app=web,rev=2")],
        pod("new", labels="app=web,rev=2", **apart(term(match_label_keys=("rev",)))),
        {"b": ANTI},
    ),
    "mismatchLabelKeys: apart from other tenants only": (
        [*THREE, pod("1", "a", labels="app=web,tenant=x"), pod("2", "b", labels="app=web,tenant=y")],
        pod("new", labels="app=web,tenant=x", **apart(term(mismatch_label_keys=("tenant",)))),
        {"b": ANTI},
    ),
    "a node without the key is apart from everything": ([node("d"), pod("1", "d")], pod("new", **apart(term())), {}),
    "a term without a selector selects nothing": (
        [*THREE, pod("1", "a")],
        pod("new", **apart(o.PodAffinityTerm(ZONE))),
        {},
    ),
}

PINNED = o.NodeSelectorTerm(match_fields=(o.Requirement("metadata.name", "In", ("a",)),))
SKIPPED = "node(s) didn't satisfy plugin(s) [NodeAffinity]"
NO_MATCH = "node(s) didn't match Pod's node affinity/selector"


def wants(key: str, operator: str, *values: str) -> dict[str, Any]:
    return required(o.NodeSelectorTerm((o.Requirement(key, operator, values),)))


def port(number: int, protocol: str = "TCP", address: str = "") -> dict[str, Any]:
    return {"containers": (o.Container("main", ports=(o.ContainerPort(number, 80, protocol, address),)),)}


def asks(**requests: str) -> dict[str, Any]:
    amounts = {name.replace("_", "."): text for name, text in requests.items()}
    return {"containers": (o.Container("main", resources=o.Resources(amounts)),)}


BUSY = "node(s) didn't have free ports for the requested pod ports"
NODE_CASES: dict[str, Case] = {
    "a cordon": ([node("a", cordoned=True)], pod("new"), {"a": "node(s) were unschedulable"}),
    "a cordon that is tolerated": (
        [node("a", cordoned=True)],
        pod("new", tolerations=(o.Toleration("node.kubernetes.io/unschedulable", "Exists", "", "NoSchedule"),)),
        {},
    ),
    "a taint": (
        [node("a", taints=(o.Taint("k", "v", "NoExecute"),))],
        pod("new", tolerations=(o.Toleration("k", "Equal", "w"),)),
        {"a": "node(s) had untolerated taint(s)"},
    ),
    "a taint that only prefers": ([node("a", taints=(o.Taint("k", "v", "PreferNoSchedule"),))], pod("new"), {}),
    "In": ([node("a", size="3"), node("b")], pod("new", **wants("size", "In", "3", "4")), {"b": NO_MATCH}),
    "NotIn is met by the absence of the label": (
        [node("a", size="3"), node("b")],
        pod("new", **wants("size", "NotIn", "3")),
        {"a": NO_MATCH},
    ),
    "Exists": ([node("a", size="3"), node("b")], pod("new", **wants("size", "Exists")), {"b": NO_MATCH}),
    "DoesNotExist": ([node("a", size="3"), node("b")], pod("new", **wants("size", "DoesNotExist")), {"a": NO_MATCH}),
    "Gt": (
        [node("a", size="3"), node("b", size="30"), node("c")],
        pod("new", **wants("size", "Gt", "4")),
        {"a": NO_MATCH, "c": NO_MATCH},
    ),
    "Lt of what is no number": (
        [node("a", size="3"), node("b", size="1_0")],
        pod("new", **wants("size", "Lt", "40")),
        {"b": NO_MATCH},
    ),
    "an empty term matches nothing": ([node("a")], pod("new", **required(o.NodeSelectorTerm())), {"a": NO_MATCH}),
    "terms are alternatives": (
        [node("a", size="3"), node("b")],
        pod(
            "new",
            **required(
                o.NodeSelectorTerm((o.Requirement("size", "In", ("4",)),)),
                o.NodeSelectorTerm((o.Requirement("size", "Exists"),)),
            ),
        ),
        {"b": NO_MATCH},
    ),
    "a node named by a field leaves the others unasked": (
        [node("a"), node("b", cordoned=True)],
        pod("new", **required(PINNED)),
        {"b": SKIPPED},
    ),
    "a port on all addresses": (
        [node("a"), pod("1", "a", **port(80))],
        pod("new", **port(80, address="10.0.0.1")),
        {"a": BUSY},
    ),
    "a port on two addresses": (
        [node("a"), pod("1", "a", **port(80, address="10.0.0.2"))],
        pod("new", **port(80, address="10.0.0.1")),
        {},
    ),
    "a port of two protocols": ([node("a"), pod("1", "a", **port(80, "UDP"))], pod("new", **port(80)), {}),
    "a port of an init container that has ended": (
        [node("a"), pod("1", "a", init_containers=(o.Container("init", ports=(o.ContainerPort(80, 80),)),))],
        pod("new", **port(80)),
        {},
    ),
    "too much of two resources": (
        [node("a")],
        pod("new", **asks(cpu="5", memory="9Gi")),
        {"a": "Insufficient cpu, Insufficient memory"},
    ),
    "an extended resource that the node lacks": (
        [node("a")],
        pod("new", containers=(o.Container("main", resources=o.Resources({"example.com/fpga": "1"})),)),
        {"a": "Insufficient example.com/fpga"},
    ),
    "a full node refuses a pod that requests nothing": (
        [node("a"), *(pod(str(number), "a") for number in range(10))],
        pod("new"),
        {"a": "Too many pods"},
    ),
    "an overcommitted node takes a pod that requests nothing": (
        [node("a"), pod("1", "a", **asks(cpu="9"))],
        pod("new"),
        {},
    ),
    "resource claims": (
        [node("a")],
        pod("new", resource_claims=(o.ResourceClaim("device"),)),
        {"a": "pod has resource claims, which need kube-scheduler's plugin DynamicResources"},
    ),
    "scheduling gates": (
        [node("a")],
        pod("new", scheduling_gates=(o.SchedulingGate("example.com/wait"),)),
        {"a": "Scheduling is blocked due to non-empty scheduling gates"},
    ),
    "a pod bound to a node that is not there": (
        [node("a")],
        pod("new", "gone"),
        {"a": "node(s) didn't match the requested node name"},
    ),
}


@pytest.mark.parametrize("name", SPREAD_CASES)
def test_topology_spread(name: str) -> None:
    items, new, expected = SPREAD_CASES[name]
    assert refusals(items, new) == expected


@pytest.mark.parametrize("name", AFFINITY_CASES)
def test_pod_affinity(name: str) -> None:
    items, new, expected = AFFINITY_CASES[name]
    assert refusals(items, new) == expected


@pytest.mark.parametrize("name", NODE_CASES)
def test_rules_on_single_nodes(name: str) -> None:
    items, new, expected = NODE_CASES[name]
    assert refusals(items, new) == expected


def test_pods_that_are_being_deleted_do_not_count_for_spread_but_do_for_affinity() -> None:
    leaving = pod("1", "a")
    leaving = o.Pod(
        o.Metadata("1", "default", labels={"app": "web"}, deletion_timestamp="2026-01-01T00:00:00Z"), leaving.spec
    )
    assert refusals([*THREE, leaving], pod("new", topology_spread_constraints=(spread(),))) == {}
    assert refusals([*THREE, leaving], pod("new", **apart(term()))) == {"a": ANTI}


def test_a_pod_that_starts_to_leave_stops_counting_for_spread() -> None:
    snapshot = ClusterSnapshot()
    items: list[AnyObject] = [*THREE, pod("1", "a"), pod("new", topology_spread_constraints=(spread(),))]
    for item in items:
        snapshot.set(item)
    placement = Placement(snapshot)
    new = snapshot.pods.by_key["default/new"]
    assert placement.feasible(new).tolist() == [False, True, True]
    meta = o.Metadata("1", "default", labels={"app": "web"}, deletion_timestamp="2026-01-01T00:00:00Z")
    snapshot.set(o.Pod(meta, pod("1", "a").spec))
    assert placement.feasible(new).tolist() == [True, True, True]
