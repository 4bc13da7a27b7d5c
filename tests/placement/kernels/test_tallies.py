from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neaptide.placement.kernels.problem import NEVER
from neaptide.placement.kernels.tallies import Tallies, cells

NODES = 5
ZONE, HOST = np.array([0, 1, 0, -1, 1], dtype=np.int32), np.arange(5, dtype=np.int32)
ON_NODE = np.array([3, 0, 1, 5, 0], dtype=np.int32)
NOBODY = np.zeros(2, dtype=np.bool_)


@given(st.lists(st.lists(st.integers(-1, 3), min_size=6, max_size=6), max_size=3))
def test_the_nodes_of_a_cell_agree_in_every_domain_and_keep_their_order(domains: list[list[int]]) -> None:
    order, first = cells([np.array(each, dtype=np.int32) for each in domains], 6)
    combinations = [tuple(each[node] for each in domains) for node in order.tolist()]
    parts = [slice(start, stop) for start, stop in pairwise(first)]
    assert sorted(order.tolist()) == list(range(6))
    assert [len(set(combinations[part])) for part in parts] == [1] * len(parts)
    assert len({combinations[part.start] for part in parts}) == len(parts)
    assert all((np.diff(order[part]) > 0).all() for part in parts)


def test_a_tally_counts_by_domain_on_the_nodes_it_looks_at() -> None:
    tallies = Tallies([ZONE, HOST], NODES)
    looked_at = np.array([True, True, False, True, True])
    tally = tallies.add("pods", 0, ON_NODE, NOBODY, looked_at=looked_at, least=True)
    census = tallies.census()
    assert census.pods[census.offset[tally] :].tolist() == [3, 0]
    assert (census.least[tally], census.at_least[tally], census.total[census.sum_of[tally]]) == (0, 1, 3)
    assert tallies.domains_looked_at(tally) == 2


def test_the_least_count_is_that_of_a_domain_with_a_node_that_is_looked_at() -> None:
    tallies = Tallies([ZONE], NODES)
    tally = tallies.add("pods", 0, ON_NODE, NOBODY, looked_at=np.array([True, False, True, True, False]), least=True)
    census = tallies.census()
    assert (census.least[tally], census.at_least[tally]) == (4, 1)
    assert census.exists.tolist() == [True, False]


def test_equal_tallies_are_kept_once_and_nobody_asks_for_the_least_of_others() -> None:
    tallies = Tallies([ZONE, HOST], NODES)
    first = tallies.add("pods", 0, ON_NODE, NOBODY)
    assert tallies.add("pods", 0, ON_NODE, NOBODY, looked_at=np.ones(NODES, dtype=np.bool_)) == first
    assert tallies.add("pods", 1, ON_NODE, NOBODY) != first
    assert tallies.add("others", 0, ON_NODE, NOBODY) != first
    assert tallies.census().at_least.tolist() == [NEVER] * 3


def test_tallies_of_one_affinity_share_a_sum() -> None:
    tallies = Tallies([ZONE, HOST], NODES)
    both = [tallies.add("pods", key, ON_NODE, NOBODY, sum_of=("zone", "host")) for key in (0, 1)]
    alone = tallies.add("pods", 0, ON_NODE, NOBODY)
    census = tallies.census()
    assert census.sum_of[both[0]] == census.sum_of[both[1]] != census.sum_of[alone]
    assert census.total[census.sum_of[both[0]]] == 4 + 9
