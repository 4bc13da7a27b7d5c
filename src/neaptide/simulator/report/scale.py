"""Axes: where ticks stand and how numbers, money and times are written. Times are UTC."""

from datetime import UTC, datetime
from math import ceil, floor, isfinite, log10

from neaptide.model.columns import Floats

HOUR = 3600.0
DAY = 24 * HOUR

_TIME_STEPS = tuple(HOUR * hours for hours in (0.25, 0.5, 1, 2, 3, 4, 6, 12, 24, 48, 7 * 24))
_LEAST = 1e-300
"""Below it powers of ten run out, and a value is as good as 0."""
_NO_BREAK = "\N{NO-BREAK SPACE}"
UNKNOWN = "\N{EN DASH}"


def ticks(top: float, *, about: int = 5) -> list[float]:
    """Round numbers from 0 up, `about` steps of 1, 2, 2.5 or 5 times a power of ten; the last is not below `top`."""
    if not isfinite(top) or top < _LEAST:
        return [0.0, 1.0]
    rough = top / about
    power = 10.0 ** floor(log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * (1 - 1e-9))
    return [step * each for each in range(ceil(top / step - 1e-9) + 1)]


def time_ticks(start: float, end: float, *, most: int = 7) -> list[float]:
    """At most `most` whole quarters of hours, hours or days from `start` to `end`."""
    step = next(
        (each for each in _TIME_STEPS if (end - start) / each <= most - 1), ceil((end - start) / DAY / (most - 1)) * DAY
    )
    first = ceil(start / step)
    return [step * each for each in range(first, floor(end / step) + 1)]


def clock(time: float, *, end: float | None = None) -> str:
    """The hour and minute; a run's own `end` at midnight is 24:00."""
    moment = datetime.fromtimestamp(time, UTC)
    return "24:00" if time == end and not time % DAY else f"{moment:%H:%M}"


def amount(value: float | None, *, unit: str = "") -> str:
    """A number with three digits that count, thousands apart; unknown is a dash."""
    if value is None or not isfinite(value):
        return UNKNOWN
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    written = f"{value:,.{digits}f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"{written}{_NO_BREAK}{unit}" if unit else written


def dollars(value: float | None) -> str:
    """US dollars; unknown is a dash."""
    if value is None or not isfinite(value):
        return UNKNOWN
    digits = 0 if abs(value) >= 100 or value == int(value) else 2
    return f"${value:,.{digits}f}"


def percent(value: float) -> str:
    """A fraction in whole percent."""
    return f"{value * 100:.0f}{_NO_BREAK}%" if isfinite(value) else UNKNOWN


def duration(seconds: float | None) -> str:
    """Hours and minutes, or minutes, or seconds."""
    if seconds is None or not isfinite(seconds):
        return UNKNOWN
    if seconds < 120:
        return f"{seconds:.0f}{_NO_BREAK}s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes}{_NO_BREAK}min"
    return f"{minutes // 60}{_NO_BREAK}h {minutes % 60:02d}{_NO_BREAK}min"


def highest(values: list[Floats]) -> float:
    """The largest known value of all; 0 where there is none."""
    known = [float(each[each == each].max()) for each in values if (each == each).any()]  # noqa: PLR0124 - nan differs from itself
    return max(known, default=0.0)
