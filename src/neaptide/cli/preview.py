"""One cycle of the loop over a dump: what is shown is what would be planned, for the loop is the same."""

from collections.abc import Sequence

from msgspec.structs import replace

from neaptide.cli.dump import Dump
from neaptide.loop import DEFAULT_BUDGETS, Cycle, LoopMemory, Mode, Setting, run_once
from neaptide.model.actions import AnyAction, Outcome, Ref
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.arbiter import Budgets

PLANNED = ("Recommended", "Deferred")
"""The results of actions that are to be done: now, or in a later cycle, when there is budget for them."""


class _Dumped:
    """A world that was written down: it can be looked at, and nothing in it can be done."""

    def __init__(self, dump: Dump) -> None:
        self._dump = dump

    def now(self) -> float:
        return self._dump.now

    def observe(self) -> ClusterSnapshot:
        return self._dump.snapshot

    def act(self, actions: Sequence[AnyAction]) -> list[Outcome]:
        if actions:
            raise RuntimeError("nothing can be done in a dump: every mode is Recommend")
        return []

    def disruptions(self) -> Sequence[Ref]:
        return ()


def planned(cycle: Cycle) -> list[AnyAction]:
    """What a cycle would have done, now and in the cycles to come."""
    now = [each.action for each in cycle.outcomes if each.result in PLANNED]
    return now + [action for plan in cycle.plans for action in plan.later]


def preview(dump: Dump, chosen: Sequence[Setting], budgets: Budgets = DEFAULT_BUDGETS) -> Cycle:
    """What the policies want of a cluster, and what the arbiter says to it, without a memory of cycles before.

    A policy that would be carried out is shown like one that only recommends.
    """
    shown = [replace(each, mode=Mode.RECOMMEND) if each.mode is Mode.ENFORCE else each for each in chosen]
    cycle, _ = run_once(_Dumped(dump), shown, LoopMemory(), budgets=budgets, tidy=False)
    return cycle
