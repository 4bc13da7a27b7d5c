"""A cluster at a glance: what its nodes are, hold, use and cost."""

from collections.abc import Iterator

import numpy as np
from msgspec import Struct

from neaptide.model.accounts import TIERS, Account, account_of
from neaptide.model.columns import FAILED, NO_NODE, SUCCEEDED
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.vocabulary import CPU, MEMORY
from neaptide.policies.protection import comes_with_node
from neaptide.pricing.cluster import money_per_hour
from neaptide.pricing.nodes import capacity_type


class Share(Struct, frozen=True):
    """What is requested and used of a resource, in parts of what is allocatable; None where nobody measures."""

    requested: float
    used: float | None


class NodeRow(Struct, frozen=True):
    """One node. `price_per_hour` is in US dollars, None where unknown; `state` says what keeps it from taking pods.

    `lent` is, by tier, which part of the node's CPU it offers.
    """

    name: str
    instance_type: str
    capacity_type: str
    price_per_hour: float | None
    pods: int
    cpu: Share
    memory: Share
    lent: dict[str, float]
    state: str


class Overview(Struct, frozen=True):
    """All nodes, and sums over them; what is free and what is lent stand apart in the accounts."""

    nodes: list[NodeRow]
    ready: int
    running: int
    pending: int
    money_per_hour: float | None
    cpu: Share
    memory: Share
    cpu_account: Account
    memory_account: Account


def overview(snapshot: ClusterSnapshot) -> Overview:
    """The cluster as a snapshot has it, its nodes with the dearest first."""
    nodes, pods = snapshot.nodes, snapshot.pods
    rows = nodes.indices()
    live = pods.indices()
    live = live[(pods.phase[live] != SUCCEEDED) & (pods.phase[live] != FAILED)]
    placed = pods.node[live] != NO_NODE
    found = [_row(snapshot, row) for row in rows.tolist()]
    return Overview(
        sorted(found, key=lambda each: (-(each.price_per_hour or 0.0), each.name)),
        int(nodes.ready[rows].sum()),
        int(placed.sum()),
        int((~placed).sum()),
        money_per_hour(snapshot),
        _share(snapshot, CPU, rows),
        _share(snapshot, MEMORY, rows),
        account_of(snapshot, CPU, rows),
        account_of(snapshot, MEMORY, rows),
    )


def _row(snapshot: ClusterSnapshot, row: int) -> NodeRow:
    labels, price = snapshot.node_labels(row), float(snapshot.nodes.price[row])
    one = np.array([row])
    return NodeRow(
        snapshot.nodes.names[row],
        labels.get("node.kubernetes.io/instance-type", ""),
        capacity_type(labels),
        None if np.isnan(price) else price,
        sum(not comes_with_node(snapshot, pod) for pod in snapshot.pods_on(row)),
        _share(snapshot, CPU, one),
        _share(snapshot, MEMORY, one),
        dict(_lent(snapshot, row)),
        _state(snapshot, row),
    )


def _share(snapshot: ClusterSnapshot, resource: int, rows: np.ndarray) -> Share:
    nodes = snapshot.nodes
    room = float(nodes.allocatable[resource, rows].sum())
    usage = (nodes.usage_cpu if resource == CPU else nodes.usage_memory)[rows]
    if not room:
        return Share(0.0, None)
    used = None if np.isnan(usage).any() else float(usage.sum()) / room
    return Share(float(nodes.used[resource, rows].sum()) / room, used)


def _lent(snapshot: ClusterSnapshot, row: int) -> Iterator[tuple[str, float]]:
    """The tiers of CPU that a node offers."""
    capacity = int(snapshot.nodes.capacity[CPU, row])
    for tier, name in TIERS[CPU].items():
        resource = snapshot.resource_row(name)
        offered = 0 if resource is None else int(snapshot.nodes.allocatable[resource, row])
        if offered and capacity:
            yield tier, offered / capacity


def _state(snapshot: ClusterSnapshot, row: int) -> str:
    parts = [] if snapshot.nodes.ready[row] else ["not ready"]
    parts += ["cordoned"] if snapshot.nodes.unschedulable[row] else []
    parts += [taint.key.rpartition("/")[2] for taint in snapshot.node_taints(row) if taint.effect != "PreferNoSchedule"]
    return ", ".join(parts)
