"""What a cluster costs, and how little its pods could cost; unknown prices stay unknown."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import node, pod
from tests.cli.clusters import PRICE_LABEL, write_list

from neaptide.cli.costs import offerings_of, set_prices
from neaptide.cli.dump import read_dump
from neaptide.model import objects as o
from neaptide.model.any_object import AnyObject
from neaptide.model.build import build
from neaptide.model.manifests import Found
from neaptide.model.offerings import Offering
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.cost_bound import bound_of
from neaptide.pricing.catalogue import Catalogue, InstancePrice
from neaptide.pricing.cluster import money_per_hour
from neaptide.pricing.load import shipped

TAINT = o.Taint("only", "mine", "NoSchedule")
BATCH: dict[str, Any] = {"kubernetes.io/batch-cpu": "1000"}


def cluster(*items: AnyObject) -> ClusterSnapshot:
    snapshot, left_out = build(Found("test", item) for item in items)
    assert left_out == []
    for row in snapshot.nodes.indices().tolist():
        label = snapshot.node_labels(row).get(PRICE_LABEL)
        snapshot.set_price(row, np.nan if label is None else float(label))
    return snapshot


def priced(name: str, price: str | None, kind: str = "small", **more: Any) -> o.Node:
    labels = {"node.kubernetes.io/instance-type": kind} | ({} if price is None else {PRICE_LABEL: price})
    return node(name, labels=labels | more.pop("labels", {}), **more)


BOUNDS: dict[str, tuple[list[AnyObject], float | None, float | None]] = {
    "no node": ([pod("p", cpu="1")], None, None),
    "no pod": ([priced("a", "1")], 1.0, 0.0),
    "one pod on one node": ([priced("a", "1"), pod("p", node="a", cpu="2")], 1.0, 1.0),
    "a pod that waits is not hosted yet": ([priced("a", "1"), pod("p", cpu="2")], 1.0, 0.0),
    "two nodes for what fits on one": (
        [priced("a", "1"), priced("b", "1"), pod("p", node="a", cpu="2"), pod("q", node="b", cpu="2")],
        2.0,
        1.0,
    ),
    "a cheaper kind takes what is on a dear one": (
        [priced("a", "1"), priced("b", "3", "large"), pod("p", node="b", cpu="4")],
        4.0,
        1.0,
    ),
    "but not where a selector keeps it": (
        [
            priced("a", "1"),
            priced("b", "3", "large", labels={"disk": "ssd"}),
            pod("p", node="b", cpu="4", spec={"node_selector": {"disk": "ssd"}}),
        ],
        4.0,
        3.0,
    ),
    "nor where a taint keeps it out": (
        [priced("a", "1", taints=(TAINT,)), priced("b", "3", "large"), pod("p", node="b", cpu="4")],
        4.0,
        3.0,
    ),
    "a pod may stay where its node has grown a taint": (
        [priced("a", "1", taints=(TAINT,)), pod("p", node="a", cpu="4")],
        1.0,
        1.0,
    ),
    "DaemonSets and static pods come with a node": (
        [
            priced("a", "1"),
            priced("b", "1"),
            *(pod(f"agent-{name}", node=name, owner=("DaemonSet", "agent"), cpu="1") for name in "ab"),
            *(pod(f"proxy-{name}", node=name, owner=None, cpu="1") for name in "ab"),
            *(pod(f"p{name}", node=name, cpu="2") for name in "ab"),
        ],
        2.0,
        2.0,
    ),
    "reclaimed resources are not bought": (
        [
            priced("a", "1", resources=BATCH),
            priced("b", "1", resources=BATCH),
            *(pod(f"j{name}", node=name, **BATCH) for name in "ab"),
        ],
        2.0,
        1.0,
    ),
    "a node without a price": ([priced("a", None), priced("b", "1"), pod("p", node="b", cpu="2")], None, 1.0),
    "no price at all": ([priced("a", None), pod("p", node="a", cpu="2")], None, None),
}


@pytest.mark.parametrize(("items", "now", "bound"), BOUNDS.values(), ids=BOUNDS.keys())
def test_money_and_its_lower_bound(items: list[AnyObject], now: float | None, bound: float | None) -> None:
    snapshot = cluster(*items)
    assert money_per_hour(snapshot) == now
    assert bound_of(snapshot) == (None if bound is None else pytest.approx(bound))


small = st.integers(1, 5)


@given(st.lists(st.tuples(small, small, st.sampled_from(["x", "y"])), min_size=1, max_size=6), st.data())
def test_the_bound_is_never_above_what_the_nodes_cost_even_where_they_are_over_committed(
    nodes: list[tuple[int, int, str]], data: st.DataObject
) -> None:
    items: list[AnyObject] = [
        priced(f"n{number}", str(price), kind, cpu=str(cpu)) for number, (cpu, price, kind) in enumerate(nodes)
    ]
    places = data.draw(st.lists(st.tuples(st.integers(0, len(nodes) - 1), small), max_size=12))
    items += [pod(f"p{number}", node=f"n{row}", cpu=str(cpu)) for number, (row, cpu) in enumerate(places)]
    snapshot = cluster(*items)
    now, bound = money_per_hour(snapshot), bound_of(snapshot)
    assert now is not None
    assert bound is not None
    assert 0 <= bound <= now * (1 + 1e-9)


def test_prices_come_from_labels_first_and_a_label_without_a_price_is_reported(tmp_path: Path) -> None:
    path = write_list(
        tmp_path / "dump.json", priced("labelled", "2"), priced("listed", None), priced("wrong", "NaN"), node("unknown")
    )
    dump = read_dump(path)
    set_prices(dump, Catalogue([InstancePrice("small", "on-demand", 0.25)]))
    prices = dict(zip(dump.snapshot.nodes.names, dump.snapshot.nodes.price.tolist(), strict=False))
    assert (prices["labelled"], prices["listed"]) == (2, 0.25)
    assert np.isnan([prices["wrong"], prices["unknown"]]).all()
    (problem,) = dump.left_out
    assert (problem.file, problem.object, problem.value) == (path, "Node wrong", "NaN")
    assert problem.field == f"metadata.labels[{PRICE_LABEL}]"


def test_what_is_on_offer_may_lower_the_bound_as_far_as_pods_may_go_there() -> None:
    def bound(*offered: Offering, **spec: Any) -> float | None:
        snapshot = ClusterSnapshot()
        snapshot.set(node("dear", cpu="4", memory="4Gi"))
        snapshot.set(pod("web", node="dear", spec=spec, cpu="2", memory="1Gi"))
        snapshot.set_price(0, 1.0)
        snapshot.offerings = offered
        return bound_of(snapshot)

    room = {"cpu": 4000, "memory": 2**32, "pods": 110}
    spot = Offering("small", "spot", "a", 0.1, room)
    unpriced = Offering("gift", "spot", "a", None, room)
    assert bound() == pytest.approx(1.0)
    assert bound(spot, unpriced) == pytest.approx(0.1)
    assert bound(spot, node_selector={"karpenter.sh/capacity-type": "on-demand"}) == pytest.approx(1.0)
    assert bound(spot, node_selector={"team": "any"}) == pytest.approx(0.1), (
        "what an offering does not state is not known"
    )


def test_of_prices_that_come_with_the_package_only_the_types_in_use_are_on_offer() -> None:
    snapshot = ClusterSnapshot()
    snapshot.set(node("n", labels={"node.kubernetes.io/instance-type": "m7i.large"}))
    assert {each.instance_type for each in offerings_of(shipped(), snapshot, given=False)} == {"m7i.large"}
    assert len(offerings_of(shipped(), snapshot, given=True)) > 100
