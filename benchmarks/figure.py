"""What a benchmark yields, and how its time is taken."""

import gc
import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct


class Peer(Struct, frozen=True):
    """What a figure is compared with: another program or way in the same run, a bound, or a published number."""

    name: str
    value: float


class Figure(Struct, frozen=True):
    """One measured number. `ratio` is value over peer, None without a peer."""

    figure: str
    value: float | None
    unit: str
    peer: Peer | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.peer.value if self.peer and self.peer.value and self.value is not None else None


def best_seconds(run: Callable[[], Any], *, times: int = 5, prepare: Callable[[], Any] = lambda: None) -> float:
    """The shortest of several runs; `prepare` runs before each and is not counted."""
    best = float("inf")
    for _ in range(times):
        prepare()
        gc.collect()
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best
