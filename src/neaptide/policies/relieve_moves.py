"""Which pods leave hot nodes, such that each fits on a node with room and leaves that one below its own high threshold."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from neaptide.model.columns import Bools, Floats
from neaptide.model.qos import Band
from neaptide.model.scope import Covers
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.place import Placement
from neaptide.policies.protection import disruption_budgets, protection
from neaptide.policies.relieve_nodes import Gauge

_WORTH_IT = 0.01
"""A pod that uses less than this part of what its node is above the threshold, or less than 1 milli or byte, does not help."""


class Move(NamedTuple):
    """A pod (row) that is to leave a node, and a node that could take it."""

    pod: int
    source: int
    target: int


class Limits(NamedTuple):
    """How many pods leave at once: one node, and all nodes."""

    per_node: int
    in_all: int


class Mover:
    """Finds moves one after the other, each on the cluster as those before leave it.

    To be used inside `snapshot.what_if()`: found moves are made in the snapshot.
    """

    def __init__(
        self,
        placement: Placement,
        gauges: Sequence[Gauge],
        targets: Bools,
        limits: Limits,
        covers: Covers,
        now: float,
    ) -> None:
        """Take the gauges, all of which every target must stay below.

        Args:
            placement: where pods can go.
            gauges: as they are; they are changed along.
            targets: bool[nodes]: nodes that may take pods.
            limits: how many moves there may be.
            covers: which pods may be moved at all.
            now: the time.
        """
        self._placement, self._snapshot = placement, placement.snapshot
        self._gauges, self._targets, self._limits = gauges, targets, limits
        self._covers, self._now = covers, now
        self.moves: list[Move] = []

    def relieve(self, source: int, by: Gauge) -> None:
        """Move pods off a node until it is below its high threshold by a gauge, or nothing more can be moved."""
        moved = 0
        for pod in self._candidates(source, by):
            excess = np.nan_to_num(by.measured[:, source] - by.high[:, source])
            over = excess > 0
            if not over.any() or moved == self._limits.per_node or len(self.moves) == self._limits.in_all:
                return
            use = self._use(pod)
            if np.isnan(use).any() or (use < np.maximum(_WORTH_IT * excess, 1))[over].all():
                continue
            target = self._target(pod, use)
            if target is not None:
                self._make(Move(pod, source, target), use)
                moved += 1

    def headroom(self) -> Floats:
        """float64[2]: what all targets can take together, by the scarcest gauge; infinite where a resource is not looked at."""
        room = np.full(2, np.inf)
        for gauge in self._gauges:
            left = np.where(self._targets, gauge.high - gauge.expected, 0.0)
            total = left.sum(axis=1)
            room = np.where(np.isnan(total), room, np.minimum(room, total))
        return room

    def _candidates(self, source: int, by: Gauge) -> Iterator[int]:
        """Pods that may leave: the least important first, of those the ones that use most."""
        snapshot, table = self._snapshot, self._snapshot.pods
        pods = np.fromiter(snapshot.pods_on(source), dtype=np.int64)
        if by.name:
            pods = pods[table.band[pods] == Band.PROD]
        over = by.measured[:, source] > by.high[:, source]
        usage = np.array([table.usage_cpu[pods], table.usage_memory[pods]])
        weighed = np.nansum((usage / np.maximum(by.high[:, [source]], 1))[over], axis=0)
        qos = snapshot.classes.qos[table.cls[pods]]
        for at in np.lexsort((pods, -weighed, table.priority[pods], -qos, table.band[pods])).tolist():
            pod = int(pods[at])
            if self._may_leave(pod):
                yield pod

    def _may_leave(self, pod: int) -> bool:
        """Whether a pod would be made again elsewhere, and neither protection nor a disruption budget holds it."""
        snapshot = self._snapshot
        return (
            snapshot.pods.owner[pod] >= 0
            and self._covers(snapshot.pod_ref(pod))
            and bool(np.isnan(snapshot.pods.deleted[pod]))
            and protection(snapshot, pod, self._now) is None
            and not is_held(snapshot, pod)
        )

    def _target(self, pod: int, use: Floats) -> int | None:
        """The node that is least in use with the pod on it, of those that can take it and stay below their high thresholds."""
        fits = self._placement.feasible(pod) & self._targets
        worst = np.zeros(len(fits))
        for gauge in self._gauges:
            if gauge.name and self._snapshot.pods.band[pod] != Band.PROD:
                continue
            after = gauge.expected + use[:, None]
            fits &= ((after <= gauge.high) | np.isnan(gauge.high)).all(axis=0)
            worst = np.maximum(worst, np.nan_to_num(after / np.maximum(gauge.high, 1)).max(axis=0))
        rows = np.flatnonzero(fits)
        return int(rows[worst[rows].argmin()]) if len(rows) else None

    def _make(self, move: Move, use: Floats) -> None:
        prod = self._snapshot.pods.band[move.pod] == Band.PROD
        for gauge in self._gauges:
            if gauge.name and not prod:
                continue
            for amounts in (gauge.measured, gauge.expected):
                amounts[:, move.source] -= use
                amounts[:, move.target] += use
        self._snapshot.unassign(move.pod)
        self._snapshot.assign(move.pod, move.target)
        self.moves.append(move)

    def _use(self, pod: int) -> Floats:
        return np.array([self._snapshot.pods.usage_cpu[pod], self._snapshot.pods.usage_memory[pod]])


def is_held(snapshot: ClusterSnapshot, pod: int) -> bool:
    """Whether PodDisruptionBudgets let a pod's eviction be refused now."""
    known = snapshot.others.get("PodDisruptionBudget", {})
    mine = disruption_budgets(snapshot, snapshot.pod_namespace(pod), snapshot.pod_labels(pod))
    return len(mine) > 1 or any(known[key].status.disruptions_allowed <= 0 for key in mine)
