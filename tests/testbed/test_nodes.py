"""Nodes as they are drawn: as a cloud labels them, the same for the same seed, with prices that follow the catalogue."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.model.offerings import Offering
from neaptide.pricing.nodes import capacity_type, label_price
from neaptide.testbed.nodes import Mix, draw

SMALL = Offering("small", "on-demand", "", 0.1, {"cpu": 1930, "memory": 4 * 2**30, "pods": 29}, {"size": "small"})
LARGE = Offering("large", "on-demand", "", 0.4, {"cpu": 7910, "memory": 16 * 2**30, "pods": 58}, {"size": "large"})
OFFERINGS = (SMALL, LARGE)


def labels(node: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = node["metadata"]["labels"]
    return found


@given(few=st.integers(0, 20), more=st.integers(0, 30), seed=st.integers(0, 5))
def test_a_larger_cluster_begins_with_the_nodes_of_the_smaller(few: int, more: int, seed: int) -> None:
    mix = Mix(offerings=OFFERINGS, seed=seed)
    assert draw(few + more, mix)[:few] == draw(few, mix)


@given(spot_price=st.floats(0, 1), seed=st.integers(0, 100))
def test_a_nodes_price_is_that_of_its_type_or_for_spot_a_part_of_it(spot_price: float, seed: int) -> None:
    prices = {"small": 0.1, "large": 0.4}
    for node in draw(10, Mix(offerings=OFFERINGS, spot_fraction=0.5, spot_price=spot_price, seed=seed)):
        listed = prices[labels(node)["size"]]
        expected = listed * spot_price if capacity_type(labels(node)) == "spot" else listed
        assert label_price(labels(node)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("fraction", "kinds"), [(0.0, {"on-demand"}), (1.0, {"spot"}), (0.5, {"on-demand", "spot"})])
def test_the_fraction_that_is_spot(fraction: float, kinds: set[str]) -> None:
    nodes = draw(100, Mix(offerings=OFFERINGS, spot_fraction=fraction))
    assert {capacity_type(labels(node)) for node in nodes} == kinds


def test_types_and_zones_are_all_drawn_from() -> None:
    nodes = draw(200, Mix(offerings=OFFERINGS, zones=("a", "b")))
    drawn = {(labels(node)["size"], labels(node)["topology.kubernetes.io/zone"]) for node in nodes}
    assert drawn == {("small", "a"), ("small", "b"), ("large", "a"), ("large", "b")}


def test_an_offering_of_one_zone_stays_there_and_one_without_a_price_gets_no_label() -> None:
    zonal = Offering("zonal", "spot", "far", None, {"cpu": 500, "memory": 2**30, "pods": 10, "nvidia.com/gpu": 2})
    (node,) = draw(1, Mix(offerings=[zonal]))
    assert labels(node)["topology.kubernetes.io/zone"] == "far"
    assert not [label for label in labels(node) if "price" in label]
    amounts = {"cpu": "500m", "memory": "1073741824", "pods": "10", "nvidia.com/gpu": "2", "ephemeral-storage": "100Gi"}
    assert node["status"]["allocatable"] == amounts


def test_every_node_is_marked_for_kwok() -> None:
    nodes = draw(3, Mix(offerings=OFFERINGS))
    assert [node["metadata"]["name"] for node in nodes] == ["node-00001", "node-00002", "node-00003"]
    assert all(node["metadata"]["annotations"] == {"kwok.x-k8s.io/node": "fake"} for node in nodes)
