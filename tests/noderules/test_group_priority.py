import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.noderules.group_priority import GroupPriority, PrioritySettings, group_priorities
from neaptide.noderules.weights import shares_of_weight, weight_of_shares


@pytest.mark.parametrize(("shares", "weight"), [(1024, 39), (2, 1), (262_144, 10_000), (2000, 77), (50_000, 1908)])
def test_shares_are_a_weight_of_version_2(shares: int, weight: int) -> None:
    assert weight_of_shares(shares) == weight


@pytest.mark.parametrize(("weight", "shares"), [(1, 2), (10_000, 262_144)])
def test_a_weight_is_shares_of_version_1(weight: int, shares: int) -> None:
    assert shares_of_weight(weight) == shares


@pytest.mark.parametrize("weight", [0, 10_001])
def test_a_weight_that_the_kernel_refuses_is_refused(weight: int) -> None:
    with pytest.raises(ValueError, match=f"weights are 1 to 10000, not {weight}"):
        shares_of_weight(weight)


@pytest.mark.parametrize("shares", [1, 262_145])
def test_shares_that_the_kernel_refuses_are_refused(shares: int) -> None:
    with pytest.raises(ValueError, match=f"shares are 2 to 262144, not {shares}"):
        weight_of_shares(shares)


@given(st.integers(1, 10_000))
def test_a_weight_survives_the_way_there_and_back_but_for_rounding(weight: int) -> None:
    assert weight - 1 <= weight_of_shares(shares_of_weight(weight)) <= weight


@pytest.mark.parametrize(
    ("settings", "kernel_has_idle", "expected"),
    [
        (PrioritySettings(), True, GroupPriority(idle=True, shares=2)),
        (PrioritySettings(), False, GroupPriority(idle=False, shares=2)),
        (PrioritySettings(use="weight"), True, GroupPriority(idle=False, shares=2)),
        (PrioritySettings(use="idle"), False, None),
        (PrioritySettings(enabled=False), True, None),
    ],
    ids=["idle where there is", "weight where there is not", "weight wished for", "idle or nothing", "off"],
)
def test_best_effort_pods_run_below_all_others(
    settings: PrioritySettings, kernel_has_idle: bool, expected: GroupPriority | None
) -> None:
    found = group_priorities(settings, ["a", "b"], kernel_has_idle=kernel_has_idle)
    assert found == ({} if expected is None else {"a": expected, "b": expected})
