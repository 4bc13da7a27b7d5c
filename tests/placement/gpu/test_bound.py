"""The upper bound on what can be allocated."""

import numpy as np
import pytest
from hypothesis import given, settings
from tests.placement.gpu.scenes import NodeOf, PodOf, node_lists, nodes_of, pod_lists, pods_of

from neaptide.placement.gpu.bound import upper_bound
from neaptide.placement.gpu.policies import GPU_POLICIES
from neaptide.placement.gpu.scheduler import GpuScheduler
from neaptide.placement.gpu.state import GpuNodes, GpuPods, classes_of, models_of

CASES = {
    "all that is there": (NodeOf(gpus=2), [PodOf()] * 3, 100.0),
    "no more than is asked for": (NodeOf(gpus=4), [PodOf()] * 3, 75.0),
    "two large shares need two devices": (NodeOf(gpus=2), [PodOf(milli=600)] * 4, 60.0),
    "a model that no node has": (NodeOf(gpus=2), [PodOf(spec="Z")] * 4, 0.0),
    "more devices than a node has": (NodeOf(gpus=2), [PodOf(num=4)] * 4, 0.0),
    "CPU for one pod only": (NodeOf(cpu=10_000, gpus=2), [PodOf(cpu=6_000)] * 4, 50.0),
    "memory for one pod only": (NodeOf(memory=3, gpus=2), [PodOf(memory=2)] * 4, 50.0),
    "no pod that asks for GPU": (NodeOf(), [PodOf(num=0, milli=0)], 0.0),
}


@pytest.mark.parametrize(("node", "pods", "percent"), CASES.values(), ids=CASES)
def test_the_bound_of_a_few_pods_on_alike_nodes(node: NodeOf, pods: list[PodOf], percent: float) -> None:
    assert upper_bound(nodes_of(node), pods_of(*pods), np.arange(len(pods))) == pytest.approx(percent)
    assert upper_bound(nodes_of(node, node), pods_of(*pods * 2), np.arange(2 * len(pods))) == pytest.approx(percent)


def test_a_placement_that_takes_whatever_fits_cannot_leave_out_the_smaller_for_the_larger() -> None:
    node, large, small = NodeOf(gpus=1), PodOf(), PodOf(milli=600)
    nodes, pods = nodes_of(*[node] * 10), pods_of(*[small, large] * 10)
    assert upper_bound(nodes, pods, np.arange(20)) == pytest.approx(100)
    # Small ones came first, one each time: with five of them gone, at most five large ones were before the sixth.
    assert upper_bound(nodes, pods, np.arange(20), choosy=False) == pytest.approx(80)


@settings(max_examples=40)
@given(nodes=node_lists, pods=pod_lists)
def test_no_policy_allocates_more_than_the_bound(nodes: GpuNodes, pods: GpuPods) -> None:
    come = np.arange(len(pods.names))
    bound = min(upper_bound(nodes, pods, come), upper_bound(nodes, pods, come, choosy=False))
    classes = classes_of(pods, models_of(nodes))
    for policy in GPU_POLICIES:
        run = GpuScheduler(nodes, classes, policy, history=pods, seed=1, compiled=False)
        for pod_class in classes.of_pod.tolist():
            run.place(pod_class)
        assert 100 * (1 - run.state.gpu_free.sum() / nodes.gpu_milli()) <= bound + 1e-6


def test_nodes_without_gpu_have_no_bound() -> None:
    with pytest.raises(ValueError, match="the nodes have no GPU"):
        upper_bound(nodes_of(NodeOf(gpus=0, model="")), pods_of(PodOf()), np.arange(1))
