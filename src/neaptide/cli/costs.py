"""What a cluster costs per hour: by its nodes' prices, and how little its pods could cost at best."""

import numpy as np
from msgspec.structs import replace

from neaptide.cli.dump import Dump
from neaptide.cli.exits import UsageError
from neaptide.model.columns import Bools, Floats, Longs
from neaptide.model.problems import LeftOut
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.nodes import Nodes
from neaptide.policies.protection import comes_with_node
from neaptide.pricing.catalogue import Catalogue
from neaptide.pricing.cluster import price_nodes
from neaptide.pricing.load import load, shipped
from neaptide.pricing.nodes import capacity_type
from neaptide.pricing.parse import CatalogueError

_RECLAIMED = ("kubernetes.io/batch-", "kubernetes.io/mid-", "neaptide.io/ot-")
"""What is lent by other pods and not bought with a node: no bound may rest on it."""


def read_catalogue(path: str | None) -> tuple[Catalogue, list[LeftOut]]:
    """The prices of a file and what of it was left out, or those that come with the package. Raises UsageError."""
    if path is None:
        return shipped(), []
    try:
        return load(path)
    except CatalogueError as error:
        raise UsageError(str(error)) from error


def set_prices(dump: Dump, catalogue: Catalogue) -> None:
    """Price every node of a dump by its label or the catalogue; a label that states no price is reported as left out."""
    snapshot = dump.snapshot
    for problem in price_nodes(snapshot, catalogue, snapshot.nodes.indices().tolist()):
        file = dump.node_files.get(problem.object.removeprefix("Node "), "")
        dump.left_out.append(replace(problem, file=file))


def bound_of(snapshot: ClusterSnapshot) -> float | None:
    """US dollars per hour below which no set of nodes, of the kinds that are there and have a price, can host the pods on nodes.

    Nodes of one instance type, capacity type, zone and price are a kind. What its DaemonSets and static pods take is left
    out on both sides; reclaimed resources are not counted; a pod may go to any kind whose labels and taints admit it, or
    where one of its class is already. Never above the cost of the nodes that are there. None where it is not known.
    """
    from neaptide.pricing.bound import lower_bound  # scipy takes a second to import

    pods = snapshot.pods.indices()
    pods = pods[snapshot.pods.node[pods] >= 0]
    nodes = snapshot.nodes.indices()
    if not len(nodes):
        return None
    tied = np.array([comes_with_node(snapshot, int(pod)) for pod in pods], dtype=np.bool_)
    kind_of, price = _kinds(snapshot)
    classes, class_of, counts = np.unique(snapshot.pods.cls[pods[~tied]], return_inverse=True, return_counts=True)
    bought = [row for row, name in enumerate(snapshot.resources) if not name.startswith(_RECLAIMED)]
    requests = snapshot.shapes.request[:, snapshot.classes.shape[classes]][bought].T
    eligible = _admitted(snapshot, classes, kind_of, len(price))
    eligible[class_of, kind_of[snapshot.pods.node[pods[~tied]]]] = True
    capacity = np.zeros((len(price), len(bought)), dtype=np.int64)
    np.maximum.at(capacity, kind_of[nodes], _room(snapshot, pods[tied])[bought][:, nodes].T)
    return lower_bound(np.ascontiguousarray(requests), counts, eligible, capacity, price)


def _kinds(snapshot: ClusterSnapshot) -> tuple[Longs, Floats]:
    """The kind of every row of the nodes (0 for a free row, which nobody asks for), and the price of every kind."""
    numbers: dict[tuple[str, str, str, float | None], int] = {}
    kind_of = np.zeros(snapshot.nodes.rows, dtype=np.int64)
    for node in snapshot.nodes.indices().tolist():
        labels, price = snapshot.node_labels(node), float(snapshot.nodes.price[node])
        instance_type = labels.get("node.kubernetes.io/instance-type", "")
        zone = labels.get("topology.kubernetes.io/zone", "")
        key = (instance_type, capacity_type(labels), zone, None if np.isnan(price) else price)
        kind_of[node] = numbers.setdefault(key, len(numbers))
    return kind_of, np.array([np.nan if price is None else price for *_, price in numbers])


def _admitted(snapshot: ClusterSnapshot, classes: Longs, kind_of: Longs, kinds: int) -> Bools:
    """[classes, kinds]: whether the labels and taints of any node of a kind admit a class."""
    nodes = Nodes(snapshot)
    nodes.refresh(range(snapshot.nodes.rows))
    admitted = np.zeros((len(classes), kinds), dtype=np.bool_)
    for row, cls in enumerate(classes):
        shape = int(snapshot.classes.shape[cls])
        requirements = snapshot.shape_facts.values[shape].requirements
        passes = nodes.matching(shape, requirements) & nodes.tolerable(shape, requirements)
        admitted[row, kind_of[np.flatnonzero(passes)]] = True
    return admitted


def _room(snapshot: ClusterSnapshot, tied: Longs) -> Longs:
    """[resources, rows]: what a node has for other pods than those tied to it, and what these take where that is more."""
    rows = snapshot.nodes.rows
    taken = np.zeros((len(snapshot.resources), rows), dtype=np.int64)
    np.add.at(taken.T, snapshot.pods.node[tied], snapshot.pod_requests(tied).T)
    largest = np.maximum(snapshot.nodes.allocatable[:, :rows], snapshot.nodes.used[:, :rows])
    room: Longs = np.maximum(largest - taken, 0)
    return room
