"""Each policy's score against its published formula, on states by hand."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.placement.gpu.scenes import MODELS, NodeOf, PodOf, node_lists, nodes_of, pod_lists, pods_of

from neaptide.placement.gpu.fgd import typical_pods
from neaptide.placement.gpu.policies import gpu_policy
from neaptide.placement.gpu.state import GpuNodes, GpuPods, accepts, classes_of, empty_state, models_of


class Case(NamedTuple):
    policy: str
    pod: PodOf
    free: list[int]  # milli of each device
    score: int
    cpu_free: int = 64_000
    kinds: tuple[int, ...] = ()


CASES = {
    "BestFit: half the CPU and half the GPU of the largest machine are left": Case(
        "BestFit", PodOf(cpu=0, milli=1000), [1000] * 5, 50
    ),
    "BestFit: nothing is left": Case("BestFit", PodOf(cpu=64_000, num=2), [1000, 1000], 100),
    "DotProduct: all idle, all asked for": Case("DotProduct", PodOf(cpu=64_000, num=8), [1000] * 8, 37),
    "DotProduct: nothing asked for": Case("DotProduct", PodOf(cpu=0, num=0, milli=0), [1000] * 8, 100),
    "GpuPacking: a node in use, its shared device with the least room": Case(
        "GpuPacking", PodOf(milli=200), [1000, 700, 300, 0], 97
    ),
    "GpuPacking: a node in use, two idle devices": Case("GpuPacking", PodOf(num=2), [1000, 1000, 400, 0], 48),
    "GpuPacking: an idle node": Case("GpuPacking", PodOf(milli=200), [1000] * 4, 29),
    "GpuPacking: a pod without GPU": Case("GpuPacking", PodOf(num=0, milli=0), [1000] * 4, 0),
    "GpuClustering: only pods of this kind": Case("GpuClustering", PodOf(milli=200), [1000, 600], 95, kinds=(3,)),
    "GpuClustering: also pods of this kind": Case("GpuClustering", PodOf(num=2), [1000, 1000], 68, kinds=(3, 0, 1)),
    "GpuClustering: no pods": Case("GpuClustering", PodOf(num=2), [1000] * 8, 25),
    "GpuClustering: only pods of other kinds": Case("GpuClustering", PodOf(), [1000] * 4, 12, kinds=(3,)),
    "GpuClustering: a pod without GPU": Case("GpuClustering", PodOf(num=0, milli=0), [1000], 0),
    "Random: anything": Case("Random", PodOf(), [1000, 300], 0),
}


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "numpy"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_score_follows_its_formula(case: Case, *, compiled: bool) -> None:
    nodes, pods = nodes_of(NodeOf(gpus=len(case.free))), pods_of(case.pod)
    state = empty_state(nodes, models_of(nodes))
    state.gpu_free[0] = case.free
    state.cpu_free[0] = case.cpu_free
    state.kinds[0, : len(case.kinds)] = case.kinds
    out = np.full(1, -7, np.int16)
    score = gpu_policy(case.policy).score.pick(compiled=compiled)
    score(np.array([0]), *state, classes_of(pods, ["A"]).request[0], out)
    assert out[0] == case.score


def fragmentation(cpu: int, free: list[int], model: str, history: GpuPods) -> float:
    """As the paper defines it, over typical pods."""
    keys = list(
        zip(history.cpu.tolist(), history.gpu_milli.tolist(), history.num_gpu.tolist(), history.gpu_spec, strict=True)
    )
    popular = sorted(set(keys), key=lambda key: (keys.count(key), key), reverse=True)
    covered, total = 0, 0.0
    for key in popular:
        if covered >= 0.95 * len(keys):
            break
        wanted_cpu, milli, num, spec = key
        covered += keys.count(key)
        able = [room for room in free if room >= milli]
        fits = num > 0 and cpu >= wanted_cpu and len(able) >= num and accepts(spec, [model])[0]
        total += keys.count(key) * (sum(free) - sum(able) if fits else sum(free))
    return total / covered


@settings(max_examples=60)
@given(
    nodes=node_lists,
    history=pod_lists,
    pod=st.sampled_from([PodOf(milli=230), PodOf(milli=500), PodOf(), PodOf(num=0, milli=0)]),
    rooms=st.lists(st.sampled_from([0, 190, 230, 500, 1000]), min_size=8, max_size=8),
)
def test_fgd_scores_the_sigmoid_of_the_reduction_of_fragmentation(
    nodes: GpuNodes, history: GpuPods, pod: PodOf, rooms: list[int]
) -> None:
    models = models_of(nodes)
    state = empty_state(nodes, models)
    state.gpu_free[:] = np.minimum(state.gpu_free, rooms[: state.gpu_free.shape[1]])
    request = classes_of(pods_of(pod), models).request[0]
    out = np.full(len(nodes.names), -1, np.int16)
    knowledge = typical_pods(history, models)
    for node, gpus in enumerate(nodes.gpu_count.tolist()):
        free = state.gpu_free[node, :gpus].tolist()
        able = [device for device, room in enumerate(free) if room >= pod.milli]
        if pod.num and not able:
            continue
        gpu_policy("FGD").score.numpy(np.array([node]), *state, request, out, *knowledge)
        choices = [[device] for device in able] if pod.milli < 1000 and pod.num else [able[: pod.num]]
        best = -1
        before = fragmentation(int(nodes.cpu[node]), free, nodes.model[node], history)
        for devices in choices:
            left = [room - pod.milli * (device in devices) for device, room in enumerate(free)]
            after = fragmentation(int(nodes.cpu[node]) - pod.cpu, left, nodes.model[node], history)
            near = (before - after) / 1000
            if abs(near) < 1e-9:
                near = 0.0  # sums of floats; 0 is the only reduction where a score begins that such sums can meet
            best = max(best, math.floor(100 / (1 + math.exp(-near))))
        assert out[node] == best


def test_typical_pods_are_the_most_popular_requests_up_to_95_percent() -> None:
    pods = pods_of(*[PodOf(milli=500)] * 60, *[PodOf(num=0, milli=0)] * 30, *[PodOf(num=8)] * 6, *[PodOf(num=2)] * 4)
    typical = typical_pods(pods, list(MODELS))
    assert typical.covered == 96
    assert typical.millis.tolist() == [500, 1000]
    assert typical.nums.tolist() == [1, 8]
    assert typical.counts[-1].tolist() == [60, 6]


def test_memory_does_not_make_typical_pods_differ() -> None:
    pods = pods_of(*[PodOf(memory=memory) for memory in range(20)])
    assert typical_pods(pods, ["A"]).counts.tolist() == [[0], [20]]
