"""How much of the reclaimed resources that nodes offer now will still be offered soon.

The least of three: what is offered now; what a straight line through the latest cycles leads to, where it falls; and what was
offered from this time of day on the day before, in part of what was offered at it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct

DAY, SLOT = 86_400.0, 900.0


class Slot(Struct, frozen=True):
    """The least that was offered within a quarter of an hour, when that began, and the least of the one a day earlier."""

    began: float
    least: float
    day_before: float | None = None


class Offered(Struct, frozen=True):
    """What is remembered of one resource: the latest cycles (time, amount), and by time of day its last quarter of an hour."""

    latest: tuple[tuple[float, float], ...] = ()
    slots: dict[int, Slot] = {}


def noted(before: Offered, amount: float, now: float, horizon: float) -> Offered:
    """The memory with what is offered now."""
    latest = tuple(each for each in before.latest if now - horizon <= each[0] < now)
    began = now - now % SLOT
    old = before.slots.get(_number(now))
    if old is not None and old.began == began:
        slot = Slot(began, min(old.least, amount), old.day_before)
    else:
        slot = Slot(began, amount, old.least if old is not None and old.began == began - DAY else None)
    return Offered((*latest, (now, amount)), {**before.slots, _number(now): slot})


def part_expected(known: Offered, now: float, horizon: float) -> float:
    """0 to 1: which part of what is offered now will be there until the horizon."""
    if not known.latest:
        return 1.0
    return max(min(1.0, _by_trend(known.latest, horizon), _by_day(known.slots, now, horizon)), 0.0)


def _by_trend(latest: Sequence[tuple[float, float]], horizon: float) -> float:
    """By the line through the latest cycles, which two do not make."""
    times, amounts = np.array(latest).T
    if len(times) < 3 or amounts[-1] <= 0:
        return 1.0
    slope = float(np.polyfit(times - times[-1], amounts, 1)[0])
    return 1.0 + slope * horizon / float(amounts[-1])


def _by_day(slots: Mapping[int, Slot], now: float, horizon: float) -> float:
    """By the day before."""
    here, began = slots.get(_number(now)), now - now % SLOT
    if here is None or not here.day_before:
        return 1.0
    times = np.arange(began + SLOT, now + horizon, SLOT).tolist()
    ahead = [slot.least for time in times if (slot := slots.get(_number(time))) and slot.began == time - DAY]
    return min(ahead, default=here.day_before) / here.day_before


def _number(time: float) -> int:
    return int(time % DAY // SLOT)
