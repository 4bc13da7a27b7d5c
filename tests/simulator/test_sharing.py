"""CPU shared by weight where more is wanted than there is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.model.columns import Floats, Longs
from neaptide.simulator.sharing import share

PODS = st.lists(
    st.tuples(st.floats(0, 1e5), st.floats(2, 1e4), st.integers(0, 3)),
    max_size=30,
)
ROOM = st.lists(st.floats(-10, 2e5), min_size=4, max_size=4)


@pytest.mark.parametrize(
    ("demand", "weight", "room", "given_"),
    [
        ([100, 200], [1, 1], 400, [100, 200]),
        ([300, 300], [1, 2], 300, [100, 200]),
        ([50, 300, 300], [100, 1, 1], 350, [50, 150, 150]),
        ([300, 300], [1, 1], -5, [0, 0]),
        ([0, 300], [5, 5], 100, [0, 100]),
    ],
    ids=[
        "all get what they want where there is room",
        "what is short goes by weight",
        "what one leaves the others share",
        "no room is no CPU",
        "who wants nothing takes nothing",
    ],
)
def test_shares(demand: list[float], weight: list[float], room: float, given_: list[float]) -> None:
    found = share(np.array(demand, float), np.array(weight, float), np.zeros(len(demand), int), np.array([room]))
    assert found == pytest.approx(given_)


def _columns(pods: list[tuple[float, float, int]]) -> tuple[Floats, Floats, Longs]:
    table = np.array(pods, dtype=np.float64).reshape(len(pods), 3)
    return table[:, 0], table[:, 1], table[:, 2].astype(np.int64)


@given(PODS, ROOM)
def test_nothing_is_lost_and_nobody_gets_more_than_wanted(
    pods: list[tuple[float, float, int]], room: list[float]
) -> None:
    demand, weight, node = _columns(pods)
    found = share(demand, weight, node, np.array(room))
    assert (found >= 0).all()
    assert (found <= demand).all()
    for row, amount in enumerate(room):
        here = node == row
        wanted = demand[here].sum()
        assert found[here].sum() == pytest.approx(min(wanted, max(amount, 0.0)), rel=1e-6, abs=1e-4)


@given(PODS, ROOM)
def test_who_is_short_has_the_highest_level(pods: list[tuple[float, float, int]], room: list[float]) -> None:
    demand, weight, node = _columns(pods)
    found = share(demand, weight, node, np.array(room))
    short = found < demand - 1e-3
    for row in range(4):
        levels = (found / weight)[short & (node == row)]
        others = (found / weight)[node == row]
        assert not len(levels) or others.max() <= levels.min() * (1 + 1e-6) + 1e-3
