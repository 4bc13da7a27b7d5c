"""What prod pods will not use at their peak, on every node, from the usage that earlier cycles saw.

Histories belong to workloads (`Deployment default/web`), and to bare pods by their name; the totals of a node are two
series more: what its prod pods use, and what is used beside pods. With the second tier come those of batch workloads, and
what a node uses without the tier's own pods.
"""

from typing import NamedTuple

import numpy as np

from neaptide.forecast.history import HistoryCheckpoint, HistorySettings, UsageHistory, restore_history
from neaptide.forecast.peaks import (
    Peaks,
    PeakSettings,
    PodPeaks,
    peaks_of,
    pod_reclaimable,
    priority_reclaimable,
    prod_reclaimable,
    warm,
    with_margin,
)
from neaptide.model.derived import NODES, OBJECTS, PODS
from neaptide.model.problems import FieldError
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.reclaim_formulas import BoolArray, FloatArray, IntArray
from neaptide.policies.reclaim_readings import Pods, Readings
from neaptide.policies.reclaim_tier import Tier, TierPods, tier_of, used_by_the_rest

_UNSEEN = -1


class PredictorSettings(NamedTuple):
    """When a prediction is trusted and what it takes for a peak; how fast history fades."""

    peaks: PeakSettings
    history: HistorySettings


class _Trained(NamedTuple):
    """A history with what follows from it."""

    checkpoint: HistoryCheckpoint
    history: UsageHistory
    settings: PredictorSettings
    peaks: Peaks


class Predictor:
    """Trains histories and reads peaks from them.

    All that counts is in the checkpoints, which come in and go out. The last one's histories are kept beside it, so that
    they need not be built again as long as cycle follows cycle.
    """

    def __init__(self) -> None:
        self._last: _Trained | None = None

    def train(
        self,
        checkpoint: HistoryCheckpoint | None,
        settings: PredictorSettings,
        snapshot: ClusterSnapshot,
        pods: Pods,
        readings: tuple[Readings, Readings],
        fresh: BoolArray,
        now: float,
        tier: TierPods | None = None,
    ) -> HistoryCheckpoint:
        """A history with what is used now, on nodes whose metric is `fresh` (by row); batch pods' too where there is a `tier`."""
        last = self._trained(checkpoint, settings)
        history = UsageHistory(settings.history) if last is None else last.history
        self._last = None  # its history changes now
        steady = np.flatnonzero(pods.steady & fresh[pods.node])
        _observe_pods(history, snapshot, pods, readings, steady, now)
        nodes = np.flatnonzero(fresh)
        used = [each.pod_used[steady] for each in readings]
        system = [each.nodes.system[nodes] for each in readings]
        prod = [_by_node(pods, steady, amount, len(fresh))[nodes] for amount in used]
        system_keys, prod_keys = _node_keys(snapshot, nodes)
        history.observe(history.rows(system_keys), system[0], system[1], now)
        history.observe(history.rows(prod_keys), prod[0], prod[1], now)
        if tier is not None:
            _observe_pods(history, snapshot, pods, readings, tier.batch[fresh[pods.node[tier.batch]]], now)
            rest = [used_by_the_rest(each, pods, tier.own)[nodes] for each in readings]
            history.observe(history.rows(_rest_keys(snapshot, nodes)), rest[0], rest[1], now)
        history.forget(now)
        trained = history.checkpoint()
        self._last = _Trained(trained, history, settings, peaks_of(history, settings.peaks))
        return trained

    def reclaimable(
        self,
        checkpoint: HistoryCheckpoint | None,
        settings: PredictorSettings,
        snapshot: ClusterSnapshot,
        pods: Pods,
        readings: tuple[Readings, Readings],
        now: float,
    ) -> tuple[IntArray, IntArray]:
        """CPU and memory that prod pods request and will not use, by node row; 0 where nothing is known."""
        last = self._trained(checkpoint, settings)
        nodes = snapshot.nodes.rows
        if last is None:
            return np.zeros(nodes, np.int64), np.zeros(nodes, np.int64)
        steady = np.flatnonzero(pods.steady)
        keys, number = _series(snapshot, pods.row[steady])
        of_pod = _rows(last.history, keys)[number]
        seen = _at(last.history.first_seen, of_pod), _at(last.history.last_seen, of_pod)
        trusted = warm(snapshot.pods.created[pods.row[steady]], *seen, now, settings.peaks)
        of_system, of_prod = (_rows(last.history, keys) for keys in _node_keys(snapshot, np.arange(nodes)))
        found = []
        for each, peaks in zip(readings, last.peaks, strict=True):
            margin = with_margin(peaks, settings.peaks)
            peak = np.where(trusted, _at(margin, of_pod), np.nan)
            by_pod = pod_reclaimable(PodPeaks(pods.node[steady], each.request[steady], peak), each.allocatable)
            together = with_margin(_at(peaks, of_system) + _at(peaks, of_prod), settings.peaks)
            requested = np.bincount(pods.node[steady], weights=each.request[steady], minlength=nodes).astype(np.int64)
            found.append(prod_reclaimable(by_pod, priority_reclaimable(requested, together, each.allocatable)))
        return found[0], found[1]

    def overcommittable(
        self,
        checkpoint: HistoryCheckpoint | None,
        settings: PredictorSettings,
        trust: PeakSettings,
        snapshot: ClusterSnapshot,
        pods: Pods,
        readings: tuple[Readings, Readings],
        tier: TierPods,
        now: float,
        watermark_percent: int,
    ) -> tuple[Tier, Tier] | None:
        """CPU and memory of the second tier, by node row; None before anything was learnt. `trust` says when a pod is no longer cold."""
        last = self._trained(checkpoint, settings)
        if last is None:
            return None
        keys, number = _series(snapshot, pods.row[tier.batch])
        of_pod = _rows(last.history, keys)[number]
        created = snapshot.pods.created[pods.row[tier.batch]]
        of_batch = _at(last.history.first_seen, of_pod), _at(last.history.last_seen, of_pod)
        trusted = warm(created, *of_batch, now, trust)
        of_rest = _rows(last.history, _rest_keys(snapshot, np.arange(snapshot.nodes.rows)))
        seen = now - _at(last.history.first_seen, of_rest) > trust.cold_start_seconds
        found = []
        for each, peaks, request in zip(readings, last.peaks, tier.request, strict=True):
            margin = with_margin(peaks, settings.peaks)
            batch = PodPeaks(pods.node[tier.batch], request, np.where(trusted, _at(margin, of_pod), np.nan))
            found.append(
                tier_of(each, batch, np.where(seen, _at(margin, of_rest), np.nan), watermark_percent=watermark_percent)
            )
        return found[0], found[1]

    def _trained(self, checkpoint: HistoryCheckpoint | None, settings: PredictorSettings) -> _Trained | None:
        """The history of a checkpoint; None where there is none, or other half-lives made it."""
        if checkpoint is None:
            return None
        last = self._last
        if last is None or last.checkpoint is not checkpoint or last.settings != settings:
            try:
                history = restore_history(checkpoint, settings.history)
            except FieldError:
                return None
            last = self._last = _Trained(checkpoint, history, settings, peaks_of(history, settings.peaks))
        return last


def _observe_pods(
    history: UsageHistory,
    snapshot: ClusterSnapshot,
    pods: Pods,
    readings: tuple[Readings, Readings],
    chosen: IntArray,
    now: float,
) -> None:
    """Add what some pods (positions in `pods`) use to the series of their workloads."""
    used = [each.pod_used[chosen] for each in readings]
    known = ~(np.isnan(used[0]) & np.isnan(used[1]))
    keys, number = _series(snapshot, pods.row[chosen[known]])
    history.observe(history.rows(keys)[number], used[0][known], used[1][known], now)


def _series(snapshot: ClusterSnapshot, pods: IntArray) -> tuple[list[str], IntArray]:
    """The series that pods (rows) add to, their workloads and the bare pods among them, and the number of each pod's."""
    every, number = snapshot.derived.of("usage series", (PODS, OBJECTS), lambda: _all_series(snapshot))
    mine = number[pods]
    marked = np.zeros(len(every), dtype=np.bool_)
    marked[mine] = True
    return [every[each] for each in np.flatnonzero(marked).tolist()], (np.cumsum(marked) - 1)[mine]


def _all_series(snapshot: ClusterSnapshot) -> tuple[list[str], IntArray]:
    """The series of all pods, and the number of each pod's by its row."""
    slots = snapshot.pods.rows
    owner, roots = snapshot.pods.owner[:slots], snapshot.workloads.roots()
    top = -1 - np.arange(slots, dtype=np.int64)
    top[owner >= 0] = roots[owner[owner >= 0]]
    marked = np.zeros(slots + len(roots), dtype=np.bool_)  # there are many pods, and sorting takes longer
    marked[top + slots] = True
    found, number = np.flatnonzero(marked) - slots, (np.cumsum(marked) - 1)[top + slots]
    refs, names = snapshot.workloads.refs, snapshot.pods.keys
    return [str(refs[each]) if each >= 0 else f"Pod {names[-1 - each]}" for each in found.tolist()], number


def _node_keys(snapshot: ClusterSnapshot, nodes: IntArray) -> tuple[list[str], list[str]]:
    """The series of what is used beside pods on each node (rows), and of what its prod pods use."""
    every = snapshot.derived.of(
        "node series",
        (NODES,),
        lambda: [[f"node/{name}/{what}" for name in snapshot.nodes.names] for what in ("system", "prod")],
    )
    system, prod = ([names[node] for node in nodes.tolist()] for names in every)
    return system, prod


def _rest_keys(snapshot: ClusterSnapshot, nodes: IntArray) -> list[str]:
    """The series of what each node (rows) uses without the pods of the second tier."""
    return [f"node/{snapshot.nodes.names[node]}/rest" for node in nodes.tolist()]


def _rows(history: UsageHistory, keys: list[str]) -> IntArray:
    """The row of each series, `_UNSEEN` where there is none."""
    return np.array([history.keys.get(key, _UNSEEN) for key in keys], dtype=np.int64)


def _by_node(pods: Pods, chosen: IntArray, amount: FloatArray, nodes: int) -> FloatArray:
    return np.bincount(pods.node[chosen], weights=np.nan_to_num(amount, nan=0.0), minlength=nodes).astype(np.float64)


def _at(values: FloatArray, rows: IntArray) -> FloatArray:
    """Values at rows, nan at `_UNSEEN`."""
    return np.append(values, np.nan)[rows]
