"""What a cluster's nodes cost: a catalogue's prices put beside the nodes of a snapshot, and their sum."""

from collections.abc import Iterable
from math import fsum, nan

import numpy as np

from neaptide.model.problems import LeftOut
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.vocabulary import CPU, MEMORY
from neaptide.pricing.catalogue import Catalogue
from neaptide.pricing.nodes import label_problem, node_price

GPU = "nvidia.com/gpu"


def price_nodes(snapshot: ClusterSnapshot, catalogue: Catalogue, nodes: Iterable[int]) -> list[LeftOut]:
    """Price nodes (rows) by their labels or the catalogue, nan where neither knows; the labels that state no price, `object` naming the node."""
    gpus = snapshot.resource_row(GPU)
    left_out = []
    for node in nodes:
        labels, capacity = snapshot.node_labels(node), snapshot.nodes.capacity[:, node]
        price = node_price(
            catalogue,
            labels,
            cpu_milli=int(capacity[CPU]),
            memory_bytes=int(capacity[MEMORY]),
            gpu=0 if gpus is None else int(capacity[gpus]),
        )
        snapshot.set_price(node, nan if price is None else price)
        problem = label_problem(labels, file="", node=snapshot.nodes.names[node])
        if problem is not None:
            left_out.append(problem)
    return left_out


def money_per_hour(snapshot: ClusterSnapshot) -> float | None:
    """US dollars per hour of all nodes; None where there is no node, or the price of one is unknown."""
    nodes = snapshot.nodes.indices()
    prices = snapshot.nodes.price[nodes]
    return fsum(prices) if len(nodes) and np.isfinite(prices).all() else None
