"""The second tier of reclaimed resources (OT): what batch pods request and will not use, for work that is the first to go.

    OT = max(0, min(sum over batch pods of max(request - peak, 0), capacity * watermark - peak of everything but the tier's own pods))

The watermark is the host's and above both tiers: what batch resources offer, together with what they stand on, stays below it too.
Amounts are milli-CPU or bytes. What is not known gives nothing: a batch pod in its cold start, a node whose peak nobody has seen.
"""

from typing import NamedTuple

import numpy as np

from neaptide.forecast.peaks import PodPeaks, overcommit_tier
from neaptide.model.columns import RUNNING
from neaptide.model.qos import Band
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.reclaim_formulas import BoolArray, FloatArray, IntArray
from neaptide.policies.reclaim_readings import RESOURCES, Pods, Readings

NAMES = ("neaptide.io/ot-cpu", "neaptide.io/ot-memory")
"""The tier's resources: CPU in milli-cores, memory in bytes."""


class TierPods(NamedTuple):
    """Which of the pods on nodes (positions in `Pods`) the tier is about.

    Attributes:
        batch: pods of band batch that run and are not terminating: what they leave over is the tier.
        request: what those request of batch resources, [2, pods].
        own: whether a pod runs in the tier, for every pod: its use is not in its own way.
    """

    batch: IntArray
    request: IntArray
    own: BoolArray


class Tier(NamedTuple):
    """One resource of the tier by node, and the terms that it comes from; `rest` is nan where the peak is unknown."""

    amount: IntArray
    spare: IntArray
    rest: FloatArray


def tier_pods(snapshot: ClusterSnapshot, pods: Pods) -> TierPods:
    """The batch pods that run, and the tier's own."""
    table = snapshot.pods
    running = (table.phase[pods.row] == RUNNING) & np.isnan(table.deleted[pods.row])
    batch = np.flatnonzero(running & (table.band[pods.row] == Band.BATCH))
    request = np.zeros((len(RESOURCES), len(batch)), dtype=np.int64)
    own = np.zeros(len(pods.row), dtype=np.bool_)
    for at, (resource, name) in enumerate(zip(RESOURCES, NAMES, strict=True)):
        row, of_tier = snapshot.resource_row(resource.batch), snapshot.resource_row(name)
        if row is not None:
            request[at] = snapshot.shapes.request[row][pods.shape[batch]]
        if of_tier is not None:
            own |= snapshot.shapes.request[of_tier][pods.shape] > 0
    return TierPods(batch, request, own)


def used_by_the_rest(readings: Readings, pods: Pods, own: BoolArray) -> FloatArray:
    """What each node uses without the tier's pods; a pod of the tier that nobody measures stays in the sum, which is the safe reading."""
    lent = np.bincount(
        pods.node[own], weights=np.nan_to_num(readings.pod_used[own], nan=0.0), minlength=len(readings.used)
    )
    return np.maximum(readings.used - lent, 0.0)


def tier_of(readings: Readings, batch: PodPeaks, rest: FloatArray, *, watermark_percent: int) -> Tier:
    """One resource of the tier. `batch` and `rest` are predicted peaks with their margin, nan where unknown."""
    capacity = readings.nodes.capacity
    known = ~np.isnan(batch.peak)
    spare = np.maximum(batch.request[known] - batch.peak[known], 0)
    by_node = np.bincount(batch.node[known], weights=spare, minlength=len(capacity)).astype(np.int64)
    amount = overcommit_tier(batch, capacity, rest, capacity_percent=watermark_percent)
    return Tier(amount, by_node, rest)


def below_watermark(batch: IntArray, readings: Readings, rows: IntArray, watermark_percent: int) -> IntArray:
    """Batch resources of the nodes at `rows`, so that they and what high-priority pods and the system use stay below the watermark."""
    nodes, used = readings.nodes, readings.taken.usage[rows]
    system: FloatArray = np.fmax(nodes.system[rows], nodes.reserved[rows])
    room = np.floor(nodes.capacity[rows] * watermark_percent / 100 - system - used)
    return np.minimum(batch, np.maximum(room, 0).astype(np.int64))


def explain_tier(readings: Readings, found: Tier, node: int, *, watermark_percent: int) -> str:
    """One node's amount as a sum that a person can check."""
    if np.isnan(found.rest[node]):
        return "0: the peak of what runs beside the tier is not known yet"
    return (
        f"{found.amount[node]} = the smaller of what batch pods will not use {found.spare[node]} and {watermark_percent} % of"
        f" capacity {readings.nodes.capacity[node]} - peak of everything else {found.rest[node]:.0f}, not below 0"
    )
