"""Work per pod, level-triggered: a key that was poked is looked at, one look at a time per key, again after a growing pause where it failed."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from neaptide.kubeapi.pace import Backoff


class Syncs:
    """Looks at keys.

    Args:
        look: brings one key nearer to what is wanted; what it raises is logged, and it is called again later.
        first, longest: seconds of the pauses after failures.
    """

    def __init__(self, look: Callable[[str], Awaitable[None]], *, first: float = 0.5, longest: float = 60.0) -> None:
        self._look, self._first, self._longest = look, first, longest
        self._dirty: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._backoffs: dict[str, Backoff] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def poke(self, key: str) -> None:
        """Look at a key soon; again, where it is being looked at now."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        self._dirty.add(key)
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._work(key))

    def poke_after(self, key: str, seconds: float) -> None:
        """Look at a key then, unless it is poked before."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, self.poke, key)

    def is_busy(self, key: str) -> bool:
        """Whether a key is being looked at now."""
        return key in self._tasks

    async def close(self) -> None:
        """End every look where it stands."""
        for timer in self._timers.values():
            timer.cancel()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, key: str) -> None:
        try:
            while key in self._dirty:
                self._dirty.discard(key)
                try:
                    await self._look(key)
                except Exception as error:  # noqa: BLE001 - one pod must not stop the others
                    pause = self._backoffs.setdefault(key, Backoff(self._first, self._longest)).next()
                    pause = max(pause, getattr(error, "retry_after", None) or 0.0)
                    structlog.get_logger().warning(
                        "pod not in sync", pod=key, reason=str(error) or type(error).__name__
                    )
                    if key not in self._dirty:
                        self.poke_after(key, pause)
                        return
                else:
                    self._backoffs.pop(key, None)
        finally:
            del self._tasks[key]
            if key in self._dirty:  # cancelled while it was poked
                self._dirty.discard(key)
