"""What a source measured, and how it goes into a snapshot: at once, and nothing older than it may be."""

from typing import Protocol

import numpy as np
from msgspec import Struct, field

from neaptide.model.snapshot import ClusterSnapshot

MAX_AGE = 300.0
"""Seconds after which a reading is no longer believed: a policy then takes the request for it, or does nothing."""


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
    nodes, pods = snapshot.nodes, snapshot.pods
    rows = snapshot.nodes.indices()
    cpu, memory, times = _columns([readings.nodes.get(nodes.names[row]) for row in rows.tolist()], now - max_age)
    snapshot.set_node_usage(rows, cpu, memory, times)
    rows = pods.indices()
    cpu, memory, _ = _columns([readings.pods.get(pods.keys[row]) for row in rows.tolist()], now - max_age)
    snapshot.set_pod_usage(rows, cpu, memory)


def _columns(found: list[Reading | None], oldest: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    unknown = (np.nan, np.nan, np.nan)
    rows = [
        unknown if each is None or not each.time >= oldest else (each.cpu, each.memory, each.time) for each in found
    ]
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 3)
    return table[:, 0], table[:, 1], table[:, 2]
