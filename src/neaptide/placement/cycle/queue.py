"""The scheduling queue: who is to be tried, who backs off, who waits for a change that helps, and who is gated.

As kube-scheduler's: a pod that was refused waits for a change that can help it (changes.py), or five minutes at most; then
its back-off (1 s, doubled with every attempt in a row up to 10 s) must be over before it is tried again.
"""

import heapq
from collections.abc import Iterator

import numpy as np
from msgspec import Struct

from neaptide.placement.cycle.changes import Change, helps
from neaptide.placement.view import View

Group = tuple[int, frozenset[str]]
"""Pods of one class that the same filters and plugins refused: what helps one of them helps all."""


class Backoff(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Seconds."""

    initial: float = 1.0
    maximum: float = 10.0
    flush: float = 300.0
    """How long a pod that nothing has helped is left alone."""

    def after(self, attempts: int) -> float:
        """How long a pod backs off after so many attempts in a row."""
        return float(min(self.initial * 2.0 ** min(attempts - 1, 30), self.maximum))


class Waiting(Struct):
    """A pod without a node.

    Attributes:
        key: `namespace/name`.
        row: its row in the snapshot.
        since: when it was wanted first, by which it ages.
        preempts: whether its preemption policy lets it preempt.
        attempts: how often in a row it was tried in vain.
        until: when its back-off is over.
        tried: when it was refused last; nan while it was not.
        group: what refused it; None while it is not among the unschedulable.
        message: why it has no node; empty before it was tried.
    """

    key: str
    uid: str
    row: int
    since: float
    preempts: bool = True
    attempts: int = 0
    until: float = -np.inf
    tried: float = np.nan
    group: Group | None = None
    message: str = ""


class Queue:
    """Every pod that waits for a node, in exactly one of its parts."""

    def __init__(self, view: View, backoff: Backoff) -> None:
        self._view, self._backoff = view, backoff
        self.pods: dict[str, Waiting] = {}
        self._active: dict[str, Waiting] = {}
        self._gated: dict[str, Waiting] = {}
        self._groups: dict[Group, dict[str, Waiting]] = {}
        self._timers: list[tuple[float, str]] = []
        """Of back-offs and of flushes; entries of pods that have moved on are skipped when they come up."""

    def take_over(self, before: "Queue") -> None:
        """Go on where another queue has ended, whose classes had other numbers; the other one is not to be used any more."""
        self.pods, self._active, self._gated, self._timers = before.pods, before._active, before._gated, before._timers
        for pod in self.pods.values():
            if pod.group is not None:
                pod.group = int(self._view.snapshot.pods.cls[pod.row]), pod.group[1]
                self._groups.setdefault(pod.group, {})[pod.key] = pod

    def add(self, pod: Waiting) -> None:
        """Take a new pod in, to be tried at once."""
        self.pods[pod.key] = self._active[pod.key] = pod

    def gate(self, key: str) -> None:
        """Let a pod wait until its scheduling gates are gone."""
        self._leave(key)
        self._gated[key] = self.pods[key]

    def is_gated(self, key: str) -> bool:
        return key in self._gated

    def drop(self, key: str) -> Waiting | None:
        """Forget a pod: it was bound, or is gone."""
        if key not in self.pods:
            return None
        self._leave(key)
        return self.pods.pop(key)

    def refused(self, key: str, plugins: frozenset[str], message: str, now: float) -> None:
        """A pod was tried, and these filters and plugins refused it."""
        pod = self.pods[key]
        self._failed(pod, message, now)
        pod.group = int(self._view.snapshot.pods.cls[pod.row]), plugins
        self._groups.setdefault(pod.group, {})[key] = pod
        heapq.heappush(self._timers, (now + self._backoff.flush, key))

    def errored(self, key: str, message: str, now: float) -> None:
        """Binding a pod failed, or nothing but time helps it: it is tried again after its back-off."""
        pod = self.pods[key]
        self._failed(pod, message, now)
        heapq.heappush(self._timers, (pod.until, key))

    def activate(self, key: str, now: float) -> None:
        """Try a pod again, as soon as its back-off is over."""
        if key in self._active:
            return
        self._leave(key)
        pod = self.pods[key]
        if pod.until > now:
            heapq.heappush(self._timers, (pod.until, key))
        else:
            self._active[key] = pod

    def changed(self, change: Change, now: float) -> None:
        """Wake the pods that a change can help."""
        for group in [each for each in self._groups if helps(self._view, each[1], each[0], change)]:
            for key in list(self._groups.get(group, ())):
                self.activate(key, now)

    def take(self, now: float) -> list[Waiting]:
        """The pods whose turn it is, which are then in nobody's hands but the caller's: to be dropped, refused, errored or put back."""
        while self._timers and self._timers[0][0] <= now:
            _, key = heapq.heappop(self._timers)
            if self._is_due(key, now):
                self.activate(key, now)
        taken, self._active = list(self._active.values()), {}
        return taken

    def put_back(self, key: str) -> None:
        """Undo `take` for one pod."""
        self._active[key] = self.pods[key]

    def due(self, now: float) -> float:
        """When somebody is to be tried next; infinity where only a change can help."""
        if self._active:
            return now
        while self._timers and not self._is_due(self._timers[0][1], self._timers[0][0]):
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else float("inf")

    def waiting(self) -> Iterator[Waiting]:
        """Everybody but the gated."""
        return (pod for key, pod in self.pods.items() if key not in self._gated)

    def _is_due(self, key: str, now: float) -> bool:
        """Whether a timer still means its pod: not where that has been tried, woken or dropped since."""
        pod = self.pods.get(key)
        if pod is None or key in self._active or key in self._gated:
            return False
        return pod.until <= now if pod.group is None else pod.tried + self._backoff.flush <= now

    def _failed(self, pod: Waiting, message: str, now: float) -> None:
        self._leave(pod.key)
        pod.attempts += 1
        pod.message, pod.tried = message, now
        pod.until = now + self._backoff.after(pod.attempts)

    def _leave(self, key: str) -> None:
        pod = self.pods[key]
        self._active.pop(key, None)
        self._gated.pop(key, None)
        if pod.group is not None:
            members = self._groups[pod.group]
            del members[key]
            if not members:
                del self._groups[pod.group]
            pod.group = None
