"""Plan objects: what the policies recommend is written down for a person to approve, and what was approved is carried out.

There is at most one Plan that waits for approval. It stays as long as the policies recommend the same things (the same kinds
of action on the same targets); else it is removed and a new one takes its place. The first action of an approved Plan
that is refused or fails stops it.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
import structlog
from msgspec import Struct

from neaptide.kube.crds.plan import MAX_ACTIONS, ActionResult, Phase, PlannedMoney, PlanObject, PlanSpec, PlanStatus
from neaptide.kube.metrics import planned_money
from neaptide.kube.plain import plain
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.errors import ApiError, Conflict, NotFound
from neaptide.kubeapi.resources import PLANS
from neaptide.loop import Cycle
from neaptide.model.actions import AnyAction, Evict, Outcome
from neaptide.model.objects import Metadata
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import seconds, timestamp

EXPIRES_AFTER = 1800.0
"""Seconds for which a Plan waits for approval."""
_ENDED = (Phase.DONE, Phase.STOPPED, Phase.EXPIRED)
_KEPT = 20
"""Plans that have ended and stay to be read."""
_BUDGET_SPENT = "Deferred"
_RESULTS: dict[str, Literal["Done", "Refused", "Failed"]] = {"Done": "Done", "Refused": "Refused", "Failed": "Failed"}


class Approved(Struct, frozen=True):
    """A Plan that is being carried out, and its actions that are still to be done, with their positions."""

    plan: PlanObject
    todo: tuple[tuple[int, AnyAction], ...]

    @property
    def actions(self) -> tuple[AnyAction, ...]:
        return tuple(action for _, action in self.todo)

    def with_workloads(self, snapshot: ClusterSnapshot) -> "Approved":
        """The same, each eviction with the workload of its pod: who writes a Plan by hand may leave it out, and budgets are kept by it."""
        todo = tuple((place, _attributed(action, snapshot)) for place, action in self.todo)
        return msgspec.structs.replace(self, todo=todo)


class Plans:
    """Reads and writes Plan objects. `raws` are those that are there, as JSON, by name."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._log = structlog.get_logger()

    def approved(self, raws: Iterable[bytes], now: float) -> Approved | None:
        """The oldest Plan that is approved and has something left to do."""
        found = [plan for plan in _read(raws) if plan.spec.approved and plan.status.phase not in _ENDED]
        for plan in sorted(found, key=lambda each: each.spec.created):
            if _is_late(plan, now):
                continue
            taken = {each.action for each in plan.status.outcomes}
            todo = tuple((place, each) for place, each in enumerate(plan.spec.actions) if place not in taken)
            return Approved(plan, todo)
        return None

    async def progress(self, approved: Approved, cycle: Cycle) -> None:
        """Write what became of an approved Plan's actions in a cycle."""
        outcomes = {id(each.action): each for each in cycle.outcomes}
        results = list(approved.plan.status.outcomes)
        surprise: Outcome | None = None
        for place, action in approved.todo:
            outcome = outcomes.get(id(action))
            if outcome is None or outcome.result == _BUDGET_SPENT:
                continue
            result = _RESULTS[outcome.result]
            results.append(ActionResult(place, result, outcome.reason, timestamp(cycle.time)))
            if result != "Done" and surprise is None:
                surprise = outcome
        phase, message = Phase.RUNNING, f"{len(results)} of {len(approved.plan.spec.actions)} actions were taken up"
        if surprise is not None:
            phase = Phase.STOPPED
            message = f"{type(surprise.action).__name__} of {surprise.action.target}: {surprise.reason.message}"
        elif len(results) == len(approved.plan.spec.actions):
            phase = Phase.DONE
        await self._set_status(approved.plan, PlanStatus(phase=phase, message=message, outcomes=tuple(results)))

    async def recommend(self, raws: Iterable[bytes], cycle: Cycle, money: float | None) -> None:
        """See to it that the Plan which waits says what is recommended now, and that old ones go."""
        raws = list(raws)
        plans = list(_read(raws))
        for meta, problem in _unreadable(raws):
            await self._say(meta, PlanStatus(phase=Phase.STOPPED, message=f"it cannot be carried out: {problem}"))
        for plan in plans:
            if _is_late(plan, cycle.time):
                status = PlanStatus(phase=Phase.EXPIRED, message=f"it had not begun by {plan.spec.expires}")
                await self._set_status(plan, status)
        wanted = [each.action for each in cycle.outcomes if each.result == "Recommended"][:MAX_ACTIONS]
        waiting = [plan for plan in plans if not plan.spec.approved and plan.status.phase not in _ENDED]
        current = [
            plan for plan in waiting if _alike(plan.spec.actions, wanted) and seconds(plan.spec.expires) > cycle.time
        ]
        for plan in waiting:
            if plan not in current[:1]:
                await self._remove(plan)
        ended = sorted((plan for plan in plans if plan.status.phase in _ENDED), key=lambda each: each.spec.created)
        for plan in ended[:-_KEPT]:
            await self._remove(plan)
        if wanted and not current:
            await self._write(wanted, cycle, money)

    async def _write(self, wanted: list[AnyAction], cycle: Cycle, money: float | None) -> None:
        spec = PlanSpec(
            created=timestamp(cycle.time),
            expires=timestamp(cycle.time + EXPIRES_AFTER),
            actions=tuple(wanted),
            digest=cycle.digest,
            money=PlannedMoney(now=money, planned=planned_money(cycle, money)),
            evictions=sum(isinstance(action, Evict) for action in wanted),
        )
        name = f"plan-{timestamp(cycle.time).lower().replace(':', '').replace('-', '')}"
        body = {"apiVersion": PLANS.api_version, "kind": PLANS.kind, "metadata": {"name": name}, "spec": plain(spec)}
        try:
            await self._client.create(PLANS, body)
        except ApiError as error:
            self._log.warning("plan not written", name=name, reason=str(error))

    async def _remove(self, plan: PlanObject) -> None:
        meta = plan.metadata
        try:  # whoever approves it in this very moment wins
            await self._client.delete(PLANS, meta.name, uid=meta.uid, resource_version=meta.resource_version)
        except (NotFound, Conflict):
            pass
        except ApiError as error:
            self._log.warning("plan not removed", name=meta.name, reason=str(error))

    async def _set_status(self, plan: PlanObject, status: PlanStatus) -> None:
        await self._say(plan.metadata, status)

    async def _say(self, meta: Metadata, status: PlanStatus) -> None:
        status = msgspec.structs.replace(status, observed_generation=meta.generation)
        try:
            await self._client.patch(PLANS, meta.name, {"status": plain(status)}, subresource="status")
        except ApiError as error:
            self._log.warning("status not written", name=meta.name, reason=str(error))


def _attributed(action: AnyAction, snapshot: ClusterSnapshot) -> AnyAction:
    if not isinstance(action, Evict):
        return action
    pod = snapshot.pods.by_key.get(f"{action.target.namespace}/{action.target.name}")
    workload = action.workload if pod is None else snapshot.workload_of(pod)
    return msgspec.structs.replace(action, workload=workload)


def _read(raws: Iterable[bytes]) -> Iterable[PlanObject]:
    """Those that can be read; what the API server let in and we cannot read is nobody's plan."""
    for raw in raws:
        try:
            yield msgspec.json.decode(raw, type=PlanObject)
        except msgspec.MsgspecError as error:
            structlog.get_logger().warning("plan not readable", reason=str(error))


class _State(Struct, frozen=True):
    phase: str = ""


class _Stored(Struct, frozen=True):
    metadata: Metadata
    status: _State = _State()


def _unreadable(raws: Iterable[bytes]) -> Iterable[tuple[Metadata, str]]:
    """Those that the API server let in, that cannot be read, and that nobody has been told so of; and what is wrong with them."""
    for raw in raws:
        try:
            msgspec.json.decode(raw, type=PlanObject)
        except msgspec.MsgspecError as error:
            stored = msgspec.json.decode(raw, type=_Stored)
            if stored.status.phase != Phase.STOPPED:
                yield stored.metadata, str(error)


def _is_late(plan: PlanObject, now: float) -> bool:
    """Whether a Plan was approved and expired before it had begun."""
    is_waiting = plan.spec.approved and plan.status.phase not in (*_ENDED, Phase.RUNNING)
    return is_waiting and seconds(plan.spec.expires) < now


def _alike(some: Sequence[AnyAction], others: Sequence[AnyAction]) -> bool:
    return {_aim(each) for each in some} == {_aim(each) for each in others}


def _aim(action: AnyAction) -> tuple[str, str, str]:
    return type(action).__name__, str(action.target), action.target.uid
