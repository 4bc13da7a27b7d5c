"""What a person has said yes to, carried out: by the controller where one leads, else from here under the same lease.

Either way the arbiter has its say, each action is checked again when its turn comes, and the first that is refused or fails ends it.
"""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import NamedTuple

import msgspec
from msgspec import Struct

from neaptide.kube.acting.carrying import Api
from neaptide.kube.actuator import Actuator
from neaptide.kube.configuration import Configuration
from neaptide.kube.controller import LEASE
from neaptide.kube.crds.plan import Phase, PlanObject, PlanSpec
from neaptide.kube.events import Events
from neaptide.kube.leader import Leader, NoLongerLeadingError, Writers
from neaptide.kube.memory import MemoryStore
from neaptide.kube.metrics import Metrics
from neaptide.kube.plain import plain
from neaptide.kube.plans import Approved, Plans
from neaptide.kube.statuses import Statuses
from neaptide.kube.world import World
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.errors import Forbidden, NotFound
from neaptide.kubeapi.lease import Election, this_process
from neaptide.kubeapi.pages import items_of
from neaptide.kubeapi.resources import LEASES, PLANS
from neaptide.loop import Cycle
from neaptide.model.actions import Outcome
from neaptide.model.objects import Metadata
from neaptide.model.times import seconds, timestamp

_AT_ONCE = 8
_LOOK = 0.5


class Step(Struct, frozen=True):
    """How far it has come. `message` says what ended it, where `ended` and not `well`."""

    done: int
    of: int
    message: str = ""
    ended: bool = False
    well: bool = False


class _LeaseSpec(Struct, rename="camel"):
    holder_identity: str | None = None
    renew_time: str | None = None
    lease_duration_seconds: float | None = None


class _Lease(Struct):
    metadata: Metadata = Metadata()
    spec: _LeaseSpec = msgspec.field(default_factory=_LeaseSpec)

    def holder(self) -> str:
        """Who leads now; empty where nobody does."""
        holds_until = seconds(self.spec.renew_time) + (self.spec.lease_duration_seconds or 0.0)
        return (self.spec.holder_identity or "") if time.time() < holds_until else ""


class Lead(NamedTuple):
    """Where the controller's lease is, or would be, and who holds it; empty where nobody does."""

    namespace: str
    holder: str


async def leader(client: Client, namespace: str, otherwise: str) -> Lead:
    """Who leads now. Raises ApiError.

    Args:
        client: the wire.
        namespace: where the lease is; empty to look in every namespace.
        otherwise: where it would be, if it is found nowhere.
    """
    try:
        if namespace:
            leases = [msgspec.json.decode(await client.get(LEASES, LEASE, namespace), type=_Lease)]
        else:
            pages = [page async for page in client.list(LEASES, field_selector=f"metadata.name={LEASE}")]
            leases = [each for page in pages for each in items_of(page, _Lease)]
    except NotFound:
        return Lead(namespace, "")
    except Forbidden:
        if namespace:
            raise
        return await leader(client, otherwise, otherwise)
    held = [each for each in leases if each.holder()]
    found = next(iter(held or leases), None)
    if found is None:
        return Lead(namespace or otherwise, "")
    return Lead(found.metadata.namespace, found.holder())


async def read(client: Client, name: str) -> PlanObject:
    """A Plan. Raises ApiError."""
    return msgspec.json.decode(await client.get(PLANS, name), type=PlanObject)


async def approve(client: Client, plan: PlanObject) -> None:
    """Approve a Plan as it was read. Raises ApiError; Conflict where it has changed since."""
    change = {"metadata": {"resourceVersion": plan.metadata.resource_version}, "spec": {"approved": True}}
    await client.patch(PLANS, plan.metadata.name, change)


async def follow(client: Client, name: str) -> AsyncGenerator[Step, None]:
    """How an approved Plan goes on, until it has ended. Raises ApiError."""
    last: Step | None = None
    while last is None or not last.ended:
        try:
            plan = await read(client, name)
        except NotFound:
            yield Step(0, 0, f"the Plan {name} is no longer there", ended=True)
            return
        status, total = plan.status, len(plan.spec.actions)
        done = sum(each.result == "Done" for each in status.outcomes)
        well, ended = status.phase is Phase.DONE, status.phase in (Phase.DONE, Phase.STOPPED, Phase.EXPIRED)
        step = Step(done, total, status.message if ended and not well else "", ended, well)
        if step != last:
            yield step
        last = step
        if not ended:
            await asyncio.sleep(_LOOK)


async def through_controller(client: Client, spec: PlanSpec) -> AsyncGenerator[Step, None]:
    """Have the controller that leads carry a plan out. Raises ApiError."""
    name = f"apply-{timestamp(time.time()).lower().replace(':', '').replace('-', '')}-{os.getpid()}"
    body = {"apiVersion": PLANS.api_version, "kind": PLANS.kind, "metadata": {"name": name}}
    await client.create(PLANS, body | {"spec": plain(msgspec.structs.replace(spec, approved=True))})
    async with aclosing(follow(client, name)) as steps:
        async for step in steps:
            yield step


async def alone(client: Client, namespace: str, spec: PlanSpec) -> AsyncGenerator[Step, None]:
    """Carry a plan out from here, with the lease that a controller would hold, its memory and the Policies' limits. Raises ApiError."""
    identity = this_process()
    election = Election(client, LEASE, namespace, identity)
    writer = client.guarded_by(election)
    events, metrics, hand = Events(writer, identity), Metrics(), _InHand(writer, spec)
    actuator = Actuator(
        Api(writer, time.time, dry_run=False),
        may_act=lambda: election.leading,
        watchers=(metrics.outcome, events.outcome),
    )
    configuration = Configuration(client, fixed=())
    writers = Writers(MemoryStore(writer, namespace, identity), hand, _Silent(writer), metrics, None)
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(World(client, actuator=actuator, namespace=client.cluster.namespace))
        tasks = [asyncio.create_task(each) for each in (election.run(), events.run(), *configuration.streams())]
        stack.push_async_callback(_cancel, tasks)
        await asyncio.gather(world.ready(), configuration.ready(), election.won())
        leading = Leader(world, configuration, writers)
        try:
            await leading.begin()
            while not (step := hand.step()).ended:
                yield step
                await leading.cycle()
        except NoLongerLeadingError as error:
            step = Step(hand.done, len(spec.actions), str(error), ended=True)
        yield step


class _InHand(Plans):
    """One plan that exists nowhere but here, taken up a few actions at a time."""

    def __init__(self, client: Client, spec: PlanSpec) -> None:
        super().__init__(client)
        self._plan = PlanObject(spec=spec)
        self._next = 0
        self._surprise: Outcome | None = None
        self._deferred: list[Outcome] = []
        self.done = 0

    def approved(self, raws: Iterable[bytes], now: float) -> Approved | None:
        """The next few actions, whatever Plans there are."""
        del raws, now
        first, self._next = self._next, min(self._next + _AT_ONCE, len(self._plan.spec.actions))
        return Approved(self._plan, tuple(enumerate(self._plan.spec.actions))[first : self._next])

    async def progress(self, approved: Approved, cycle: Cycle) -> None:
        """Note what became of them."""
        outcomes = {id(each.action): each for each in cycle.outcomes}
        for action in approved.actions:
            outcome = outcomes[id(action)]
            if outcome.result == "Done":
                self.done += 1
            elif outcome.result == "Deferred":
                self._deferred.append(outcome)
            else:
                self._surprise = self._surprise or outcome

    async def recommend(self, raws: Iterable[bytes], cycle: Cycle, money: float | None) -> None:
        """Nothing: no policy plans here."""

    def step(self) -> Step:
        """How far it has come."""
        total = len(self._plan.spec.actions)
        if self._surprise is not None:
            return Step(self.done, total, _said(self._surprise), ended=True)
        if self._next < total:
            return Step(self.done, total)
        if self._deferred:
            message = f"{len(self._deferred)} are left for later, the first: {_said(self._deferred[0])}"
            return Step(self.done, total, message, ended=True)
        return Step(self.done, total, ended=True, well=True)


class _Silent(Statuses):
    """Leaves the status of Policies to the controller."""

    async def write(self, *_: object) -> None:
        """Nothing."""


def _said(outcome: Outcome) -> str:
    return f"{type(outcome.action).__name__} of {outcome.action.target}: {outcome.reason.message}"


async def _cancel(tasks: Sequence["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
