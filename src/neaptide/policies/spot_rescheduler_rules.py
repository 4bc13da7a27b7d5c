"""Which pods may be moved to spot nodes, and to which of them: what keeps one interruption from taking a whole service.

Capacity that goes together is a pool: an instance type in a zone. Source of that notion: EC2's capacity pools.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil, isnan

import numpy as np

from neaptide.model.actions import Reason
from neaptide.model.columns import FAILED, SUCCEEDED, Bools, Floats, Longs
from neaptide.model.scope import Covers
from neaptide.model.selectors import labels_match
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.place import Placement
from neaptide.policies.relieve_moves import is_held
from neaptide.policies.spot_rescheduler_classic import Move
from neaptide.policies.spot_rescheduler_nodes import Kinds, kept
from neaptide.policies.spot_rescheduler_spec import SpotReschedulerSpec
from neaptide.policies.spot_rescheduler_surge import Surge

SPOT = "neaptide.io/spot"
"""Annotation of a pod: `never` keeps it off spot nodes."""
ON_DEMAND_SHARE = "neaptide.io/minimum-on-demand-share"
"""Annotation of a pod: the share of its workload's pods that stays on on-demand nodes, as 0.3."""
INTERRUPTION_RATE = "neaptide.io/interruption-rate"
"""Label of a node: the share of its capacity pool that is interrupted in a month, as 0.05."""
UNKNOWN_RATE = 0.2
"""Where nothing is known: the worst band of the EC2 Spot Instance Advisor begins there."""
_INSTANCE_TYPE, _ZONE = "node.kubernetes.io/instance-type", "topology.kubernetes.io/zone"
NO_PLACE = ("NoRoom", "OnePool", "OnDemandShare")
"""Codes of the reasons why pods find no place on spot nodes; on on-demand nodes they may."""
_SERVICES = ("Deployment", "ReplicaSet", "StatefulSet", "ReplicationController", "CloneSet")


def pool_name(labels: Mapping[str, str]) -> str:
    """What a node's capacity pool is called."""
    return f"{labels.get(_INSTANCE_TYPE, '')}/{labels.get(_ZONE, '')}"


class Census:
    """How many pods each workload (the top of its chain, a row) has: in all, ready, on on-demand nodes, and by capacity pool on spot nodes.

    A bare pod is a workload of its own.
    """

    def __init__(self, snapshot: ClusterSnapshot, spot: Bools, on_demand: Bools) -> None:
        """Take the kinds of nodes by row, whether they are usable or not."""
        self._snapshot = snapshot
        names = [pool_name(snapshot.node_labels(row)) if spot[row] else "" for row in range(len(spot))]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        self.pool_of: Longs = np.array([numbers[name] for name in names], dtype=np.int64)
        table, rows = snapshot.pods, snapshot.pods.indices()
        rows = rows[(table.phase[rows] != SUCCEEDED) & (table.phase[rows] != FAILED)]
        roots = np.append(snapshot.workloads.roots(), -1)[table.owner[rows]]
        nodes = table.node[rows]
        placed = nodes >= 0
        self.total = Counter(roots.tolist())
        self.ready = Counter(roots[table.ready[rows] & placed].tolist())
        on = nodes[placed]
        self.on_demand = Counter(roots[placed][on_demand[on]].tolist())
        in_pools = spot[on]
        self.in_pool = Counter(zip(roots[placed][in_pools].tolist(), self.pool_of[on[in_pools]].tolist(), strict=True))

    def root(self, pod: int) -> int:
        """The row of a pod's workload; -1 for a bare pod."""
        return self._snapshot.workloads.root(int(self._snapshot.pods.owner[pod]))

    def moved(self, pod: int, node: int, step: int = 1) -> None:
        """A pod comes from an on-demand node to a spot node; with step -1, it does not after all."""
        root = self.root(pod)
        self.on_demand[root] -= step
        self.in_pool[root, int(self.pool_of[node])] += step


class Rules:
    """Says of a pod why it must stay, as far as the pod and its workload decide it."""

    def __init__(
        self,
        snapshot: ClusterSnapshot,
        spec: SpotReschedulerSpec,
        census: Census,
        fell_back: Mapping[str, float],
        now: float,
        covers: Covers,
        surge: Surge,
    ) -> None:
        self._snapshot, self._spec, self._census, self._surge = snapshot, spec, census, surge
        self._fell_back, self._now, self._covers = fell_back, now, covers

    def hindrance(self, pod: int) -> Reason | None:
        """Why a pod must not be moved to spot nodes now."""
        why = self.protection(pod)
        if why is not None:
            return why
        spec, snapshot = self._spec, self._snapshot
        if snapshot.pod_annotations(pod).get(SPOT) == "never" or labels_match(spec.never, snapshot.pod_labels(pod)):
            return Reason("NeverSpot", "it must not run on spot nodes")
        workload = snapshot.workload_of(pod)
        if workload is not None and self._now - self._fell_back.get(str(workload), -np.inf) < spec.return_after_seconds:
            return Reason("FellBack", f"spot nodes were interrupted under {workload} a short while ago")
        if self._now - snapshot.pods.started[pod] < spec.minimum_stay_seconds:
            return Reason("JustStarted", f"it started less than {spec.minimum_stay_seconds:.0f} s ago")
        if self.is_single(pod) and not (spec.single_replicas == "Surge" and self._surge.may(pod)):
            return Reason("SingleReplica", f"{workload} has no other ready pod, and none may be started ahead of it")
        return None

    def is_single(self, pod: int) -> bool:
        """Whether a pod's service has no other ready pod, and waits for one."""
        workload, root = self._snapshot.workload_of(pod), self._census.root(pod)
        return (
            self._spec.single_replicas != "Move"
            and workload is not None
            and workload.kind in _SERVICES
            and self._census.ready[root] < 1 + bool(self._snapshot.pods.ready[pod])
        )

    def protection(self, pod: int) -> Reason | None:
        """Why a pod must not be evicted now, wherever it goes."""
        if not self._covers(self._snapshot.pod_ref(pod)):
            return Reason("OutOfScope", "the Policy's scope does not cover it")
        why = kept(self._snapshot, pod, self._spec, self._now)
        if why is None and is_held(self._snapshot, pod):
            return Reason("DisruptionBudget", "PodDisruptionBudgets allow no eviction now")
        return why

    def on_demand_share(self, pod: int) -> float:
        """The share of a pod's workload that stays on on-demand nodes; all of it where the annotation is no share."""
        text = self._snapshot.pod_annotations(pod).get(ON_DEMAND_SHARE)
        if text is None:
            return self._spec.minimum_on_demand_share
        share = _share(text)
        return 1.0 if share is None else max(share, self._spec.minimum_on_demand_share)


class Targets:
    """The nodes that pods move to, the best for each. To be used inside `what_if`: pods that find a place take it.

    The pods of a node are spread over capacity pools first. Where they then do not all find a place they are packed, each onto the
    fullest spot node that can take it, and where that is not enough either, what is left goes to on-demand nodes in use, if it may.
    """

    def __init__(
        self,
        placement: Placement,
        usable: Kinds,
        census: Census,
        rules: Rules,
        spec: SpotReschedulerSpec,
        avoided: Bools,
        in_use: Bools,
    ) -> None:
        """Take the nodes by kind; `avoided` are those (rows) whose capacity pool was interrupted a short while ago.

        `in_use` are the on-demand nodes that have pods and are not being drained.
        """
        self._placement, self._snapshot = placement, placement.snapshot
        self._census, self._rules, self._spec = census, rules, spec
        self._spot = usable.spot
        self._open = usable.spot & ~avoided
        self._in_use = in_use.copy()
        self._cost = _cost(self._snapshot, spec)
        self.kept: set[int] = set()
        """On-demand nodes that were given pods, and so are not to be left."""

    def take(self, pods: Sequence[int], *, merge: bool = False) -> list[Move] | tuple[int, Reason]:
        """A place for every pod; or the first that has none, and why: then nothing has changed. With `merge` on-demand nodes serve too."""
        found = self._all_or_none(pods, self._spread)
        if isinstance(found, tuple):
            packed = self._all_or_none(pods, self._pack)
            found = found if isinstance(packed, tuple) else packed
        return self.merge(pods) if merge and isinstance(found, tuple) else found

    def merge(self, pods: Sequence[int]) -> list[Move] | tuple[int, Reason]:
        """The same, packed onto spot nodes and, for what has no place there, onto the on-demand nodes that are in use."""
        sources = list({int(node) for node in self._snapshot.pods.node[np.array(pods, dtype=np.int64)]})
        if self.kept.intersection(sources):
            return pods[0], Reason("NoRoom", "its node has been given pods of others")
        before = self._in_use[sources]
        self._in_use[sources] = False
        found = self._all_or_none(pods, self._pack_or_merge)
        if isinstance(found, tuple):
            self._in_use[sources] = before
        else:
            self.kept |= {move.node for move in found if not self._spot[move.node]}
        return found

    def _all_or_none(self, pods: Iterable[int], find: Callable[[int], int | Reason]) -> list[Move] | tuple[int, Reason]:
        moves: list[Move] = []
        before: list[int] = []
        for pod in pods:
            node = find(pod)
            if isinstance(node, Reason):
                for move, source in zip(reversed(moves), reversed(before), strict=True):
                    self._shift(move.pod, source)
                    if self._spot[move.node]:
                        self._census.moved(move.pod, move.node, -1)
                return pod, node
            before.append(int(self._snapshot.pods.node[pod]))
            self._shift(pod, node)
            if self._spot[node]:
                self._census.moved(pod, node)
            moves.append(Move(pod, node))
        return moves

    def _spread(self, pod: int) -> int | Reason:
        """The node where the fewest of its workload are in one pool, then the cheapest with its risk, then the fullest."""
        found = self._spot_nodes(pod)
        if isinstance(found, Reason):
            return found
        rows, beside = found
        return int(rows[np.lexsort((rows, -self._fill(rows), self._cost[rows], beside))[0]])

    def _pack(self, pod: int) -> int | Reason:
        """The fullest node, so that large pods find whole gaps; of equals where the fewest of its workload are in one pool."""
        found = self._spot_nodes(pod)
        if isinstance(found, Reason):
            return found
        rows, beside = found
        return int(rows[np.lexsort((rows, self._cost[rows], beside, -self._fill(rows)))[0]])

    def _pack_or_merge(self, pod: int) -> int | Reason:
        found = self._pack(pod)
        if not isinstance(found, Reason):
            return found
        rows = np.flatnonzero(self._placement.feasible(pod) & self._in_use)
        return int(rows[np.lexsort((rows, -self._fill(rows)))[0]]) if len(rows) else found

    def _spot_nodes(self, pod: int) -> tuple[Longs, Longs] | Reason:
        """The spot nodes (rows) that may take a pod, and how many of its workload are in the capacity pool of each."""
        census, root = self._census, self._census.root(pod)
        total = census.total[root] if root >= 0 else 1
        least = ceil(self._rules.on_demand_share(pod) * total)
        if root >= 0 and census.on_demand[root] - 1 < least:
            return Reason("OnDemandShare", f"{least} of {total} pods of its workload stay on on-demand nodes")
        rows = np.flatnonzero(self._placement.feasible(pod) & self._open)
        if not len(rows):
            return Reason("NoRoom", "no spot node can take it")
        if root < 0:
            return rows, np.zeros(len(rows), dtype=np.int64)
        beside: Longs = np.array([census.in_pool[root, pool] for pool in census.pool_of[rows].tolist()], dtype=np.int64)
        most = max(1, ceil(self._spec.max_pool_share * total - 1e-9))
        if not (beside < most).any():
            return Reason("OnePool", f"{most} of {total} pods of its workload are in each capacity pool with room")
        return rows[beside < most], beside[beside < most]

    def _fill(self, rows: Longs) -> Floats:
        nodes = self._snapshot.nodes
        share = nodes.used[:2, rows] / np.maximum(nodes.allocatable[:2, rows], 1)
        fullest: Floats = np.round(share.max(axis=0), 6)
        return fullest

    def _shift(self, pod: int, node: int) -> None:
        self._snapshot.unassign(pod)
        self._snapshot.assign(pod, node)


def _cost(snapshot: ClusterSnapshot, spec: SpotReschedulerSpec) -> Floats:
    """float64[nodes]: US dollars per core and hour, more by the risk of interruption; where the price is unknown, as the dearest."""
    nodes, count = snapshot.nodes, snapshot.nodes.rows
    price = nodes.price[:count] / np.maximum(nodes.allocatable[0, :count] / 1000, 1e-3)
    known = price[~np.isnan(price)]
    risk = np.full(count, UNKNOWN_RATE)
    for row in nodes.indices().tolist():
        labels = snapshot.node_labels(row)
        stated = _share(labels.get(INTERRUPTION_RATE, ""))
        risk[row] = (
            spec.interruption_rates.get(labels.get(_INSTANCE_TYPE, ""), UNKNOWN_RATE) if stated is None else stated
        )
    dearest = known.max() if len(known) else 1.0
    cost: Floats = np.round(np.where(np.isnan(price), dearest, price) * (1 + risk), 9)
    return cost


def _share(text: str) -> float | None:
    """A number from 0 to 1; None for what is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return None if isnan(number) or not 0 <= number <= 1 else number
