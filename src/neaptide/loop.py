"""Observe, plan, arbitrate, act, record: one cycle, the same in the simulator and on a cluster.

`run_once` keeps no state: everything that must outlive a cycle is in the LoopMemory it returns, which `checkpoint` turns
into bytes and `restore` back. A process that restores it makes the plan that its predecessor would have made.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct, field

from neaptide.model.actions import AnyAction, Outcome, Plan, Reason, Ref, SetNodeResources, Taint
from neaptide.model.protocols import Policy, World
from neaptide.model.scope import Scope
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.arbiter import APPROVED, ArbiterMemory, Budgets, arbitrate, settle
from neaptide.policies.leftovers import LEFTOVERS, LENT, leftovers, lent_before, name_of, owner_of
from neaptide.policies.scoping import covering, within

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
    scope: Scope = Scope()


class LoopMemory(Struct):
    """What every policy and the arbiter remember from one cycle to the next."""

    policies: dict[str, Any] = field(default_factory=dict)
    arbiter: ArbiterMemory = field(default_factory=ArbiterMemory)
    by_hand: list[str] = field(default_factory=list)
    """What a person has approved (`leftovers.name_of`), while it is there."""
    lent: list[str] = field(default_factory=list)
    """The nodes on which resources were lent, or were about to be, until they are taken back."""


class Cycle(Struct, frozen=True):
    """What one cycle saw, wanted and did; this is what the journal holds."""

    time: float
    digest: str
    plans: tuple[Plan, ...]
    outcomes: tuple[Outcome, ...]


def _raised(_: str, error: Exception) -> None:
    raise error


def run_once(
    world: World,
    settings: Sequence[Setting],
    memory: LoopMemory,
    *,
    budgets: Budgets = DEFAULT_BUDGETS,
    approved: Sequence[AnyAction] = (),
    tidy: bool = True,
    intend: Callable[[LoopMemory, Sequence[AnyAction]], object] = lambda *_: None,
    record: Callable[[Cycle], object] = lambda _: None,
    phase: Callable[[str], AbstractContextManager[object]] = nullcontext,
    failed: Callable[[str, Exception], object] = _raised,
) -> tuple[Cycle, LoopMemory]:
    """One cycle: the plans of all policies that are not Off, merged and, where the mode is Enforce, carried out.

    Args:
        world: the cluster.
        settings: the policies, in order of precedence.
        memory: of the cycle before.
        budgets: what the arbiter allows.
        approved: what a person has approved of earlier plans: it comes first, and is carried out in any mode.
        tidy: whether what policies that are not among the settings, or are Off, have left on nodes is taken off; in mode Recommend that stays
            which a person has approved. False where others may carry out policies on the same cluster.
        intend: gets, before anything is done, the memory as it will be if nothing is, and what is about to be done: from
            both, and a look at what was done, whoever starts after a crash in between knows what this cycle would have.
        record: gets the cycle after it is done (`Log.append` of a journal).
        phase: entered around observe, plan, arbitrate, act and record, to take their time.
        failed: gets the name of a policy that raised an error, and the error; the others go on. By default it is raised.
    """
    with phase("observe"):
        snapshot, now = world.observe(), world.now()
    with phase("plan"):
        plans, remembered = plan_all(snapshot, settings, memory, now, failed)
    if approved:
        plans.insert(0, Plan(APPROVED, tuple(approved)))
    with phase("arbitrate"):
        granted, outcomes = arbitrate(plans, snapshot, budgets, memory.arbiter, now)
        by_hand = _by_hand(memory, approved, snapshot)
        left = _left_behind(snapshot, settings, memory.lent, by_hand, granted) if tidy else Plan(LEFTOVERS)
    enforcing = {setting.policy.name for setting in settings if setting.mode is Mode.ENFORCE}
    anyway = {id(action) for action in approved}
    enforced = [action for action in granted if action.policy in enforcing or id(action) in anyway]
    doing = {id(action) for action in enforced}
    outcomes += [_recommended(action) for action in granted if id(action) not in doing]
    if enforced:
        intend(LoopMemory(remembered, memory.arbiter, by_hand, _intended(memory.lent, enforced)), enforced)
    with phase("act"):
        outcomes += world.act(enforced)
        tidied = (
            world.act(left.actions) if left.actions else []
        )  # no policy owns a node for what another has left there
    with phase("record"):
        plans += [left] if left.actions else []
        cycle = Cycle(now, snapshot.digest(), tuple(plans), (*outcomes, *tidied))
        record(cycle)
    arbiter = settle(memory.arbiter, outcomes, world.disruptions(), now)
    return cycle, LoopMemory(remembered, arbiter, by_hand, _lent(memory.lent, (*outcomes, *tidied), snapshot))


def plan_all(
    snapshot: ClusterSnapshot,
    settings: Sequence[Setting],
    memory: LoopMemory,
    now: float,
    failed: Callable[[str, Exception], object] = _raised,
) -> tuple[list[Plan], dict[str, Any]]:
    """The plan of every policy that is not Off, and what each wants to remember."""
    plans: list[Plan] = []
    remembered = dict(memory.policies)
    for setting in settings:
        policy = setting.policy
        if setting.mode is Mode.OFF:
            continue
        before = remembered.get(policy.name)
        try:
            known = policy.memory_type() if before is None else before
            plan, after = policy.plan(snapshot, setting.spec, known, now, covering(setting.scope, snapshot))
        except Exception as error:  # noqa: BLE001 - whatever it is, the other policies go on
            failed(policy.name, error)
            continue
        remembered[policy.name] = after
        plans.append(within(setting.scope, plan, snapshot))
    return plans, remembered


def checkpoint(memory: LoopMemory) -> bytes:
    """A loop's memory as JSON."""
    return msgspec.json.encode(memory)


def restore(data: bytes, policies: Mapping[str, Policy]) -> LoopMemory:
    """The memory that `checkpoint` wrote; that of policies which no longer exist is dropped. Raises ValidationError."""
    raw = msgspec.json.decode(data, type=LoopMemory)
    known = {name: part for name, part in raw.policies.items() if name in policies}
    parts = {name: msgspec.convert(part, policies[name].memory_type, str_keys=True) for name, part in known.items()}
    return LoopMemory(parts, raw.arbiter, raw.by_hand, raw.lent)


def _recommended(action: AnyAction) -> Outcome:
    return Outcome(action, "Recommended", Reason("Recommend", f"the policy {action.policy} may only recommend"))


def _left_behind(
    snapshot: ClusterSnapshot,
    settings: Sequence[Setting],
    lent: Sequence[str],
    by_hand: Sequence[str],
    granted: Sequence[AnyAction],
) -> Plan:
    """What is to be tidied: taints on nodes that nothing else is done to in this cycle, and what was lent."""
    enforced = {each.policy.name: covering(each.scope, snapshot) for each in settings if each.mode is Mode.ENFORCE}
    busy = {ref.name for action in granted for ref in action.concerns() if ref.kind == "Node"}
    kept = _kept_by_hand(settings, by_hand)

    def answers(policy: str, node: Ref) -> bool:
        return policy in enforced and enforced[policy](node)

    taints = leftovers(snapshot, lambda policy, node: node.name in busy or answers(policy, node), kept)
    untainted = {each.target.name for each in taints}
    resources = lent_before(snapshot, [each for each in lent if each not in untainted], answers, kept)
    return Plan(LEFTOVERS, (*taints, *resources))


def _kept_by_hand(settings: Sequence[Setting], by_hand: Sequence[str]) -> list[str]:
    """What a person has approved of policies that recommend; once a policy is off it goes like all else."""
    recommending = {each.policy.name for each in settings if each.mode is Mode.RECOMMEND}
    return [each for each in by_hand if owner_of(each) in recommending]


def _lends(action: AnyAction) -> bool:
    return isinstance(action, SetNodeResources) and any(each is not None for each in action.resources.values())


def _intended(lent: Sequence[str], actions: Sequence[AnyAction]) -> list[str]:
    """The nodes on which resources are lent, those that are about to be among them."""
    return sorted({*lent, *(each.target.name for each in actions if _lends(each))})


def _lent(lent: Sequence[str], outcomes: Sequence[Outcome], snapshot: ClusterSnapshot) -> list[str]:
    """The nodes that are there and on which resources are lent, after outcomes; where nobody knows whether an action was done it counts as done."""
    found = {name for name in lent if name in snapshot.nodes.by_name}
    for each in outcomes:
        if not isinstance(each.action, SetNodeResources):
            continue
        if _lends(each.action) and (each.result == "Done" or each.reason.code == "Deadline"):
            found.add(each.action.target.name)
        elif not _lends(each.action) and (each.result == "Done" or each.reason.code == "Unchanged"):
            found.discard(each.action.target.name)
    return sorted(found)


def _by_hand(memory: LoopMemory, approved: Sequence[AnyAction], snapshot: ClusterSnapshot) -> list[str]:
    """What a person has approved: what is still there of before, and what is new."""
    nodes = snapshot.nodes.by_name
    there = {
        name_of(name, taint.key)
        for name in {each.partition(" ")[0] for each in memory.by_hand}
        if name in nodes
        for taint in snapshot.node_taints(nodes[name])
    }
    there |= {name_of(name, LENT) for name in memory.lent}
    new = [name_of(each.target.name, each.key) for each in approved if isinstance(each, Taint)]
    new += [name_of(each.target.name, LENT) for each in approved if _lends(each)]
    return sorted({*(each for each in memory.by_hand if each in there), *new})
