"""Pods that come and find no node: the next cycle begins as soon as no more of them come, and not when its time has come."""

import asyncio
import time
from collections.abc import Callable

from neaptide.kube.cache import Cache
from neaptide.model.columns import NO_NODE

_LOOK = 0.25


class Arrivals:
    """Calls `wake` when pods have come that wait for a node.

    Args:
        cache: of the cluster.
        wake: begins a cycle.
        idle: so many seconds without another one,
        longest: or so many after the first.
    """

    def __init__(self, cache: Cache, wake: Callable[[], object], *, idle: float = 1.0, longest: float = 10.0) -> None:
        self._cache, self._wake, self._idle, self._longest = cache, wake, idle, longest
        self._known: set[str] = set()
        self._fresh: set[str] = set()
        self._first = self._latest = 0.0

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
        if self._fresh and (now - self._latest >= self._idle or now - self._first >= self._longest):
            self._known |= self._fresh
            self._fresh = set()
            self._wake()
