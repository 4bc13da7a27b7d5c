"""The peak predictor: how much of what prod pods request they will not use. One resource a call, all nodes at once.

Two methods, of which the smaller result holds. The pod method sums what each pod leaves over; it knows nothing of a pod
in its cold start. The priority method takes a node's prod pods as one series, and system usage as another. Source:
koordinator pkg/koordlet/prediction/peak_predictor.go, after "Take it to the limit: peak prediction-driven resource
overcommitment in datacenters" (EuroSys 2021).

A peak that is nan is unknown: such a pod gives nothing, and counts at its request where its use is asked for.
"""

from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from neaptide.forecast.histograms import FloatArray, IntArray
from neaptide.forecast.history import UsageHistory

BoolArray = NDArray[np.bool_]


class PeakSettings(Struct, frozen=True):
    """When a prediction may be trusted, which percentile is a peak, and how much is added to it."""

    cold_start_seconds: float = 24 * 3600.0
    safety_margin_percent: int = 10
    cpu_percentile: float = 0.95
    memory_percentile: float = 0.98
    expiry_seconds: float = 1800.0


class Peaks(NamedTuple):
    """Predicted peaks by row of a history, without the margin; nan where a series is empty."""

    cpu_milli: FloatArray
    memory_bytes: FloatArray


class PodPeaks(NamedTuple):
    """Pods that run, are not terminating and belong to the class asked about: one row a pod.

    `peak` has the margin; it is nan where nothing is predicted or the pod is in its cold start (`with_margin`, `warm`).
    """

    node: IntArray
    request: IntArray
    peak: FloatArray


def peaks_of(history: UsageHistory, settings: PeakSettings) -> Peaks:
    return Peaks(history.cpu.percentile(settings.cpu_percentile), history.memory.percentile(settings.memory_percentile))


def warm(
    pod_created: FloatArray, first_seen: FloatArray, last_seen: FloatArray, now: float, settings: PeakSettings
) -> BoolArray:
    """Which pods are past their cold start: the pod is old enough, and so is its workload's history, which goes on.

    Both are asked for: a young pod of an old workload may run a new version, and an old pod whose history was lost has
    no past to predict from; of a workload that was not measured for `expiry_seconds` nobody knows what it uses by now. nan counts as cold.
    """
    lasts = now - last_seen <= settings.expiry_seconds
    return lasts & (now - pod_created > settings.cold_start_seconds) & (now - first_seen > settings.cold_start_seconds)


def with_margin(predicted: FloatArray, settings: PeakSettings) -> FloatArray:
    """Whole milli-CPU or bytes, the margin added; nan stays nan."""
    return np.floor(np.floor(predicted) * (100 + settings.safety_margin_percent) / 100)


def pod_reclaimable(pods: PodPeaks, allocatable: IntArray) -> IntArray:
    """Per node the sum of what each pod requests above its peak, at most what the known peaks leave of the node."""
    known = ~np.isnan(pods.peak)
    node, peak = pods.node[known], pods.peak[known]
    spare = _by_node(node, np.maximum(pods.request[known] - peak, 0), allocatable)
    room: IntArray = np.maximum(allocatable - _by_node(node, peak, allocatable), 0)
    return np.minimum(spare, room)


def priority_reclaimable(requested: IntArray, peak: FloatArray, allocatable: IntArray) -> IntArray:
    """Per node what its prod pods request above `peak`, at most what the peak leaves of the node; 0 where unknown.

    Args:
        requested: the requests of the node's prod pods, cold ones too.
        peak: system peak + prod peak, margin added to the sum.
        allocatable: the node's.
    """
    bounded = np.minimum(requested - peak, allocatable - peak)
    return _whole(bounded)


def prod_reclaimable(by_pod: IntArray, by_priority: IntArray) -> IntArray:
    """What may be lent as mid resources: the smaller of the two methods."""
    return np.minimum(by_pod, by_priority)


def node_peak(pods: PodPeaks, priority_peak: FloatArray) -> IntArray:
    """What the node's pods will use at their peak: the larger of the methods.

    A pod without a prediction counts at its request. `priority_peak` is as in `priority_reclaimable`; nan is passed over.
    """
    by_pod = _by_node(pods.node, np.where(np.isnan(pods.peak), pods.request, pods.peak), priority_peak)
    return np.fmax(by_pod, priority_peak).astype(np.int64)


def overcommit_tier(
    batch: PodPeaks, capacity: IntArray, others_peak: FloatArray, *, capacity_percent: int = 75
) -> IntArray:
    """The second tier of reclaimed resources: what batch pods request and will not use.

    max(0, min(sum over batch pods of max(request - peak, 0), capacity * percent - peak of everything else)); 0 where the
    peak of everything else is unknown (nan).
    """
    known = ~np.isnan(batch.peak)
    spare = _by_node(batch.node[known], np.maximum(batch.request[known] - batch.peak[known], 0), capacity)
    return _whole(np.minimum(spare, capacity * capacity_percent // 100 - others_peak))


def _whole(amount: FloatArray) -> IntArray:
    """Not below 0; 0 where unknown."""
    return np.maximum(np.nan_to_num(amount, nan=0.0), 0.0).astype(np.int64)


def _by_node(node: IntArray, amount: FloatArray, nodes: IntArray | FloatArray) -> IntArray:
    """Sums by node: amounts are whole and far below 2**53, so that float64 adds them exactly."""
    return np.bincount(node, weights=amount, minlength=len(nodes)).astype(np.int64)
