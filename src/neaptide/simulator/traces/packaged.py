"""Real data that the package ships, in the types that the loaders give; data/SOURCE.md says where it is from.

The tables are JSON columns: what repeats is named once (`shapes`; each row says which), and times are differences.
`neaptide.simulator.data.derive` makes them from the public files.
"""

import math
from functools import cache
from importlib.resources import files

import msgspec
import numpy as np

from neaptide.placement.gpu.state import GpuNodes, GpuPods
from neaptide.simulator.traces.openb import Openb
from neaptide.simulator.traces.series import Series, make_series

OPENB_FILE = "openb.json"
SERIES_FILE = "cpu_series.json"
MIB = 2**20


class PackedSeries(msgspec.Struct, frozen=True):
    """Samples without a gap."""

    name: str
    start: float  # seconds since the epoch
    step: float
    values: list[float]


class PackedNodes(msgspec.Struct, frozen=True):
    shapes: list[tuple[int, int, int, str]]  # milli-CPU, MiB, devices, model
    shape: list[int]


class PackedPods(msgspec.Struct, frozen=True):
    shapes: list[tuple[int, int, int, int, str, str, str]]  # milli-CPU, MiB, devices, milli of each, models, QoS, phase
    shape: list[int]
    created: list[int]  # seconds after the pod before
    waited: list[int | None]  # seconds from creation to scheduling, null where it never was scheduled
    lived: list[int]  # seconds from creation to deletion


class PackedOpenb(msgspec.Struct, frozen=True):
    nodes: PackedNodes
    pods: PackedPods


@cache
def cpu_series() -> dict[str, Series]:
    """Use of real services over time, by name; one copy for all, which nobody can change.

    `nyc_taxi` is demand with a daily and a weekly tide (30-minute counts, seven months), the others are CPU utilisation
    in percent (5 minutes; two months of an autoscaled group, two weeks of a mostly idle machine).
    """
    found = {}
    for packed in msgspec.json.decode(_read(SERIES_FILE), type=list[PackedSeries]):
        times = packed.start + packed.step * np.arange(len(packed.values))
        found[packed.name], _ = make_series(packed.name, times, packed.values)
        for column in (found[packed.name].times, found[packed.name].values):
            column.flags.writeable = False
    return found


def openb() -> Openb:
    """The default workload of the openb trace and the nodes with GPU, as `load_openb` gives them."""
    packed = _openb()
    pods = packed.pods
    cpu, memory, num_gpu, gpu_milli, spec, qos, phase = zip(*(pods.shapes[shape] for shape in pods.shape), strict=True)
    created = np.cumsum(np.array(pods.created, np.float64))
    return Openb(
        nodes=_nodes([shape for shape in _node_shapes(packed.nodes) if shape[2]]),
        pods=GpuPods(
            names=[f"openb-pod-{number:04d}" for number in range(len(cpu))],
            cpu=np.array(cpu, np.int64),
            memory=np.array(memory, np.int64) * MIB,
            num_gpu=np.array(num_gpu, np.int64),
            gpu_milli=np.array(gpu_milli, np.int64),
            gpu_spec=list(spec),
        ),
        qos=list(qos),
        phase=list(phase),
        created=created,
        scheduled=created + np.array([math.nan if wait is None else wait for wait in pods.waited]),
        deleted=created + np.array(pods.lived, np.float64),
        bad=[],
    )


def openb_nodes() -> GpuNodes:
    """All nodes of the openb trace, those without GPU among them."""
    return _nodes(_node_shapes(_openb().nodes))


def _openb() -> PackedOpenb:
    return msgspec.json.decode(_read(OPENB_FILE), type=PackedOpenb)


def _node_shapes(packed: PackedNodes) -> list[tuple[int, int, int, str]]:
    return [packed.shapes[shape] for shape in packed.shape]


def _nodes(shapes: list[tuple[int, int, int, str]]) -> GpuNodes:
    return GpuNodes(
        names=[f"openb-node-{number:04d}" for number in range(len(shapes))],
        cpu=np.array([cpu for cpu, *_ in shapes], np.int64),
        memory=np.array([memory for _, memory, *_ in shapes], np.int64) * MIB,
        gpu_count=np.array([devices for *_, devices, _ in shapes], np.int64),
        model=[model for *_, model in shapes],
    )


def _read(name: str) -> bytes:
    return (files("neaptide.simulator.data") / name).read_bytes()
