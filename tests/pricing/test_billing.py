"""How long is paid for."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.pricing.billing import PER_HOUR, PER_SECOND, Billing, billed_seconds, cost


@pytest.mark.parametrize(
    ("ran", "billing", "expected"),
    [
        pytest.param(0, PER_SECOND, 0, id="what never ran costs nothing"),
        pytest.param(0.5, PER_SECOND, 60, id="a minute at least"),
        pytest.param(60, PER_SECOND, 60, id="a minute is a minute"),
        pytest.param(60.2, PER_SECOND, 61, id="a second begun counts"),
        pytest.param(1, PER_HOUR, 3600, id="an hour begun counts"),
        pytest.param(3600, PER_HOUR, 3600, id="an hour is an hour"),
        pytest.param(3600 + 1e-7, PER_HOUR, 3600, id="rounding of floats begins no hour"),
        pytest.param(3601, PER_HOUR, 7200, id="the second hour"),
        pytest.param(61, Billing(granularity_seconds=60, minimum_seconds=600), 600, id="ten minutes at least"),
        pytest.param(601, Billing(granularity_seconds=60, minimum_seconds=600), 660, id="by the minute"),
    ],
)
def test_billed_seconds(ran: float, billing: Billing, expected: int) -> None:
    assert billed_seconds(ran, billing) == expected


@pytest.mark.parametrize("ran", [-1.0, math.nan, math.inf])
def test_a_time_that_cannot_be_is_an_error(ran: float) -> None:
    with pytest.raises(ValueError, match="finite time of 0 seconds or more"):
        billed_seconds(ran)


@given(ran=st.floats(0, 1e9), more=st.floats(0, 1e6), granularity=st.integers(1, 7200), minimum=st.integers(0, 7200))
def test_more_time_never_costs_less_and_what_ran_is_paid(
    ran: float, more: float, granularity: int, minimum: int
) -> None:
    billing = Billing(granularity, minimum)
    assert billed_seconds(ran, billing) >= ran - 0.001
    assert billed_seconds(ran, billing) <= max(minimum, ran + granularity)
    assert billed_seconds(ran + more, billing) >= billed_seconds(ran, billing)


def test_cost_is_price_times_billed_time_and_unknown_without_a_price() -> None:
    assert cost(0.36, 1) == pytest.approx(0.006)
    assert cost(0.36, 1, PER_HOUR) == pytest.approx(0.36)
    assert cost(None, 3600) is None
