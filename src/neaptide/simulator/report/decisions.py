"""Every decision of a run with its reason: those of the policies, of the nodes, of the cloud and of the autoscaler."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
from msgspec import Struct

from neaptide.loop import Cycle
from neaptide.model.actions import Outcome, Ref
from neaptide.simulator.ledger import Bill
from neaptide.simulator.report.scale import dollars, duration
from neaptide.simulator.run import Result

NODE_EVICTIONS = ("node", "kubelet", "cloud")
"""Who evicts without the loop; what policies evict is an outcome of a cycle."""


class Decision(Struct, frozen=True, gc=False):
    """One decision: when, by whom, what about which object, what became of it, and why: a code and a sentence."""

    time: float
    by: str
    what: str
    target: str
    result: str
    code: str
    reason: str


class Collector:
    """Takes a run's cycles one by one (as the loop's `record`).

    What a policy leaves alone is taken when it is new: when the cycle before did not leave the same object alone for the
    same reason.
    """

    def __init__(self) -> None:
        self._decisions: list[Decision] = []
        self._left_alone: AbstractSet[tuple[str, Ref, str]] = set()

    def __call__(self, cycle: Cycle) -> None:
        """Take a cycle."""
        self._decisions += [_of_outcome(cycle.time, outcome) for outcome in cycle.outcomes]
        left_alone = {
            (plan.policy, each.target, each.reason.code): each for plan in cycle.plans for each in plan.declined
        }
        for key, each in left_alone.items():
            if key not in self._left_alone:
                policy, target, code = key
                reason = each.reason.message
                self._decisions.append(Decision(cycle.time, policy, "Leave", str(target), "Left alone", code, reason))
        self._left_alone = left_alone.keys()

    def close(self, result: Result) -> list[Decision]:
        """All decisions of the run that ended with `result`, in order of time."""
        evictions = [
            Decision(each.time, each.by, "Evict", f"Pod {each.pod}", "Done", each.code, f"{each.message} ({each.node})")
            for each in result.evictions
            if each.by in NODE_EVICTIONS
        ]
        nodes = [decision for bill in result.bills for decision in _of_bill(bill, result)]
        return sorted([*self._decisions, *evictions, *nodes], key=lambda each: each.time)


def _of_outcome(time: float, outcome: Outcome) -> Decision:
    action = outcome.action
    refused = outcome.result in {"Refused", "Failed"}
    reason = outcome.reason if refused else action.reason
    message = f"{reason.message}; wanted because: {action.reason.message}" if refused else reason.message
    kind = type(action).__name__
    return Decision(time, action.policy, kind, str(action.target), outcome.result, reason.code, message)


def _of_bill(bill: Bill, run: Result) -> Iterable[Decision]:
    """The autoscaler buys for pods that fit nowhere, and returns what has been empty."""
    node, kind = f"Node {bill.node}", f"{bill.instance_type}, {bill.capacity_type}, pool {bill.pool}"
    if bill.start > run.start:
        why = f"pods fitted no node; {kind}, {dollars(bill.price_per_hour)} an hour"
        yield Decision(bill.start, "autoscaler", "Buy", node, "Done", "PodsUnschedulable", why)
    if bill.end < run.end:
        cost = f"it had run for {duration(bill.end - bill.start)} and cost {dollars(bill.dollars)}"
        yield Decision(bill.end, "autoscaler", "Return", node, "Done", "NodeEmpty", f"{kind}; {cost}")


def thin(decisions: Sequence[Decision], most: int) -> list[Decision]:
    """At most `most` of them. Kinds that are rare stay whole, of the others as many of each, spread over the time."""
    kinds: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
    for row, each in enumerate(decisions):
        kinds[each.by, each.what, each.result].append(row)
    kept: list[int] = []
    rare_first = sorted(kinds.values(), key=len)
    for place, rows in enumerate(rare_first):
        share = (most - len(kept)) // (len(rare_first) - place)
        chosen = np.linspace(0, len(rows) - 1, min(share, len(rows))).round().astype(int)
        kept += [rows[each] for each in chosen.tolist()]
    return [decisions[row] for row in sorted(kept)]
