"""What a node costs, by its labels, a catalogue and its shape."""

from collections.abc import Mapping

from neaptide.model.problems import LeftOut
from neaptide.pricing.catalogue import Catalogue
from neaptide.pricing.rows import ACCEPTED_PRICE, parse_price

PRICE_LABELS = ("neaptide.io/price-per-hour", "eks-node-viewer/instance-price")
"""The first of these that a node carries is its price in US dollars per hour."""

_CAPACITY_TYPE_LABELS = {
    "karpenter.sh/capacity-type": {},
    "eks.amazonaws.com/capacityType": {"ON_DEMAND": "on-demand", "SPOT": "spot"},
    "cloud.google.com/gke-spot": {"true": "spot", "false": "on-demand"},
    "cloud.google.com/gke-preemptible": {"true": "spot", "false": "on-demand"},
    "kubernetes.azure.com/scalesetpriority": {"regular": "on-demand"},
    "node.kubernetes.io/lifecycle": {"normal": "on-demand"},
}


def label_price(labels: Mapping[str, str]) -> float | None:
    """The price that a node's label states; None where there is no such label or it states no price."""
    for label in PRICE_LABELS:
        if label in labels:
            try:
                return parse_price(labels[label])
            except ValueError:
                return None
    return None


def label_problem(labels: Mapping[str, str], *, file: str, node: str) -> LeftOut | None:
    """What to report where a node's price label states no price."""
    if label_price(labels) is not None:
        return None
    wrong = next((label for label in PRICE_LABELS if label in labels), None)
    if wrong is None:
        return None
    return LeftOut(file, f"Node {node}", f"metadata.labels[{wrong}]", labels[wrong], ACCEPTED_PRICE)


def capacity_type(labels: Mapping[str, str]) -> str:
    """on-demand, spot, or what else a label of Karpenter, EKS, GKE or AKS says; on-demand where none says anything."""
    for label, meanings in _CAPACITY_TYPE_LABELS.items():
        if label in labels:
            return meanings.get(labels[label], labels[label])
    return "on-demand"


def node_price(
    catalogue: Catalogue,
    labels: Mapping[str, str],
    *,
    cpu_milli: int,
    memory_bytes: int,
    gpu: int = 0,
    gpu_model: str = "",
) -> float | None:
    """Dollars per hour of a node: by its price label, else its instance type, else its shape (capacity, not allocatable) at unit prices.

    None where all of these are unknown, and where the label states no price: then somebody meant to set one, and no other is taken.
    """
    if any(label in labels for label in PRICE_LABELS):
        return label_price(labels)
    instance_type = labels.get("node.kubernetes.io/instance-type", "")
    zone = labels.get("topology.kubernetes.io/zone", "")
    kind = capacity_type(labels)
    price = catalogue.price(instance_type, kind, zone)
    if price is not None:
        return price
    return catalogue.price_of_shape(
        instance_type,
        kind,
        zone,
        cpu_milli=cpu_milli,
        memory_bytes=memory_bytes,
        gpu=gpu,
        gpu_model=gpu_model or labels.get("nvidia.com/gpu.product", ""),
    )
