"""Queue sort: band first, then priority, then who has waited longest; ageing, and a share of tries for the starving.

    priority of a waiting pod = its priority + agingStep * floor(waited / agingSeconds)

so that within a band nobody is overtaken for ever. Across bands, a pod of any band below prod that has waited longer than
`starvingSeconds` is owed a try: for every `1 / starvingShare` others that are tried, one such pod, the longest wait first, is tried before
them.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from neaptide.model.columns import Floats, Longs
from neaptide.model.qos import Band
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.cycle.queue import Waiting


class Fairness(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """How queue sort treats those that wait. Durations in seconds; 0 turns a rule off."""

    aging_seconds: float = 600.0
    aging_step: int = 100
    starving_seconds: float = 3600.0
    starving_share: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.starving_share <= 1:
            raise ValueError("starvingShare must be in 0..1")
        if min(self.aging_seconds, self.starving_seconds, self.aging_step) < 0:
            raise ValueError("agingSeconds, agingStep and starvingSeconds must not be negative")


class Order:
    """Sorts the pods of a cycle. `owed` is what earlier cycles, too small to divide, owe to the starving, in tries."""

    def __init__(self, snapshot: ClusterSnapshot, fairness: Fairness) -> None:
        self._snapshot, self._fairness = snapshot, fairness
        self.owed = 0.0

    def sorted(self, pods: Sequence[Waiting], now: float) -> list[Waiting]:
        """The pods in the order in which they are tried."""
        table = self._snapshot.pods
        rows = np.fromiter((pod.row for pod in pods), dtype=np.int64, count=len(pods))
        waited = now - np.fromiter((pod.since for pod in pods), dtype=np.float64, count=len(pods))
        band, priority = table.band[rows], self._aged(table.priority[rows].astype(np.int64), waited)
        keys = np.array([pod.key for pod in pods]) if pods else rows
        order = np.lexsort((keys, -waited, -priority, -band))
        first = self._starving(order, band, waited)
        if len(first):
            order = np.concatenate([first, order[~np.isin(order, first)]])
        return [pods[each] for each in order.tolist()]

    def _aged(self, priority: Longs, waited: Floats) -> Longs:
        rule = self._fairness
        if not rule.aging_seconds:
            return priority
        aged: Longs = priority + rule.aging_step * (np.maximum(waited, 0) // rule.aging_seconds).astype(np.int64)
        return aged

    def _starving(self, order: Longs, band: np.ndarray[tuple[int, ...], np.dtype[np.int8]], waited: Floats) -> Longs:
        """Those that are tried before all others in this cycle."""
        rule = self._fairness
        if not rule.starving_seconds:
            return order[:0]
        found = order[(band[order] < Band.PROD) & (waited[order] >= rule.starving_seconds)]
        if not len(found) or len(found) == len(order):
            self.owed = 0.0
            return order[:0]
        self.owed += rule.starving_share * (len(order) - len(found))
        count = min(int(self.owed + 1e-9), len(found))  # for sums of tenths
        self.owed = min(self.owed - count, 1.0)
        chosen: Longs = found[np.argsort(-waited[found], kind="stable")][:count]
        return chosen
