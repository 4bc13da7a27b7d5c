"""neap's worth against its formula, and what migrations may and may not do."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.placement.gpu.scenes import NodeOf, PodOf, node_lists, nodes_of, pod_lists, pods_of

from neaptide.placement.gpu.fgd import typical_pods
from neaptide.placement.gpu.neap import NEAP
from neaptide.placement.gpu.neap_migrations import MigratingScheduler
from neaptide.placement.gpu.neap_mix import Mix, learn_mix, room_worth
from neaptide.placement.gpu.scheduler import GpuScheduler
from neaptide.placement.gpu.state import GpuNodes, GpuPods, accepts, classes_of, devices_of, empty_state, models_of
from neaptide.simulator.replay import replay


def worth(cpu: int, free: list[int], model: str, history: GpuPods, mix: Mix, reachable: dict[str, float]) -> float:
    """As the page defines it, over the pods of `history`, all typical."""
    alone, together, usable, carried = 0.0, 0.0, 0.0, 0.0
    for wanted, milli, num, spec in zip(
        history.cpu.tolist(), history.gpu_milli.tolist(), history.num_gpu.tolist(), history.gpu_spec, strict=True
    ):
        able = [room for room in free if room >= milli]
        if not (num > 0 and cpu >= wanted and len(able) >= num and accepts(spec, [model])[0]):
            continue
        weight = (1.0 if num == 1 else 0.75) / math.sqrt(reachable[spec])
        idle, valued = sum(able), sum(int(mix.values[room]) for room in able)
        carries = cpu * num * milli / max(wanted, 100)
        alone += weight * valued * (1 if wanted * idle <= cpu * num * milli else min(1, carries / idle))
        together += weight * valued
        usable += weight * idle
        carried += weight * carries
    return (alone + (together * min(1, carried / usable) if usable else 0.0)) / 2 / len(history.names)


@settings(max_examples=60)
@given(
    nodes=node_lists,
    history=pod_lists,
    pod=st.sampled_from([PodOf(milli=230), PodOf(milli=500), PodOf(), PodOf(num=2), PodOf(num=0, milli=0)]),
    rooms=st.lists(st.sampled_from([0, 190, 230, 500, 1000]), min_size=8, max_size=8),
)
def test_neap_scores_the_sigmoid_of_the_worth_that_is_kept(
    nodes: GpuNodes, history: GpuPods, pod: PodOf, rooms: list[int]
) -> None:
    models = models_of(nodes)
    typical = typical_pods(history, models)
    if typical.covered < len(history.names):
        return  # less popular pods are no part of the mix
    state = empty_state(nodes, models)
    state.gpu_free[:] = np.minimum(state.gpu_free, rooms[: state.gpu_free.shape[1]])
    request = classes_of(pods_of(pod), models).request[0]
    out = np.full(len(nodes.names), -1, np.int16)
    supply = devices_of(nodes, models)
    mix = learn_mix(history, supply)
    reachable = {
        spec: sum(count for model, count in supply.items() if accepts(spec, [model])[0]) / sum(supply.values())
        for spec in set(history.gpu_spec)
    }
    for node, gpus in enumerate(nodes.gpu_count.tolist()):
        free, cpu, model = state.gpu_free[node, :gpus].tolist(), int(nodes.cpu[node]), nodes.model[node]
        able = sorted((device for device, room in enumerate(free) if room >= pod.milli), key=free.__getitem__)
        if cpu < pod.cpu or len(able) < pod.num:
            continue
        NEAP.score.numpy(np.array([node]), *state, request, out, *mix)
        shared = pod.num == 1 and pod.milli < 1000
        known = (history, mix, reachable)
        before = worth(cpu, free, model, *known)
        gains = []
        for devices in [[device] for device in able] if shared else [able[: pod.num]]:
            left = [room - pod.milli * (device in devices) for device, room in enumerate(free)]
            gains.append(pod.num * pod.milli - before + worth(cpu - pod.cpu, left, model, *known))
        exact = 100 / (1 + math.exp(-max(gains) / 1000))
        near = {math.floor(exact - 0.02), math.floor(exact + 0.02)}  # weights and rates are rounded to whole numbers
        assert int(out[node]) in near


def test_a_pod_with_much_cpu_leaves_the_cpu_of_scarce_nodes_to_others() -> None:
    history = pods_of(*[PodOf(cpu=12_000)] * 9, PodOf(cpu=4_000))
    nodes = nodes_of(NodeOf(cpu=48_000, gpus=4), NodeOf(cpu=96_000, gpus=4))
    pods = pods_of(PodOf(cpu=24_000))
    run = GpuScheduler(nodes, classes_of(pods, ["A"]), NEAP, history=history, seed=1)
    placed = run.place(0)
    assert placed is not None
    assert placed.node == 1


def test_room_is_worth_what_the_pods_that_will_fill_it_save() -> None:
    halves = room_worth(np.array([500]), np.array([1.0]))
    assert halves[500] == pytest.approx(500, abs=5)  # the next pod comes at once
    assert halves[499] == 0
    mixed = room_worth(np.array([190, 500, 810, 1000]), np.array([0.001, 0.4, 0.3, 0.299]))
    assert mixed[190] < 20  # a pod that hardly ever comes is not waited for
    assert mixed[500] == pytest.approx(500, abs=20)


@given(
    millis=st.lists(st.integers(1, 1000), min_size=1, max_size=12, unique=True).map(sorted),
    weights=st.lists(st.floats(0.001, 1), min_size=12, max_size=12),
)
@settings(max_examples=30, deadline=None)
def test_more_room_is_never_worth_less_and_never_more_than_a_device(millis: list[int], weights: list[float]) -> None:
    popularity = np.array(weights[: len(millis)])
    found = room_worth(np.array(millis), popularity / popularity.sum())
    assert found[0] == 0
    assert (np.diff(found) >= -1e-6).all()
    assert found[1000] == 1000


def test_scarce_models_are_left_to_the_pods_that_need_them() -> None:
    nodes = nodes_of(NodeOf(model="A"), *[NodeOf(model="B")] * 3)
    pods = pods_of(PodOf())
    history = pods_of(PodOf(spec="A"), PodOf())
    run = GpuScheduler(nodes, classes_of(pods, models_of(nodes)), NEAP, history=history, seed=1)
    placed = run.place(0)
    assert placed is not None
    assert placed.node > 0


def test_without_history_every_node_that_fits_is_as_good() -> None:
    pods = pods_of(PodOf(milli=500))
    run = GpuScheduler(nodes_of(NodeOf(), NodeOf()), classes_of(pods, ["A"]), NEAP, history=pods_of(), seed=1)
    placed = run.place(0)
    assert placed is not None
    assert placed.node == 0


@settings(max_examples=60)
@given(nodes=node_lists, pods=pod_lists, per_100=st.sampled_from([0.0, 5.0, 50.0, 100.0]))
def test_migrations_lose_no_pod_keep_to_their_number_and_never_overfill(
    nodes: GpuNodes, pods: GpuPods, per_100: float
) -> None:
    classes = classes_of(pods, models_of(nodes))
    inner = GpuScheduler(nodes, classes, NEAP, history=pods, seed=7)
    run = MigratingScheduler(inner, classes, per_100=per_100, arrivals=len(pods.names))
    accepted = np.zeros(len(pods.names), np.bool_)
    for number, pod_class in enumerate(classes.of_pod.tolist()):
        before = len(run.moves)
        accepted[number] = run.place(pod_class) is not None
        assert len(run.moves) <= per_100 * (number + 1) / 100
        assert len(run.moves) == before or accepted[number]
        assert all(column.min() >= 0 for column in inner.state)
    empty = empty_state(nodes, models_of(nodes))
    assert (empty.gpu_free - inner.state.gpu_free).sum() == pods.total_milli()[accepted].sum()
    assert (empty.cpu_free - inner.state.cpu_free).sum() == pods.cpu[accepted].sum()
    assert inner.state.kinds.sum() == (accepted & (pods.num_gpu > 0)).sum()
    assert all(move.source != move.target for move in run.moves)


@settings(max_examples=60)
@given(nodes=node_lists, pods=pod_lists)
def test_compiled_kernels_move_the_same_pods_as_their_numpy_twins(nodes: GpuNodes, pods: GpuPods) -> None:
    classes = classes_of(pods, models_of(nodes))
    runs = []
    for compiled in (True, False):
        inner = GpuScheduler(nodes, classes, NEAP, history=pods, seed=7, compiled=compiled)
        run = MigratingScheduler(inner, classes, per_100=100, arrivals=len(pods.names), compiled=compiled)
        runs.append(([run.place(pod_class) for pod_class in classes.of_pod.tolist()], run.moves))
    assert runs[0] == runs[1]


def test_one_move_makes_room_for_a_pod_that_fits_nowhere() -> None:
    nodes = nodes_of(NodeOf(gpus=1, model="A"), NodeOf(gpus=1, model="B"))
    pods = pods_of(PodOf(), PodOf(spec="A"))
    plain = replay(nodes, pods, "neap", 1, arrivals=np.array([0, 1]))
    moving = replay(nodes, pods, "neap", 1, arrivals=np.array([0, 1]), migrations_per_100=50)
    assert moving.unscheduled == 0
    assert moving.migrations == plain.unscheduled


def test_a_policy_whose_scores_say_nothing_of_fragments_cannot_migrate() -> None:
    pods = pods_of(PodOf())
    with pytest.raises(ValueError, match="'BestFit' cannot migrate pods; accepted: neap, FGD"):
        replay(nodes_of(NodeOf()), pods, "BestFit", 1, migrations_per_100=1)
