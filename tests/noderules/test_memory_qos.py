"""Memory QoS: what a container keeps, from where on it is slowed, and what the groups above it have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.noderules.memory_qos import (
    MemoryClaim,
    MemoryProtection,
    MemoryShares,
    memory_protection,
    protected_together,
)

MIB = 2**20
NODE = 1000 * MIB
CASES = {
    "nothing by default": (MemoryShares(), MemoryClaim(100 * MIB, 200 * MIB), MemoryProtection()),
    "its request": (MemoryShares(100), MemoryClaim(100 * MIB, None), MemoryProtection(100 * MIB, 100 * MIB)),
    "low is no less than min": (
        MemoryShares(80, 50),
        MemoryClaim(100 * MIB, None),
        MemoryProtection(80 * MIB, 80 * MIB),
    ),
    "more than the half is low": (
        MemoryShares(50, 80),
        MemoryClaim(100 * MIB, None),
        MemoryProtection(50 * MIB, 80 * MIB),
    ),
    "slowed at 80 % of the way to its limit": (
        MemoryShares(0, 0, 80),
        MemoryClaim(100 * MIB, 200 * MIB),
        MemoryProtection(0, 0, 180 * MIB),
    ),
    "without a limit, of the way to the node": (
        MemoryShares(0, 0, 50),
        MemoryClaim(100 * MIB, None),
        MemoryProtection(0, 0, 550 * MIB),
    ),
    "at its request where its limit is no more": (
        MemoryShares(0, 0, 80),
        MemoryClaim(100 * MIB, 100 * MIB),
        MemoryProtection(0, 0, 100 * MIB),
    ),
    "never at nothing": (MemoryShares(0, 0, 80), MemoryClaim(0, 100), MemoryProtection()),
    "by whole pages": (MemoryShares(100, 100, 100), MemoryClaim(10_000, 20_000), MemoryProtection(8192, 8192, 16_384)),
}


@pytest.mark.parametrize(("shares", "claim", "wanted"), CASES.values(), ids=CASES)
def test_what_a_container_has(shares: MemoryShares, claim: MemoryClaim, wanted: MemoryProtection) -> None:
    assert memory_protection(shares, claim, allocatable=NODE, page=4096) == wanted


percent = st.integers(0, 100)


@given(percent, percent, percent, st.integers(0, NODE), st.none() | st.integers(0, NODE))
def test_what_is_kept_is_within_the_request_and_below_where_it_is_slowed(
    least: int, low: int, throttling: int, request: int, over: int | None
) -> None:
    claim = MemoryClaim(request, None if over is None else request + over)
    found = memory_protection(MemoryShares(least, low, throttling), claim, allocatable=2 * NODE, page=4096)
    assert found.min <= found.low <= request
    assert found.high is None or found.low <= found.high <= max(claim.limit or 0, 2 * NODE)


def test_the_groups_above_have_the_sums_and_are_never_slowed() -> None:
    parts = [MemoryProtection(1, 2, 3), MemoryProtection(10, 20, None)]
    assert protected_together(parts) == MemoryProtection(11, 22, None)
