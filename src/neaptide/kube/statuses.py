"""What the status of each Policy says: whether it takes part, what is missing, and what it wanted last."""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec
import structlog
from msgspec import Struct

from neaptide.kube.configuration import Verdict
from neaptide.kube.crds.policy import CONFLICT, DEGRADED, READY, LastPlan, PolicyStatus
from neaptide.kube.crds.types import Condition, transition
from neaptide.kube.plain import plain
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.errors import ApiError
from neaptide.kubeapi.resources import POLICIES
from neaptide.loop import Cycle
from neaptide.model.times import timestamp


class _Stored(Struct, frozen=True):
    status: PolicyStatus = PolicyStatus()


class Statuses:
    """Writes the status of Policy objects, where it has changed in more than the time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._log = structlog.get_logger()
        self._written: dict[str, PolicyStatus] = {}

    async def write(
        self, raws: Mapping[str, bytes], verdicts: Mapping[str, Verdict], cycle: Cycle | None, problems: Iterable[str]
    ) -> None:
        """Say of each Policy how it stands after a cycle; `problems` are what the loop as a whole lacks."""
        self._written = {name: each for name, each in self._written.items() if name in raws}
        lacking = "; ".join(problems)
        for name, verdict in verdicts.items():
            if name not in raws:  # deleted during the cycle
                continue
            before = self._written.get(name) or _stored(raws[name])
            status = _status(verdict, before, cycle, lacking)
            if _timeless(status) == _timeless(before):
                continue
            try:
                await self._client.patch(POLICIES, name, {"status": plain(status)}, subresource="status")
                self._written[name] = status
            except ApiError as error:
                self._log.warning("status not written", policy=name, reason=str(error))


def _stored(raw: bytes) -> PolicyStatus:
    try:
        return msgspec.json.decode(raw, type=_Stored).status
    except msgspec.MsgspecError:
        return PolicyStatus()


def _status(verdict: Verdict, before: PolicyStatus, cycle: Cycle | None, lacking: str) -> PolicyStatus:
    now, generation = timestamp(0.0 if cycle is None else cycle.time), verdict.meta.generation
    said = (
        (READY, verdict.ready, verdict.reason, verdict.message),
        (DEGRADED, bool(lacking), "Lacking" if lacking else "Complete", lacking),
        (CONFLICT, bool(verdict.conflict), "Older" if verdict.conflict else "None", verdict.conflict),
    )
    conditions = before.conditions
    for kind, holds, reason, message in said:
        condition = Condition(kind, "True" if holds else "False", reason, now, message, generation)
        conditions = transition(conditions, condition)
    last = before.last_plan if cycle is None or not verdict.policy else _last_plan(verdict.policy, cycle)
    return PolicyStatus(generation, conditions, last)


def _last_plan(policy: str, cycle: Cycle) -> LastPlan | None:
    plan = next((each for each in cycle.plans if each.policy == policy), None)
    if plan is None:
        return None
    outcomes = [each for each in cycle.outcomes if each.action.policy == policy]
    results = Counter(each.result for each in outcomes)
    changes = [each.action.expected.money_per_hour for each in outcomes if each.result in ("Done", "Recommended")]
    known = [change for change in changes if change is not None]
    return LastPlan(
        time=timestamp(cycle.time),
        actions=len(plan.actions),
        done=results["Done"],
        refused=results["Refused"],
        failed=results["Failed"],
        declined=len(plan.declined),
        money_per_hour=sum(known) if len(known) == len(changes) else None,
    )


def _timeless(status: PolicyStatus) -> PolicyStatus:
    """A status without the time of its last plan, which alone is no news."""
    last = status.last_plan
    return status if last is None else msgspec.structs.replace(status, last_plan=msgspec.structs.replace(last, time=""))
