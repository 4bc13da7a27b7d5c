from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.noderules.cpu_burst import (
    BurstSettings,
    Container,
    SharePool,
    Tokens,
    burst_milli,
    next_limit,
    pool_state,
)

AUTO = BurstSettings(policy="auto")
LIMITED = AUTO._replace(period_seconds=10)


@pytest.mark.parametrize(
    ("pool", "state"),
    [
        (SharePool(10_000, 4400), "idle"),
        (SharePool(10_000, 4500), "cooling"),
        (SharePool(10_000, 5000), "overload"),
        (SharePool(10_000, nan), "unknown"),
        (SharePool(0, 0), "unknown"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_share_pool_is_idle_cools_or_is_overloaded(pool: SharePool, state: str) -> None:
    assert pool_state(AUTO, pool) == state


@pytest.mark.parametrize(
    ("container", "pool", "tokens", "expected"),
    [
        (Container(1000, 1000, 1000, throttled=True), "idle", Tokens(), 1200),
        (Container(1000, 1000, 900, throttled=False), "idle", Tokens(), 1000),
        (Container(1000, 2900, 2900, throttled=True), "idle", Tokens(), 3000),
        (Container(1000, 2000, 2000, throttled=True), "cooling", Tokens(), 2000),
        (Container(1000, 2000, 2000, throttled=True), "overload", Tokens(), 1600),
        (Container(1000, 1100, 1100, throttled=True), "overload", Tokens(), 1000),
        (Container(1000, 2000, 2000, throttled=True), "unknown", Tokens(), 1600),
        (Container(1000, 2000, 2000, throttled=None), "idle", Tokens(), 2000),
        (Container(1000, 2000, 2000, throttled=True), "idle", Tokens(50), 1600),
    ],
    ids=[
        "throttled on an idle node",
        "not throttled",
        "never above three times its base",
        "no rise while the pool cools",
        "falls on an overloaded node",
        "never below its base",
        "falls where the pool is unknown",
        "unknown is not throttled",
        "its tokens are used up",
    ],
)
def test_a_limit_rises_and_falls(container: Container, pool: str, tokens: Tokens, expected: float) -> None:
    assert next_limit(LIMITED, container, tokens, pool=pool, seconds=1.0).milli == pytest.approx(expected)


def test_tokens_are_spent_above_the_base_and_saved_well_below_it() -> None:
    def after(used: float, tokens: Tokens) -> float | None:
        return next_limit(
            LIMITED, Container(1000, 1000, used, throttled=False), tokens, pool="idle", seconds=2.0
        ).tokens.left

    assert after(1000, Tokens()) == 2000
    assert after(1500, Tokens(500)) == 400
    assert after(800, Tokens(500)) == 500
    assert after(100, Tokens(500)) == 680
    assert after(nan, Tokens(500)) == 500
    assert after(9000, Tokens(-1900)) == -2000


def test_a_burst_is_never_more_than_the_limit_as_the_kernel_demands() -> None:
    assert burst_milli(AUTO, 400) == 400
    assert burst_milli(AUTO._replace(cpu_burst_percent=50), 400) == 200
    assert burst_milli(AUTO._replace(policy="cfsQuotaBurstOnly"), 400) == 0


@given(
    st.lists(st.tuples(st.floats(0, 5000), st.booleans(), st.sampled_from(["idle", "cooling", "overload", "unknown"]))),
    st.sampled_from([AUTO, LIMITED, BurstSettings()]),
)
def test_a_limit_stays_between_its_base_and_the_most_whatever_happens(
    steps: list[tuple[float, bool, str]], settings: BurstSettings
) -> None:
    limit, tokens = 1000.0, Tokens()
    for used, throttled, pool in steps:
        limit, tokens = next_limit(settings, Container(1000, limit, used, throttled), tokens, pool=pool, seconds=1.0)
        assert 1000 <= limit <= (1000 if settings.policy == "none" else 3000)
