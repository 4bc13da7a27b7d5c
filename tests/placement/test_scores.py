"""Known cases of kube-scheduler's scores, those that the reference leaves out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.model import objects as o
from neaptide.model.any_object import AnyObject
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.scores.balanced_allocation import NodeResourcesBalancedAllocation
from neaptide.placement.scores.image_locality import ImageLocality
from neaptide.placement.scores.inter_pod_affinity import InterPodAffinity
from neaptide.placement.scores.least_allocated import LeastAllocated
from neaptide.placement.scores.most_allocated import MostAllocated
from neaptide.placement.scores.pod_topology_spread import PodTopologySpread
from neaptide.placement.scores.requested_to_capacity_ratio import Point, RequestedToCapacityRatio
from neaptide.placement.scores.resources import ResourceWeight
from neaptide.placement.scores.score import Score
from neaptide.placement.view import View

MB = 2**20


def node(
    name: str, *, images: dict[str, int] | None = None, labels: dict[str, str] | None = None, **amounts: str
) -> o.Node:
    allocatable = {"pods": "110"} | {key.replace("_", "/"): amount for key, amount in amounts.items()}
    held = tuple(o.ContainerImage((image,), size) for image, size in (images or {}).items())
    return o.Node(o.Metadata(name=name, labels=labels or {}), status=o.NodeStatus(allocatable=allocatable, images=held))


def pod(name: str = "new", on: str = "", *, images: tuple[str, ...] = (), labels: str = "", **requests: str) -> o.Pod:
    amounts = {key.replace("_", "/"): amount for key, amount in requests.items()}
    containers = tuple(o.Container(image, image) for image in images)
    if not containers:
        containers = (o.Container("main", resources=o.Resources(amounts)),)
    marks = dict([labels.split("=")]) if labels else {}
    return o.Pod(
        o.Metadata(name=name, namespace="default", labels=marks), o.PodSpec(containers=containers, node_name=on)
    )


def given_scores(score: Score, items: list[AnyObject], new: o.Pod) -> list[int] | None:
    """What a score gives the nodes, all of which are feasible."""
    snapshot = ClusterSnapshot()
    for item in (*items, new):
        snapshot.set(item)
    view = View(snapshot)
    row = snapshot.pods.by_key["default/new"]
    found = score.scores(view, view.pod(row), np.arange(snapshot.nodes.rows))
    return None if found is None else found.tolist()


GPU = (ResourceWeight("cpu"), ResourceWeight("gpu/one", 3))
NODES: list[AnyObject] = [node("a", cpu="4", memory="10000"), node("b", cpu="6", memory="10000")]
RESOURCE_CASES: dict[str, tuple[Score, list[AnyObject], o.Pod, list[int] | None]] = {
    "least: nothing requested, nothing there": (LeastAllocated(), NODES, pod(cpu="0", memory="0"), [100, 100]),
    "least: half and two thirds of the CPU": (LeastAllocated(), NODES, pod(cpu="3", memory="5000"), [37, 50]),
    "most: half and two thirds of the CPU": (MostAllocated(), NODES, pod(cpu="3", memory="5000"), [62, 50]),
    "least: a pod that names nothing counts 100m and 200Mi": (
        LeastAllocated(),
        [node("a", cpu="1", memory="400Mi")],
        pod(),
        [(90 + 50) // 2],
    ),
    "least: more requested than there is gives nothing": (
        LeastAllocated(),
        NODES,
        pod(cpu="5", memory="5000"),
        [25, 33],
    ),
    "least: an extended resource that the pod asks for, by weight": (
        LeastAllocated(resources=GPU),
        [node("a", cpu="4", gpu_one="4"), node("b", cpu="4")],
        pod(cpu="1", gpu_one="1"),
        [75, 75],
    ),
    "least: one that the pod doesn't ask for has no say": (
        LeastAllocated(resources=GPU),
        [node("a", cpu="4", gpu_one="4"), pod("old", "a", cpu="0", gpu_one="4")],
        pod(cpu="1"),
        [75],
    ),
    "ratio: the curve between its points, rounded down as it rises and as it falls": (
        RequestedToCapacityRatio(shape=(Point(0, 10), Point(70, 0), Point(100, 3)), resources=(ResourceWeight("cpu"),)),
        [node("a", cpu="10"), node("b", cpu="3")],
        pod(cpu="2500m"),
        [65, 13],
    ),
    "ratio: a resource that gets nothing has no say": (
        RequestedToCapacityRatio(),
        [node("a", cpu="4", memory="1Ti")],
        pod(cpu="2", memory="0"),
        [50],
    ),
    "balanced: the pod evens the node out, or tips it": (
        NodeResourcesBalancedAllocation(),
        [node("a", cpu="10", memory="10000"), pod("old", "a", cpu="0", memory="5000")],
        pod(cpu="5", memory="0"),
        [50 + (50 + 100 - 75) // 2],
    ),
    "balanced: no say about a pod that requests nothing": (NodeResourcesBalancedAllocation(), NODES, pod(), None),
    "balanced: the standard deviation of three": (
        NodeResourcesBalancedAllocation(resources=(*GPU[:1], ResourceWeight("memory"), ResourceWeight("gpu/one"))),
        [node("a", cpu="10", memory="10000", gpu_one="10")],
        pod(cpu="1", memory="5000", gpu_one="9"),
        [50 + (50 + 67 - 100) // 2],
    ),
}


@pytest.mark.parametrize("name", RESOURCE_CASES)
def test_scores_on_resources(name: str) -> None:
    score, items, new, expected = RESOURCE_CASES[name]
    assert given_scores(score, items, new) == expected


IMAGE_CASES: dict[str, tuple[list[AnyObject], o.Pod, list[int]]] = {
    "the larger image": (
        [node("a", images={"r.io/40:latest": 40 * MB}), node("b", images={"r.io/250:latest": 250 * MB})],
        pod(images=("r.io/40", "r.io/250")),
        [0, 5],
    ),
    "two images on one node": (
        [node("a", images={"r.io/40:latest": 40 * MB, "r.io/300:latest": 300 * MB}), node("b")],
        pod(images=("r.io/40", "r.io/300")),
        [7, 0],
    ),
    "no more than the limit": (
        [node("a", images={"r.io/4000:latest": 4000 * MB}), node("b", images={"r.io/10:latest": 10 * MB})],
        pod(images=("r.io/4000", "r.io/10")),
        [100, 0],
    ),
    "spread over three nodes": (
        [
            node("a", images={"i:1": 600 * MB, "j:1": 900 * MB}),
            node("b", images={"h:1": 300 * MB, "i:1": 600 * MB, "j:1": 900 * MB}),
            node("c"),
        ],
        pod(images=("h:1", "i:1", "j:1")),
        [32, 36, 0],
    ),
}


@pytest.mark.parametrize("name", IMAGE_CASES)
def test_image_locality(name: str) -> None:
    items, new, expected = IMAGE_CASES[name]
    assert given_scores(ImageLocality(), items, new) == expected


ZONES: list[AnyObject] = [
    node("a", labels={"kubernetes.io/hostname": "a", "topology.kubernetes.io/zone": "z1"}),
    node("b", labels={"kubernetes.io/hostname": "b"}),
]


def test_pods_without_constraints_are_spread_by_what_selects_them() -> None:
    service = o.Service(o.Metadata(name="web", namespace="default"), o.ServiceSpec({"app": "web"}))
    items: list[AnyObject] = [*ZONES, *(pod(str(number), "a", labels="app=web") for number in range(4))]
    new = pod(labels="app=web")
    assert given_scores(PodTopologySpread(), items, new) is None
    assert given_scores(PodTopologySpread(), [*items, service], new) == [11, 100]  # of 17 and 2
    assert given_scores(PodTopologySpread(system_defaults=False), [*items, service], new) is None


def test_pods_without_constraints_are_spread_by_their_replica_set() -> None:
    selector = o.LabelSelector({"app": "web"})
    replica_set = o.Workload(
        "ReplicaSet", o.Metadata(name="web", namespace="default"), o.WorkloadSpec(selector=selector)
    )
    owner = o.OwnerReference("ReplicaSet", "web", controller=True)
    meta = o.Metadata(name="new", namespace="default", labels={"app": "web"}, owner_references=(owner,))
    items: list[AnyObject] = [*ZONES, replica_set, pod("1", "a", labels="app=web")]
    assert given_scores(PodTopologySpread(), items, o.Pod(meta, pod().spec)) == [22, 100]  # of 9 and 2


def test_required_affinity_of_pods_that_are_there_attracts_by_the_profile_s_weight() -> None:
    term = o.PodAffinityTerm("kubernetes.io/hostname", o.LabelSelector({"app": "web"}))
    affinity = o.Affinity(pod_affinity=o.PodAffinity((term,)))
    old = o.Pod(
        o.Metadata(name="old", namespace="default"), o.PodSpec((o.Container(),), node_name="b", affinity=affinity)
    )
    items: list[AnyObject] = [*ZONES, old]
    assert given_scores(InterPodAffinity(), items, pod(labels="app=web")) == [0, 100]
    assert given_scores(InterPodAffinity(hard_pod_affinity_weight=0), items, pod(labels="app=web")) is None
    assert (
        given_scores(InterPodAffinity(ignore_preferred_terms_of_existing_pods=True), items, pod(labels="app=web"))
        is None
    )


@given(
    st.lists(
        st.tuples(st.integers(0, 100), st.integers(0, 10)), min_size=1, max_size=4, unique_by=lambda point: point[0]
    )
)
def test_the_curve_goes_through_its_points(points: list[tuple[int, int]]) -> None:
    shape = tuple(Point(*point) for point in sorted(points))
    score = RequestedToCapacityRatio(shape=shape, resources=(ResourceWeight("cpu"),))
    for point in shape:
        used = f"{point.utilization * 10}m"
        new = pod(cpu=used)
        assert given_scores(score, [node("a", cpu="1")], new) == [point.score * 10]
