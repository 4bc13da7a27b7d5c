from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from math import inf, nan
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neaptide.model.problems import FieldError
from neaptide.policies.window_schedule import (
    DAY,
    Window,
    WindowSpec,
    closes_at,
    is_open,
    next_open,
    parse_window,
)

HOUR = 3600.0
MINUTE = 60.0


def window(schedule: str, hours: float, zone: str = "UTC") -> Window:
    return parse_window(WindowSpec(schedule, hours * HOUR, zone))


def at(text: str, zone: str = "UTC", fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


NIGHTS = [window("0 22 * * *", 8, "Europe/Berlin")]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-21T21:59:59", (False, None, "2026-11-21T22:00:00")),
        ("2026-11-21T22:00:00", (True, "2026-11-22T06:00:00", "2026-11-22T22:00:00")),
        ("2026-11-22T05:59:59", (True, "2026-11-22T06:00:00", "2026-11-22T22:00:00")),
        ("2026-11-22T06:00:00", (False, None, "2026-11-22T22:00:00")),
    ],
    ids=["just before", "at the start", "just before the end", "at the end"],
)
def test_a_window_is_open_from_its_start_until_before_its_end(now: str, expected: tuple[bool, str | None, str]) -> None:
    zone = "Europe/Berlin"
    moment = at(now, zone)
    opened, closing, following = expected
    assert is_open(NIGHTS, moment) is opened
    assert closes_at(NIGHTS, moment) == (closing and at(closing, zone))
    assert next_open(NIGHTS, moment) == at(following, zone)


@pytest.mark.parametrize(
    ("zone", "schedule", "before", "start"),
    [
        ("Europe/Berlin", "30 2 * * *", "2026-03-29T00:00", at("2026-03-29T03:00", "Europe/Berlin")),
        ("Europe/Berlin", "30 2 * * *", "2026-10-25T00:00", at("2026-10-25T02:30", "Europe/Berlin")),
        ("America/New_York", "0 2 * * *", "2026-03-08T00:00", at("2026-03-08T03:00", "America/New_York")),
        ("America/New_York", "15 1 * * *", "2026-11-01T00:00", at("2026-11-01T01:15", "America/New_York")),
        ("Australia/Lord_Howe", "10 2 * * *", "2026-10-04T00:00", at("2026-10-04T02:30", "Australia/Lord_Howe")),
        ("Australia/Lord_Howe", "*/10 5 * * *", "2026-10-04T04:00", at("2026-10-04T05:00", "Australia/Lord_Howe")),
        ("Australia/Lord_Howe", "40 1 * * *", "2026-04-05T00:00", at("2026-04-05T01:40", "Australia/Lord_Howe")),
        ("Asia/Kathmandu", "0 0 * * *", "2026-11-20T12:00", at("2026-11-20T18:15")),
        ("Pacific/Apia", "0 12 30 12 *", "2011-12-29T20:00", at("2011-12-31T00:00", "Pacific/Apia")),
        ("UTC", "0 0 29 2 *", "2097-01-01T00:00", at("2104-02-29T00:00")),
        ("UTC", "0 0 1-7 * */7", "2026-11-21T00:00", at("2026-12-06T00:00")),
    ],
    ids=[
        "Berlin's spring gap moves the start behind it",
        "Berlin's autumn hour counts the first time",
        "New York's gap",
        "New York's autumn hour",
        "Lord Howe's half-hour gap",
        "Lord Howe after its half-hour gap",
        "Lord Howe's half-hour repeat",
        "Kathmandu's quarter of an hour",
        "a day that Samoa left out",
        "the leap day after 2100",
        "the first Sunday of a month",
    ],
)
def test_the_next_start_is_where_the_wall_clock_has_it(zone: str, schedule: str, before: str, start: float) -> None:
    assert next_open([window(schedule, 0.25, zone)], at(before, zone)) == start


def test_a_start_in_the_hour_that_comes_twice_is_not_repeated() -> None:
    zone = "Europe/Berlin"
    short = [window("30 2 * * *", 0.25, zone)]
    assert is_open(short, at("2026-10-25T02:35", zone, fold=0))
    assert not is_open(short, at("2026-10-25T02:35", zone, fold=1))


def test_every_hour_means_both_hours_in_autumn() -> None:
    zone = "Europe/Berlin"
    hourly = [window("30 * * * *", 0.25, zone)]
    assert is_open(hourly, at("2026-10-25T02:35", zone, fold=0))
    assert is_open(hourly, at("2026-10-25T02:35", zone, fold=1))


def test_a_duration_is_elapsed_time_on_the_night_that_is_an_hour_short() -> None:
    zone = "Europe/Berlin"
    assert closes_at(NIGHTS, at("2026-03-28T23:00", zone)) == at("2026-03-29T07:00", zone)


def test_windows_that_overlap_or_touch_close_once() -> None:
    windows = [window("0 1 * * *", 2), window("0 2 * * *", 3), window("0 5 * * *", 1), window("0 9 * * *", 1)]
    assert closes_at(windows, at("2026-11-21T01:30")) == at("2026-11-21T06:00")
    assert next_open(windows, at("2026-11-21T01:30")) == at("2026-11-21T09:00")


@pytest.mark.parametrize(
    "windows",
    [[window("0 0 * * *", 24)], [window("* * * * *", 0.1)], [window("0 0 * * 1", 24 * 7)]],
    ids=["each day for a day", "each minute for six", "each Monday for a week"],
)
def test_windows_without_a_gap_never_close(windows: list[Window]) -> None:
    now = at("2026-11-21T12:34")
    assert is_open(windows, now)
    assert closes_at(windows, now) == inf
    assert next_open(windows, now) is None


def test_a_window_longer_than_the_horizon_closes_at_its_end() -> None:
    long = [window("0 0 1 1 *", 24 * 30)]
    assert closes_at(long, at("2026-01-02T00:00")) == at("2026-01-31T00:00")


def test_no_windows_are_never_open() -> None:
    assert not is_open([], 0.0)
    assert closes_at([], 0.0) is None
    assert next_open([], 0.0) is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"schedule": ""}, "schedule"),
        ({"schedule": "0 22 * *"}, "schedule"),
        ({"schedule": "0 0 22 * * *"}, "schedule"),
        ({"schedule": "61 22 * * *"}, "schedule"),
        ({"schedule": "0 0 31 2 *"}, "schedule"),
        ({"schedule": "@daily"}, "schedule"),
        ({"schedule": "9" * 5000 + " * * * *"}, "schedule"),
        ({"time_zone": "Europe/Atlantis"}, "timeZone"),
        ({"time_zone": ""}, "timeZone"),
        ({"time_zone": "../../etc/passwd"}, "timeZone"),
        ({"time_zone": "/etc/localtime"}, "timeZone"),
        ({"time_zone": "Europe"}, "timeZone"),
        ({"time_zone": "UTC\0"}, "timeZone"),
        ({"duration_seconds": 0.0}, "durationSeconds"),
        ({"duration_seconds": -1.0}, "durationSeconds"),
        ({"duration_seconds": nan}, "durationSeconds"),
        ({"duration_seconds": inf}, "durationSeconds"),
    ],
)
def test_what_cannot_be_used_is_refused_by_field_value_and_what_is_accepted(change: dict[str, Any], field: str) -> None:
    values: dict[str, Any] = {"schedule": "0 22 * * *", "duration_seconds": 60.0, "time_zone": "UTC"} | change
    with pytest.raises(FieldError) as caught:
        parse_window(WindowSpec(**values), where="windows[0].")
    assert caught.value.field == f"windows[0].{field}"
    assert caught.value.value == str(next(iter(change.values())))
    assert caught.value.accepted


@given(st.text(max_size=30), st.text(max_size=30), st.floats())
def test_no_text_stops_the_parser(schedule: str, zone: str, duration: float) -> None:
    with suppress(FieldError):
        assert parse_window(WindowSpec(schedule, duration, zone)).duration == duration


# -- against every minute, one by one ----------------------------------------------------------------------------------


class Field(NamedTuple):
    text: str
    values: frozenset[int]


def field_of(low: int, high: int) -> st.SearchStrategy[Field]:
    numbers = st.integers(low, high)
    every = frozenset(range(low, high + 1))
    return st.one_of(
        st.just(Field("*", every)),
        st.integers(2, 12).map(lambda step: Field(f"*/{step}", frozenset(range(low, high + 1, step)))),
        numbers.map(lambda value: Field(str(value), frozenset({value}))),
        st.lists(numbers, min_size=2, max_size=4).map(
            lambda some: Field(",".join(map(str, sorted(some))), frozenset(some))
        ),
        st.tuples(numbers, numbers).map(
            lambda ends: Field(f"{min(ends)}-{max(ends)}", frozenset(range(min(ends), max(ends) + 1)))
        ),
    )


# Days on which the clocks of a zone are changed, in spring and in autumn, and one where they never are.
DAYS = st.sampled_from(
    [
        ("Europe/Berlin", 2026, 3, 29),
        ("Europe/Berlin", 2026, 10, 25),
        ("America/New_York", 2026, 3, 8),
        ("America/New_York", 2026, 11, 1),
        ("Australia/Lord_Howe", 2026, 10, 4),
        ("Australia/Lord_Howe", 2026, 4, 5),
        ("Asia/Kathmandu", 2026, 6, 1),
        ("America/Santiago", 2026, 9, 6),
        ("America/Santiago", 2026, 4, 5),
        ("Africa/Cairo", 2026, 4, 24),
        ("Africa/Cairo", 2026, 10, 30),
    ]
)


def every_start(minute: Field, hour: Field, weekday: Field, zone: ZoneInfo, minutes: Iterable[float]) -> list[float]:
    """Debian cron by watching a clock: starts at a fixed time run once the clock has reached or passed them."""

    def fits(local: datetime) -> bool:
        return local.minute in minute.values and local.hour in hour.values and local.isoweekday() % 7 in weekday.values

    fixed = not minute.text.startswith("*") and not hour.text.startswith("*")
    starts, reached = [], None
    for moment in minutes:
        local = datetime.fromtimestamp(moment, zone).replace(tzinfo=None)
        if not fixed:
            due = fits(local)
        else:
            due, step = False, local if reached is None else reached + timedelta(minutes=1)
            while step <= local:
                due, step = due or fits(step), step + timedelta(minutes=1)
            reached = local if reached is None else max(reached, local)
        if due:
            starts.append(moment)
    return starts


@settings(max_examples=30)
@given(DAYS, field_of(0, 59), field_of(0, 23), field_of(0, 6), st.integers(1, 1500))
def test_windows_agree_with_a_clock_watched_minute_by_minute(
    day: tuple[str, int, int, int], minute: Field, hour: Field, weekday: Field, duration: int
) -> None:
    zone_name, year, month, number = day
    zone = ZoneInfo(zone_name)
    middle = datetime(year, month, number, 12, tzinfo=UTC).timestamp()
    begin, end = middle - 1.5 * DAY, middle + 1.5 * DAY
    early = begin - duration * MINUTE - DAY
    minutes = [early + MINUTE * step for step in range(int((end + 2 * DAY - early) / MINUTE))]
    starts = every_start(minute, hour, weekday, zone, minutes)
    schedule = f"{minute.text} {hour.text} * * {weekday.text}"
    windows = [parse_window(WindowSpec(schedule, duration * MINUTE, zone_name))]

    opened = [False] * len(minutes)
    for start in starts:
        first = round((start - early) / MINUTE)
        opened[first : first + duration] = [True] * len(opened[first : first + duration])
    shut, until = inf, []
    reopens, after = inf, []
    for moment, state, before in zip(reversed(minutes), reversed(opened), [*reversed(opened[:-1]), False], strict=True):
        shut = shut if state else moment
        until.append(shut)
        after.append(reopens)
        reopens = moment if state and not before else reopens

    for step, (moment, state, closing, opening) in enumerate(
        zip(minutes, opened, reversed(until), reversed(after), strict=True)
    ):
        if not begin <= moment < end:
            continue
        assert is_open(windows, moment) is state
        if step % 271 == 0:
            closes, opens = closes_at(windows, moment), next_open(windows, moment)
            assert (closes is not None) is state
            assert not state or min(closes or inf, minutes[-1]) == min(closing, minutes[-1])
            assert min(opens or inf, minutes[-1]) == min(opening, minutes[-1])
