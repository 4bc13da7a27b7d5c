"""The scheduler's cycle: who waits for a node, in which order they are tried, and who is not tried again yet.

Order is by band, then priority, then how long a pod has been wanted. Pods of one class fare alike, so after one of them
found no node, the class waits: until room has grown and its back-off is over, or for five minutes.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from msgspec import Struct

from neaptide.model.columns import Longs
from neaptide.simulator.cluster import Cluster

FIRST_BACKOFF, MAX_BACKOFF = 1.0, 10.0
FLUSH_SECONDS = 300.0
"""kube-scheduler's: backoff of a pod, and how long it stays unschedulable without a reason to try again."""


class Placed(Protocol):
    """A pod (row) and its node; None, and why, where there is none."""

    @property
    def pod(self) -> int: ...
    @property
    def node(self) -> int | None: ...
    @property
    def reason(self) -> str: ...


class Placer(Protocol):
    """Chooses nodes, and assigns in the snapshot as it goes."""

    def at(self, now: float) -> None:
        """Be told the time, before each cycle."""

    def schedule(self, pods: Sequence[int]) -> Sequence[Placed]:
        """One answer for every pod, in order."""


class FailedPods(Protocol):
    """What an autoscaler asks a scheduler."""

    def failed_classes(self) -> list[int]:
        """Classes of pods that were tried and found no node."""

    def waiting_of(self, classes: Sequence[int]) -> list[int]:
        """Rows of the pods of some classes that wait for a node."""


class _Failure(Struct):
    """A class of pods that found no node: when, how much room had grown by then, how often in a row, and why."""

    time: float
    grown: int
    placed: int
    attempts: int
    follows: bool
    """It has affinity to pods, so that any placement may help."""
    reason: str


class Scheduler:
    """Runs a cycle soon after there is a reason to, at most one in `period` seconds."""

    def __init__(self, cluster: Cluster, placer: Placer, *, period: float = 1.0) -> None:
        self._cluster, self._placer, self._period = cluster, placer, period
        self._failures: dict[int, _Failure] = {}
        self._grown = self._placed = 0
        self._due = np.inf
        cluster.pod_queued = self._wake
        cluster.room_grew = self._room_grew

    def failed_classes(self) -> list[int]:
        """Classes of pods that were tried and found no node."""
        return list(self._failures)

    def waiting_of(self, classes: Sequence[int]) -> list[int]:
        """Rows of the pods of some classes that wait for a node."""
        rows = self._pending()
        found: list[int] = rows[np.isin(self._cluster.snapshot.pods.cls[rows], classes)].tolist()
        return found

    def reason(self, pod: int) -> str:
        """Why a pod has no node; empty where it was not tried."""
        failure = self._failures.get(int(self._cluster.snapshot.pods.cls[pod]))
        return "" if failure is None else failure.reason

    def cycle(self) -> None:
        """Try the pods that may be tried, run by run of one class."""
        self._placer.at(self._cluster.clock.now)
        queue = self._queue()
        classes = self._cluster.snapshot.pods.cls[queue]
        starts = np.flatnonzero(np.append(True, classes[1:] != classes[:-1])) if len(queue) else classes
        failed: set[int] = set()
        for cls, rows in zip(classes[starts].tolist(), np.split(queue, starts[1:]), strict=False):
            if cls not in failed and not self._try_all(cls, rows):
                failed.add(cls)
        self._plan_retry()

    def _queue(self) -> Longs:
        """Rows in order. Rows of classes that must wait are left out."""
        table = self._cluster.snapshot.pods
        rows = self._pending()
        waiting = [cls for cls in self._failures if not self._may_try(cls)]
        if waiting:
            rows = rows[~np.isin(table.cls[rows], waiting)]
        wanted, token = self._cluster.pods.wanted[rows], self._cluster.pods.token[rows]
        return rows[np.lexsort((token, wanted, -table.priority[rows], -table.band[rows]))]

    def _pending(self) -> Longs:
        return np.fromiter(self._cluster.pending, dtype=np.int64, count=len(self._cluster.pending))

    def _try_all(self, cls: int, rows: Longs) -> bool:
        """Try pods of one class; of one that found no node before, twice as many each time, for thousands may wait where one has room."""
        begin, number = 0, 1 if cls in self._failures else len(rows)
        while begin < len(rows):
            if not self._try(cls, rows[begin : begin + number].tolist()):
                return False
            begin, number = begin + number, number * 2
        return True

    def _try(self, cls: int, rows: list[int]) -> bool:
        """Try pods of one class; whether all of them found a node."""
        found = True
        for placed in self._placer.schedule(rows) if rows else ():
            if placed.node is None:
                if found:
                    self._fail(cls, placed.reason)
                found = False
            else:
                self._placed += 1
                self._failures.pop(cls, None)
                self._cluster.bound(placed.pod)
        return found

    def _fail(self, cls: int, reason: str) -> None:
        before = self._failures.get(cls)
        snapshot = self._cluster.snapshot
        affinity = snapshot.shape_facts.values[int(snapshot.classes.shape[cls])].requirements.affinity
        self._failures[cls] = _Failure(
            self._cluster.clock.now,
            self._grown,
            self._placed,
            before.attempts + 1 if before else 1,
            affinity is not None and affinity.pod_affinity is not None,
            reason,
        )

    def _may_try(self, cls: int) -> bool:
        failure = self._failures[cls]
        passed = self._cluster.clock.now - failure.time
        helped = self._grown > failure.grown or (failure.follows and self._placed > failure.placed)
        return passed >= FLUSH_SECONDS or (helped and passed >= _backoff(failure.attempts))

    def _plan_retry(self) -> None:
        """Wake when the first class that is waiting may be tried again; forget classes that nobody waits for."""
        if not self._failures:
            return
        now = self._cluster.clock.now
        waiting = np.bincount(self._cluster.snapshot.pods.cls[self._pending()], minlength=max(self._failures) + 1)
        self._failures = {cls: failure for cls, failure in self._failures.items() if waiting[cls]}
        for failure in self._failures.values():
            helped = self._grown > failure.grown or (failure.follows and self._placed > failure.placed)
            due = failure.time + (_backoff(failure.attempts) if helped else FLUSH_SECONDS)
            self._wake_at(max(due, now + self._period))

    def _room_grew(self) -> None:
        self._grown += 1
        if self._failures:
            now = self._cluster.clock.now
            due = min(each.time + _backoff(each.attempts) for each in self._failures.values())
            self._wake_at(max(due, now))

    def _wake(self) -> None:
        self._wake_at(self._cluster.clock.now)

    def _wake_at(self, time: float) -> None:
        """A cycle at the next whole period from `time` on, unless one comes before."""
        due = -(-time // self._period) * self._period
        if due < self._due:
            self._due = due
            self._cluster.clock.at(due, lambda: self._run(due))

    def _run(self, due: float) -> None:
        if due == self._due:
            self._due = np.inf
            self.cycle()


def _backoff(attempts: int) -> float:
    return float(min(FIRST_BACKOFF * 2 ** (attempts - 1), MAX_BACKOFF))
