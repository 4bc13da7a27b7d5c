"""What each series has used: a CPU and a memory histogram by key, from which the peak predictor reads.

A key names a workload (`Deployment default/web`), never a pod: every pod of a workload adds its samples, each with
weight 1, to the one pair of histograms, and a new pod is predicted from what its siblings and predecessors used. So a
roll-out, a restart of this process or a pod with a new UID loses nothing, and memory grows with workloads and not with
pods. A bare pod is a workload of its own. Totals of a node (`node/a/system`, `node/a/prod`) are series like any other.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from neaptide.forecast.histograms import (
    DecayingHistograms,
    FloatArray,
    HistogramCheckpoint,
    IntArray,
    exponential_buckets,
    restore,
)
from neaptide.model.problems import FieldError

_HOUR = 3600.0
# Koordinator pkg/koordlet/prediction: 25 milli-cores to 1,024 cores, 5 MiB to 2 TiB, 5 % wider each.
CPU_BUCKETS = exponential_buckets(maximum=1_024_000.0, first=25.0, ratio=1.05, epsilon=1e-4)
MEMORY_BUCKETS = exponential_buckets(maximum=float(1 << 41), first=float(5 << 20), ratio=1.05, epsilon=1e-4)


class HistorySettings(Struct, frozen=True):
    """Half-lives, and for how long a series that is no longer seen is kept (a service scaled to zero comes back)."""

    cpu_half_life_seconds: float = 12 * _HOUR
    memory_half_life_seconds: float = 24 * _HOUR
    keep_seconds: float = 7 * 24 * _HOUR


class HistoryCheckpoint(Struct, frozen=True):
    """A `UsageHistory` as plain data: one entry a series in `keys`, `first_seen` and `last_seen` (epoch seconds)."""

    keys: tuple[str, ...]
    first_seen: tuple[float, ...]
    last_seen: tuple[float, ...]
    cpu: HistogramCheckpoint
    memory: HistogramCheckpoint


class UsageHistory:
    """Histograms by key. Rows are the series in order of appearance; `rows` turns keys into them."""

    def __init__(self, settings: HistorySettings = HistorySettings()) -> None:  # noqa: B008 - frozen
        self.settings = settings
        self.keys: dict[str, int] = {}
        self.first_seen: FloatArray = np.zeros(0)
        self.last_seen: FloatArray = np.zeros(0)
        self.cpu = DecayingHistograms(CPU_BUCKETS, settings.cpu_half_life_seconds)
        self.memory = DecayingHistograms(MEMORY_BUCKETS, settings.memory_half_life_seconds)

    def rows(self, keys: Sequence[str]) -> IntArray:
        """The row of each key; keys that are new get one."""
        known = self.keys
        found = np.array([known.setdefault(key, len(known)) for key in keys], dtype=np.int64)
        new = len(known) - len(self.first_seen)
        if new:
            self.first_seen = np.concatenate((self.first_seen, np.full(new, np.nan)))
            self.last_seen = np.concatenate((self.last_seen, np.full(new, np.nan)))
            self.cpu.grow(len(known))
            self.memory.grow(len(known))
        return found

    def observe(self, rows: IntArray, cpu_milli: FloatArray, memory_bytes: FloatArray, now: float) -> None:
        """Add what was used at `now`, one entry a pod; a row may stand several times, nan is left out."""
        self.cpu.add(rows, cpu_milli, now)
        self.memory.add(rows, memory_bytes, now)
        seen = rows[~(np.isnan(cpu_milli) & np.isnan(memory_bytes))]
        self.first_seen[seen] = np.fmin(self.first_seen[seen], now)
        self.last_seen[seen] = now

    def forget(self, now: float) -> None:
        """Drop the series that were not seen for `keep_seconds`; rows are renumbered."""
        stale = ~(now - self.last_seen <= self.settings.keep_seconds)
        if not stale.any():
            return
        kept = np.flatnonzero(~stale)
        names = list(self.keys)
        self.keys = {names[row]: index for index, row in enumerate(kept.tolist())}
        self.first_seen, self.last_seen = self.first_seen[kept], self.last_seen[kept]
        self.cpu.keep(kept)
        self.memory.keep(kept)

    def checkpoint(self) -> HistoryCheckpoint:
        first, last = tuple(self.first_seen.tolist()), tuple(self.last_seen.tolist())
        return HistoryCheckpoint(tuple(self.keys), first, last, self.cpu.checkpoint(), self.memory.checkpoint())


def restore_history(checkpoint: HistoryCheckpoint, settings: HistorySettings) -> UsageHistory:
    """A history from a checkpoint.

    Raises:
        FieldError: its parts do not fit together, or it was made with other half-lives.
    """
    series = len(checkpoint.keys)
    history = UsageHistory(settings)
    for field, found in (
        ("keys", len(set(checkpoint.keys))),
        ("first_seen", len(checkpoint.first_seen)),
        ("last_seen", len(checkpoint.last_seen)),
        ("cpu.series", checkpoint.cpu.series),
        ("memory.series", checkpoint.memory.series),
    ):
        if found != series:
            raise FieldError(field, found, f"{series} different entries, one for each key")
    history.keys = {key: row for row, key in enumerate(checkpoint.keys)}
    history.first_seen = np.array(checkpoint.first_seen, dtype=np.float64)
    history.last_seen = np.array(checkpoint.last_seen, dtype=np.float64)
    history.cpu = restore(checkpoint.cpu, CPU_BUCKETS, settings.cpu_half_life_seconds)
    history.memory = restore(checkpoint.memory, MEMORY_BUCKETS, settings.memory_half_life_seconds)
    return history
