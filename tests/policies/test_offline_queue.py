from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.policies.offline_queue import aged_priority, fits_before, in_valley, is_overdue

DAY = 86_400.0


@pytest.mark.parametrize(
    ("load", "was", "expected"),
    [
        (0.39, False, True),
        (0.40, False, False),
        (0.44, True, True),
        (0.45, True, True),
        (0.46, True, False),
        (nan, False, False),
        (nan, True, False),
    ],
    ids=["falls below", "at the mark", "rises a little", "at the end", "rises above", "unknown", "unknown in a valley"],
)
def test_a_valley_begins_below_the_mark_and_ends_above_it(load: float, *, was: bool, expected: bool) -> None:
    assert in_valley(load, was=was, watermark=0.40, hysteresis=0.05) is expected


@given(st.lists(st.floats(0.36, 0.44), max_size=20), st.booleans())
def test_a_load_within_the_hysteresis_never_switches_a_valley_off(loads: list[float], was: bool) -> None:
    state = was
    for load in loads:
        before, state = state, in_valley(load, was=state, watermark=0.40, hysteresis=0.05)
        assert state >= before


@given(st.floats(0, 10_000), st.floats(0, 10_000), st.floats(0, 30 * DAY), st.floats(0, 30 * DAY), st.floats(60, DAY))
def test_a_job_passes_every_other_once_it_has_waited_long_enough(
    priority: float, other: float, waited: float, since: float, seconds_per_point: float
) -> None:
    longer = max(other - priority, 0) * seconds_per_point + since + 1.0
    mine = aged_priority(priority, max(waited, longer), seconds_per_point=seconds_per_point)
    assert mine > aged_priority(other, since, seconds_per_point=seconds_per_point) - 1e-6


@pytest.mark.parametrize(
    ("waited", "deadline", "expected"),
    [(DAY, DAY, True), (DAY - 1, DAY, False), (100 * DAY, None, False)],
    ids=["at its deadline", "before it", "without one"],
)
def test_a_job_that_waited_to_its_deadline_is_overdue(waited: float, deadline: float | None, *, expected: bool) -> None:
    assert is_overdue(waited, deadline=deadline) is expected


@pytest.mark.parametrize(
    ("closing", "run_time", "expected"),
    [
        (None, 9999.0, True),
        (1600.0, 600.0, True),
        (1600.0, 601.0, False),
        (1600.0, None, True),
        (1299.0, None, False),
        (1299.0, 10.0, False),
    ],
    ids=["no end", "just in time", "too long", "unknown", "unknown within the margin", "short within the margin"],
)
def test_nothing_starts_that_will_not_end_before_the_window_closes(
    closing: float | None, run_time: float | None, *, expected: bool
) -> None:
    assert fits_before(closing, 1000.0, run_time=run_time, margin=300.0) is expected
