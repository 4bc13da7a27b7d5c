"""Go's random numbers."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.simulator.go_random import GoRandom


def test_seed_1_draws_what_go_programs_are_known_to_print() -> None:
    random = GoRandom(1)  # rand.Intn(100), as in the first lessons on Go
    assert [random.below(100) for _ in range(10)] == [81, 87, 47, 59, 81, 18, 25, 40, 56, 0]


@pytest.mark.parametrize(("seed", "same"), [(0, 89482311), (-1, 2**31 - 2), (2**31 - 1 + 5, 5)])
def test_seeds_are_taken_modulo_2_to_the_31_minus_1(seed: int, same: int) -> None:
    assert GoRandom(seed).int63() == GoRandom(same).int63()


@given(st.integers(0, 2**40), st.integers(1, 2**31 - 1))
def test_numbers_stay_below_their_bound(seed: int, bound: int) -> None:
    random = GoRandom(seed)
    assert all(0 <= random.below(bound) < bound for _ in range(20))


@given(st.integers(0, 2**31), st.integers(0, 700))
def test_a_permutation_and_a_shuffle_keep_everything(seed: int, size: int) -> None:
    random = GoRandom(seed)
    items = list(range(size))
    random.shuffle(items)
    assert sorted(items) == sorted(random.permutation(size)) == list(range(size))


def test_every_order_of_three_comes_about_as_often() -> None:
    random = GoRandom(5)
    orders = Counter(tuple(random.permutation(3)) for _ in range(6_000))
    assert len(orders) == 6
    assert all(850 < number < 1_150 for number in orders.values())
