"""Ticks in slots: levels are averaged, counts are summed in the slot that they are of, waits are counted exactly."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.simulator.report.runs import START, ledger

from neaptide.simulator.ledger import Wait
from neaptide.simulator.report.slots import edges_of, mean_in, sum_in, waiting_at

HOUR = 3600.0


def test_slots_are_as_many_as_wanted_and_not_too_short() -> None:
    assert len(edges_of(START, START + 24 * HOUR, most=96)) == 97
    assert edges_of(START, START + 2 * HOUR, most=48, shortest=HOUR).tolist() == [START, START + HOUR, START + 2 * HOUR]


def test_levels_are_averaged_and_a_slot_without_a_tick_is_unknown() -> None:
    timeline = ledger(hours=2).timeline()
    edges = np.array([START - HOUR, START, START + HOUR])
    levels = mean_in(timeline, (timeline.time - START) / 60, edges)
    assert np.isnan(levels[0])
    assert levels[1] == np.mean(range(0, 60, 5))


def test_an_unknown_value_makes_its_slot_unknown() -> None:
    timeline = ledger(hours=2).timeline()
    values = np.where(timeline.time == START + 600, np.nan, 1.0)
    found = mean_in(timeline, values, edges_of(START, START + 2 * HOUR, most=2))
    assert np.isnan(found[0])
    assert found[1] == 1.0


def test_what_was_counted_at_a_tick_is_of_the_time_before_it() -> None:
    timeline = ledger(hours=2).timeline()
    at_the_hour = (timeline.time == START + HOUR).astype(np.float64)
    assert sum_in(timeline, at_the_hour, edges_of(START, START + 2 * HOUR, most=2)).tolist() == [1.0, 0.0]


def test_no_count_after_the_start_is_lost() -> None:
    timeline = ledger(hours=5).timeline()
    total = sum_in(timeline, timeline.evictions, edges_of(START, START + 5 * HOUR, most=7)).sum()
    assert total == timeline.evictions.sum()


@given(
    st.lists(st.tuples(st.integers(0, 50), st.one_of(st.none(), st.integers(0, 50)))),
    st.lists(st.integers(0, 120), min_size=1),
)
def test_pods_wait_from_when_they_are_wanted_until_they_start(
    drawn: list[tuple[int, int | None]], times: list[int]
) -> None:
    waits = [Wait("", True, at, np.nan if length is None else at + length, 0) for at, length in drawn]
    found = waiting_at(waits, np.array(times, dtype=np.float64))
    for time, count in zip(times, found.tolist(), strict=True):
        assert count == sum(at <= time and not (length is not None and at + length <= time) for at, length in drawn)
