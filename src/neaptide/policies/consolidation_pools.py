"""What Karpenter's NodePools allow, where there are any: their budgets count for whoever disrupts their nodes.

The rules are Karpenter's: the smallest budget that holds now counts; a percentage is of the pool's nodes and rounds up; nodes of the pool
that are not ready or on their way out are taken off; a budget that cannot be read allows nothing.
"""

from collections import Counter
from collections.abc import Collection

from neaptide.model.node_pools import NodePool, NodePoolBudget
from neaptide.model.problems import FieldError
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import go_duration
from neaptide.policies.consolidation_market import POOL
from neaptide.policies.consolidation_spec import Budget, ReasonName


class Pools:
    """How many nodes of each pool may still begin to leave; `left` counts down as `take` is called."""

    def __init__(self, snapshot: ClusterSnapshot, leaving: Collection[int], now: float) -> None:
        """Look at the pools; `leaving` are the nodes (rows) that are on their way out already."""
        self._snapshot, self._now = snapshot, now
        self._pools: dict[str, NodePool] = snapshot.others.get("NodePool", {})
        self._sizes: Counter[str] = Counter()
        self._busy: Counter[str] = Counter()
        for node in snapshot.nodes.indices().tolist() if self._pools else ():
            pool = self._pool_of(node)
            self._sizes[pool] += 1
            self._busy[pool] += not snapshot.nodes.ready[node] or node in leaving

    def take(self, node: int, reason: ReasonName) -> bool:
        """Let a node (row) begin to leave, if its pool allows it."""
        pool = self._pools.get(self._pool_of(node)) if self._pools else None
        if pool is None:
            return True
        name = pool.metadata.name
        size = self._sizes[name]
        allowed = min((_allowed(each, reason, size, self._now) for each in pool.spec.disruption.budgets), default=size)
        if self._busy[name] >= allowed:
            return False
        self._busy[name] += 1
        return True

    def _pool_of(self, node: int) -> str:
        return self._snapshot.node_labels(node).get(POOL, "")


def _allowed(budget: NodePoolBudget, reason: ReasonName, size: int, now: float) -> int:
    """Of so many nodes; all of them where the budget is for another reason or does not hold now."""
    if budget.reasons and reason not in budget.reasons:
        return size
    duration = go_duration(budget.duration) if budget.duration else 0.0
    if duration is None or bool(budget.schedule) != bool(budget.duration):
        return 0
    try:
        ours = Budget(budget.nodes, schedule=_five_fields(budget.schedule), duration_seconds=duration)
        return ours.allowed(size) if ours.holds(now) else size
    except (FieldError, ValueError):
        return 0


def _five_fields(schedule: str) -> str:
    """Karpenter's names for common schedules, spelled out."""
    return _NAMED.get(schedule, schedule)


_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
