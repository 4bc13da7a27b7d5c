"""Usage over time."""

import numpy as np
import pytest
from tests.simulator.worlds import START

from neaptide.model.problems import FieldError
from neaptide.simulator.curves import BLOCK, AnyCurve, Constant, CurveTable, Daily, FromSeries, Points, Real
from neaptide.simulator.traces.series import make_series

HOURS = START + 3600.0 * np.arange(0, 25, 6, dtype=np.float64)


@pytest.mark.parametrize(
    ("curve", "values"),
    [
        (Constant(0.4), [0.4, 0.4, 0.4, 0.4, 0.4]),
        (Daily(0.2, 0.8, peak_hour=12), [0.2, 0.5, 0.8, 0.5, 0.2]),
        (Points(((0, 0.1), (43_200, 0.7))), [0.1, 0.4, 0.7, 0.4, 0.1]),
    ],
    ids=["constant", "a wave with its peak at noon", "lines between points, through midnight"],
)
def test_curves(curve: AnyCurve, values: list[float]) -> None:
    assert curve.usage(HOURS) == pytest.approx(values)


def test_a_real_series_keeps_its_time_of_day_and_is_scaled_to_its_peak() -> None:
    curve = Real("nyc_taxi", peak=0.8)
    day = curve.usage(START + 1800.0 * np.arange(48 * 7, dtype=np.float64))
    assert 0 <= day.min() < day.max() <= 0.8
    by_hour = day.reshape(7, 48).mean(axis=0)
    assert by_hour[8:12].mean() < by_hour[36:40].mean()  # before dawn, and in the evening


def test_a_series_that_is_not_packaged_is_refused() -> None:
    with pytest.raises(FieldError, match="nyc_taxi"):
        Real("nowhere").usage(HOURS)


def test_gaps_are_bridged_and_nothing_is_negative() -> None:
    times = 3600.0 * np.arange(24, dtype=np.float64)
    series, _ = make_series("gap", np.delete(times, [5, 6, 7]), np.delete(np.linspace(-1, 4, 24), [5, 6, 7]))
    values = FromSeries(series, peak=1.0).usage(times)
    assert not np.isnan(values).any()
    assert values.min() >= 0


def test_the_table_gives_what_the_curves_give_at_every_tick_also_after_new_ones_came() -> None:
    table, wave = CurveTable(60.0), Daily(0.2, 0.8)
    assert table.add(wave) == 0
    for tick in range(2 * BLOCK):
        now = START + 60.0 * tick
        if tick == BLOCK + 3:
            assert table.add(Constant(0.5)) == 1
            assert table.add(Daily(0.2, 0.8)) == 0
        assert table.at(now)[0] == pytest.approx(wave.usage(np.array([now]))[0])
    assert table.at(now)[1] == 0.5
