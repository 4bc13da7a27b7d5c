"""What of nodes is requested, free and lent, tier by tier, and who uses it: each amount in one place, so that nothing counts twice.

Free is what the nodes' own resource still has; what is reclaimed is offered beside it and never added to it, for it is made of requests that
are not used, and of free room. Amounts are milli-CPU or bytes.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from neaptide.model.qos import Band
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.vocabulary import CPU, MEMORY

TIERS = {
    CPU: {"mid": "kubernetes.io/mid-cpu", "batch": "kubernetes.io/batch-cpu", "ot": "neaptide.io/ot-cpu"},
    MEMORY: {"mid": "kubernetes.io/mid-memory", "batch": "kubernetes.io/batch-memory", "ot": "neaptide.io/ot-memory"},
}
"""The tiers that are lent, by the row of the resource that they are lent from."""
USERS = ("prod", "mid", "batch", "free", "ot")
"""Who uses: the bands, with the pods of the OT tier apart from the rest of band free."""
_USER_OF_BAND = np.array([USERS.index(band.name.lower()) for band in sorted(Band)])


class Tier(Struct, frozen=True):
    """What a tier offers, what pods have requested of it, and what is left (below 0 where the offer shrank after)."""

    offered: int
    requested: int
    free: int


class Account(Struct, frozen=True):
    """One resource of some nodes.

    Attributes:
        capacity: of the nodes.
        reserved: capacity that no pod may have: capacity - allocatable.
        requested: by pods, of the resource itself.
        free: allocatable - requested.
        tiers: by `mid`, `batch` and `ot`, where a node offers them or a pod asks for them.
        used: by user, of pods whose use is known, and `system`: what the nodes use beside; their sum is what the nodes use. None where a node's use is unknown.
        unknown: pods whose use nobody measures; it is in the system's.
    """

    capacity: int
    reserved: int
    requested: int
    free: int
    tiers: dict[str, Tier]
    used: dict[str, float] | None
    unknown: int


def account_of(snapshot: ClusterSnapshot, resource: int, nodes: Sequence[int] | np.ndarray) -> Account:
    """The account of a resource (CPU or MEMORY) over some nodes (rows)."""
    table, rows = snapshot.nodes, np.asarray(nodes, dtype=np.int64)
    capacity, allocatable, requested = (
        int(each[resource, rows].sum()) for each in (table.capacity, table.allocatable, table.used)
    )
    tiers = {}
    for tier, name in TIERS[resource].items():
        row = snapshot.resource_row(name)
        if row is not None:
            offered, asked = int(table.allocatable[row, rows].sum()), int(table.used[row, rows].sum())
            if offered or asked:
                tiers[tier] = Tier(offered, asked, offered - asked)
    used, unknown = _used(snapshot, resource, rows)
    return Account(capacity, capacity - allocatable, requested, allocatable - requested, tiers, used, unknown)


def _used(snapshot: ClusterSnapshot, resource: int, rows: np.ndarray) -> tuple[dict[str, float] | None, int]:
    """Who uses how much, and how many pods are not measured."""
    nodes, pods = snapshot.nodes, snapshot.pods
    there = np.zeros(nodes.rows + 1, dtype=np.bool_)
    there[rows] = True
    on = np.flatnonzero(there[np.maximum(pods.node[: pods.rows], -1)] & (pods.node[: pods.rows] >= 0))
    by_pod = (pods.usage_cpu if resource == CPU else pods.usage_memory)[on]
    by_node = (nodes.usage_cpu if resource == CPU else nodes.usage_memory)[rows]
    known = ~np.isnan(by_pod)
    unknown = int((~known).sum())
    if np.isnan(by_node).any():
        return None, unknown
    user = _USER_OF_BAND[pods.band[on]]
    of_tier = snapshot.resource_row(TIERS[resource]["ot"])
    if of_tier is not None:
        shapes = snapshot.classes.shape[pods.cls[on]]
        user[snapshot.shapes.request[of_tier][shapes] > 0] = USERS.index("ot")
    sums = np.bincount(user[known], weights=by_pod[known], minlength=len(USERS))
    found = {name: float(amount) for name, amount in zip(USERS, sums.tolist(), strict=True) if amount}
    return {**found, "system": float(by_node.sum() - sums.sum())}, unknown
