import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.forecast.runtimes import KEPT_RUNS, run_time, with_run
from neaptide.forecast.seasonal import seasonal_quantile


def test_the_forecast_is_the_median_at_the_same_phase() -> None:
    past = np.array([1.0, 10, 100, 3, 20, 300, 2, 30, 200, 7])
    assert seasonal_quantile(past, period=3, horizon=4, fraction=0.5).tolist() == [20, 200, 2.5, 20]


def test_unknown_values_are_passed_over_and_unseen_phases_are_unknown() -> None:
    past = np.array([np.nan, 10.0, np.nan, 20.0])
    forecast = seasonal_quantile(past, period=2, horizon=2, fraction=1.0)
    assert np.isnan(forecast[0])
    assert forecast[1] == 20


def test_nothing_is_forecast_from_nothing() -> None:
    assert np.isnan(seasonal_quantile(np.array([]), period=4, horizon=6, fraction=0.5)).all()


@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 30), st.floats(0, 1))
def test_a_series_that_repeats_is_forecast_exactly(period: int, seasons: int, horizon: int, fraction: float) -> None:
    season = np.arange(float(period))
    forecast = seasonal_quantile(np.tile(season, seasons), period=period, horizon=horizon, fraction=fraction)
    assert np.allclose(forecast, np.resize(season, horizon))


@pytest.mark.parametrize(
    ("past", "fraction", "expected"),
    [((), 0.9, None), ((60.0,), 0.9, 60.0), (tuple(range(10, 110, 10)), 0.9, 90), ((30.0, 10.0, 20.0), 0.5, 20.0)],
    ids=["no run yet", "one run", "nine of ten", "the middle of three"],
)
def test_a_run_time_is_what_that_part_of_past_runs_did_not_pass(
    past: tuple[float, ...], fraction: float, expected: float | None
) -> None:
    assert run_time(past, fraction) == expected


def test_only_the_latest_runs_are_kept() -> None:
    past: tuple[float, ...] = ()
    for seconds in range(KEPT_RUNS + 5):
        past = with_run(past, float(seconds))
    assert past == tuple(float(seconds) for seconds in range(5, KEPT_RUNS + 5))
