"""How much of a node is used, by what was measured and by estimates of what a measurement cannot show yet.

A pod is not in its node's measurement yet if it was not measured itself, has not started, or started after the measurement less
the interval of reports. It counts at its estimate, or at its usage where that is more. Source: koordinator,
pkg/scheduler/plugins/loadaware.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from msgspec import Struct

from neaptide.model.columns import Bools, Floats, Longs
from neaptide.model.derived import CLASSES
from neaptide.model.node_info import Percentiles
from neaptide.model.qos import Band
from neaptide.model.shapes import Shape
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.vocabulary import CPU, MEMORY
from neaptide.placement.node_infos import NodeInfos
from neaptide.placement.sums import Amounts, PodSums
from neaptide.placement.view import Pod, View

RESOURCES = ("cpu", "memory")
_NAMES = (
    (CPU, ("cpu", "kubernetes.io/batch-cpu", "kubernetes.io/mid-cpu", "neaptide.io/ot-cpu")),
    (MEMORY, ("memory", "kubernetes.io/batch-memory", "kubernetes.io/mid-memory", "neaptide.io/ot-memory")),
)
_UNNAMED = (250, 200 << 20)
"""What a pod counts that names neither request nor limit: milli-CPU, bytes."""

_NONE = Percentiles()
_MANY = 4096
"""From so many pods on, all shapes are estimated and the estimates kept."""


class ScalingFactors(Struct, frozen=True, forbid_unknown_fields=True):
    """Which part of its request, in percent, a pod is estimated to use."""

    cpu: int = 85
    memory: int = 70

    def __post_init__(self) -> None:
        if not (0 < self.cpu <= 100 and 0 < self.memory <= 100):
            raise ValueError("scaling factors must be in 1..100")


class Estimation(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Settings of the estimates.

    Attributes:
        scaling_factors: see the class.
        report_interval_seconds: how far apart measurements are.
        node_metric_expiration_seconds: how old a measurement may be.
    """

    scaling_factors: ScalingFactors = ScalingFactors()
    report_interval_seconds: float = 60.0
    node_metric_expiration_seconds: float = 180.0


class Aggregated(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Which percentile of a node's usage, over which window, stands in for its usage where it is known."""

    usage_aggregation_type: str = "p95"
    usage_aggregated_duration: str = "5m"


def estimate(shape: Shape, factors: ScalingFactors) -> tuple[int, int]:
    """What a pod is estimated to use: milli-CPU and bytes."""
    found = []
    for row, names in _NAMES:
        name = next((each for each in names if shape.requests.get(each) or shape.limits.get(each)), "")
        limit = shape.limits.get(name, 0)
        largest = max(shape.requests.get(name, 0), limit)
        factor = factors.cpu if row == CPU else factors.memory
        estimated = (largest * factor + 50) // 100 if largest else _UNNAMED[row]
        found.append(min(estimated, limit) if limit else estimated)
    return found[0], found[1]


class Measured(Protocol):
    """What use is reckoned from: a View, or less."""

    @property
    def snapshot(self) -> ClusterSnapshot: ...
    @property
    def sums(self) -> PodSums: ...
    @property
    def infos(self) -> NodeInfos: ...


def used(view: Measured, estimation: Estimation, *, prod: bool = False, aggregated: Aggregated | None = None) -> Floats:
    """float64[2, node rows]: milli-CPU and bytes in use, with the estimates; nan where a node was not measured.

    Args:
        view: the cluster.
        estimation: settings.
        prod: whether only the pods of band prod are counted.
        aggregated: the percentile that stands for the usage of nodes.
    """
    sums = view.sums.of(("LoadAware", estimation), _amounts(view.snapshot, estimation))
    rows = view.snapshot.nodes.rows
    measured = np.array([view.snapshot.nodes.usage_cpu[:rows], view.snapshot.nodes.usage_memory[:rows]])
    if prod:
        return np.where(np.isnan(measured), np.nan, sums[2:])
    if aggregated is not None:
        known = _percentiles(view, aggregated)
        measured = np.where(np.isnan(known), measured, known)
    return measured + sums[:2]


def expired(view: View, estimation: Estimation) -> Bools:
    """bool[node rows]: nodes whose measurement is too old. Those that were never measured are not among them."""
    old: Bools = view.now - view.snapshot.nodes.usage_time[: view.snapshot.nodes.rows] > (
        estimation.node_metric_expiration_seconds
    )
    return old


def incoming(view: View, pod: Pod, estimation: Estimation) -> Floats:
    """float64[2, 1]: what a pod that is to be placed is estimated to use."""
    shape = view.snapshot.shape_facts.values[pod.cls.shape]
    return np.array(estimate(shape, estimation.scaling_factors), dtype=np.float64)[:, None]


def is_prod(view: View, pod: Pod) -> bool:
    """Whether a pod is of band prod; one of which only the class is known is taken for it."""
    return pod.row < 0 or view.snapshot.pods.band[pod.row] == Band.PROD


def _amounts(snapshot: ClusterSnapshot, estimation: Estimation) -> Amounts:
    """[4, pods]: what measurements of nodes lack of each pod, and what each pod of band prod uses."""

    def amounts(pods: Longs) -> Floats:
        table = snapshot.pods
        estimated = _estimates(snapshot, pods, estimation.scaling_factors)
        usage = np.array([table.usage_cpu[pods], table.usage_memory[pods]])
        measured = np.nan_to_num(usage)
        reported = snapshot.nodes.usage_time[table.node[pods]] - estimation.report_interval_seconds
        visible = ~np.isnan(usage).any(axis=0) & (table.started[pods] <= reported)
        counted = np.where(visible, measured, np.maximum(estimated, measured))
        return np.concatenate([counted - measured, np.where(table.band[pods] == Band.PROD, counted, 0.0)])

    return amounts


def _estimates(snapshot: ClusterSnapshot, pods: Longs, factors: ScalingFactors) -> Floats:
    """[2, pods]: of each, by its shape."""
    of_pod = snapshot.classes.shape[snapshot.pods.cls[pods]]
    if len(pods) > _MANY:
        return snapshot.derived.of(
            ("estimates", factors), (CLASSES,), lambda: _by_shape(snapshot, range(snapshot.shapes.rows), factors)
        )[:, of_pod]
    shapes, which = np.unique(of_pod, return_inverse=True)
    return _by_shape(snapshot, shapes.tolist(), factors)[:, which]


def _by_shape(snapshot: ClusterSnapshot, shapes: Sequence[int], factors: ScalingFactors) -> Floats:
    found = [estimate(snapshot.shape_facts.values[shape], factors) for shape in shapes]
    return np.array(found, dtype=np.float64).reshape(len(found), 2).T


def _percentiles(view: Measured, aggregated: Aggregated) -> Floats:
    """float64[2, node rows]: nan where they are not known."""
    window, name = aggregated.usage_aggregated_duration, aggregated.usage_aggregation_type
    return np.array(
        [
            view.infos.of((window, name, "cpu"), lambda info: info.percentiles.get(window, _NONE).cpu.get(name)),
            view.infos.of((window, name, "memory"), lambda info: info.percentiles.get(window, _NONE).memory.get(name)),
        ]
    )
