"""Writes, many at once but one at a time for each object; of those that wait for the same object, the last counts."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from neaptide.kubeapi.errors import ApiError, ConfigError

Work = Callable[[], Awaitable[None]]
_log = structlog.get_logger()


class Pool:
    """How many writes of a kind may be under way at once."""

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        self.queue = asyncio.Queue[str]()


class Lanes:
    """Writes by what they are about."""

    def __init__(self, *pools: Pool) -> None:
        self._pools = pools
        self._waiting: dict[str, tuple[Pool, Work]] = {}
        self._busy: dict[str, tuple[Pool, Work] | None] = {}
        """Under way; the value is what comes next."""

    def put(self, key: str, pool: Pool, work: Work) -> None:
        """Have a write done, in the place of one that waits for the same object."""
        if key in self._busy:
            self._busy[key] = pool, work
            return
        before = self._waiting.get(key)
        self._waiting[key] = pool, work
        if before is None or before[0] is not pool:
            pool.queue.put_nowait(key)

    def is_superseded(self, key: str) -> bool:
        """Whether another write waits for the end of the one that is under way."""
        return self._busy.get(key) is not None

    async def run(self) -> None:
        """Do what is put, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for pool in self._pools:
                for _ in range(pool.at_once):
                    group.create_task(self._work(pool))

    async def _work(self, pool: Pool) -> None:
        while True:
            key = await pool.queue.get()
            entry = self._waiting.get(key)
            if entry is None or entry[0] is not pool:  # it was done, or waits in another pool by now
                continue
            del self._waiting[key]
            self._busy[key] = None
            try:
                await entry[1]()
            except (ApiError, ConfigError) as error:
                _log.warning("write refused", about=key, reason=str(error))
            except Exception as error:  # noqa: BLE001 - one write that goes wrong must not end the others
                _log.error("write failed", about=key, exc_info=error)
            finally:
                following = self._busy.pop(key)
            if following is not None:
                self.put(key, *following)
