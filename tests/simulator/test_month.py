"""A month in four set-ups, on work small enough to be reckoned by hand."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.pricing.tariff import Size, Tariff
from neaptide.simulator.month import (
    best_burst,
    for_the_peak,
    slices,
    virtual_only,
    with_an_autoscaler,
    with_an_autoscaler_and_burst,
    with_burst,
)
from neaptide.simulator.month_parts import Node, NodeType, Times, Work, best

GIB = 2**30
NODE = NodeType("four", 4000, 16 * GIB, 3.6)
"""A dollar a thousand seconds."""
TARIFF = Tariff("t", (Size(4000, 16384),), price_per_vcpu_hour=1.8, price_per_gib_hour=0.0)
"""7.20 dollars an hour for four vCPUs: twice the node's price; a minute at least."""


def work(arrival: float, run: float, cpu: int = 4000, owner: str = "o") -> Work:
    return Work(arrival, run, cpu, 8 * GIB, owner)


TWO = [work(0, 1000), work(500, 1000)]


def test_nodes_for_the_peak_are_paid_all_month_and_nothing_waits() -> None:
    found = for_the_peak([*TWO, work(5000, 1000)], NODE, 10_000)
    assert (found.nodes, set(found.waits)) == (2, {0.0})
    assert found.dollars == pytest.approx(20.0)


def test_an_autoscaler_pays_from_the_purchase_until_the_node_was_empty_for_long_enough() -> None:
    found = with_an_autoscaler([work(0, 1000)], NODE)
    assert found.dollars == pytest.approx((150 + 1000 + 600) / 1000)
    assert found.waits == (150.0,)
    again = with_an_autoscaler([work(0, 1000), work(1200, 100)], NODE)
    assert (again.nodes, again.waits) == (1, (150.0, 0.0))
    assert again.dollars == pytest.approx((150 + 1000 + 50 + 100 + 600) / 1000)


def test_virtual_nodes_are_paid_by_the_second_and_what_is_not_sold_is_counted() -> None:
    found = virtual_only([work(0, 1000), work(0, 10), work(0, 100, cpu=5000)], TARIFF)
    assert found.dollars == pytest.approx(2.0 + 2 * 60 / 1000)
    assert (found.burst, found.unsold) == (2, 1)


def test_ours_waits_for_what_ends_soon_and_bursts_where_waiting_costs_more() -> None:
    learnt = [work(0, 1000), work(2000, 1000)]
    soon = with_burst([*learnt, work(2900, 1000)], NODE, 1, TARIFF, 10_000)
    assert (soon.burst, soon.waits) == (0, (0.0, 0.0, 100.0))
    hasty = with_burst([*learnt, work(2900, 1000)], NODE, 1, TARIFF, 10_000, Times(waiting_cost_per_hour=200.0))
    assert (hasty.burst, hasty.waits[-1]) == (1, 30.0)
    assert hasty.dollars == pytest.approx(10.0 + 2.0)


def test_with_an_autoscaler_short_work_bursts_and_what_is_not_sold_gets_a_node() -> None:
    short, long = work(0, 30, owner="short"), work(10_000, 30, owner="short")
    small = Tariff("s", (Size(2000, 16384),), price_per_vcpu_hour=1.8, price_per_gib_hour=0.0)
    known = Times(default_run=30)
    assert with_an_autoscaler_and_burst([short, long], NODE, TARIFF, known).burst == 2
    bought = with_an_autoscaler_and_burst([short, long], NODE, small, known)
    assert (bought.burst, bought.nodes, bought.waits) == (0, 1, (150.0, 150.0))


def test_the_number_of_nodes_is_the_one_that_makes_it_cheapest() -> None:
    busy = [work(1000.0 * number, 1000) for number in range(10)]
    assert best_burst(busy, NODE, TARIFF, 10_000, most=2).nodes == 1
    assert best_burst([work(0, 100)], NODE, TARIFF, 10_000, most=2).nodes == 0


def test_demand_is_cut_into_pods_from_the_bottom_up() -> None:
    found = slices([0, 10, 20, 30], [1, 2, 1], cpu=1, memory=1, owner="s")
    assert [(each.arrival, each.run) for each in found] == [(0, 30), (10, 10)]


# -- home again --------------------------------------------------------------------------------------------------------

BUSY = work(0, 1000)
"""Fills the only node for a thousand seconds."""


def service(arrival: float, run: float) -> Work:
    return work(arrival, run, owner="service")._replace(service=True)


def test_a_service_comes_home_when_there_has_been_room_for_long_enough_and_goes_on_there() -> None:
    found = with_burst([BUSY, service(10, 5000)], NODE, 1, TARIFF, 10_000)
    assert (found.burst, found.homes) == (1, 1)
    away = 1000 + 300 - (10 + 30)  # from its start to the move
    assert found.virtual_dollars == pytest.approx(7.2 * away / 3600)
    assert found.redone == 30.0


def test_a_jobs_pod_comes_home_only_where_what_it_has_done_is_worth_less_than_what_is_left() -> None:
    long = Times(default_run=5000)
    asked = [work(0, 1000, owner="other"), work(10, 5000)]
    moved = with_burst(asked, NODE, 1, TARIFF, 10_000, long)
    assert (moved.homes, moved.redone) == (1, 30.0 + 1000 + 300 - 40)
    dear = with_burst(asked, NODE, 1, TARIFF, 10_000, long._replace(waiting_cost_per_hour=100.0))
    assert (dear.homes, dear.redone) == (0, 0.0)


def test_who_ends_before_there_has_been_room_for_long_enough_stays() -> None:
    found = with_burst([BUSY, service(10, 1200)], NODE, 1, TARIFF, 10_000)
    assert (found.burst, found.homes) == (1, 0)
    assert found.virtual_dollars == pytest.approx(7.2 * 1200 / 3600)


def test_room_that_is_taken_again_calls_nobody_home() -> None:
    found = with_burst([BUSY, service(10, 5000), work(1100, 5000)], NODE, 1, TARIFF, 10_000)
    assert (found.burst, found.homes) == (1, 0)


# -- devices -----------------------------------------------------------------------------------------------------------


def with_gpus(gpus: int, milli: int = 1000) -> Work:
    return Work(0, 100, 100, GIB, "gpu", gpus, milli)


def test_devices_are_shared_as_far_as_one_of_them_goes() -> None:
    nodes = [Node(NodeType("two", 4000, 16 * GIB, 1.0, gpus=2))]
    for asked in (with_gpus(1, 600), with_gpus(1, 600)):
        assert best(nodes, asked) == 0
        nodes[0].take(asked)
    assert best(nodes, with_gpus(1, 500)) is None  # 800 thousandths are left, and no device has 500 of them
    assert best(nodes, with_gpus(1, 400)) == 0
    nodes[0].give(with_gpus(1, 600))
    assert best(nodes, with_gpus(1)) == 0


def test_a_pod_with_devices_is_sold_on_no_virtual_node_and_gets_a_real_one() -> None:
    kind = NodeType("two", 4000, 16 * GIB, 3.6, gpus=2)
    asked = [with_gpus(1), with_gpus(2)]
    assert virtual_only(asked, TARIFF).unsold == 2
    bought = with_an_autoscaler_and_burst(asked, kind, TARIFF)
    assert (bought.burst, bought.nodes, len(bought.waits)) == (0, 2, 2)
    assert for_the_peak(asked, kind, 1000).nodes == 2


@given(
    st.lists(st.tuples(st.floats(0, 5000), st.floats(1, 3000), st.integers(1, 4)), min_size=1, max_size=12),
    st.integers(0, 3),
)
def test_everything_runs_once_in_every_set_up(jobs: Sequence[tuple[float, float, int]], nodes: int) -> None:
    asked = [work(arrival, run, 1000 * cpu) for arrival, run, cpu in jobs]
    for outcome in (
        for_the_peak(asked, NODE, 10_000),
        with_an_autoscaler(asked, NODE),
        virtual_only(asked, TARIFF),
        with_burst(asked, NODE, nodes, TARIFF, 10_000),
        with_an_autoscaler_and_burst(asked, NODE, TARIFF),
    ):
        assert len(outcome.waits) == len(asked)
        assert outcome.unsold == 0
        assert min(outcome.waits) >= 0
