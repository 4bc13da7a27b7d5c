"""What could be bought in place of nodes that go: offerings as the nodes they would become, with what comes with every node."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from neaptide.model.columns import Longs
from neaptide.model.objects import Affinity, Metadata, Node, NodeSelector, NodeSpec, NodeStatus, Taint
from neaptide.model.offerings import Offering
from neaptide.model.selectors import node_matches, untolerated
from neaptide.model.shapes import Requirements
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.consolidation_candidates import TAINT
from neaptide.policies.protection import is_over
from neaptide.pricing.nodes import PRICE_LABELS, capacity_type

POOL = "karpenter.sh/nodepool"
HOSTNAME = "kubernetes.io/hostname"
_ARCH = "kubernetes.io/arch"
_OWN = (
    HOSTNAME,
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/zone",
    "karpenter.sh/capacity-type",
    *PRICE_LABELS,
)
"""Labels that nodes of a pool may share by chance."""
_PASSING = ("node.kubernetes.io/", TAINT)


class Article(NamedTuple):
    """A node that could be bought: the offering, the pool it would belong to, and the object it would be."""

    offering: Offering
    pool: str
    node: Node


class _Pool(NamedTuple):
    """What the nodes of a pool have in common."""

    name: str
    labels: dict[str, str]
    taints: tuple[Taint, ...]
    capacity_types: frozenset[str]
    architectures: frozenset[str]


def articles(snapshot: ClusterSnapshot, capacity_types: Sequence[str]) -> list[Article]:
    """What may be bought, by the cheapest price first.

    A pool is taken to buy what it has nodes of: their architectures, and their capacity types where none are given. A bought node
    has the labels and taints that all nodes of its pool share.
    """
    pools = list(_pools(snapshot))
    found: list[Article] = []
    for offering in snapshot.offerings:
        if offering.price_per_hour is None:
            continue
        for pool in pools:
            if offering.labels.get(POOL, pool.name) != pool.name:
                continue
            allowed = capacity_types or pool.capacity_types
            arch = offering.labels.get(_ARCH)
            if offering.capacity_type in allowed and (not pool.architectures or arch in (None, *pool.architectures)):
                found.append(Article(offering, pool.name, _node(offering, pool, len(found))))
    return sorted(found, key=lambda each: each.offering.price_per_hour or 0.0)


def overhead(snapshot: ClusterSnapshot, nodes: Sequence[Node]) -> Longs:
    """int64[nodes, resources]: what DaemonSets would ask for on nodes that are not there yet, by the pods that they have elsewhere."""
    asked: Longs = np.zeros((len(nodes), len(snapshot.resources)), dtype=np.int64)
    for requirements, request in _daemons(snapshot):
        required = _without_names(requirements.affinity)
        for row, node in enumerate(nodes):
            labels, taints = node.metadata.labels, node.spec.taints
            if (
                all(labels.get(key) == value for key, value in requirements.node_selector.items())
                and node_matches(required, labels, node.metadata.name)
                and untolerated(taints, requirements.tolerations, ("NoSchedule", "NoExecute")) is None
            ):
                asked[row] += request
    return asked


def _daemons(snapshot: ClusterSnapshot) -> Iterator[tuple[Requirements, Longs]]:
    """Each DaemonSet's requirements, by one of its pods, and the most that any of them asks for."""
    found: dict[int, tuple[Requirements, Longs]] = {}
    pods, refs = snapshot.pods, snapshot.workloads.refs
    for pod in pods.indices().tolist():
        owner = int(pods.owner[pod])
        if owner < 0 or refs[owner].kind != "DaemonSet" or is_over(snapshot, pod):
            continue
        request = snapshot.pod_requests([pod])[:, 0]
        known = found.get(owner)
        most = request if known is None else np.maximum(request, known[1])
        found[owner] = (snapshot.shape_of_pod(pod).requirements, most)
    yield from found.values()


def _without_names(affinity: Affinity | None) -> NodeSelector | None:
    """What a DaemonSet's pod requires of its node besides being that node."""
    rules = affinity.node_affinity if affinity else None
    required = rules.required_during_scheduling_ignored_during_execution if rules else None
    if required is None:
        return None
    terms = tuple(replace(each, match_fields=()) for each in required.node_selector_terms)
    return None if any(not each.match_expressions for each in terms) else replace(required, node_selector_terms=terms)


def _pools(snapshot: ClusterSnapshot) -> Iterator[_Pool]:
    """The pools that have nodes; nodes without a pool's label are one."""
    members: dict[str, list[int]] = {}
    for node in snapshot.nodes.indices().tolist():
        members.setdefault(snapshot.node_labels(node).get(POOL, ""), []).append(node)
    for name, nodes in members.items():
        labels = [snapshot.node_labels(node) for node in nodes]
        taints = [set(snapshot.node_taints(node)) for node in nodes]
        common = {key: value for key, value in labels[0].items() if all(each.get(key) == value for each in labels)}
        shared = set.intersection(*taints)
        yield _Pool(
            name,
            {key: value for key, value in common.items() if key not in _OWN},
            tuple(
                each for each in snapshot.node_taints(nodes[0]) if each in shared and not each.key.startswith(_PASSING)
            ),
            frozenset(capacity_type(each) for each in labels),
            frozenset(each[_ARCH] for each in labels if _ARCH in each),
        )


def _node(offering: Offering, pool: _Pool, number: int) -> Node:
    name = f"neaptide-article-{number}"
    amounts = {key: f"{amount}m" if key == "cpu" else str(amount) for key, amount in offering.allocatable.items()}
    labels = pool.labels | offering.labels | {HOSTNAME: name}
    return Node(Metadata(name=name, labels=labels), NodeSpec(taints=pool.taints), NodeStatus(allocatable=amounts))
