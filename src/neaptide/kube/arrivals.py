"""Pods that come and find no node, and nodes that were bought for them: the next cycle begins when it can be of use, and not when its time has come."""

import asyncio
import time
from collections.abc import Callable

from neaptide.kube.cache import Cache
from neaptide.model.columns import NO_NODE
from neaptide.policies.provision_opening import gated

_LOOK = 0.25
_LONGEST_OPENING = 900.0


class Arrivals:
    """Calls `wake` when pods have come that wait for a node, as long as nodes that were bought for pods are to be opened, and once after that.

    Args:
        cache: of the cluster.
        wake: begins a cycle.
        idle: so many seconds without another pod,
        longest: or so many after the first; while there are nodes to open, every `idle` seconds.
    """

    def __init__(self, cache: Cache, wake: Callable[[], object], *, idle: float = 1.0, longest: float = 10.0) -> None:
        self._cache, self._wake, self._idle, self._longest = cache, wake, idle, longest
        self._known: set[str] = set()
        self._fresh: set[str] = set()
        self._first = self._latest = self._woken = 0.0
        self._opening = False

    async def run(self) -> None:
        """Look again and again, for as long as this is awaited."""
        while True:
            self.look(time.monotonic())
            await asyncio.sleep(_LOOK)

    def look(self, now: float) -> None:
        """Look once."""
        pods = self._cache.snapshot.pods
        rows = pods.indices()
        waiting = {pods.uids[row] for row in rows[(pods.node[rows] == NO_NODE) & ~pods.gated[rows]].tolist()}
        self._known &= waiting
        self._fresh &= waiting
        came = waiting - self._known - self._fresh
        if came:
            self._first = self._first if self._fresh else now
            self._fresh |= came
            self._latest = now
        come = bool(self._fresh) and (now - self._latest >= self._idle or now - self._first >= self._longest)
        if come:
            self._known |= self._fresh
            self._fresh = set()
        if come or now - self._woken >= self._idle:
            opening, self._opening = self._opening, self._is_opening()
            if come or opening or self._opening:
                self._woken = now
                self._wake()

    def _is_opening(self) -> bool:
        """Whether there are bought nodes that wait for that; one that has for long is left to the cycles that come anyway."""
        snapshot, since = self._cache.snapshot, time.time() - _LONGEST_OPENING
        return any(snapshot.nodes.ready[node] and snapshot.nodes.created[node] > since for node in gated(snapshot))
