import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.forecast.histograms import (
    MAX_EXPONENT,
    Buckets,
    DecayingHistograms,
    HistogramCheckpoint,
    exponential_buckets,
    restore,
)
from neaptide.forecast.history import CPU_BUCKETS, MEMORY_BUCKETS
from neaptide.model.problems import FieldError

HOUR = 3600.0
UNIT = Buckets(np.arange(12.0), 1e-4)
BEGIN = 1_800_000_000.0
ONE = np.array([0])

samples = st.lists(
    st.tuples(st.integers(0, 3), st.floats(0, 2_000_000), st.floats(0, 400 * HOUR)), min_size=1, max_size=40
)


def filled(points: list[tuple[int, float, float]], half_life: float = HOUR) -> DecayingHistograms:
    histograms = DecayingHistograms(CPU_BUCKETS, half_life, series=4)
    for row, value, offset in sorted(points, key=lambda point: point[2]):
        histograms.add(np.array([row]), np.array([value]), BEGIN + offset)
    return histograms


def test_exponential_buckets_start_where_vpa_has_them() -> None:
    buckets = exponential_buckets(maximum=500, first=40, ratio=1.5, epsilon=1e-4)
    assert buckets.starts.tolist() == [0, 40, 100, 190, 325, 527.5]


@pytest.mark.parametrize("buckets", [CPU_BUCKETS, MEMORY_BUCKETS], ids=["cpu", "memory"])
def test_the_default_buckets_reach_their_maximum_with_each_five_percent_wider(buckets: Buckets) -> None:
    widths = np.diff(buckets.starts)
    assert np.allclose(widths[1:] / widths[:-1], 1.05)
    assert buckets.starts[-1] > (1_024_000 if buckets is CPU_BUCKETS else 1 << 41) > buckets.starts[-2]


@pytest.mark.parametrize(
    ("fraction", "value"), [(0.02, 2), (0.03, 3), (0.10, 3), (0.11, 4), (0.34, 4), (0.35, 5)], ids=str
)
def test_newer_samples_outweigh_older_ones_as_in_vpa(fraction: float, value: float) -> None:
    histograms = DecayingHistograms(UNIT, HOUR, series=1)
    for step in range(1, 5):
        histograms.add(ONE, np.array([float(step)]), BEGIN + step * HOUR, weight=float(step))
    assert histograms.percentile(fraction).tolist() == [value]


@pytest.mark.parametrize(
    ("low", "high", "buckets"),
    [(50.0, 1_024_000.0, CPU_BUCKETS), (10.0 * (1 << 20), 2.0 * (1 << 40), MEMORY_BUCKETS)],
    ids=["cpu", "memory"],
)
def test_the_extremes_come_back_within_five_percent(low: float, high: float, buckets: Buckets) -> None:
    histograms = DecayingHistograms(buckets, 12 * HOUR, series=1)
    histograms.add(np.array([0, 0]), np.array([low, high]), BEGIN)
    assert histograms.percentile(0.0)[0] == pytest.approx(low, rel=0.05)
    assert histograms.percentile(1.0)[0] == pytest.approx(high, rel=0.05)


def test_an_empty_series_has_no_percentile() -> None:
    histograms = DecayingHistograms(UNIT, HOUR, series=2)
    histograms.add(np.array([1]), np.array([3.0]), BEGIN)
    assert np.isnan(histograms.percentile(0.5)[0])
    assert histograms.percentile(0.5)[1] == 4


def test_an_unknown_value_is_left_out() -> None:
    histograms = DecayingHistograms(UNIT, HOUR, series=2)
    histograms.add(np.array([0, 1]), np.array([np.nan, 3.0]), BEGIN)
    assert not histograms.weights[0].any()


def test_a_sample_above_the_maximum_counts_in_the_last_bucket() -> None:
    histograms = DecayingHistograms(UNIT, HOUR, series=1)
    histograms.add(ONE, np.array([1e9]), BEGIN)
    assert histograms.percentile(0.5)[0] == 11


def test_moving_the_reference_changes_no_percentile() -> None:
    histograms = DecayingHistograms(UNIT, HOUR, series=2)
    histograms.add(np.array([1]), np.array([9.0]), BEGIN)
    first = histograms.reference
    histograms.add(np.array([0, 0]), np.array([2.0, 5.0]), BEGIN + (MAX_EXPONENT - 1) * HOUR)
    before = histograms.percentile(0.5)[0], histograms.percentile(0.6)[0]
    histograms.add(np.array([1]), np.array([7.0]), BEGIN + (MAX_EXPONENT + 2) * HOUR)
    assert histograms.reference != first
    assert (histograms.percentile(0.5)[0], histograms.percentile(0.6)[0]) == before == (3, 6)


def test_a_series_without_samples_for_long_is_empty_again() -> None:
    histograms = DecayingHistograms(UNIT, HOUR, series=2)
    histograms.add(np.array([0, 1]), np.array([2.0, 2.0]), BEGIN)
    histograms.add(ONE, np.array([4.0]), BEGIN + 5 * MAX_EXPONENT * HOUR)
    assert histograms.percentile(0.5)[0] == 5
    assert np.isnan(histograms.percentile(0.5)[1])


@given(samples)
def test_a_checkpoint_comes_back_bit_equal_through_json(points: list[tuple[int, float, float]]) -> None:
    histograms = filled(points)
    wire = msgspec.json.encode(histograms.checkpoint())
    back = restore(msgspec.json.decode(wire, type=HistogramCheckpoint), CPU_BUCKETS, HOUR)
    assert back.weights.tobytes() == histograms.weights.tobytes()
    assert back.reference == histograms.reference


@given(samples, st.floats(0, 1), st.floats(0, 1))
def test_percentiles_grow_with_their_fraction(points: list[tuple[int, float, float]], one: float, other: float) -> None:
    histograms = filled(points)
    low, high = histograms.percentile(min(one, other)), histograms.percentile(max(one, other))
    assert ((low <= high) | np.isnan(low)).all()


@given(samples)
def test_the_largest_recent_sample_lies_at_or_below_the_highest_percentile(
    points: list[tuple[int, float, float]],
) -> None:
    histograms = filled(points)
    end = max(offset for _, _, offset in points)
    highest = histograms.percentile(1.0)
    for row, value, offset in points:
        if end - offset < 10 * HOUR:
            assert highest[row] >= min(value, CPU_BUCKETS.starts[-1])


@given(st.lists(st.tuples(st.floats(0, 5000), st.floats(0, 50 * HOUR)), min_size=1, max_size=30))
def test_many_series_in_one_matrix_equal_a_series_alone(points: list[tuple[float, float]]) -> None:
    many = DecayingHistograms(CPU_BUCKETS, HOUR, series=3)
    alone = DecayingHistograms(CPU_BUCKETS, HOUR, series=1)
    for value, offset in sorted(points, key=lambda point: point[1]):
        many.add(np.array([0, 1, 2]), np.array([1.0, value, value * 2]), BEGIN + offset)
        alone.add(ONE, np.array([value]), BEGIN + offset)
    assert many.weights[1].tobytes() == alone.weights[0].tobytes()
    assert many.percentile(0.95)[1] == alone.percentile(0.95)[0]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"buckets": 3}, "buckets"),
        ({"half_life": 1.0}, "half_life"),
        ({"weights": b"12345678"}, "weights"),
        ({"series": 0}, "at"),
    ],
    ids=["other buckets", "another half-life", "too few weights", "a position outside"],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_field(change: dict[str, object], field: str) -> None:
    checkpoint = filled([(0, 100.0, 0.0), (1, 50.0, 1.0)]).checkpoint()
    with pytest.raises(FieldError) as caught:
        restore(msgspec.structs.replace(checkpoint, **change), CPU_BUCKETS, HOUR)
    assert caught.value.field == field
