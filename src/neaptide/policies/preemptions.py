"""Whether a scheduler's preemption is granted: the arbiter's protection, ownership and PodDisruptionBudgets, without the budgets of rebalancing."""

from neaptide.model.actions import Plan, Reason
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.cycle.actions import SCHEDULER, Preempt
from neaptide.policies.arbiter import ArbiterMemory, Budgets, arbitrate

_UNBOUND = 2**31
BUDGETS = Budgets(
    evictions_per_cycle=_UNBOUND,
    evictions_per_node=_UNBOUND,
    evictions_per_workload_percent=100,
    evictions_per_workload_per_hour=_UNBOUND,
    minimum_stay_seconds=0.0,
)
"""Making room for a pod of a higher rank is no rebalancing that could wait; what it disrupts counts against the budgets of everything
that could."""


def refusal(action: Preempt, snapshot: ClusterSnapshot, memory: ArbiterMemory, now: float) -> Reason | None:
    """Why one of the victims may not go, so that none does; None where all may."""
    _, refused = arbitrate([Plan(SCHEDULER, action.evictions)], snapshot, BUDGETS, memory, now)
    return refused[0].reason if refused else None
