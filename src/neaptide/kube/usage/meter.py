"""Reads usage every so often from the first source that works, and says which that is."""

import asyncio
import time
from collections.abc import Callable, Sequence

import msgspec
import structlog

from neaptide.kube.usage.readings import Readings, Source
from neaptide.kubeapi.errors import ApiError

_PAUSE_AFTER_FAILURE = 15.0


class Meter:
    """What was measured last.

    Args:
        sources: in order of preference.
        period: seconds between two looks.

    Attributes:
        readings: of the last look that worked.
        source: its name, empty before the first.
        problem: why there is none, empty where there is.
        looked: whether it has looked at all.
    """

    def __init__(
        self, sources: Sequence[Source], *, period: float = 30.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sources, self._period, self._clock = sources, period, clock
        self._log = structlog.get_logger()
        self.readings = Readings()
        self.source = ""
        self.problem = "usage was not read yet"
        self.looked = False

    async def run(self) -> None:
        """Read again and again."""
        while True:
            began = self._clock()
            await self.read()
            pause = self._period if self.source else _PAUSE_AFTER_FAILURE
            await asyncio.sleep(max(0.0, pause - (self._clock() - began)))

    async def read(self) -> None:
        """Look once, at the source that worked last before the others."""
        try:
            await self._read()
        finally:
            self.looked = True

    async def _read(self) -> None:
        problems = []
        for source in sorted(self._sources, key=lambda each: each.name != self.source):
            try:
                readings = await source.read()
                await asyncio.to_thread(getattr, readings, "columns")
            except (
                ApiError,
                OSError,
                msgspec.MsgspecError,
                ValueError,
            ) as error:  # the last two: what came makes no sense
                problems.append(f"{source.name}: {error}")
                continue
            if source.name != self.source:
                self._log.info("usage source", source=source.name, nodes=len(readings.nodes), pods=len(readings.pods))
            self.readings, self.source, self.problem = readings, source.name, ""
            return
        problem = "; ".join(problems) or "there is no source of usage"
        if problem != self.problem:
            self._log.warning("no usage", reason=problem)
        self.source, self.problem = "", problem
