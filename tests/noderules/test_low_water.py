"""What was asked for all the while: it falls at once, and rises when nothing lower is left."""

from hypothesis import given
from hypothesis import strategies as st

from neaptide.noderules.low_water import LowWater

SECONDS = 5.0


def test_it_falls_at_once_and_rises_when_the_lower_value_is_old() -> None:
    mark = LowWater(SECONDS)
    asked = {0: 50, 1: 40, 2: 60, 3: 45, 5: 60, 6: 60, 7: 60, 8: 60}
    assert [mark.of(value, float(at)) for at, value in asked.items()] == [50, 40, 40, 40, 40, 45, 45, 60]
    mark.forget()
    assert mark.of(90, 9.0) == 90


@given(st.lists(st.tuples(st.floats(0.1, 3.0), st.integers(0, 100)), min_size=1))
def test_it_is_the_least_of_the_last_seconds(asked: list[tuple[float, int]]) -> None:
    mark, now, past = LowWater(SECONDS), 0.0, list[tuple[float, int]]()
    for pause, value in asked:
        now += pause
        past.append((now, value))
        assert mark.of(value, now) == min(each for at, each in past if now - at < SECONDS)
