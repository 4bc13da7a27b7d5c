"""Axes have round ticks, and numbers, money and times are written as people read them."""

from collections.abc import Callable
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.simulator.report.scale import (
    HOUR,
    UNKNOWN,
    amount,
    clock,
    dollars,
    duration,
    percent,
    ticks,
    time_ticks,
)

MONDAY = 1_767_571_200.0


@given(st.floats(min_value=1e-9, max_value=1e15))
def test_ticks_begin_at_zero_reach_the_top_and_are_few(top: float) -> None:
    marks = ticks(top)
    assert marks[0] == 0
    assert marks[-2] < top * (1 + 1e-6)
    assert marks[-1] >= top * (1 - 1e-6)
    assert 2 <= len(marks) <= 7


@pytest.mark.parametrize("top", [0.0, 5e-324, -1.0, nan, inf], ids=str)
def test_without_a_top_there_is_still_an_axis(top: float) -> None:
    assert ticks(top) == [0.0, 1.0]


@given(st.integers(0, 4 * 10**9), st.integers(60, 400 * 86_400))
def test_ticks_of_time_are_inside_and_few(start: int, length: int) -> None:
    marks = time_ticks(start, start + length)
    assert len(marks) <= 7
    assert all(start <= mark <= start + length for mark in marks)


@pytest.mark.parametrize(
    ("start", "hours", "found"),
    [
        (MONDAY, 24, ["00:00", "04:00", "08:00", "12:00", "16:00", "20:00", "24:00"]),
        (MONDAY + 8 * HOUR, 24, ["08:00", "12:00", "16:00", "20:00", "00:00", "04:00", "08:00"]),
        (MONDAY + HOUR / 2, 2, ["00:30", "01:00", "01:30", "02:00", "02:30"]),
    ],
    ids=["a day from midnight", "a day from eight", "two hours"],
)
def test_times_stand_at_whole_hours(start: float, hours: int, found: list[str]) -> None:
    end = start + hours * HOUR
    assert [clock(mark, end=end) for mark in time_ticks(start, end)] == found


CASES: dict[Callable[[Any], str], list[tuple[Any, str]]] = {
    amount: [(0, "0"), (3.14159, "3.14"), (31.4, "31.4"), (22495.2, "22\u202f495"), (-5.5, "-5.50"), (nan, UNKNOWN)],
    dollars: [(0.768, "$0.77"), (20, "$20"), (6854.9, "$6,855"), (None, UNKNOWN), (inf, UNKNOWN)],
    duration: [(47.4, "47\u00a0s"), (4080, "68\u00a0min"), (46735, "12\u00a0h 59\u00a0min"), (nan, UNKNOWN)],
    percent: [(0.396, "40\u00a0%"), (1.0, "100\u00a0%"), (nan, UNKNOWN)],
}


@pytest.mark.parametrize(
    ("write", "value", "written"),
    [(write, value, written) for write, cases in CASES.items() for value, written in cases],
)
def test_unknown_is_a_dash_and_the_rest_has_the_digits_that_count(
    write: Callable[[Any], str], value: float | None, written: str
) -> None:
    assert write(value) == written
