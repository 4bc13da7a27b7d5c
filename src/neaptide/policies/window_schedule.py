"""When offline work may run by the clock: windows that start by cron in a time zone and last for a duration.

A window is open for its duration in elapsed seconds, from its start on and its end excluded; several windows that touch
or overlap are one. Daylight saving follows Debian's cron: a start at a fixed time that falls into the hour that is left
out in spring comes at the first moment after it, and one in the hour that comes twice in autumn counts the first time
only; where the minute or the hour field begins with `*`, the clock on the wall decides, and both hours count.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from math import inf
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from msgspec import Struct

from neaptide.model.problems import FieldError

DAY = 86_400.0
MAX_DURATION = 366 * DAY
# Windows that follow each other without a gap for longer than this never close, as far as anyone needs to know.
HORIZON = 8 * DAY
# The rarest day that cron can name, the fifth of some weekday in February, comes back after 40 years at most.
SEARCHED_DAYS = 41 * 366


class WindowSpec(Struct, frozen=True, rename="camel"):
    """`schedule` has cron's five fields; `time_zone` is an IANA name; `duration_seconds` says how long it stays open."""

    schedule: str
    duration_seconds: float
    time_zone: str = "UTC"


class Window(NamedTuple):
    """A window that was checked: cron expression, time zone, seconds."""

    schedule: str
    zone: ZoneInfo
    duration: float


def parse_window(spec: WindowSpec, *, where: str = "") -> Window:
    """A window that can be used.

    Args:
        spec: as the user wrote it.
        where: the path that leads to it, `windows[0].`.

    Raises:
        FieldError: naming the field, its value and what is accepted.
    """
    try:
        _cron(spec.schedule)
    except (CronSimError, ValueError, AssertionError) as error:
        accepted = "a cron expression of five fields such as `0 22 * * MON-FRI`"
        raise FieldError(f"{where}schedule", spec.schedule, accepted) from error
    try:
        zone = ZoneInfo(spec.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise FieldError(f"{where}timeZone", spec.time_zone, "an IANA time zone such as Europe/Berlin") from error
    if not 0 < spec.duration_seconds <= MAX_DURATION:
        accepted = f"seconds above 0, at most {MAX_DURATION:.0f} (366 days)"
        raise FieldError(f"{where}durationSeconds", spec.duration_seconds, accepted)
    return Window(spec.schedule, zone, spec.duration_seconds)


def is_open(windows: Sequence[Window], now: float) -> bool:
    """Whether any window is open at `now` (seconds since the epoch)."""
    return _covered_until(windows, now) is not None


def closes_at(windows: Sequence[Window], now: float) -> float | None:
    """When the windows that are open will all be closed; None where none is open, inf where that is beyond `HORIZON`."""
    begin = end = _covered_until(windows, now)
    while end is not None and begin is not None:
        further = _covered_until(windows, end)
        if further is None:
            return end
        end = further
        if end - begin > HORIZON:
            return inf
    return end


def next_open(windows: Sequence[Window], now: float) -> float | None:
    """When the windows open next: while one is open, the first time after they have closed. None where they never do."""
    closing = closes_at(windows, now)
    if closing == inf:
        return None
    starts = [_next_start(window, now if closing is None else closing) for window in windows]
    return min((start for start in starts if start is not None), default=None)


def _covered_until(windows: Sequence[Window], now: float) -> float | None:
    """The latest end of the windows that are open at `now`; None where none is."""
    ends = [start + window.duration for window in windows if (start := _last_start(window, now)) is not None]
    return max((end for end in ends if end > now), default=None)


def _last_start(window: Window, now: float) -> float | None:
    """The latest start up to `now` that is no longer ago than the window is open."""
    newest, oldest = _day(now, window.zone), _day(now - window.duration, window.zone) - 1
    for day in range(newest, oldest - 1, -1):
        starts = _starts(window.schedule, window.zone, day)
        past = bisect_right(starts, now)
        if past:
            return starts[past - 1]
    return None


def _next_start(window: Window, after: float) -> float | None:
    first = _day(after, window.zone) - 1
    for day in range(first, first + SEARCHED_DAYS):
        starts = _starts(window.schedule, window.zone, day)
        past = bisect_right(starts, after)
        if past < len(starts):
            return starts[past]
    return None


@lru_cache(maxsize=1 << 16)
def _starts(schedule: str, zone: ZoneInfo, day: int) -> tuple[float, ...]:
    """The starts on one local day (a proleptic ordinal), ascending, in seconds since the epoch."""
    cron, local = _cron(schedule), date.fromordinal(day)
    if local.month not in cron.months or not cron.match_day(local):
        return ()
    minute, hour = schedule.split()[:2]
    fixed = not minute.startswith("*") and not hour.startswith("*")
    times = (datetime.combine(local, time(hour, minute)) for hour in cron.hours for minute in cron.minutes)
    return tuple(sorted({moment for each in times for moment in _moments(each, zone, fixed=fixed)}))


def _moments(local: datetime, zone: ZoneInfo, *, fixed: bool) -> Iterator[float]:
    """When the clock on the wall shows `local`: once, twice in autumn, never in spring; exactly once if `fixed`."""
    while not _is_shown(local, zone):
        if not fixed:
            return
        local += timedelta(minutes=1)
    first = local.replace(tzinfo=zone)
    yield first.timestamp()
    second = first.replace(fold=1)
    if not fixed and second.utcoffset() != first.utcoffset():
        yield second.timestamp()


def _is_shown(local: datetime, zone: ZoneInfo) -> bool:
    return local.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) == local


@lru_cache(maxsize=1 << 10)
def _cron(schedule: str) -> CronSim:
    """The parsed fields. CronSim's own iteration is not used: it skips starts where a zone shifts by half an hour."""
    if len(schedule.split()) != 5:
        raise CronSimError("five fields are needed")
    return CronSim(schedule, datetime(2000, 1, 1, tzinfo=UTC))


def _day(moment: float, zone: ZoneInfo) -> int:
    return datetime.fromtimestamp(moment, zone).toordinal()
