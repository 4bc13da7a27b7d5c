"""Small clusters and workloads with GPUs, by hand and by hypothesis."""

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from neaptide.placement.gpu.state import GpuNodes, GpuPods

MODELS = ("A", "B", "C")


class NodeOf(NamedTuple):
    cpu: int = 64_000
    gpus: int = 4
    model: str = "A"
    memory: int = 64


class PodOf(NamedTuple):
    cpu: int = 1_000
    num: int = 1
    milli: int = 1000
    spec: str = ""
    memory: int = 1


def nodes_of(*nodes: NodeOf) -> GpuNodes:
    return GpuNodes(
        names=[f"node-{number}" for number in range(len(nodes))],
        cpu=np.array([node.cpu for node in nodes], np.int64),
        memory=np.array([node.memory for node in nodes], np.int64),
        gpu_count=np.array([node.gpus for node in nodes], np.int64),
        model=[node.model for node in nodes],
    )


def pods_of(*pods: PodOf) -> GpuPods:
    return GpuPods(
        names=[f"pod-{number}" for number in range(len(pods))],
        cpu=np.array([pod.cpu for pod in pods], np.int64),
        memory=np.array([pod.memory for pod in pods], np.int64),
        num_gpu=np.array([pod.num for pod in pods], np.int64),
        gpu_milli=np.array([pod.milli for pod in pods], np.int64),
        gpu_spec=[pod.spec for pod in pods],
    )


some_node = st.builds(
    NodeOf,
    cpu=st.sampled_from([0, 8_000, 32_000, 96_000]),
    gpus=st.integers(1, 8),
    model=st.sampled_from(MODELS),
    memory=st.integers(0, 12),
)
cpu_of_pods = st.sampled_from([0, 1_000, 7_000])
memory_of_pods = st.integers(0, 2)
some_spec = st.sampled_from(["", "A", "A|B", "C", "Z"])
some_pod = st.one_of(
    st.builds(PodOf, cpu_of_pods, st.just(0), st.just(0), st.just(""), memory_of_pods),
    st.builds(
        PodOf, cpu_of_pods, st.just(1), st.sampled_from([1, 190, 230, 500, 810, 1000]), some_spec, memory_of_pods
    ),
    st.builds(PodOf, cpu_of_pods, st.integers(2, 8), st.sampled_from([400, 1000]), some_spec, memory_of_pods),
)
node_lists = st.lists(some_node, min_size=1, max_size=8).map(lambda nodes: nodes_of(*nodes))
pod_lists = st.lists(some_pod, min_size=1, max_size=40).map(lambda pods: pods_of(*pods))
