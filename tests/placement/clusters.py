"""Random small clusters in which every rule of placement has something to say, and snapshots of them."""

from typing import Any

from hypothesis import strategies as st
from tests.placement.reference import Cluster

from neaptide.model import objects as o
from neaptide.model.any_object import AnyObject
from neaptide.model.snapshot import ClusterSnapshot

ZONE, HOST, RACK = "topology.kubernetes.io/zone", "kubernetes.io/hostname", "rack"
KEYS = (ZONE, HOST, RACK)
NAMESPACES = ("blue", "red", "green")

apps = st.fixed_dictionaries({"app": st.sampled_from("aaab")}, optional={"tier": st.sampled_from("12")})
pod_requirements = st.builds(
    o.Requirement,
    st.sampled_from(["app", "tier"]),
    st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
    st.lists(st.sampled_from("ab12"), min_size=1, max_size=2).map(tuple),
)
pod_selectors = st.one_of(
    st.just(o.LabelSelector({"app": "a"})),
    st.just(o.LabelSelector()),
    st.builds(o.LabelSelector, st.just({}), st.lists(pod_requirements, max_size=2).map(tuple)),
)
namespace_selectors = st.builds(
    o.LabelSelector,
    st.dictionaries(st.just("team"), st.sampled_from("xy"), max_size=1),
    st.lists(
        st.builds(o.Requirement, st.just("team"), st.sampled_from(["In", "NotIn", "DoesNotExist"]), st.just(("x",))),
        max_size=1,
    ).map(tuple),
)
node_requirements = st.one_of(
    st.builds(
        o.Requirement,
        st.sampled_from([ZONE, RACK, "disk"]),
        st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
        st.lists(st.sampled_from(["z0", "z1", "r0", "ssd"]), min_size=1, max_size=2).map(tuple),
    ),
    st.builds(o.Requirement, st.just("cores"), st.sampled_from(["Gt", "Lt"]), st.sampled_from([("4",), ("8",)])),
)
fields = st.builds(
    o.Requirement,
    st.just("metadata.name"),
    st.sampled_from(["In", "NotIn"]),
    st.sampled_from([("n0",), ("n1",), ("n9",)]),
)
node_terms = st.builds(
    o.NodeSelectorTerm,
    st.lists(node_requirements, max_size=2).map(tuple),
    st.lists(fields, max_size=1).map(tuple),
)
node_affinities = st.builds(
    o.NodeAffinity,
    st.none() | st.builds(o.NodeSelector, st.lists(node_terms, min_size=1, max_size=2).map(tuple)),
    st.lists(st.builds(o.PreferredNodeTerm, st.integers(1, 100), node_terms), max_size=2).map(tuple),
)
label_keys = st.just(()) | st.lists(st.sampled_from(["app", "tier", "absent"]), max_size=1).map(tuple)
affinity_terms = st.builds(
    o.PodAffinityTerm,
    topology_key=st.sampled_from(KEYS),
    label_selector=pod_selectors | pod_selectors | st.none(),
    namespaces=st.just(()) | st.lists(st.sampled_from(NAMESPACES), max_size=2).map(tuple),
    namespace_selector=st.none() | namespace_selectors,
    match_label_keys=label_keys,
    mismatch_label_keys=label_keys,
)
sides = st.builds(
    o.PodAffinity,
    st.lists(affinity_terms, max_size=2).map(tuple),
    st.lists(st.builds(o.WeightedPodAffinityTerm, st.integers(1, 100), affinity_terms), max_size=2).map(tuple),
)
spreads = st.builds(
    o.TopologySpreadConstraint,
    st.sampled_from([1, 1, 2, 3]),
    st.sampled_from(KEYS),
    st.sampled_from(["DoNotSchedule", "ScheduleAnyway"]),
    pod_selectors | pod_selectors | st.none(),
    st.none() | st.integers(1, 4),
    st.sampled_from(["Honor", "Ignore"]),
    st.sampled_from(["Honor", "Ignore"]),
    label_keys,
)
taints = st.builds(
    o.Taint,
    st.sampled_from(["gpu", "spot"]),
    st.sampled_from(["", "yes"]),
    st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute"]),
)
tolerations = st.one_of(
    st.builds(o.Toleration, st.sampled_from(["gpu", "spot"]), st.just("Equal"), st.sampled_from(["", "yes"])),
    st.builds(
        o.Toleration,
        st.sampled_from(["gpu", "spot", ""]),
        st.just("Exists"),
        st.just(""),
        st.sampled_from(["", "NoSchedule"]),
    ),
    st.just(o.Toleration("node.kubernetes.io/unschedulable", "Exists")),
)
host_ports = st.builds(
    o.ContainerPort,
    host_port=st.sampled_from([0, 80, 81]),
    container_port=st.just(80),
    protocol=st.sampled_from(["TCP", "UDP"]),
    host_ip=st.sampled_from(["", "10.0.0.1", "10.0.0.2"]),
)
amounts = st.fixed_dictionaries(
    {},
    optional={
        "cpu": st.sampled_from(["0", "300m", "1", "2500m"]),
        "memory": st.sampled_from(["100Mi", "1Gi", "3Gi"]),
        "example.com/gpu": st.sampled_from(["0", "1", "2"]),
    },
)

TOPOLOGY = "topology"
RULES = ("ports", "selector", "node affinity", "tolerations", TOPOLOGY)


def often(likely: int, of: int = 10) -> st.SearchStrategy[bool]:
    """True `likely` times out of `of`."""
    return st.sampled_from([True] * likely + [False] * (of - likely))


@st.composite
def nodes(draw: st.DrawFn, name: str, *, plain: bool = False) -> o.Node:
    """Nodes with room, mostly, and mostly without taints; plain ones with room for anything, and without taints."""
    labels = {
        key: draw(st.sampled_from(values))
        for key, values in (
            (ZONE, ["z0", "z1", "z2"]),
            (RACK, ["r0", "r1"]),
            ("disk", ["ssd", "hdd"]),
            ("cores", ["2", "8", "many"]),
            (HOST, [name]),
        )
        if draw(often(8))
    }
    resources = {
        resource: draw(st.sampled_from(sizes))
        for resource, sizes in (
            ("pods", ["110", "2", "5"]),
            ("cpu", ["64", "4"]),
            ("memory", ["64Gi", "8Gi"]),
            ("example.com/gpu", ["8", "1"]),
        )
        if draw(often(9))
    } or {"pods": "10"}
    if plain:
        resources = {"pods": "110", "cpu": "64", "memory": "64Gi", "example.com/gpu": "64"}
        return o.Node(o.Metadata(name=name, labels=labels), o.NodeSpec(), o.NodeStatus(allocatable=resources))
    marks = draw(st.lists(taints, min_size=1, max_size=2).map(tuple)) if draw(often(3)) else ()
    return o.Node(
        o.Metadata(name=name, labels=labels), o.NodeSpec(draw(often(1)), marks), o.NodeStatus(allocatable=resources)
    )


@st.composite
def pods(draw: st.DrawFn, name: str, node: str = "", *, plain: bool = False) -> o.Pod:
    """A pod with some of the rules, topology more often than the others; a plain one has rules on topology alone."""
    rules = {TOPOLOGY} if plain else {rule for rule in RULES if draw(often(6 if rule == TOPOLOGY else 2))}

    def where(rule: str, strategy: st.SearchStrategy[Any], otherwise: object) -> Any:
        return draw(strategy) if rule in rules else otherwise

    container = o.Container(
        "main",
        resources=o.Resources(draw(amounts)),
        ports=where("ports", st.lists(host_ports, min_size=1, max_size=2).map(tuple), ()),
    )
    deleted = "2026-01-01T00:00:00Z" if node and draw(often(1)) else None
    meta = o.Metadata(
        name=name,
        namespace=draw(st.sampled_from((*["blue"] * 4, *NAMESPACES))),
        labels=draw(apps),
        deletion_timestamp=deleted,
    )
    affinity = o.Affinity(
        where("node affinity", node_affinities, None),
        where(TOPOLOGY, st.none() | sides, None),
        where(TOPOLOGY, st.none() | sides, None),
    )
    spec = o.PodSpec(
        containers=(container,),
        node_name=node,
        node_selector=where("selector", st.dictionaries(st.just("disk"), st.just("ssd"), max_size=1), {}),
        affinity=affinity if affinity != o.Affinity() else None,
        tolerations=where("tolerations", st.lists(tolerations, min_size=1, max_size=2).map(tuple), ()),
        topology_spread_constraints=where(TOPOLOGY, st.lists(spreads, max_size=2).map(tuple), ()),
    )
    return o.Pod(meta, spec, o.PodStatus(phase="Running" if node else "Pending"))


@st.composite
def clusters(draw: st.DrawFn, most_nodes: int = 6, most_pods: int = 8, *, plain: bool = False) -> Cluster:
    """Some nodes with pods on them."""
    found = [draw(nodes(f"n{number}", plain=plain)) for number in range(draw(st.integers(1, most_nodes)))]
    names = st.sampled_from([node.metadata.name for node in found])
    bound = [
        draw(pods(f"b{number}", draw(names), plain=plain))
        for number in range(draw(st.sampled_from([0, most_pods // 2, most_pods])))
    ]
    labels = st.dictionaries(st.just("team"), st.sampled_from("xy"), max_size=1)
    spaces = {name: draw(labels) for name in NAMESPACES if draw(often(7))}
    return Cluster(found, bound, spaces)


def snapshot_of(cluster: Cluster, *pending: o.Pod) -> ClusterSnapshot:
    """The cluster as a snapshot, with pending pods."""
    snapshot = ClusterSnapshot()
    for name, labels in cluster.namespaces.items():
        snapshot.set(o.Namespace(o.Metadata(name=name, labels=labels)))
    items: list[AnyObject] = [*cluster.nodes, *cluster.pods, *pending]
    for item in items:
        snapshot.set(item)
    return snapshot
