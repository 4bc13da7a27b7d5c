import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.simulator.traces.series import DAY, Gap, make_series

HOUR = 3600.0


def test_a_missing_sample_is_a_gap_with_its_length() -> None:
    series, _ = make_series("x", [0, 300, 600, 1500, 1800], [1, 2, 3, 4, 5])
    assert series.step == 300
    assert series.gaps == (Gap(600, 1500, 2),)


def test_events_have_no_step_and_no_gaps() -> None:
    series, _ = make_series("x", [0, 1, 50, 400, 401, 9000], [1.0] * 6)
    assert np.isnan(series.step)
    assert series.gaps == ()


def test_a_little_jitter_leaves_a_series_regular() -> None:
    series, _ = make_series("x", [0, 301, 599, 902, 1200], [1.0] * 5)
    assert series.step == pytest.approx(300, abs=3)
    assert series.gaps == ()


def test_samples_are_put_in_order_and_of_two_at_one_time_the_first_counts() -> None:
    series, again = make_series("x", [600, 0, 300, 0, 600], [3, 1, 2, 8, 9])
    assert series.times.tolist() == [0, 300, 600]
    assert series.values.tolist() == [1, 2, 3]
    assert again == [3, 4]


def test_values_lie_on_the_line_between_samples_and_are_unknown_outside_and_in_gaps() -> None:
    series, _ = make_series("x", [0, 10, 20, 50, 60], [0, 10, 20, 50, 60])
    np.testing.assert_equal(
        series.at([-1, 0, 5, 20, 20.1, 49.9, 50, 60, 61]), [np.nan, 0, 5, 20, np.nan, np.nan, 50, 60, np.nan]
    )


def test_a_single_time_gives_a_single_value() -> None:
    series, _ = make_series("x", [0, 10, 20, 50, 60], [0, 10, 20, 50, 60])
    assert float(series.at(5)) == 5
    assert np.isnan(series.at(30))


def test_an_empty_series_knows_nothing() -> None:
    series, _ = make_series("x", [], [])
    assert np.isnan(series.at([0.0, 1.0])).all()
    with pytest.raises(ValueError, match="x: only samples at a regular step"):
        series.repeated([0.0])


def test_a_series_shorter_than_what_is_repeated_is_refused() -> None:
    series, _ = make_series("x", [0, HOUR, 2 * HOUR], [1, 2, 3])
    with pytest.raises(ValueError, match="lasts 10800 s; accepted: 86400 s or more"):
        series.repeated([0.0])


def test_a_repeated_series_keeps_the_time_of_day_and_drops_what_is_left_of_the_last_day() -> None:
    times = np.arange(0, 60) * HOUR  # two and a half days
    series, _ = make_series("x", times + 5 * HOUR, times / HOUR)
    at = 5 * HOUR + np.array([0, 47, 48, 49, 96, -1, -48]) * HOUR
    assert series.repeated(at).tolist() == [0, 47, 0, 1, 0, 47, 0]


def test_the_seam_of_a_repeated_series_is_the_line_from_its_last_sample_to_its_first() -> None:
    times = np.arange(24) * HOUR
    series, _ = make_series("x", times, times / HOUR)
    assert series.repeated([23.5 * HOUR]).tolist() == [11.5]


@given(
    st.lists(st.tuples(st.integers(0, 200), st.floats(-1e6, 1e6)), max_size=60),
    st.integers(-5, 5),
)
def test_every_sample_is_kept_once_and_found_again_at_its_time(samples: list[tuple[int, float]], days: int) -> None:
    times, values = [time * 600.0 for time, _ in samples], [value for _, value in samples]
    series, again = make_series("x", times, values)
    assert len(series.times) + len(again) == len(samples)
    assert (np.diff(series.times) > 0).all()
    np.testing.assert_array_equal(series.at(series.times), series.values)
    for gap in series.gaps:
        assert gap.missing >= 1
    if not np.isnan(series.step) and series.times[-1] + series.step - series.times[0] >= DAY:
        whole = np.floor((series.times[-1] + series.step - series.times[0]) / DAY) * DAY
        inside = series.times < series.times[0] + whole
        np.testing.assert_allclose(
            series.repeated(series.times[inside] + days * whole), series.values[inside], atol=1e-3
        )
