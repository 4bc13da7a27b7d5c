"""Which nodes with protected pods stop filling: what filling on is expected to cost, against what stopping costs."""

from collections.abc import Container, Sequence
from math import exp
from typing import NamedTuple

import numpy as np

from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.protected_pods import History, Holder
from neaptide.policies.protected_spec import ProtectedSpec

_PACKED = 0.9
"""How full nodes get whose pods have been moved together."""


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
    """The nodes (rows) that never stop filling: those that are held longest, as many as all pods of the cluster would fill.

    So many nodes are paid for in any case, and new protected pods find others there that end as late.
    """
    has, rows = snapshot.nodes.allocatable[:2].astype(np.float64), snapshot.nodes.indices()
    own = [each.node for each in held]
    wanted = snapshot.nodes.used[:2, rows].sum(axis=1) / _PACKED
    wanted = np.maximum(wanted, spec.keep_filling_percent / 100 * has[:, own].sum(axis=1))
    found = set[int]()
    for node in own:
        if (wanted <= 0).all():
            break
        found.add(node)
        wanted = wanted - has[:, node]
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


def scarcity(
    snapshot: ClusterSnapshot,
    held: Sequence[Held],
    stopped: Container[int],
    keep: Container[int],
    history: History,
    now: float,
) -> float:
    """How much of the room that is given up is needed, 0..1.

    What needs it are the protected pods that come while others run, and all pods on nodes that nobody holds: with room on nodes
    that are paid for anyway, those nodes could go. The nodes that never stop filling have room, too.
    """
    nodes = snapshot.nodes
    rows = nodes.indices()
    free = np.maximum(snapshot.free()[0], 0).astype(np.float64)
    apart = np.array([each.node for each in held], dtype=np.int64)
    pods = [holder.pod for each in held for holder in each.holders]
    size = float(snapshot.pod_requests(pods)[0].mean()) if pods else 0.0
    runs = history.mean_seconds(min((each.seconds for each in held), default=0.0))
    demand = history.rate(now) * runs * size + float(nodes.used[0, rows[~np.isin(rows, apart)]].sum())
    supply = sum(float(free[each.node]) for each in held if each.node in keep)
    lost = sum(float(free[each.node]) for each in held if each.node not in stopped and each.node not in keep)
    return 0.0 if lost <= 0 else min(max((demand - supply) / lost, 0.0), 1.0)
