"""One arbiter for all policies: at most one owner per object, shared disruption budgets, no bouncing.

It decides between plans and carries nothing out. Its memory holds, by workload, when pods were last disrupted, and by
object who owns it; both are forgotten once they no longer matter.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from msgspec import Struct, field
from msgspec.structs import replace

from neaptide.model.actions import AnyAction, DeleteNode, Evict, Outcome, Plan, Reason, Ref, Resume, Scale, Suspend
from neaptide.model.objects import PodDisruptionBudget
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.protection import ANNOTATED, comes_with_node, disruption_budgets, is_over, protection

HOUR = 3600.0
APPROVED = "approved"
"""The name of the plan that holds what a person has approved: it comes before those of policies."""
_URGENT = ("interruption",)
"""Policies that take an object from whoever owns it: its node ends, whatever others had in mind."""
_PASSING = {
    "Approved",
    "BudgetOfCycle",
    "BudgetOfNode",
    "BudgetOfWorkload",
    "DisruptionBudget",
    "JustStarted",
    "NotEmpty",
}
"""Objections that pass by themselves when what is under way is done."""


class Budgets(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """How much disruption all policies together may cause. Counts of pods, unless a name says otherwise."""

    evictions_per_cycle: int = 50
    evictions_per_node: int = 5
    evictions_per_workload_percent: int = 10
    """Of a workload's pods within one cycle, rounded up."""
    evictions_per_workload_per_hour: int = 6
    minimum_stay_seconds: float = 300.0
    """A pod that started, or a workload that was suspended or resumed, less than this ago is left alone."""
    ownership_seconds: float = 300.0
    """How long an object belongs to the policy that last acted on it."""


class ArbiterMemory(Struct):
    """What the arbiter remembers, by the names of objects (`str(Ref)`); times are seconds since the epoch."""

    owners: dict[str, tuple[str, float]] = field(default_factory=dict)
    """The policy that owns an object, and since when."""
    disruptions: dict[str, list[float]] = field(default_factory=dict)
    """When pods of a workload were disrupted, within the last hour."""
    switched: dict[str, float] = field(default_factory=dict)
    """When a workload was last suspended or resumed."""


def arbitrate(
    plans: Iterable[Plan], snapshot: ClusterSnapshot, budgets: Budgets, memory: ArbiterMemory, now: float
) -> tuple[list[AnyAction], list[Outcome]]:
    """Which actions may be carried out, in order, and an outcome for each of the others: Deferred where it need only wait, else Refused.

    Plans come in order of precedence: of two policies that want the same object, the earlier plan gets it.
    """
    case = _Case(snapshot, budgets, memory, now)
    approved: list[AnyAction] = []
    refused: list[Outcome] = []
    for plan in plans:
        for action in plan.actions:
            objection = case.objection(action)
            if objection is None:
                case.grant(action, approved=plan.policy == APPROVED)
                approved.append(action)
            else:
                refused.append(Outcome(action, "Deferred" if objection.code in _PASSING else "Refused", objection))
    return approved, refused


def settle(
    memory: ArbiterMemory, outcomes: Sequence[Outcome], node_evictions: Sequence[Ref], now: float
) -> ArbiterMemory:
    """The memory after a cycle: what was done, what nodes did on their own, and nothing that no longer matters.

    What lies more than an hour ahead was written by a clock that was wrong, and would hold for as long as that was.
    """
    owners, switched = dict(memory.owners), dict(memory.switched)
    disruptions = {name: list(times) for name, times in memory.disruptions.items()}
    for outcome in outcomes:
        if outcome.result != "Done":
            continue
        action = outcome.action
        owners |= {str(nameless(ref)): (action.policy, now) for ref in action.concerns()}
        if isinstance(action, Evict) and action.workload is not None:
            disruptions.setdefault(str(action.workload), []).append(now)
        if isinstance(action, Suspend | Resume):
            switched[str(nameless(action.target))] = now
    for workload in node_evictions:
        disruptions.setdefault(str(nameless(workload)), []).append(now)
    recent = {name: [each for each in times if abs(now - each) < HOUR] for name, times in disruptions.items()}
    return ArbiterMemory(
        owners={name: owner for name, owner in owners.items() if abs(now - owner[1]) < HOUR},
        disruptions={name: times for name, times in recent.items() if times},
        switched={name: time for name, time in switched.items() if abs(now - time) < HOUR},
    )


def nameless(ref: Ref) -> Ref:
    """An object's name without its UID: what outlives a restart of the object."""
    return replace(ref, uid="")


def _is_meant(action: Evict, protected: Reason) -> bool:
    """Whether an eviction says that it is about a pod protected in that way, too."""
    annotated = protected.code in ANNOTATED
    return (action.bare and protected.code == "NotReplicated") or (action.forced and annotated)


class _Case:
    """One cycle's state: what was granted so far, counted against the budgets."""

    def __init__(self, snapshot: ClusterSnapshot, budgets: Budgets, memory: ArbiterMemory, now: float) -> None:
        self.snapshot, self.budgets, self.memory, self.now = snapshot, budgets, memory, now
        self.taken: dict[str, str] = {}
        self.by_hand: set[str] = set()
        self.by_node: Counter[str] = Counter()
        self.by_workload: Counter[str] = Counter()
        self.by_budget: Counter[str] = Counter()
        self.evictions = 0
        self._sizes: Counter[int] | None = None

    def objection(self, action: AnyAction) -> Reason | None:
        """Why an action may not be carried out now."""
        for ref in action.concerns():
            name = str(nameless(ref))
            owner = self._owner(name)
            if owner not in (None, action.policy) and action.policy not in _URGENT:
                return Reason("OwnedByOther", f"{ref} belongs to the policy {owner}")
            if name in self.by_hand:
                return Reason("Approved", f"an approved action on {ref} is carried out in this cycle")
            if name in self.taken:
                return Reason("AlreadyPlanned", f"another action on {ref} is planned in this cycle")
        if isinstance(action, Evict):
            return self._eviction(action)
        if isinstance(action, Suspend | Resume):
            return self._switch(action)
        if isinstance(action, Scale) and action.replicas < action.was:
            return self._protected_pod(action.target)
        if isinstance(action, DeleteNode):
            return self._deletion(action)
        return None

    def grant(self, action: AnyAction, *, approved: bool) -> None:
        """Count an action that may be carried out; `approved` where a person asked for it."""
        for ref in action.concerns():
            self.taken[str(nameless(ref))] = action.policy
            if approved:
                self.by_hand.add(str(nameless(ref)))
        if isinstance(action, Evict):
            self.evictions += 1
            self.by_node[action.node] += 1
            if action.workload is not None:
                self.by_workload[str(action.workload)] += 1
            self.by_budget.update(self._budgets_of(action))

    def _owner(self, name: str) -> str | None:
        if name in self.taken:
            return self.taken[name]
        owner, since = self.memory.owners.get(name, (None, 0.0))
        return owner if self.now - since < self.budgets.ownership_seconds else None

    def _eviction(self, action: Evict) -> Reason | None:
        snapshot, budgets = self.snapshot, self.budgets
        pod = snapshot.pods.by_key.get(f"{action.target.namespace}/{action.target.name}")
        if pod is None or (action.target.uid and snapshot.pods.uids[pod] != action.target.uid):
            return Reason("Gone", "the pod is no longer there")
        protected = protection(snapshot, pod, self.now)
        if protected is not None and not _is_meant(action, protected):
            return protected
        if self.now - snapshot.pods.started[pod] < budgets.minimum_stay_seconds and not action.forced:
            return Reason("JustStarted", f"it started less than {budgets.minimum_stay_seconds:.0f} s ago")
        if action.forced:  # its node goes in any case: only PodDisruptionBudgets are left to keep
            return None if action.past_budgets else self._disruption_budget(action)
        if self.evictions >= budgets.evictions_per_cycle:
            return Reason("BudgetOfCycle", f"{self.evictions} evictions are planned in this cycle")
        if self.by_node[action.node] >= budgets.evictions_per_node:
            return Reason("BudgetOfNode", f"{self.by_node[action.node]} evictions are planned on {action.node}")
        return self._workload_budget(action, pod) or self._disruption_budget(action)

    def _deletion(self, action: DeleteNode) -> Reason | None:
        snapshot = self.snapshot
        node = snapshot.nodes.by_name.get(action.target.name)
        if node is None or (action.target.uid and snapshot.nodes.uids[node] != action.target.uid):
            return Reason("Gone", "the node is no longer there")
        if action.lost:
            return Reason("Ready", "it answers again") if snapshot.nodes.ready[node] else None
        others = (pod for pod in snapshot.pods_on(node) if not comes_with_node(snapshot, pod))
        staying = next((pod for pod in others if not is_over(snapshot, pod)), None)
        if staying is not None:
            return Reason("NotEmpty", f"{snapshot.pod_ref(staying)} is on it")
        return None

    def _workload_budget(self, action: Evict, pod: int) -> Reason | None:
        if action.workload is None:
            return None
        name, budgets = str(action.workload), self.budgets
        planned, recent = self.by_workload[name], self._recent(name)
        size = self._size(self.snapshot.workloads.root(int(self.snapshot.pods.owner[pod])))
        allowed = -(-size * budgets.evictions_per_workload_percent // 100)
        if planned >= allowed:
            return Reason("BudgetOfWorkload", f"{planned} of {size} pods of {name} are leaving in this cycle already")
        if planned + recent >= budgets.evictions_per_workload_per_hour:
            return Reason("Bouncing", f"{planned + recent} pods of {name} were moved within the hour")
        return None

    def _disruption_budget(self, action: Evict) -> Reason | None:
        matching = self._budgets_of(action)
        if len(matching) > 1:
            return Reason(
                "SeveralBudgets", f"{len(matching)} PodDisruptionBudgets select it, which the eviction API refuses"
            )
        for name in matching:
            budget: PodDisruptionBudget = self.snapshot.others["PodDisruptionBudget"][name]
            if self.by_budget[name] >= budget.status.disruptions_allowed:
                return Reason("DisruptionBudget", f"PodDisruptionBudget {name} allows no more disruptions")
        return None

    def _switch(self, action: Suspend | Resume) -> Reason | None:
        name = str(nameless(action.target))
        since = self.memory.switched.get(name)
        if since is not None and self.now - since < self.budgets.minimum_stay_seconds:
            return Reason(
                "JustSwitched", f"it was suspended or resumed less than {self.budgets.minimum_stay_seconds:.0f} s ago"
            )
        return self._protected_pod(action.target) if isinstance(action, Suspend) else None

    def _protected_pod(self, workload: Ref) -> Reason | None:
        """Why a workload must not lose pods, its controller choosing which: one of them is protected."""
        for pod in self._pods_of(workload):
            protected = protection(self.snapshot, pod, self.now)
            if protected is not None:
                return replace(protected, message=f"{self.snapshot.pod_ref(pod)}: {protected.message}")
        return None

    def _pods_of(self, workload: Ref) -> list[int]:
        snapshot = self.snapshot
        row = snapshot.workloads.find(workload.kind, workload.namespace, workload.name)
        if row is None:
            return []
        pods = snapshot.pods.indices()
        pods = pods[(snapshot.pods.owner[pods] >= 0) & (snapshot.pods.node[pods] >= 0)]
        return [int(pod) for pod in pods[snapshot.workloads.below(row)[snapshot.pods.owner[pods]]]]

    def _budgets_of(self, action: Evict) -> list[str]:
        """The keys of the PodDisruptionBudgets that select an action's pod."""
        pod = self.snapshot.pods.by_key[f"{action.target.namespace}/{action.target.name}"]
        return disruption_budgets(self.snapshot, action.target.namespace, self.snapshot.pod_labels(pod))

    def _size(self, root: int) -> int:
        """How many pods on nodes a workload (its row) has."""
        if self._sizes is None:
            pods = self.snapshot.pods.indices()
            owners = self.snapshot.pods.owner[pods[self.snapshot.pods.node[pods] >= 0]]
            rows, counts = np.unique(self.snapshot.workloads.roots()[owners[owners >= 0]], return_counts=True)
            self._sizes = Counter(dict(zip(rows.tolist(), counts.tolist(), strict=True)))
        return self._sizes[root]

    def _recent(self, name: str) -> int:
        return sum(self.now - each < HOUR for each in self.memory.disruptions.get(name, ()))
