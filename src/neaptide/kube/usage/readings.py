"""What a source measured, and how it goes into a snapshot: at once, and nothing older than it may be."""

from collections.abc import Mapping
from itertools import repeat
from operator import attrgetter
from typing import Protocol

import numpy as np
from msgspec import Struct, field

from neaptide.model.snapshot import ClusterSnapshot

MAX_AGE = 300.0
"""Seconds after which a reading is no longer believed: a policy then takes the request for it, or does nothing."""
_FIELDS = tuple(map(attrgetter, ("cpu", "memory", "time")))
_TIME = 2


class Reading(Struct, frozen=True, gc=False):
    """Milli-CPU and bytes, nan where unknown, and when they were measured (seconds since the epoch)."""

    cpu: float
    memory: float
    time: float


class Readings(Struct, frozen=True):
    """One look at a cluster: nodes by name, pods by `namespace/name`; `problems` says what could not be read."""

    nodes: dict[str, Reading] = field(default_factory=dict)
    pods: dict[str, Reading] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


class Source(Protocol):
    """Somewhere to read usage from."""

    @property
    def name(self) -> str:
        """What it is called in logs and in `neaptide doctor`."""

    async def read(self) -> Readings:
        """Everything that is measured now. Raises ApiError or OSError where nothing can be had."""


def apply(snapshot: ClusterSnapshot, readings: Readings, now: float, *, max_age: float = MAX_AGE) -> None:
    """Set what is known; every pod and node that is not named, or whose reading is too old, becomes unknown."""
    nodes, pods, oldest = snapshot.nodes, snapshot.pods, now - max_age
    cpu, memory, times = _columns(readings.nodes, nodes.by_name, nodes.rows, oldest)
    rows = nodes.indices()
    snapshot.set_node_usage(rows, cpu[rows], memory[rows], times[rows])
    cpu, memory, _ = _columns(readings.pods, pods.by_key, pods.rows, oldest)
    rows = pods.indices()
    snapshot.set_pod_usage(rows, cpu[rows], memory[rows])


def _columns(found: Mapping[str, Reading], row_of: Mapping[str, int], rows: int, oldest: float) -> np.ndarray:
    """float64[3, rows]: CPU, memory and time by row, nan where nothing is known. There may be a reading for every pod."""
    table = np.full((3, rows), np.nan)
    number = len(found)
    row = np.fromiter(map(row_of.get, found, repeat(-1)), np.int64, number)
    measured = np.array([np.fromiter(map(get, found.values()), np.float64, number) for get in _FIELDS])
    known = (row >= 0) & (measured[_TIME] >= oldest)
    table[:, row[known]] = measured[:, known]
    return table
