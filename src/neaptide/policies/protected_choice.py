"""Which nodes with protected pods stop filling: what filling on is expected to cost, against what stopping costs."""

from collections.abc import Mapping, Sequence
from math import exp
from typing import NamedTuple

import numpy as np

from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.protected_pods import History, Holder
from neaptide.policies.protected_spec import ProtectedSpec


class Held(NamedTuple):
    """A node (row) that protected pods hold.

    Attributes:
        node: its row.
        holders: the pods that hold it.
        seconds: how much longer they are expected to.
        free: the share of its room that is free.
        price: US dollars per hour, nan where unknown.
    """

    node: int
    holders: tuple[Holder, ...]
    seconds: float
    free: float
    price: float


class Costs(NamedTuple):
    """US dollars until the node can go: if it is filled on, and if it stops filling."""

    filling: float
    stopping: float


def held_nodes(snapshot: ClusterSnapshot, found: Sequence[Holder]) -> list[Held]:
    """The nodes of pods that hold theirs, the one that is held longest first."""
    by_node: dict[int, list[Holder]] = {}
    for each in found:
        by_node.setdefault(int(snapshot.pods.node[each.pod]), []).append(each)
    free, has = snapshot.free(), snapshot.nodes.allocatable
    held = []
    for node, some in by_node.items():
        shares = [free[row, node] / has[row, node] for row in (0, 1) if has[row, node] > 0]
        seconds = max(each.left.expected for each in some)
        price = float(snapshot.nodes.price[node])
        held.append(Held(node, tuple(some), seconds, max(min(shares, default=0.0), 0.0), price))
    return sorted(held, key=lambda each: (-each.seconds, snapshot.nodes.names[each.node]))


def hosts(held: Sequence[Held], snapshot: ClusterSnapshot, spec: ProtectedSpec) -> set[int]:
    """The nodes (rows) that never stop filling: those that are held longest, where new protected pods find others that end as late."""
    room = {each.node: float(snapshot.nodes.allocatable[0, each.node]) for each in held}
    wanted, found = spec.keep_filling_percent / 100 * sum(room.values()), set[int]()
    for each in held:
        if wanted <= 0:
            break
        found.add(each.node)
        wanted -= room[each.node]
    return found


def costs(each: Held, history: History, spec: ProtectedSpec, *, filling: int, scarce: float, now: float) -> Costs:
    """What either way costs.

    Filled on, the node gets its share of the protected pods that come, one of which would hold it for as long as such pods run: it is
    paid for until then, though not needed. Stopped, its free room is paid for and not used, and has to be bought elsewhere as
    far as room is scarce (`scarce`, 0..1).
    """
    rate = history.rate(now) / max(filling, 1)
    renewed = 1 - exp(-rate * each.seconds)
    longer = history.mean_seconds(max(each.seconds, spec.unknown_seconds))
    hourly = each.price / 3600
    return Costs(hourly * renewed * longer, hourly * each.free * each.seconds * scarce)


def scarcity(snapshot: ClusterSnapshot, held: Sequence[Held], stopped: Mapping[int, object], waiting: int) -> float:
    """How much of the room that stops being filled would have to be bought elsewhere, 0..1: all while pods wait."""
    nodes = snapshot.nodes
    rows = nodes.indices()
    rows = rows[nodes.ready[rows] & ~nodes.unschedulable[rows]]
    free = np.maximum(snapshot.free()[0], 0)
    apart = {each.node for each in held}
    elsewhere = float(sum(free[row] for row in rows.tolist() if row not in apart))
    lost = float(sum(free[each.node] for each in held if each.node not in stopped))
    if waiting:
        return 1.0
    return 0.0 if lost <= 0 else max(1 - elsewhere / lost, 0.0)
