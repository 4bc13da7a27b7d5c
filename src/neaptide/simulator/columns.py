"""What the simulator knows of pods and nodes beyond the snapshot: columns beside it, row by row."""

from typing import Any

import numpy as np

from neaptide.model.columns import Bools, Floats, Ints, Longs


def total(amount: np.ndarray, group: np.ndarray, groups: int) -> Floats:
    """float64[groups]: the sum of `amount` in every group."""
    return np.bincount(group, weights=amount, minlength=groups).astype(np.float64)


class Beside:
    """Arrays that grow together, one row for each row of a table of the snapshot; replaced when they grow."""

    def __init__(self, columns: dict[str, tuple[type, Any]]) -> None:
        self._columns = columns
        self.capacity = 0
        for name, (kind, _) in columns.items():
            setattr(self, name, np.empty(0, dtype=kind))

    def reserve(self, rows: int) -> None:
        """Make room for `rows` rows."""
        if rows <= self.capacity:
            return
        self.capacity = max(rows, 2 * self.capacity, 64)
        for name, (kind, empty) in self._columns.items():
            grown: np.ndarray = np.full(self.capacity, empty, dtype=kind)
            grown[: len(vars(self)[name])] = vars(self)[name]
            setattr(self, name, grown)

    def clear(self, row: int) -> None:
        """Empty a row."""
        for name, (_, empty) in self._columns.items():
            vars(self)[name][row] = empty


class PodSide(Beside):
    """By row of `snapshot.pods`. CPU in milli, memory in bytes, times in seconds."""

    token: Longs
    """Unlike for every pod there ever was: events carry it, for rows are reused."""
    wanted: Floats
    """Since when there should have been such a pod: what waits are counted from."""
    cpu: Floats
    """What a fraction of 1 of its CPU curve is worth."""
    memory: Floats
    memory_request: Floats
    cpu_request: Floats
    """Milli-CPU or batch-cpu or mid-cpu."""
    cpu_limit: Floats
    cpu_curve: Ints
    memory_curve: Ints
    weight: Floats
    """cpu.shares."""
    best_effort: Bools
    """Gets CPU only after all others (QoS class BE)."""
    service: Bools
    offline: Bools
    daemon: Bools
    running: Bools
    demand: Floats
    given: Floats
    memory_used: Floats
    since: Floats
    """Up to when its usage has been counted."""
    progress: Floats
    """Seconds of its job's duration that are done."""
    saved: Floats
    """Progress that it began with."""
    duration: Floats
    checkpoint: Floats
    fails: Bools
    """Ends its run by failing."""

    def __init__(self) -> None:
        number, flag, row = (np.float64, 0.0), (np.bool_, False), (np.int32, 0)
        super().__init__(
            {
                "token": (np.int64, -1),
                "wanted": (np.float64, np.nan),
                "cpu": number,
                "memory": number,
                "memory_request": number,
                "cpu_request": number,
                "cpu_limit": (np.float64, np.inf),
                "cpu_curve": row,
                "memory_curve": row,
                "weight": (np.float64, 2.0),
                "best_effort": flag,
                "service": flag,
                "offline": flag,
                "daemon": flag,
                "running": flag,
                "demand": number,
                "given": number,
                "memory_used": number,
                "since": number,
                "progress": number,
                "saved": number,
                "duration": (np.float64, np.inf),
                "checkpoint": number,
                "fails": flag,
            }
        )


class NodeSide(Beside):
    """By row of `snapshot.nodes`."""

    pool: Ints
    """-1 for a row without a node, or with a virtual one."""
    up: Bools
    """Whether the machine runs; a node object may say Ready for a while after it stopped."""
    cpu: Floats
    memory: Floats
    system_cpu: Floats
    system_memory: Floats
    best_effort_limit: Floats
    """What suppression allows best-effort pods."""
    idle: Floats
    """CPU that nobody uses until the next tick."""
    best_effort_idle: Floats
    """The same for best-effort pods, of what they may use."""
    empty_since: Floats

    def __init__(self) -> None:
        number = (np.float64, 0.0)
        super().__init__(
            {
                "pool": (np.int32, -1),
                "up": (np.bool_, False),
                "cpu": number,
                "memory": number,
                "system_cpu": number,
                "system_memory": number,
                "best_effort_limit": (np.float64, np.inf),
                "idle": number,
                "best_effort_idle": number,
                "empty_since": (np.float64, np.nan),
            }
        )
