import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.placement.clusters import clusters, pods, snapshot_of
from tests.placement.reference import Cluster

from neaptide.model import objects as o
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement import warm
from neaptide.placement.engine import Engine, chunks
from neaptide.placement.filters.registry import DEFAULT_FILTERS
from neaptide.placement.kernels import batch
from neaptide.placement.kernels.jit import HAVE_NUMBA
from neaptide.placement.place import Placement
from neaptide.placement.profile import DEFAULT, Profile
from neaptide.placement.scores.balanced_allocation import NodeResourcesBalancedAllocation
from neaptide.placement.scores.inter_pod_affinity import InterPodAffinity
from neaptide.placement.scores.least_allocated import LeastAllocated
from neaptide.placement.scores.most_allocated import MostAllocated
from neaptide.placement.scores.requested_to_capacity_ratio import Point, RequestedToCapacityRatio
from neaptide.placement.scores.resources import ResourceWeight

GPU = (ResourceWeight("cpu", 3), ResourceWeight("example.com/gpu", 5), ResourceWeight("memory"))
PROFILES = {
    "the default": DEFAULT,
    "most allocated": Profile(scores=(MostAllocated(),)),
    "no scores": Profile(scores=()),
    "three resources": Profile(
        scores=(MostAllocated(resources=GPU, weight=3), NodeResourcesBalancedAllocation(resources=GPU))
    ),
    "a curve": Profile(
        scores=(
            RequestedToCapacityRatio(resources=GPU, shape=(Point(10, 3), Point(40, 10), Point(90, 0))),
            InterPodAffinity(),
        )
    ),
    "no room asked for": Profile(filters=DEFAULT_FILTERS[:6] + DEFAULT_FILTERS[11:], scores=(LeastAllocated(),)),
}

Scene = tuple[Cluster, list[o.Pod]]


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """A cluster, and pods of a few kinds in any order."""
    plain = draw(st.booleans())
    cluster = draw(clusters(most_nodes=7, plain=plain))
    kinds = [draw(pods("pod", plain=plain)) for _ in range(draw(st.integers(1, 4)))]
    order = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=16))
    return cluster, [
        replace(each, metadata=replace(each.metadata, name=f"p{number}")) for number, each in enumerate(order)
    ]


def prepared(scene: Scene) -> tuple[ClusterSnapshot, list[int]]:
    cluster, waiting = scene
    snapshot = snapshot_of(cluster, *waiting)
    return snapshot, [snapshot.pods.by_key[f"{each.metadata.namespace}/{each.metadata.name}"] for each in waiting]


def one_by_one(scene: Scene, profile: Profile) -> list[int | None]:
    snapshot, rows = prepared(scene)
    placement = Placement(snapshot, profile)
    return [placement.schedule([row])[0].node for row in rows]


def engine_of(snapshot: ClusterSnapshot, profile: Profile, rows: list[int], *, compiled: bool) -> Engine:
    placement = Placement(snapshot, profile)
    placement.view.topology.classes.meet_all(set(snapshot.pods.cls[rows].tolist()))
    return Engine(placement.view, profile, compiled=compiled)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("compiled", [False, True], ids=["numpy", "compiled"])
@settings(max_examples=25, deadline=None)
@given(scene=scenes())
def test_a_batch_goes_where_its_pods_would_go_one_by_one(profile: Profile, scene: Scene, *, compiled: bool) -> None:
    snapshot, rows = prepared(scene)
    engine = engine_of(snapshot, profile, rows, compiled=compiled)
    assert all(engine.takes(np.array(rows)))
    found = engine.place(np.array(rows))
    assert found is not None
    assert [None if node < 0 else node for node in found.tolist()] == one_by_one(scene, profile)


@settings(max_examples=60, deadline=None)
@given(scene=scenes())
def test_schedule_says_of_a_batch_what_it_says_of_its_pods_one_by_one(scene: Scene) -> None:
    snapshot, rows = prepared(scene)
    twin, _ = prepared(scene)
    batched = Placement(snapshot).schedule(rows)
    placement = Placement(twin)
    placement.view.topology.classes.meet_all(set(twin.pods.cls[rows].tolist()))
    assert batched == [placement.schedule([row])[0] for row in rows]
    assert snapshot.nodes.contents()["used"] == twin.nodes.contents()["used"]
    assert snapshot.nodes.contents()["scoring"] == twin.nodes.contents()["scoring"]
    assert [set(snapshot.pods_on(node)) for node in range(snapshot.nodes.rows)] == [
        set(twin.pods_on(node)) for node in range(twin.nodes.rows)
    ]


def of_one_node(*names: str, **allocatable: str) -> ClusterSnapshot:
    snapshot = ClusterSnapshot()
    snapshot.set(o.Node(o.Metadata(name="node"), status=o.NodeStatus(allocatable={"pods": "110", **allocatable})))
    for name in names:
        container = o.Container(resources=o.Resources({"cpu": "1"}))
        snapshot.set(o.Pod(o.Metadata(name=name), o.PodSpec(containers=(container,))))
    return snapshot


def test_a_pod_that_is_named_twice_is_placed_once() -> None:
    names = [f"p{number}" for number in range(10)]
    snapshot = of_one_node(*names, cpu="64")
    placed = Placement(snapshot).schedule([*range(10), 3])
    assert [each.reason for each in placed] == [""] * 10 + ["pod is bound already"]


def test_what_fits_nowhere_in_a_batch_is_said_why() -> None:
    snapshot = of_one_node(*(f"p{number}" for number in range(12)), cpu="10")
    placed = Placement(snapshot).schedule(list(range(12)))
    assert [each.node for each in placed] == [0] * 10 + [None] * 2
    assert {each.reason for each in placed[10:]} == {"0/1 nodes are available: 1 Insufficient cpu."}


def test_amounts_beyond_exact_arithmetic_are_left_to_the_general_path() -> None:
    snapshot = of_one_node(*(f"p{number}" for number in range(9)), cpu="64", memory="4Pi")
    engine = Engine(Placement(snapshot).view, DEFAULT)
    assert engine.place(np.arange(9)) is None
    assert [each.node for each in Placement(snapshot).schedule(list(range(9)))] == [0] * 9


def test_pods_with_gates_or_claims_are_not_for_the_engine() -> None:
    snapshot = of_one_node("plain", cpu="1")
    volume = o.Volume(name="data", persistent_volume_claim=o.ClaimSource("claim"))
    snapshot.set(o.Pod(o.Metadata(name="claims"), o.PodSpec(volumes=(volume,))))
    snapshot.set(o.Pod(o.Metadata(name="gated"), o.PodSpec(scheduling_gates=(o.SchedulingGate("wait"),))))
    assert Engine(Placement(snapshot).view, DEFAULT).takes(np.arange(3)) == [True, False, False]


def test_a_profile_with_two_strategies_is_not_for_the_engine() -> None:
    engine = Engine(Placement(of_one_node("p", cpu="1")).view, Profile(scores=(LeastAllocated(), MostAllocated())))
    assert engine.takes(np.arange(1)) == [False]


@given(st.lists(st.integers(0, 400), min_size=1, max_size=600), st.sampled_from([1, 100, 2**26]))
def test_chunks_follow_each_other_and_fit_into_memory(classes: list[int], nodes: int) -> None:
    found = chunks(np.array(classes), nodes)
    assert [number for chunk in found for number in range(chunk.start, chunk.stop)] == list(range(len(classes)))
    assert all(len(set(classes[chunk])) * nodes <= 2**26 for chunk in found)


def test_a_kernel_is_compiled_once_for_all_batches() -> None:
    warm.engine()
    snapshot = of_one_node("p0", "p1", cpu="64")
    snapshot.set(o.Node(o.Metadata(name="other"), status=o.NodeStatus(allocatable={"pods": "110", "cpu": "8"})))
    for labels in ({"app": "a"}, {"app": "b"}):
        snapshot.set(o.Pod(o.Metadata(name=f"labelled-{labels['app']}", labels=labels)))
    before = versions()
    for rows in (np.arange(1), np.arange(4)):
        assert Engine(Placement(snapshot).view, DEFAULT, compiled=True).place(rows) is not None
    assert versions() == before


def versions() -> int:
    return len(batch._place.signatures) if HAVE_NUMBA else 0  # type: ignore[attr-defined] # numba's dispatcher has them
