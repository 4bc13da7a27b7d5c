"""Policy `provision`: buys nodes for pods that wait, so that a cluster can be run without another autoscaler.

Pods are collected until none has come for a while. Those that find room on the nodes that are there or on their way are left to the
scheduler; for the others the cheapest mix is bought, pool by pool in order of weight, within the pools' limits. Bought nodes come with a
taint, and are opened once their pods know them (provision_opening).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b

import msgspec
import numpy as np
from msgspec import Struct, field

from neaptide.model.actions import CreateNode, Declined, Effect, Plan, Reason, Ref
from neaptide.model.columns import FAILED, NO_NODE, SUCCEEDED, Longs
from neaptide.model.scope import Covers, everything
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.place import Placement
from neaptide.policies.consolidation_rooms import RULES
from neaptide.policies.provision_market import Article, articles, expected, size
from neaptide.policies.provision_opening import NAME, Meant, opening, promises, taint_of
from neaptide.policies.provision_spec import NODES, NodePool, ProvisionSpec

_LATE = Reason("NotStarted", "it has not come in time, and is no longer counted on")
_PATIENCE = 3.0
"""Times the longest batch."""
_NO_KIND = Reason("NoNodeFits", "no node that may be bought would take it")


class ProvisionMemory(Struct):
    """What was found out of the pods that wait.

    Attributes:
        settled: a fingerprint of the cluster in which nothing could be bought for them.
        helpless: their names (`namespace/name`).
        meant: by what a purchase is called, the pods that its node is bought for, until that is opened.
    """

    settled: str = ""
    helpless: tuple[str, ...] = ()
    meant: dict[str, Meant] = field(default_factory=dict)


class Provision:
    """The policy."""

    name = NAME
    spec_type = ProvisionSpec
    memory_type = ProvisionMemory

    def plan(
        self,
        snapshot: ClusterSnapshot,
        spec: ProvisionSpec,
        memory: ProvisionMemory,
        now: float,
        covers: Covers = everything,
    ) -> tuple[Plan, ProvisionMemory]:
        """Which nodes are opened, and what is bought, now."""
        opened, meant = opening(snapshot, spec, memory.meant, covers, now)
        promised = promises(snapshot, spec, meant, now)
        pods = _waiting(snapshot, promised, covers)
        if (
            not len(pods)
            or _is_filling(snapshot, pods, spec, now)
            or (opened and not _has_waited(snapshot, pods, spec, now))
        ):
            return Plan(NAME, tuple(opened)), ProvisionMemory(meant=meant)
        print_ = _fingerprint(snapshot, spec, pods)
        if print_ == memory.settled:
            known = (snapshot.pods.by_key.get(name) for name in memory.helpless)
            declined = [Declined(snapshot.pod_ref(pod), _NO_KIND) for pod in known if pod is not None]
            return Plan(NAME, tuple(opened), tuple(declined)), ProvisionMemory(print_, memory.helpless, meant)
        purchase = purchases(snapshot, pods.tolist(), spec, now, promised=promised)
        orders = [
            order_of(article, number, len(purchase.bought), now, gated=spec.nominate)
            for number, article in enumerate(purchase.bought)
        ]
        if spec.nominate:
            meant |= _meant(snapshot, purchase, orders, now)
        helpless = tuple(snapshot.pods.keys[pod] for pod in purchase.left)
        declined = [Declined(snapshot.pod_ref(pod), _NO_KIND) for pod in purchase.left]
        plan = Plan(NAME, (*opened, *orders), (*purchase.declined, *declined))
        return plan, ProvisionMemory("" if orders else print_, () if orders else helpless, meant)


class Purchase(Struct, frozen=True):
    """What to buy; by pod (row) its place there; the pods that nothing on sale would take; what is not counted on."""

    bought: tuple[Article, ...]
    meant: dict[int, int]
    left: tuple[int, ...]
    declined: tuple[Declined, ...]


def purchases(
    snapshot: ClusterSnapshot,
    pods: Sequence[int],
    spec: ProvisionSpec,
    now: float,
    *,
    without: Sequence[int] = (),
    promised: Mapping[int, str] = {},
) -> Purchase:
    """What to buy for pods (rows), were they to leave their nodes and none of the nodes (rows) in `without` to take them.

    `promised` has the nodes, by name, that other pods (rows) will be on.
    """
    from neaptide.policies.provision_choice import choose  # noqa: PLC0415 - numba takes a second to import

    declined: list[Declined] = []
    bought: list[Article] = []
    meant: dict[int, int] = {}
    sizes = {pool.name: size(snapshot, pool) for pool in spec.pools}
    with snapshot.what_if():
        for row in without:
            snapshot.set_cordon(row, unschedulable=True)
        for pod in pods:
            if snapshot.pods.node[pod] >= 0:
                snapshot.unassign(pod)
        coming, late = expected(snapshot, spec.pools, spec.start_seconds, now)
        declined += [Declined(Ref("Node", each.order.name), _LATE) for each in late]
        for node in coming:
            snapshot.set_node(node)
        for pod, name in promised.items():
            if name in snapshot.nodes.by_name:
                snapshot.assign(pod, snapshot.nodes.by_name[name])
        placed = Placement(snapshot, RULES).schedule(_large_first(snapshot, pods))
        left = [each.pod for each in placed if each.node is None]
        for pool in sorted(spec.pools, key=lambda each: -each.weight):
            if not left:
                break
            offered, reason = articles(snapshot.offerings, pool)
            if reason is not None:
                declined.append(Declined(Ref("NodePool", pool.name), reason))
                continue
            room = _most(sizes[pool.name], pool, spec, len(bought))
            found = choose(
                snapshot, left, offered, reserve=spec.reserve_percent / 100, toll=spec.node_cost_per_hour, most=room
            )
            allowed = _within_limits(sizes[pool.name], pool, found.articles)
            if len(allowed) < len(found.articles):
                reason = Reason("Limit", f"the pool {pool.name} is at its limit")
                declined.append(Declined(Ref("NodePool", pool.name), reason))
            places = {place: len(bought) + number for number, place in enumerate(allowed)}
            meant |= {pod: places[place] for pod, place in found.meant.items() if place in places}
            bought += [found.articles[place] for place in allowed]
            lost = [pod for pod, place in found.meant.items() if place not in places]
            for pod in lost:
                snapshot.unassign(pod)
            left = [*found.left, *lost]
    return Purchase(tuple(bought), meant, tuple(left), tuple(declined))


def _waiting(snapshot: ClusterSnapshot, promised: Mapping[int, str], covers: Covers) -> Longs:
    """The pods (rows) in scope that wait for a node, and for nobody to make room on one."""
    pods = snapshot.pods
    rows = pods.indices()
    rows = rows[(pods.node[rows] == NO_NODE) & ~pods.gated[rows] & np.isnan(pods.deleted[rows])]
    rows = rows[~np.isin(pods.phase[rows], (SUCCEEDED, FAILED))]
    kept = [pod for pod in rows.tolist() if pod not in promised and covers(snapshot.pod_ref(pod))]
    return np.array(kept, dtype=np.int64)


def _is_filling(snapshot: ClusterSnapshot, pods: Longs, spec: ProvisionSpec, now: float) -> bool:
    """Whether more pods may be about to come."""
    created = snapshot.pods.created[pods]
    return bool(now - created.max() < spec.batch_idle_seconds and now - created.min() < spec.batch_max_seconds)


def _has_waited(snapshot: ClusterSnapshot, pods: Longs, spec: ProvisionSpec, now: float) -> bool:
    """Whether pods have waited for so long that what is bought for them is decided now, though nodes could be opened sooner without that."""
    return bool(now - snapshot.pods.created[pods].min() > _PATIENCE * spec.batch_max_seconds)


def _large_first(snapshot: ClusterSnapshot, pods: Sequence[int]) -> list[int]:
    requests = snapshot.pod_requests(list(pods))
    order = np.lexsort((-requests[1], -requests[0])).tolist()
    return [pods[each] for each in order]


def _most(has: dict[str, int], pool: NodePool, spec: ProvisionSpec, bought: int) -> int:
    """How many nodes a pool may get now."""
    most = spec.nodes_per_cycle - bought
    limit = pool.amounts().get(NODES)
    return most if limit is None else max(min(most, limit - has[NODES]), 0)


def _within_limits(has: dict[str, int], pool: NodePool, found: Sequence[Article]) -> list[int]:
    """Which of the nodes (places) a pool may still have."""
    limits, taken = pool.amounts(), Counter(has)
    kept = []
    for place, article in enumerate(found):
        amounts = {NODES: 1} | article.offering.allocatable
        if all(taken[each] + amounts.get(each, 0) <= limit for each, limit in limits.items()):
            taken.update(amounts)
            kept.append(place)
    return kept


def order_of(article: Article, number: int, of: int, now: float, *, gated: bool = False) -> CreateNode:
    """The purchase of an article, the first of so many having the number 0; where `gated`, it takes pods when it is opened."""
    offering, pool = article.offering, article.pool
    why = f"{offering.capacity_type} {offering.instance_type} {offering.zone}, node {number + 1} of {of}, for pods that wait"
    return CreateNode(
        policy=NAME,
        target=Ref("Node", f"{pool.name}-{int(now * 1000):x}-{number}"),
        reason=Reason("PodsWait", why),
        expected=Effect(article.price),
        offering=offering,
        node_pool=pool.name,
        taints=(*pool.taints, *pool.startup_taints, *((taint_of(now),) if gated else ())),
    )


def _meant(snapshot: ClusterSnapshot, purchase: Purchase, orders: Sequence[CreateNode], now: float) -> dict[str, Meant]:
    """By the name of an order, the pods that its node is bought for."""
    pods: dict[int, list[str]] = {}
    for pod, place in purchase.meant.items():
        pods.setdefault(place, []).append(snapshot.pods.keys[pod])
    return {orders[place].target.name: Meant(tuple(names), now) for place, names in pods.items()}


def _fingerprint(snapshot: ClusterSnapshot, spec: ProvisionSpec, pods: Longs) -> str:
    """What a purchase depends on, in short."""
    nodes, total = snapshot.nodes, blake2b(digest_size=16)
    for column in (nodes.alive, nodes.ready, nodes.unschedulable, nodes.taints, nodes.labels):
        total.update(column[: nodes.rows].tobytes())
    total.update(snapshot.free().tobytes())
    words = (
        [snapshot.pods.uids[pod] for pod in pods.tolist()],
        [(each.instance_type, each.capacity_type, each.zone, each.price_per_hour) for each in snapshot.offerings],
        [each.order.name for each in snapshot.coming],
        spec,
    )
    total.update(msgspec.msgpack.encode(words))
    return total.hexdigest()
