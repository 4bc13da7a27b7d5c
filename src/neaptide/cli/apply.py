"""`neaptide apply` and `neaptide approve`: have a plan carried out, after a yes."""

import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Annotated

from cyclopts import Parameter

from neaptide.cli.connection import DEFAULT, Connection, speak
from neaptide.cli.exits import OK, PARTIAL, UsageError
from neaptide.cli.live_plan import LivePlan, live_plan
from neaptide.cli.output import emit
from neaptide.kube import by_hand
from neaptide.kube.by_hand import Step
from neaptide.kube.crds.plan import MAX_ACTIONS, Phase, PlannedMoney, PlanSpec
from neaptide.kube.plans import EXPIRES_AFTER
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.discovery import served
from neaptide.kubeapi.resources import PLANS
from neaptide.model.actions import AnyAction, Evict
from neaptide.model.times import timestamp

Steps = Callable[[Client], AsyncGenerator[Step, None]]


def apply(
    *,
    policy: tuple[str, ...] = (),
    set_: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    prices: str | None = None,
    yes: bool = False,
    lease_namespace: str | None = None,
    connection: Annotated[Connection, Parameter(name="*")] = DEFAULT,
) -> int:
    """Plan, show, ask, and carry out; the exit code is 1 where something of it was not done.

    Args:
        policy: plan with this policy only; may be repeated. By default with those that the cluster's Policies name, else with all.
        set_: policy.field=value sets a field of a policy; may be repeated.
        prices: a price catalogue (YAML or CSV).
        yes: do not ask.
        lease_namespace: where the controller's lease is, or would be; by default wherever there is one, else the namespace of the connection.
        connection: which cluster.
    """
    plan = live_plan(connection, policy, set_, prices)
    actions = plan.granted[:MAX_ACTIONS]
    if not actions:
        print("nothing to do")
        return OK
    _show(actions)
    _ask(f"Carry out {len(actions)} actions?", yes=yes)
    own_namespace = connection.cluster().namespace
    spec = _spec(plan, actions)

    async def steps(client: Client) -> AsyncGenerator[Step, None]:
        lead = await by_hand.leader(client, lease_namespace or "", own_namespace)
        if lead.holder and PLANS in await served(client):
            print(f"neaptide: the controller {lead.holder} does it", file=sys.stderr)
            found = by_hand.through_controller(client, spec)
        else:
            found = by_hand.alone(client, lead.namespace, spec)
        async with aclosing(found):
            async for step in found:
                yield step

    return _followed(connection, steps)


def approve(
    name: str,
    /,
    *,
    yes: bool = False,
    no_wait: bool = False,
    connection: Annotated[Connection, Parameter(name="*")] = DEFAULT,
) -> int:
    """Approve a Plan that waits, and follow it; the exit code is 1 where something of it was not done.

    Args:
        name: of the Plan; `kubectl get plans` lists them.
        yes: do not ask.
        no_wait: do not follow it until it has ended.
        connection: which cluster.
    """
    plan = speak(connection, lambda client: by_hand.read(client, name))
    if plan.status.phase in (Phase.DONE, Phase.STOPPED, Phase.EXPIRED):
        raise UsageError(f"the Plan {name} is {plan.status.phase.value}: {plan.status.message or 'it has ended'}")
    _show(plan.spec.actions)
    _ask(f"Approve the Plan {name}?", yes=yes)
    speak(connection, lambda client: by_hand.approve(client, plan))
    return OK if no_wait else _followed(connection, lambda client: by_hand.follow(client, name))


def _spec(plan: LivePlan, actions: Sequence[AnyAction]) -> PlanSpec:
    now = time.time()
    return PlanSpec(
        created=timestamp(now),
        expires=timestamp(now + EXPIRES_AFTER),
        actions=tuple(actions),
        digest=plan.cycle.digest,
        money=PlannedMoney(now=plan.money),
        evictions=sum(isinstance(action, Evict) for action in actions),
    )


def _show(actions: Sequence[AnyAction]) -> None:
    rows = [
        {
            "policy": action.policy,
            "action": type(action).__name__,
            "target": str(action.target),
            "$/h": action.expected.money_per_hour,
            "reason": action.reason.message,
        }
        for action in actions
    ]
    emit(rows, "table")


def _ask(question: str, *, yes: bool) -> None:
    """Raises UsageError without a yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("--yes is wanted where nobody can be asked")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise UsageError("nothing was done")


def _followed(connection: Connection, steps: Steps) -> int:
    """Show how it goes on; the exit code."""

    async def conversation(client: Client) -> Step:
        last = Step(0, 0, "nothing was heard of it")
        async with aclosing(steps(client)) as found:
            async for step in found:
                print(f"neaptide: {step.done} of {step.of} actions are done", file=sys.stderr)
                last = step
        return last

    last = speak(connection, conversation)
    if last.message:
        print(f"neaptide: {last.message}", file=sys.stderr)
    return OK if last.well else PARTIAL
