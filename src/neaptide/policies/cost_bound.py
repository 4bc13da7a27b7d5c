"""How little the pods of a cluster could cost at best: what every plan, and the live cluster, is shown beside."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from neaptide.model.columns import Bools, Floats, Longs
from neaptide.model.objects import Requirement
from neaptide.model.offerings import Offering
from neaptide.model.selectors import requirement_matches
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.nodes import Nodes
from neaptide.policies.protection import come_with_node
from neaptide.pricing.nodes import capacity_type

_INSTANCE_TYPE, _ZONE = "node.kubernetes.io/instance-type", "topology.kubernetes.io/zone"
_CAPACITY_TYPE = "karpenter.sh/capacity-type"
_RECLAIMED = ("kubernetes.io/batch-", "kubernetes.io/mid-", "neaptide.io/ot-")
"""What is lent by other pods and not bought with a node: no bound may rest on it."""


def bound_of(snapshot: ClusterSnapshot) -> float | None:
    """US dollars per hour below which no set of nodes, of the kinds that are there or on offer and have a price, can host the pods on nodes.

    Nodes of one instance type, capacity type, zone and price are a kind. What its DaemonSets and static pods take is left
    out on both sides; reclaimed resources are not counted; a pod may go to any kind whose labels and taints admit it, or
    where one of its class is already, and to whatever is on offer that does not contradict what it asks of a node. Never
    above the cost of the nodes that are there. None where it is not known.
    """
    from neaptide.pricing.bound import lower_bound  # noqa: PLC0415 - scipy takes a second to import

    pods = snapshot.pods.indices()
    pods = pods[snapshot.pods.node[pods] >= 0]
    nodes = snapshot.nodes.indices()
    if not len(nodes):
        return None
    tied = come_with_node(snapshot, pods)
    kind_of, price = _kinds(snapshot)
    classes, class_of, counts = np.unique(snapshot.pods.cls[pods[~tied]], return_inverse=True, return_counts=True)
    bought = [row for row, name in enumerate(snapshot.resources) if not name.startswith(_RECLAIMED)]
    requests = snapshot.shapes.request[:, snapshot.classes.shape[classes]][bought].T
    eligible = _admitted(snapshot, classes, kind_of, len(price))
    eligible[class_of, kind_of[snapshot.pods.node[pods[~tied]]]] = True
    capacity = np.zeros((len(price), len(bought)), dtype=np.int64)
    np.maximum.at(capacity, kind_of[nodes], _room(snapshot, pods[tied])[bought][:, nodes].T)
    offered = [each for each in snapshot.offerings if each.price_per_hour is not None]
    names = [snapshot.resources[row] for row in bought]
    on_offer = np.array([[each.allocatable.get(name, 0) for name in names] for each in offered], dtype=np.int64)
    return lower_bound(
        np.ascontiguousarray(requests),
        counts,
        np.concatenate([eligible, _not_contradicted(snapshot, classes, offered)], axis=1),
        np.concatenate([capacity, on_offer.reshape(len(offered), len(names))]),
        np.concatenate([price, [each.price_per_hour for each in offered]]),
    )


def _not_contradicted(snapshot: ClusterSnapshot, classes: Longs, offered: Sequence[Offering]) -> Bools:
    """[classes, offerings]: whether what a class asks of a node's labels can be met, as far as an offering states them."""
    stated = [
        each.labels
        | {_INSTANCE_TYPE: each.instance_type, _CAPACITY_TYPE: each.capacity_type}
        | ({_ZONE: each.zone} if each.zone else {})
        for each in offered
    ]
    found = np.ones((len(classes), len(offered)), dtype=np.bool_)
    for row, cls in enumerate(classes):
        requirements = snapshot.shape_facts.values[int(snapshot.classes.shape[cls])].requirements
        wanted = [Requirement(key, "In", (value,)) for key, value in requirements.node_selector.items()]
        node = requirements.affinity and requirements.affinity.node_affinity
        required = node and node.required_during_scheduling_ignored_during_execution
        terms = [term.match_expressions for term in required.node_selector_terms] if required else [()]
        if wanted or terms != [()]:
            found[row] = [
                _can_meet(wanted, labels) and any(_can_meet(term, labels) for term in terms) for labels in stated
            ]
    return found


def _can_meet(wanted: Iterable[Requirement], labels: Mapping[str, str]) -> bool:
    return all(each.key not in labels or requirement_matches(each, labels) for each in wanted)


def _kinds(snapshot: ClusterSnapshot) -> tuple[Longs, Floats]:
    """The kind of every row of the nodes (0 for a free row, which nobody asks for), and the price of every kind."""
    numbers: dict[tuple[str, str, str, float | None], int] = {}
    kind_of = np.zeros(snapshot.nodes.rows, dtype=np.int64)
    for node in snapshot.nodes.indices().tolist():
        labels, price = snapshot.node_labels(node), float(snapshot.nodes.price[node])
        instance_type = labels.get(_INSTANCE_TYPE, "")
        zone = labels.get(_ZONE, "")
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
