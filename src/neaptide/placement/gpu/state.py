"""What GPU placement works on: nodes and pods as columns, the free resources of nodes, and pods grouped into classes.

A device is divisible in thousandths (milli). A pod asks for `num_gpu` devices with `gpu_milli` free on each, 1000 being a whole one,
and may name the models it accepts: `V100M16|V100M32`, or nothing for any.
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Scores = npt.NDArray[np.int16]
Bools = npt.NDArray[np.bool_]

WHOLE = 1000  # milli of one device
MOST_DEVICES = 62  # of a node: a set of devices is the bits of one int64
LARGEST_CPU, LARGEST_GPU = (
    128_000,
    8_000,
)  # milli of the largest machine, to which published policies relate CPU and GPU

# The columns of a class's request.
CPU, MEMORY, NUM, MILLI = range(4)


class GpuNodes(NamedTuple):
    """Nodes as they are when empty: milli-CPU, bytes, number of devices, and their model (empty where there is none)."""

    names: list[str]
    cpu: Ints
    memory: Ints
    gpu_count: Ints
    model: list[str]

    def gpu_milli(self) -> int:
        """The GPU capacity of all nodes."""
        return int(self.gpu_count.sum()) * WHOLE


class GpuPods(NamedTuple):
    """Pods' requests: milli-CPU, bytes, number of devices, milli on each of them, accepted models joined by `|`."""

    names: list[str]
    cpu: Ints
    memory: Ints
    num_gpu: Ints
    gpu_milli: Ints
    gpu_spec: list[str]

    def total_milli(self) -> Ints:
        """GPU milli that each pod asks for, over all its devices."""
        return self.num_gpu * self.gpu_milli


class NodeState(NamedTuple):
    """Free resources, changed in place by `take`. Kernels take these arrays one by one, in this order.

    Attributes:
        cpu_free: [nodes] milli-CPU.
        memory_free: [nodes] bytes.
        gpu_free: [nodes, most devices of any node] milli; 0 where a node has no such device.
        gpu_count: [nodes] devices.
        model: [nodes] index of the model.
        kinds: [nodes, devices + 1] pods that hold a share of one device (column 0), or k whole devices (column k).
    """

    cpu_free: Ints
    memory_free: Ints
    gpu_free: Ints
    gpu_count: Ints
    model: Ints
    kinds: Ints


class PodClasses(NamedTuple):
    """Pods with equal requests are one class.

    Attributes:
        of_pod: [pods] the class of each pod.
        request: [classes, 4] CPU, MEMORY, NUM, MILLI.
        allowed: [classes, models] whether the pod accepts the model.
    """

    of_pod: Ints
    request: Ints
    allowed: Bools


def empty_state(nodes: GpuNodes, models: list[str]) -> NodeState:
    """The state of `nodes` with nothing on them; `models` gives every model its index."""
    devices = max(1, int(nodes.gpu_count.max(initial=0)))
    index = {model: number for number, model in enumerate(models)}
    return NodeState(
        cpu_free=nodes.cpu.astype(np.int64),
        memory_free=nodes.memory.astype(np.int64),
        gpu_free=np.where(np.arange(devices) < nodes.gpu_count[:, None], WHOLE, 0).astype(np.int64),
        gpu_count=nodes.gpu_count.astype(np.int64),
        model=np.array([index[model] for model in nodes.model], dtype=np.int64),
        kinds=np.zeros((len(nodes.names), devices + 1), dtype=np.int64),
    )


def models_of(nodes: GpuNodes) -> list[str]:
    """The models of `nodes`, sorted; a model's place in the list is its index."""
    return sorted(set(nodes.model))


def devices_of(nodes: GpuNodes, models: list[str]) -> dict[str, int]:
    """How many devices there are of each of `models`."""
    devices = dict.fromkeys(models, 0)
    for model, count in zip(nodes.model, nodes.gpu_count.tolist(), strict=True):
        devices[model] += count
    return devices


def accepts(spec: str, models: Collection[str]) -> list[bool]:
    """Which of `models` a pod with this `gpu_spec` accepts; an empty one accepts all."""
    wanted = {name for name in spec.split("|") if name}
    return [not wanted or model in wanted for model in models]


def classes_of(pods: GpuPods, models: list[str]) -> PodClasses:
    """Group pods by all that placement looks at."""
    specs = sorted(set(pods.gpu_spec))
    index = {spec: number for number, spec in enumerate(specs)}
    spec = np.array([index[text] for text in pods.gpu_spec], dtype=np.int64)
    columns = np.stack([pods.cpu, pods.memory, pods.num_gpu, pods.gpu_milli, spec], axis=1)
    unique, of_pod = np.unique(columns, axis=0, return_inverse=True)
    allowed = np.array([accepts(text, models) for text in specs], dtype=np.bool_).reshape(len(specs), len(models))
    return PodClasses(of_pod.reshape(-1), np.ascontiguousarray(unique[:, :4]), allowed[unique[:, 4]])
