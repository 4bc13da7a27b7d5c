"""What could be bought for which pool, as the nodes that it would become."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neaptide.model.actions import FOR_LABEL, Reason
from neaptide.model.cloud import Coming, Order
from neaptide.model.objects import Metadata, Node, NodeSpec, NodeStatus, Taint
from neaptide.model.offerings import Offering
from neaptide.model.selectors import requirement_matches
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.provision_opening import TAINT, is_gated
from neaptide.policies.provision_spec import NODES, NodePool

POOL = "karpenter.sh/nodepool"
HOSTNAME = "kubernetes.io/hostname"
_PASSING = ("node.kubernetes.io/", TAINT)
"""Taints that say how a node is, and go when it is well or, ours, opened."""


class Article(NamedTuple):
    """A node that could be bought: the offering with the pool's labels on it, the pool, and what it costs in US dollars per hour."""

    offering: Offering
    pool: NodePool
    price: float

    def node(self, name: str) -> Node:
        """The object that it would be once its startup taints are gone."""
        return node_of(Order(name=name, offering=self.offering, node_pool=self.pool.name, taints=self.pool.taints))


def articles(offerings: Sequence[Offering], pool: NodePool) -> tuple[list[Article], Reason | None]:
    """What may be bought for a pool, or why nothing may."""
    found = []
    for offering in offerings:
        if offering.price_per_hour is None or offering.labels.get(POOL, pool.name) != pool.name:
            continue
        labels = labels_of(offering, pool)
        if all(requirement_matches(each.requirement(), labels) for each in pool.requirements):
            sold = Offering(
                offering.instance_type, offering.capacity_type, offering.zone, offering.price_per_hour,
                offering.allocatable, labels,
            )  # fmt: skip
            found.append(Article(sold, pool, offering.price_per_hour))
    if not found:
        return [], Reason("NothingOnSale", f"nothing with a known price meets the requirements of the pool {pool.name}")
    for each in pool.requirements:
        values = {article.offering.labels.get(each.key) for article in found} - {None}
        if len(values) < each.min_values:
            have = f"{len(values)} values of {each.key} can be had"
            return [], Reason("MinValues", f"{have}, and the pool {pool.name} wants {each.min_values}")
    return found, None


def labels_of(offering: Offering, pool: NodePool) -> dict[str, str]:
    """A bought node's labels, besides its name."""
    zone = {"topology.kubernetes.io/zone": offering.zone} if offering.zone else {}
    return (
        {"kubernetes.io/os": "linux"}
        | pool.labels
        | offering.labels
        | zone
        | {
            "node.kubernetes.io/instance-type": offering.instance_type,
            "karpenter.sh/capacity-type": offering.capacity_type,
            POOL: pool.name,
        }
    )


def node_of(order: Order) -> Node:
    """The node that an order becomes, ready."""
    labels = order.offering.labels | {HOSTNAME: order.name, FOR_LABEL: order.name}
    meta = Metadata(name=order.name, labels=labels)
    amounts = _quantities(order.offering.allocatable)
    return Node(meta, NodeSpec(taints=order.taints), NodeStatus(allocatable=amounts))


def expected(
    snapshot: ClusterSnapshot, pools: Sequence[NodePool], start_seconds: float, now: float
) -> tuple[list[Node], list[Coming]]:
    """The nodes that were ordered and are not ready yet as they will be, and the orders that have waited too long."""
    starting = {each for pool in pools for each in (*pool.startup_taints,)}
    late = [each for each in snapshot.coming if now - each.since > start_seconds]
    found = [_ready(node_of(each.order), starting) for each in snapshot.coming if each not in late]
    nodes = snapshot.nodes
    rows = nodes.indices()
    young = rows[now - nodes.created[rows] <= start_seconds].tolist()
    found += [
        _as_it_will_be(snapshot, row, starting)
        for row in young
        if FOR_LABEL in snapshot.node_labels(row)
        and (not nodes.ready[row] or is_gated(snapshot, row) or starting & set(snapshot.node_taints(row)))
    ]
    return found, late


def size(snapshot: ClusterSnapshot, pool: NodePool) -> dict[str, int]:
    """What a pool has of what it is limited in, orders that are under way included."""
    limited = pool.amounts()
    if not limited:
        return {}
    rows = [row for row in snapshot.nodes.indices().tolist() if snapshot.node_labels(row).get(POOL) == pool.name]
    coming = [each.order.offering.allocatable for each in snapshot.coming if each.order.node_pool == pool.name]
    has = dict.fromkeys(limited, 0)
    for resource in limited:
        if resource == NODES:
            has[resource] = len(rows) + len(coming)
            continue
        at = snapshot.resource_row(resource)
        has[resource] = sum(each.get(resource, 0) for each in coming)
        has[resource] += 0 if at is None else int(np.sum(snapshot.nodes.capacity[at, rows]))
    return has


def _ready(node: Node, starting: set[Taint]) -> Node:
    taints = tuple(each for each in node.spec.taints if each not in starting and each.key != TAINT)
    return Node(node.metadata, NodeSpec(taints=taints), node.status)


def _as_it_will_be(snapshot: ClusterSnapshot, row: int, starting: set[Taint]) -> Node:
    amounts = dict(zip(snapshot.resources, snapshot.nodes.allocatable[:, row].tolist(), strict=False))
    taints = (each for each in snapshot.node_taints(row) if each not in starting and not each.key.startswith(_PASSING))
    meta = Metadata(name=snapshot.nodes.names[row], uid=snapshot.nodes.uids[row], labels=snapshot.node_labels(row))
    return Node(meta, NodeSpec(taints=tuple(taints)), NodeStatus(allocatable=_quantities(amounts)))


def _quantities(amounts: dict[str, int]) -> dict[str, str]:
    return {name: f"{amount}m" if name == "cpu" else str(amount) for name, amount in amounts.items() if amount}
