"""A latency from what a service exports, between two readings."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.noderules.exposition import Exposed, exposed, latency

HISTOGRAM = """# HELP http_seconds Time.
# TYPE http_seconds histogram
http_seconds_bucket{{le="0.01",path="/a,b}}"}} {0}
http_seconds_bucket{{le="0.1",path="/a,b}}"}} {1}
http_seconds_bucket{{le="+Inf",path="/a,b}}"}} {2}
http_seconds_bucket{{path="/c",le="0.01"}} 0
http_seconds_bucket{{path="/c",le="0.1"}} 0
http_seconds_bucket{{path="/c",le="+Inf"}} 0
http_seconds_sum{{path="/c"}} 3
http_seconds_count{{path="/c"}} 5
http_seconds_other 7
"""
SUMMARY = (
    'rpc_seconds{quantile="0.5"} 0.2\nrpc_seconds{quantile="0.99",x="1"} 0.9\nrpc_seconds{quantile="0.99",x="2"} 1.5\n'
)


def _histogram(*counts: float) -> Exposed:
    return exposed(HISTOGRAM.format(*counts), "http_seconds")


BETWEEN = {
    "all in the first bucket, linearly": ((0, 0, 0), (100, 100, 100), 0.5, 0.005),
    "half above it": ((10, 10, 10), (60, 110, 110), 0.75, 0.055),
    "slower than the last bound is at least that": ((0, 0, 0), (0, 0, 10), 0.99, 0.1),
    "nobody asked": ((5, 6, 7), (5, 6, 7), 0.99, None),
    "it began anew": ((50, 60, 70), (5, 6, 7), 0.99, None),
}


@pytest.mark.parametrize(("before", "now", "quantile", "seconds"), BETWEEN.values(), ids=BETWEEN)
def test_a_histogram_tells_what_was_slow_between_two_readings(
    before: tuple[int, ...], now: tuple[int, ...], quantile: float, seconds: float | None
) -> None:
    found = latency(_histogram(*before), _histogram(*now), quantile)
    assert found == (None if seconds is None else pytest.approx(seconds))


def test_the_first_reading_of_a_histogram_tells_nothing() -> None:
    assert latency(None, _histogram(1, 2, 3), 0.99) is None


def test_a_summary_tells_the_slowest_at_its_quantile_and_a_gauge_its_largest() -> None:
    summary = exposed(SUMMARY, "rpc_seconds")
    assert latency(None, summary, 0.99) == 1.5
    assert latency(None, summary, 0.9) == 1.5, "the next one that it has"
    assert latency(None, summary, 0.999) is None
    assert latency(None, exposed('p99 0.25 1700000000\np99{a="b"} 0.5\n', "p99"), 0.99) == 0.5  # fmt: skip


@pytest.mark.parametrize("text", ["", "p99", "p99 x", "p99{", 'p99{le="1"', "other 5", "p99 NaN", "\x00"])
def test_what_cannot_be_read_is_unknown(text: str) -> None:
    assert latency(None, exposed(text, "p99"), 0.99) is None


@given(st.lists(st.integers(0, 1000), min_size=3, max_size=3), st.floats(0.01, 0.99))
def test_a_quantile_is_in_the_bucket_where_it_falls(counts: list[int], quantile: float) -> None:
    first, second, rest = counts
    bounds = {0.01: float(first), 0.1: float(first + second), inf: float(first + second + rest)}
    found = latency(Exposed(dict.fromkeys(bounds, 0.0), {}, 0.0), Exposed(bounds, {}, 0.0), quantile)
    rank = quantile * sum(counts)
    if not sum(counts):
        assert found is None
    elif rank <= first:
        assert found is not None
        assert 0 <= found <= 0.01
    else:
        assert found is not None
        assert 0.01 <= found <= 0.1


@given(st.text(max_size=200))
def test_no_text_is_an_error(text: str) -> None:
    exposed(f"p99{text}", "p99")
