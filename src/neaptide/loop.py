"""Observe, plan, arbitrate, act, record: one cycle, the same in the simulator and on a cluster.

`run_once` keeps no state: everything that must outlive a cycle is in the LoopMemory it returns, which `checkpoint` turns
into bytes and `restore` back. A process that restores it makes the plan that its predecessor would have made.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct, field

from neaptide.model.actions import AnyAction, Outcome, Plan, Reason
from neaptide.model.protocols import Policy, World
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.arbiter import ArbiterMemory, Budgets, arbitrate, settle

DEFAULT_BUDGETS = Budgets()


class Mode(StrEnum):
    """What a policy may do: nothing, show its plan, or have it carried out."""

    OFF = "Off"
    RECOMMEND = "Recommend"
    ENFORCE = "Enforce"


class Setting(Struct, frozen=True):
    """A policy as configured. Settings stand in order of precedence."""

    policy: Policy
    spec: Any
    mode: Mode = Mode.RECOMMEND


class LoopMemory(Struct):
    """What every policy and the arbiter remember from one cycle to the next."""

    policies: dict[str, Any] = field(default_factory=dict)
    arbiter: ArbiterMemory = field(default_factory=ArbiterMemory)


class Cycle(Struct, frozen=True):
    """What one cycle saw, wanted and did; this is what the journal holds."""

    time: float
    digest: str
    plans: tuple[Plan, ...]
    outcomes: tuple[Outcome, ...]


def run_once(
    world: World,
    settings: Sequence[Setting],
    memory: LoopMemory,
    *,
    budgets: Budgets = DEFAULT_BUDGETS,
    record: Callable[[Cycle], object] = lambda _: None,
) -> tuple[Cycle, LoopMemory]:
    """One cycle: the plans of all policies that are not Off, merged and, where the mode is Enforce, carried out.

    `record` gets the cycle after it is done (`Log.append` of a journal).
    """
    snapshot, now = world.observe(), world.now()
    plans, remembered = plan_all(snapshot, settings, memory, now)
    modes = {setting.policy.name: setting.mode for setting in settings}
    approved, outcomes = arbitrate(plans, snapshot, budgets, memory.arbiter, now)
    enforced = [action for action in approved if modes[action.policy] is Mode.ENFORCE]
    outcomes += [_recommended(action) for action in approved if modes[action.policy] is not Mode.ENFORCE]
    outcomes += world.act(enforced)
    cycle = Cycle(now, snapshot.digest(), tuple(plans), tuple(outcomes))
    record(cycle)
    arbiter = settle(memory.arbiter, outcomes, world.disruptions(), now)
    return cycle, LoopMemory(remembered, arbiter)


def plan_all(
    snapshot: ClusterSnapshot, settings: Sequence[Setting], memory: LoopMemory, now: float
) -> tuple[list[Plan], dict[str, Any]]:
    """The plan of every policy that is not Off, and what each wants to remember."""
    plans: list[Plan] = []
    remembered = dict(memory.policies)
    for setting in settings:
        policy = setting.policy
        if setting.mode is Mode.OFF:
            continue
        before = remembered.get(policy.name)
        plan, remembered[policy.name] = policy.plan(
            snapshot, setting.spec, policy.memory_type() if before is None else before, now
        )
        plans.append(plan)
    return plans, remembered


def checkpoint(memory: LoopMemory) -> bytes:
    """A loop's memory as JSON."""
    return msgspec.json.encode(memory)


def restore(data: bytes, policies: Mapping[str, Policy]) -> LoopMemory:
    """The memory that `checkpoint` wrote; that of policies which no longer exist is dropped. Raises ValidationError."""
    raw = msgspec.json.decode(data, type=LoopMemory)
    known = {name: part for name, part in raw.policies.items() if name in policies}
    parts = {name: msgspec.convert(part, policies[name].memory_type, str_keys=True) for name, part in known.items()}
    return LoopMemory(parts, raw.arbiter)


def _recommended(action: AnyAction) -> Outcome:
    return Outcome(action, "Recommended", Reason("Recommend", f"the policy {action.policy} may only recommend"))
