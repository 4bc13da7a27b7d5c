"""Events in order of (time, sequence)."""

from hypothesis import given
from hypothesis import strategies as st

from neaptide.simulator.clock import Clock


@given(st.lists(st.integers(0, 20), max_size=50))
def test_events_happen_in_order_of_time_and_then_as_they_were_asked_for(times: list[int]) -> None:
    clock = Clock(0.0)
    seen: list[tuple[float, int]] = []
    for number, time in enumerate(times):
        clock.at(time, lambda number=number: seen.append((clock.now, number)))  # type: ignore[misc] # bound now
    clock.run_until(100.0)
    assert seen == sorted((float(time), number) for number, time in enumerate(times))
    assert clock.now == 100.0


def test_what_is_asked_for_in_the_past_happens_now() -> None:
    clock = Clock(10.0)
    seen: list[float] = []
    clock.at(3.0, lambda: seen.append(clock.now))
    clock.run_until(10.0)
    assert seen == [10.0]


def test_what_repeats_does_not_drift() -> None:
    clock = Clock(0.0)
    seen: list[float] = []
    clock.every(0.1, lambda: seen.append(clock.now), first=1.0)
    clock.run_until(1000.95)
    assert seen == [1.0 + number * 0.1 for number in range(10_000)]


def test_nothing_beyond_the_time_happens() -> None:
    clock = Clock(0.0)
    clock.after(5.0, lambda: 1 / 0)
    clock.run_until(4.999)
    assert clock.events == 0
