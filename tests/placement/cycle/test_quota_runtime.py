"""What quotas may use: Koordinator's cases, and what holds of any."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.placement.cycle.quota_runtime import Claimant, runtimes

N1, N2, N3 = Claimant("n1", 40, 5, 10), Claimant("n2", 60, 20, 15), Claimant("n3", 50, 40, 20)


@pytest.mark.parametrize(
    ("last", "found"),
    [
        (Claimant("n4", 80, 70, 15), [5, 20, 35, 40]),
        (Claimant("n4", 0, 70, 15), [5, 20, 40, 15]),
        (Claimant("n4", 0, 70, 15, guarantee=45), [5, 20, 30, 45]),
    ],
    ids=["shared by weight", "no weight, no share", "a guarantee above the minimum"],
)
def test_four_quotas_share_a_hundred(last: Claimant, found: list[int]) -> None:
    assert runtimes(100, [N1, N2, N3, last]) == found


def test_what_a_donor_does_not_ask_for_is_lent_to_the_last_unit() -> None:
    donor = Claimant("donor", 10, 0, 3)
    borrowers = [Claimant(f"b{each}", 10, 100, 8 if each < 8 else 7) for each in range(10)]
    found = runtimes(81, [donor, *borrowers])
    assert sum(found) == 81
    assert found[0] == 0
    assert all(got >= each.minimum for got, each in zip(found[1:], borrowers, strict=True))


def test_a_quota_that_does_not_lend_keeps_its_minimum() -> None:
    assert runtimes(10, [Claimant("a", 1, 0, 4, lends=False), Claimant("b", 1, 20, 2)]) == [4, 6]


claimants = st.builds(
    Claimant,
    st.sampled_from("abcdefgh"),
    st.integers(0, 100),
    st.integers(0, 200),
    st.integers(0, 60),
    st.integers(0, 60),
    st.booleans(),
)


@given(st.integers(0, 300), st.lists(claimants, min_size=1, max_size=8, unique_by=lambda each: each.name))
def test_the_sum_never_exceeds_the_total_and_nothing_is_left_that_somebody_wants(
    total: int, quotas: list[Claimant]
) -> None:
    found = runtimes(total, quotas)
    assert all(each >= 0 for each in found)
    assert sum(found) <= total
    hungry = [each for each, got in zip(quotas, found, strict=True) if got < each.request and each.weight > 0]
    assert not hungry or sum(found) == total
    if sum(max(each.minimum, each.guarantee) for each in quotas) <= total:
        assert all(
            got >= min(each.request, max(each.minimum, each.guarantee)) for got, each in zip(found, quotas, strict=True)
        )


@given(st.integers(0, 300), st.lists(claimants, min_size=1, max_size=8, unique_by=lambda each: each.name))
def test_the_order_of_quotas_does_not_matter(total: int, quotas: list[Claimant]) -> None:
    forward = dict(zip((each.name for each in quotas), runtimes(total, quotas), strict=True))
    backward = dict(zip((each.name for each in quotas[::-1]), runtimes(total, quotas[::-1]), strict=True))
    assert forward == backward
