"""Nodes for kwok to play: drawn from what a price catalogue offers, with the labels that a cloud's nodes carry."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from neaptide.model.offerings import Offering
from neaptide.pricing.nodes import PRICE_LABELS

_ZONE = "topology.kubernetes.io/zone"
_REGION = "us-east-1"
_LABELS = {
    "kubernetes.io/os": "linux",
    "topology.kubernetes.io/region": _REGION,
    "app.kubernetes.io/managed-by": "neaptide-testbed",
}
_FORMER_NAMES = {f"kubernetes.io/{what}": f"beta.kubernetes.io/{what}" for what in ("os", "arch")}
_DISK = "100Gi"

DEFAULT_ZONES = tuple(f"{_REGION}{letter}" for letter in "abc")
DEFAULT_TYPES = ("m7i.2xlarge", "m7i.4xlarge", "c7i.2xlarge", "c7i.4xlarge", "r7i.2xlarge", "r7i.4xlarge")


class Mix(Struct, frozen=True, kw_only=True):
    """What nodes are drawn from, evenly.

    Attributes:
        offerings: types with their sizes; on-demand prices where they are not said to be spot.
        spot_fraction: the chance of a node to be spot.
        spot_price: of a spot node, as a part of the on-demand price: clouds publish no list of spot prices.
        seed: the same seed gives the same nodes; node 7 of ten is node 7 of a thousand.
    """

    offerings: Sequence[Offering]
    zones: Sequence[str] = DEFAULT_ZONES
    spot_fraction: float = 0.3
    spot_price: float = 0.4
    seed: int = 1


def draw(count: int, mix: Mix) -> list[dict[str, Any]]:
    """So many nodes as manifests."""
    return [_drawn(index, mix) for index in range(1, count + 1)]


def fake_node(name: str, labels: Mapping[str, str], allocatable: Mapping[str, str]) -> dict[str, Any]:
    """The manifest of a node that kwok plays: never more than its allocatable amounts is promised."""
    amounts = {"ephemeral-storage": _DISK, **allocatable}
    labels = {**_LABELS, "kubernetes.io/hostname": name, **labels}
    for (
        name_now,
        name_before,
    ) in _FORMER_NAMES.items():  # else the controller manager adds each later, one more write a node
        if name_now in labels:
            labels[name_before] = labels[name_now]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
        "status": {"capacity": amounts, "allocatable": amounts},
    }


def _drawn(index: int, mix: Mix) -> dict[str, Any]:
    draws = random.Random(f"{mix.seed}/{index}")  # noqa: S311 - nodes are no secret, and must come out the same again
    offering = draws.choice(mix.offerings)
    spot = draws.random() < mix.spot_fraction
    price = offering.price_per_hour
    labels = {
        **offering.labels,
        _ZONE: offering.zone or draws.choice(mix.zones),
    }
    if spot and offering.capacity_type == "on-demand":
        labels["karpenter.sh/capacity-type"] = "spot"
        price = None if price is None else price * mix.spot_price
    if price is not None:
        labels[PRICE_LABELS[0]] = f"{price:.6g}"
    return fake_node(f"node-{index:05d}", labels, _quantities(offering.allocatable))


def _quantities(amounts: Mapping[str, int]) -> dict[str, str]:
    """Milli-CPU, bytes and counts as Kubernetes writes them."""
    return {name: f"{amount}m" if name == "cpu" else str(amount) for name, amount in amounts.items()}
