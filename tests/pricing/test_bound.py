"""The bound is below every packing there is, and as near as a linear programme gets in cases that can be worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neaptide.pricing.bound import Bools, Floats, Longs, lower_bound

Case = tuple[Longs, Longs, Bools, Longs, Floats]


def bound_of(
    pods: list[tuple[list[int], int]], nodes: list[tuple[list[int], float]], eligible: list[list[bool]] | None = None
) -> float | None:
    """Pods as (requests, count), nodes as (capacity, price)."""
    resources = len((pods or nodes)[0][0])
    return lower_bound(
        np.array([requests for requests, _ in pods], dtype=np.int64).reshape(len(pods), resources),
        np.array([count for _, count in pods], dtype=np.int64),
        np.array(eligible or [[True] * len(nodes)] * len(pods), dtype=np.bool_).reshape(len(pods), len(nodes)),
        np.array([capacity for capacity, _ in nodes], dtype=np.int64).reshape(len(nodes), resources),
        np.array([price for _, price in nodes]),
    )


@pytest.mark.parametrize(
    ("pods", "nodes", "expected"),
    [
        pytest.param([([1000], 8)], [([4000], 0.2)], 0.4, id="pods that fill two nodes cost two nodes"),
        pytest.param([([1000], 1)], [([4000], 0.2)], 0.2, id="one pod needs a whole node"),
        pytest.param([([2500], 3)], [([4000], 0.2)], 0.6, id="three pods of which a node holds one cost three nodes"),
        pytest.param([([1000], 8)], [([4000], 0.2), ([8000], 0.3)], 0.3, id="the cheaper offering per core is taken"),
        pytest.param([([3000, 10], 2), ([1000, 30], 2)], [([4000, 40], 1.0)], 2.0, id="two kinds complete each other"),
        pytest.param([([1000, 64], 2)], [([2000, 64], 1.0)], 2.0, id="the scarcer resource counts"),
        pytest.param(
            [([0, 1], 30)], [([2000, 10], 0.5)], 1.5, id="pods are a resource: pods without requests need room"
        ),
        pytest.param([([0], 5)], [([2000], 0.5)], 0.5, id="pods that ask for nothing still need one node"),
        pytest.param([([1000], 0)], [([4000], 0.2)], 0.0, id="nothing costs nothing"),
        pytest.param([], [([4000], 0.2)], 0.0, id="no classes cost nothing"),
        pytest.param([([9000], 1)], [([4000], 0.2)], None, id="a pod that fits nowhere has no bound"),
        pytest.param([([1000], 1)], [([4000], math.nan)], None, id="a pod that fits unknown prices only has no bound"),
        pytest.param([([1000], 4)], [([4000], math.nan), ([4000], 0.2)], 0.2, id="an unknown price is not bought"),
        pytest.param([([1000], 4)], [], None, id="without offerings there is no bound"),
    ],
)
def test_the_bound_in_cases_worked_out_by_hand(
    pods: list[tuple[list[int], int]], nodes: list[tuple[list[int], float]], expected: float | None
) -> None:
    assert bound_of(pods, nodes) == (None if expected is None else pytest.approx(expected, rel=1e-6))


def test_a_class_goes_only_where_it_may() -> None:
    nodes: list[tuple[list[int], float]] = [([4000], 0.1), ([4000], 0.4)]
    assert bound_of([([1000], 4), ([1000], 4)], nodes, [[True, True], [False, True]]) == pytest.approx(0.5, rel=1e-6)
    assert bound_of([([1000], 4)], nodes, [[False, False]]) is None


@pytest.mark.parametrize("wrong", [0, 1, 2, 3], ids=["requests", "counts", "capacity", "price"])
def test_a_negative_amount_is_an_error(wrong: int) -> None:
    amounts = [1000, 1, 4000, 1]
    amounts[wrong] *= -1
    with pytest.raises(ValueError, match="0 or more"):
        bound_of([([amounts[0]], amounts[1])], [([amounts[2]], amounts[3])])


@st.composite
def cases(draw: st.DrawFn) -> Case:
    classes, offerings, resources = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(1, 3))
    amounts = st.integers(0, 2**34) | st.integers(0, 8)

    def column(rows: int) -> Longs:
        values = draw(st.lists(amounts, min_size=rows * resources, max_size=rows * resources))
        return np.array(values, dtype=np.int64).reshape(rows, resources)

    counts = np.array(draw(st.lists(st.integers(0, 12), min_size=classes, max_size=classes)), dtype=np.int64)
    flags = draw(st.lists(st.booleans(), min_size=classes * offerings, max_size=classes * offerings))
    prices = draw(st.lists(st.floats(0.001, 100) | st.just(math.nan), min_size=offerings, max_size=offerings))
    capacity = column(offerings)
    requests = np.minimum(column(classes), capacity.max(axis=0))
    return requests, counts, np.array(flags, dtype=np.bool_).reshape(classes, offerings), capacity, np.array(prices)


def cost_of_first_fit(case: Case, random: np.random.Generator) -> float | None:
    """What a packing costs that opens any eligible node when a pod fits on none that is open; None where a pod fits on none."""
    requests, counts, eligible, capacity, price = case
    pods = random.permutation(np.repeat(np.arange(len(counts)), counts))
    open_nodes: list[int] = []
    free: list[Longs] = []
    for cls in pods:
        fits = eligible[cls] & np.isfinite(price) & (capacity >= requests[cls]).all(axis=1)
        node = next((n for n, o in enumerate(open_nodes) if fits[o] and (free[n] >= requests[cls]).all()), None)
        if node is None:
            if not fits.any():
                return None
            node = len(open_nodes)
            open_nodes.append(int(random.choice(np.flatnonzero(fits))))
            free.append(capacity[open_nodes[-1]].copy())
        free[node] -= requests[cls]
    return float(price[open_nodes].sum())


@settings(max_examples=200)
@given(case=cases(), seed=st.integers(0, 2**32 - 1))
def test_no_packing_is_cheaper_than_the_bound(case: Case, seed: int) -> None:
    cost = cost_of_first_fit(case, np.random.default_rng(seed))
    bound = lower_bound(*case)
    if cost is None:
        assert bound is None
    else:
        assert bound is not None
        assert 0 <= bound <= cost * (1 + 1e-9)


@settings(max_examples=100)
@given(case=cases(), data=st.data())
def test_more_pods_never_lower_the_bound(case: Case, data: st.DataObject) -> None:
    requests, counts, eligible, capacity, price = case
    more = counts + np.array(data.draw(st.lists(st.integers(0, 5), min_size=len(counts), max_size=len(counts))))
    before = lower_bound(*case)
    after = lower_bound(requests, more, eligible, capacity, price)
    if after is not None:
        assert before is not None
        assert before <= after * (1 + 1e-5) + 1e-9


@settings(max_examples=100)
@given(case=cases())
def test_an_offering_more_never_raises_the_bound(case: Case) -> None:
    requests, counts, eligible, capacity, price = case
    fewer = lower_bound(requests, counts, eligible[:, :-1], capacity[:-1], price[:-1])
    if fewer is not None:
        bound = lower_bound(*case)
        assert bound is not None
        assert bound <= fewer * (1 + 1e-5) + 1e-9
