"""A run's ticks brought to fewer slots of equal length, which charts and tables show."""

from collections.abc import Sequence
from math import ceil

import numpy as np

from neaptide.model.columns import Floats
from neaptide.simulator.ledger import Timeline, Wait


def edges_of(start: float, end: float, *, most: int, shortest: float = 60.0) -> Floats:
    """float64[slots + 1]: equal slots from `start` to `end`, at most `most`, none below `shortest` seconds."""
    slots = max(1, min(most, ceil((end - start) / shortest)))
    return np.linspace(start, end, slots + 1)


def mean_in(timeline: Timeline, values: Floats, edges: Floats) -> Floats:
    """float64[slots]: the mean of what was at the ticks of each slot; nan where a tick has no value, or there is no tick.

    Args:
        timeline: whose ticks they are.
        values: float64[ticks].
        edges: of the slots.
    """
    slot = np.searchsorted(edges, timeline.time, side="right") - 1
    inside = (slot >= 0) & (slot < len(edges) - 1)
    count = np.bincount(slot[inside], minlength=len(edges) - 1)
    total = np.bincount(slot[inside], weights=values[inside], minlength=len(edges) - 1)
    mean: Floats = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    return mean


def sum_in(timeline: Timeline, values: Floats, edges: Floats) -> Floats:
    """float64[slots]: the sum of what was counted. A tick's count is of the time before it, and so is its slot."""
    slot = np.searchsorted(edges, timeline.time, side="left") - 1
    inside = (slot >= 0) & (slot < len(edges) - 1)
    return np.bincount(slot[inside], weights=values[inside], minlength=len(edges) - 1).astype(np.float64)


def waiting_at(waits: Sequence[Wait], times: Floats) -> Floats:
    """float64[times]: how many of the pods were wanted and had not started."""
    wanted = np.sort([each.wanted for each in waits])
    started = np.sort([each.started for each in waits])  # nan, for never, sorts last
    return (np.searchsorted(wanted, times, "right") - np.searchsorted(started, times, "right")).astype(np.float64)
