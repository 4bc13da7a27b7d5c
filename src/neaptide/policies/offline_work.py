"""The workloads that time windows are about, as a snapshot shows them, and the load of everything else."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from neaptide.model.actions import Ref
from neaptide.model.columns import FAILED, PENDING, RUNNING, SUCCEEDED
from neaptide.model.derived import CLASSES, OBJECTS, PODS
from neaptide.model.objects import PriorityClass, TemplateSpec, Workload
from neaptide.model.problems import FieldError
from neaptide.model.qos import Band, QoS, band_of, explicit_qos
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import seconds
from neaptide.model.vocabulary import CPU, MEMORY
from neaptide.model.workloads import is_anothers, is_finished, is_suspended
from neaptide.policies.time_windows_spec import Valley

HOLD = "neaptide.io/hold"
"""Annotation of a workload that is neither suspended nor resumed: `true`."""


BANDS = tuple(Band)


class Standing(NamedTuple):
    """What a workload's pods are, or would be, as far as it is known.

    Attributes:
        labels: of the workload and its pods.
        band, priority: of its pods; prod and 0 unless something says otherwise.
        seen: whether there are pods, or a template of them.
    """

    labels: dict[str, str]
    band: Band
    priority: int
    seen: bool


class Work(NamedTuple):
    """A workload that may be suspended.

    Attributes:
        ref: its name.
        owner: the name of the workload at the top of its owner chain, empty where that is itself.
        row: of the snapshot's workloads.
        created: when, nan where unknown.
        suspended: whether it is.
        standing: of its pods.
        running, pending: how many of its pods run, and do not run yet.
        first_start, last_start: of the pods that run, nan where none does.
    """

    ref: Ref
    owner: str
    row: int
    created: float
    suspended: bool
    standing: Standing
    running: int
    pending: int
    first_start: float
    last_start: float


class Census(NamedTuple):
    """All work of some kinds, in the order of the snapshot's workloads, and whose the pods are.

    Attributes:
        work: see Work.
        pods: rows of the pods that have not finished, ordered by `unit`.
        unit: of each of them, the row of the work that it belongs to; -1 for none.
    """

    work: list[Work]
    pods: NDArray[np.int64]
    unit: NDArray[np.int64]

    def pods_of(self, row: int) -> list[int]:
        """Rows of the pods of a workload."""
        first, last = np.searchsorted(self.unit, (row, row + 1)).tolist()
        found: list[int] = self.pods[first:last].tolist()
        return found


def census(snapshot: ClusterSnapshot, kinds: frozenset[str]) -> Census:
    """The workloads of these kinds that have not finished and are not to be left as they are; to be read only."""
    return snapshot.derived.of(("census", kinds), (PODS, OBJECTS), lambda: _census(snapshot, kinds))


def _census(snapshot: ClusterSnapshot, kinds: frozenset[str]) -> Census:
    items = {
        row: item
        for row, item in enumerate(snapshot.workloads.objects)
        if item is not None and item.kind in kinds and not is_finished(item) and not _is_held(item)
    }
    pods, unit = _pods_by_unit(snapshot, list(items))
    table, size = snapshot.pods, len(snapshot.workloads.refs)
    staying = (unit >= 0) & np.isnan(table.deleted[pods])
    phase = table.phase[pods]
    runs, waits = staying & (phase == RUNNING), staying & (phase == PENDING)
    running, pending = np.bincount(unit[runs], minlength=size), np.bincount(unit[waits], minlength=size)
    first, last = np.full(size, np.nan), np.full(size, np.nan)
    np.fmin.at(first, unit[runs], table.started[pods[runs]])
    np.fmax.at(last, unit[runs], table.started[pods[runs]])
    sample = np.full(size, -1)
    sample[unit[unit >= 0]] = pods[unit >= 0]
    rows = list(items)
    columns = (each[rows].tolist() for each in (sample, running, pending, first, last))
    work = [
        Work(
            snapshot.workloads.refs[row],
            _owner(snapshot, row),
            row,
            _created(item),
            is_suspended(item),
            _standing(snapshot, item, pod),
            *numbers,
        )
        for (row, item), pod, *numbers in zip(items.items(), *columns, strict=True)
    ]
    return Census(work, pods, unit)


class Selects(Protocol):
    """What a rule says of the workloads that it is about."""

    @property
    def kinds(self) -> Collection[str]: ...
    @property
    def namespaces(self) -> Collection[str]: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def bands(self) -> Collection[str]: ...


def selects(selector: Selects, ref: Ref, standing: Standing) -> bool:
    """Whether a rule is about a workload."""
    if ref.kind not in selector.kinds or (selector.namespaces and ref.namespace not in selector.namespaces):
        return False
    if any(standing.labels.get(key) != value for key, value in selector.labels.items()):
        return False
    if selector.bands:
        return standing.band.name.lower() in selector.bands
    return bool(selector.namespaces or selector.labels) or is_offline(standing)


def is_offline(standing: Standing) -> bool:
    """Whether pods give way to services: band batch or free, or labelled BE."""
    return standing.band <= Band.BATCH or explicit_qos(standing.labels) is QoS.BE


def load(snapshot: ClusterSnapshot, valley: Valley, offline: NDArray[np.bool_], now: float) -> float:
    """What all but offline pods use, over the allocatable of ready nodes; nan where no node is ready.

    A pod without a metric, without a node, or on a node whose metric is old counts at its request.

    Args:
        snapshot: the cluster.
        valley: which resource, and how old a metric may be.
        offline: by row of the snapshot's pods, which ones are left out.
        now: seconds since the epoch.
    """
    row, used = (CPU, snapshot.pods.usage_cpu) if valley.resource == "cpu" else (MEMORY, snapshot.pods.usage_memory)
    nodes, table = snapshot.nodes, snapshot.pods
    pods = table.indices()
    phase = table.phase[pods]
    pods = pods[~offline[pods] & (phase != SUCCEEDED) & (phase != FAILED)]
    fresh = np.append(
        nodes.ready[: nodes.rows] & (now - nodes.usage_time[: nodes.rows] <= valley.metric_age_seconds), False
    )
    measured = fresh[np.maximum(table.node[pods], -1)] & ~np.isnan(used[pods])
    request = snapshot.shapes.request[row, snapshot.classes.shape[table.cls[pods]]]
    taken = float(np.where(measured, used[pods], request).sum())
    room = float(nodes.allocatable[row, : nodes.rows][nodes.ready[: nodes.rows]].sum())
    return taken / room if room > 0 else np.nan


def offline_pods(snapshot: ClusterSnapshot, found: Census, chosen: Sequence[int]) -> NDArray[np.bool_]:
    """By row of the snapshot's pods: those of the chosen workloads (rows), and all that give way to services."""
    table, classes = snapshot.pods, snapshot.classes
    labelled = snapshot.derived.of("classes labelled BE", (CLASSES,), lambda: _labelled_be(snapshot))
    offline = table.band[: table.rows] <= Band.BATCH
    if classes.rows:
        offline |= labelled[table.cls[: table.rows]]
    managed = np.zeros(len(snapshot.workloads.refs) + 1, dtype=np.bool_)
    managed[list(chosen)] = True
    offline[found.pods[managed[found.unit]]] = True
    return offline


def _labelled_be(snapshot: ClusterSnapshot) -> NDArray[np.bool_]:
    """By class of pods (row)."""
    labels = snapshot.classes.labels[: snapshot.classes.rows].tolist()
    return np.array([explicit_qos(snapshot.label_sets.values[each]) is QoS.BE for each in labels], dtype=np.bool_)


def _pods_by_unit(snapshot: ClusterSnapshot, rows: list[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pods that have not finished, and which of the workloads at `rows` is above each, ordered by it."""
    parent = snapshot.workloads.columns.parent[: len(snapshot.workloads.refs)]
    chosen = np.zeros(len(parent) + 1, dtype=np.bool_)
    chosen[rows] = True
    unit = np.append(np.arange(len(parent)), -1)  # the last stands for pods without an owner
    climbing = ~chosen[unit] & (unit >= 0)
    while climbing.any():
        unit[climbing] = parent[unit[climbing]]
        climbing = ~chosen[unit] & (unit >= 0)
    table = snapshot.pods
    pods = table.indices()
    phase = table.phase[pods]
    pods = pods[(phase != SUCCEEDED) & (phase != FAILED)]
    of_pod = unit[table.owner[pods]]
    order = np.argsort(of_pod, kind="stable")
    return pods[order], of_pod[order]


def _standing(snapshot: ClusterSnapshot, item: Workload, pod: int) -> Standing:
    """What one of its pods shows, else its template, else its own labels."""
    labels = item.metadata.labels
    if pod >= 0:
        table = snapshot.pods
        return Standing(labels | snapshot.pod_labels(pod), BANDS[table.band[pod]], int(table.priority[pod]), seen=True)
    template = item.spec.template
    if template is None:
        return Standing(labels, band_of(labels, 0), 0, seen=False)
    labels = labels | template.metadata.labels
    priority = _priority(snapshot, template.spec)
    return Standing(labels, band_of(labels, priority), priority, seen=True)


def _priority(snapshot: ClusterSnapshot, spec: TemplateSpec) -> int:
    if spec.priority is not None:
        return spec.priority
    classes: dict[str, PriorityClass] = snapshot.others.get("PriorityClass", {})
    named = classes.get(spec.priority_class_name)
    return 0 if named is None else named.value


def _owner(snapshot: ClusterSnapshot, row: int) -> str:
    root = snapshot.workloads.root(row)
    return "" if root == row else str(snapshot.workloads.refs[root])


def _is_held(item: Workload) -> bool:
    return item.metadata.annotations.get(HOLD) == "true" or is_anothers(item)


def _created(item: Workload) -> float:
    try:
        return seconds(item.metadata.creation_timestamp)
    except FieldError:
        return np.nan
