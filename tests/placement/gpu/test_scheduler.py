"""What holds for every GPU policy."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.placement.gpu.scenes import NodeOf, PodOf, node_lists, nodes_of, pod_lists, pods_of

from neaptide.placement.gpu.policies import GPU_POLICIES, gpu_policy
from neaptide.placement.gpu.policy import GpuPolicy
from neaptide.placement.gpu.scheduler import GpuScheduler, Placed
from neaptide.placement.gpu.state import GpuNodes, GpuPods, accepts, classes_of, models_of

each_policy = pytest.mark.parametrize("policy", GPU_POLICIES, ids=[policy.name for policy in GPU_POLICIES])


def scheduler(nodes: GpuNodes, pods: GpuPods, policy: GpuPolicy, *, compiled: bool = True) -> GpuScheduler:
    return GpuScheduler(nodes, classes_of(pods, models_of(nodes)), policy, history=pods, seed=7, compiled=compiled)


def place_all(run: GpuScheduler, nodes: GpuNodes, pods: GpuPods) -> Iterator[Placed | None]:
    for pod_class in classes_of(pods, models_of(nodes)).of_pod.tolist():
        yield run.place(pod_class)


@each_policy
@settings(max_examples=40)
@given(nodes=node_lists, pods=pod_lists)
def test_kernels_and_their_numpy_twins_place_every_pod_alike(policy: GpuPolicy, nodes: GpuNodes, pods: GpuPods) -> None:
    compiled, plain = (scheduler(nodes, pods, policy, compiled=compiled) for compiled in (True, False))
    assert list(place_all(compiled, nodes, pods)) == list(place_all(plain, nodes, pods))
    for one, other in zip(compiled.state, plain.state, strict=True):
        assert np.array_equal(one, other)


@each_policy
@settings(max_examples=40)
@given(nodes=node_lists, pods=pod_lists)
def test_scores_kept_from_earlier_pods_are_those_that_a_fresh_scheduler_computes(
    policy: GpuPolicy, nodes: GpuNodes, pods: GpuPods
) -> None:
    if policy.random:
        return  # its draws go on, a fresh scheduler's begin anew
    run = scheduler(nodes, pods, policy)
    for pod_class in classes_of(pods, models_of(nodes)).of_pod.tolist():
        fresh = scheduler(nodes, pods, policy)
        for mine, theirs in zip(fresh.state, run.state, strict=True):
            mine[...] = theirs
        assert run.place(pod_class) == fresh.place(pod_class)


@each_policy
@settings(max_examples=40)
@given(nodes=node_lists, pods=pod_lists)
def test_pods_get_what_they_ask_for_and_are_dropped_only_where_they_fit_nowhere(
    policy: GpuPolicy, nodes: GpuNodes, pods: GpuPods
) -> None:
    run = scheduler(nodes, pods, policy)
    classes = classes_of(pods, models_of(nodes))
    for pod, pod_class in enumerate(classes.of_pod.tolist()):
        before = run.state._replace(**{field: getattr(run.state, field).copy() for field in run.state._fields})
        able = (before.gpu_free >= pods.gpu_milli[pod]).sum(axis=1) >= pods.num_gpu[pod]
        wanted = np.array(accepts(pods.gpu_spec[pod], models_of(nodes)))[before.model] | (pods.num_gpu[pod] == 0)
        fits = (before.cpu_free >= pods.cpu[pod]) & (before.memory_free >= pods.memory[pod]) & able & wanted
        placed = run.place(pod_class)
        assert (placed is not None) == fits.any()
        taken = before.gpu_free - run.state.gpu_free
        if placed is None:
            assert not taken.any()
            continue
        assert fits[placed.node]
        devices = [device for device in range(taken.shape[1]) if placed.devices >> device & 1]
        assert len(devices) == pods.num_gpu[pod]
        assert (taken[placed.node, devices] == pods.gpu_milli[pod]).all()
        assert taken.sum() == pods.total_milli()[pod]
        assert (before.cpu_free - run.state.cpu_free).sum() == pods.cpu[pod]
        assert all(column.min() >= 0 for column in run.state)


@each_policy
def test_the_same_seed_gives_the_same_placements(policy: GpuPolicy) -> None:
    nodes, pods = nodes_of(*[NodeOf()] * 6), pods_of(*[PodOf(milli=300), PodOf(num=2), PodOf(num=0, milli=0)] * 9)
    first, second = (list(place_all(scheduler(nodes, pods, policy), nodes, pods)) for _ in range(2))
    assert first == second


def test_a_random_policy_uses_every_node_that_fits() -> None:
    nodes, pods = nodes_of(*[NodeOf(gpus=8)] * 5), pods_of(*[PodOf(milli=10)] * 200)
    placed = [each for each in place_all(scheduler(nodes, pods, gpu_policy("Random")), nodes, pods) if each]
    assert {each.node for each in placed} == set(range(5))
    assert {each.devices for each in placed} == {1 << device for device in range(8)}


@pytest.mark.parametrize(
    ("given_name", "name"),
    [("fgd", "FGD"), ("BESTFIT", "BestFit"), ("DotProd", "DotProduct"), ("gpupacking", "GpuPacking")],
)
def test_a_policy_is_found_by_name_or_alias_in_any_case(given_name: str, name: str) -> None:
    assert gpu_policy(given_name).name == name


def test_a_policy_that_there_is_not_is_an_error_that_lists_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="'worstfit' is not known; accepted: FGD, BestFit, DotProduct"):
        gpu_policy("worstfit")


@given(st.lists(st.integers(0, 4), min_size=200, max_size=400))
@settings(max_examples=5)
def test_a_log_of_changes_that_is_full_begins_anew(choices: list[int]) -> None:
    pods = pods_of(*[PodOf(milli=milli, cpu=0, memory=0) for milli in (1, 2, 3, 4, 5)])
    nodes = nodes_of(NodeOf(gpus=8), NodeOf(gpus=1, model="B"))
    run, fresh = (scheduler(nodes, pods, gpu_policy("FGD")) for _ in range(2))
    for choice in choices:
        fresh._seen = [-len(nodes.names)] * len(pods.names)  # refreshes everything
        assert run.place(choice) == fresh.place(choice)
