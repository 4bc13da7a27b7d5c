"""What the leader does: take up the memory of the cycle before, plan, act, and write down what came of it."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from neaptide.kube import recovery
from neaptide.kube.configuration import Chosen, Configuration
from neaptide.kube.memory import LostMemoryError, MemoryStore, SupersededError
from neaptide.kube.metrics import Metrics
from neaptide.kube.plans import Plans
from neaptide.kube.statuses import Statuses
from neaptide.kube.world import STALE_AFTER, World
from neaptide.kubeapi.errors import ApiError, LeaseLost
from neaptide.loop import Cycle, LoopMemory, checkpoint, restore
from neaptide.model.actions import AnyAction, Outcome
from neaptide.model.protocols import Policy
from neaptide.policies.cost_bound import bound_of
from neaptide.policies.registry import POLICIES
from neaptide.pricing.cluster import money_per_hour
from neaptide.records.log import Log

_INTENT = "intent"
_BOUND_SECONDS = 300.0
"""How old the bound of what the cluster costs may be; it takes seconds where there are thousands of nodes."""
_KNOWN: dict[str, Policy] = {policy.name: policy for policy in POLICIES}


class NoLongerLeadingError(Exception):
    """Another replica leads; `str()` says how this was noticed."""


class Writers(Struct, frozen=True):
    """Where the leader writes: all but the journal and the metrics are guarded by the lease."""

    store: MemoryStore
    plans: Plans
    statuses: Statuses
    metrics: Metrics
    journal: Log | None


class Leader:
    """One turn of leading: `begin`, then `cycle` again and again.

    Every method raises NoLongerLeadingError as soon as it turns out that another replica leads, and ApiError where the API
    server cannot be asked: then nothing was forgotten, and the same may be tried again. `memory` is that of the latest cycle.
    """

    def __init__(self, world: World, configuration: Configuration, writers: Writers, *, dry_run: bool = False) -> None:
        self._world, self._configuration, self._to, self._dry_run = world, configuration, writers, dry_run
        self._log = structlog.get_logger()
        self.memory = LoopMemory()
        self._lost = ""
        self._failures: list[str] = []
        self._bound_due = 0.0

    async def begin(self) -> None:
        """Take up the memory of the cycle before, whoever made it."""
        try:
            parts = await self._to.store.load()
            memory = _joined(parts) if parts else LoopMemory()
            if _INTENT in parts:
                intent = recovery.decode(parts[_INTENT])
                self._log.warning("a cycle was not ended; looking at what was done", actions=len(intent.actions))
                with self._world.cache.held() as snapshot:
                    memory = recovery.settled(memory, intent, snapshot)
            self.memory = memory
        except (LostMemoryError, msgspec.MsgspecError) as error:
            self._lost = f"the memory of earlier cycles was lost: {error}"
            self._log.error("starting with an empty memory", reason=str(error))

    async def cycle(self) -> None:
        """One cycle, unless the picture of the cluster is too old."""
        staleness = self._world.staleness()
        if staleness > STALE_AFTER:
            self._to.metrics.skipped("stale")
            self._log.warning("nothing is planned: the picture of the cluster is old", seconds=round(staleness))
            return
        try:
            await self._cycle()
        except (SupersededError, LeaseLost) as error:
            raise NoLongerLeadingError(str(error)) from error
        except ApiError:
            self._to.metrics.skipped("failed")
            raise

    async def _cycle(self) -> None:
        now, loop = time.time(), asyncio.get_running_loop()
        chosen = self._configuration.chosen(now)
        catalogue = self._configuration.new_catalogue()
        if catalogue is not None:
            self._world.set_catalogue(catalogue)
        approved = self._to.plans.approved(self._configuration.plans.values(), now)
        approved = None if approved is None else approved.with_workloads(self._world.cache.snapshot)
        self._failures = []

        def intend(memory: LoopMemory, actions: Sequence[AnyAction]) -> None:
            saving = self._save(self._as_it_is(memory), recovery.encode(now, actions))
            asyncio.run_coroutine_threadsafe(saving, loop).result()

        cycle, memory = await self._world.cycle(
            chosen.settings,
            self.memory,
            budgets=chosen.budgets,
            approved=() if approved is None else approved.actions,
            tidy=self._configuration.says_all(chosen),
            intend=intend,
            record=self._record,
            phase=self._to.metrics.phase,
            failed=self._failed,
        )
        self.memory = self._as_it_is(memory)
        with self._to.metrics.phase("checkpoint"):
            await self._save(self.memory)
        money = money_per_hour(self._world.cache.snapshot)
        self._to.metrics.cycle(cycle, money)
        await self._look_how_cheap()
        self._tell(cycle.outcomes)
        if approved is not None:
            await self._to.plans.progress(approved, cycle)
        if self._configuration.is_served:
            await self._to.plans.recommend(self._configuration.plans.values(), cycle, money)
            await self._say(chosen, cycle)

    def _as_it_is(self, memory: LoopMemory) -> LoopMemory:
        """In a dry run nothing was lent, and so there will be nothing to take back."""
        return msgspec.structs.replace(memory, lent=self.memory.lent) if self._dry_run else memory

    async def _look_how_cheap(self) -> None:
        """Show the distance to the cheapest cluster, now and then."""
        if time.monotonic() < self._bound_due:
            return
        with self._world.cache.held() as snapshot:
            self._to.metrics.bound(await asyncio.to_thread(bound_of, snapshot))
        self._bound_due = time.monotonic() + _BOUND_SECONDS

    async def _say(self, chosen: Chosen, cycle: Cycle) -> None:
        problems = [*([self._lost] if self._lost else []), *self._failures, *lacking(self._world)]
        await self._to.statuses.write(self._configuration.policies, chosen.verdicts, cycle, problems)

    async def _save(self, memory: LoopMemory, intent: bytes = b"") -> None:
        parts = await asyncio.to_thread(_parts, memory)
        if intent:
            parts[_INTENT] = intent
        self._to.metrics.checkpoint(sum(map(len, parts.values())))
        await self._to.store.save(parts)

    def _record(self, cycle: Cycle) -> None:
        if self._to.journal is None:
            return
        try:
            self._to.journal.append(cycle)
        except OSError as error:
            self._log.error("journal not written", reason=str(error))

    def _failed(self, policy: str, error: Exception) -> None:
        """A policy that cannot plan does not keep the others from it."""
        self._failures.append(f"the policy {policy} failed: {error!r}")
        self._log.error("policy failed", policy=policy, exc_info=error)

    def _tell(self, outcomes: Sequence[Outcome]) -> None:
        for each in outcomes:
            if each.result in ("Done", "Failed"):
                kind, policy, reason = type(each.action).__name__, each.action.policy, each.reason.message
                target = str(each.action.target)
                self._log.info("action", kind=kind, target=target, policy=policy, result=each.result, reason=reason)


def lacking(world: World) -> Iterator[str]:
    """What the loop has to do without, as sentences."""
    yield from world.cache.unseen
    if world.meter.problem:
        yield f"usage is unknown: {world.meter.problem}"
    left_out = world.left_out()
    if left_out:
        yield f"{len(left_out)} objects are left out, the first of them: {left_out[0]}"


def _parts(memory: LoopMemory) -> dict[str, bytes]:
    """A checkpoint in parts that change apart from each other: one per policy, the arbiter's, what was approved, and where was lent."""
    raw = msgspec.json.decode(checkpoint(memory), type=_Checkpoint)
    policies = {f"policy {name}": bytes(part) for name, part in raw.policies.items()}
    return {**policies, "arbiter": bytes(raw.arbiter), "by hand": bytes(raw.by_hand), "lent": bytes(raw.lent)}


def _joined(parts: Mapping[str, bytes]) -> LoopMemory:
    """The memory of those parts. Raises MsgspecError."""
    policies: dict[str, Any] = {
        name.removeprefix("policy "): msgspec.Raw(part) for name, part in parts.items() if name.startswith("policy ")
    }
    whole = {
        "policies": policies,
        "arbiter": msgspec.Raw(parts.get("arbiter", b"{}")),
        "by_hand": msgspec.Raw(parts.get("by hand", b"[]")),
        "lent": msgspec.Raw(parts.get("lent", b"[]")),
    }
    return restore(msgspec.json.encode(whole), _KNOWN)


class _Checkpoint(Struct, frozen=True):
    policies: dict[str, msgspec.Raw] = {}
    arbiter: msgspec.Raw = msgspec.Raw(b"{}")
    by_hand: msgspec.Raw = msgspec.Raw(b"[]")
    lent: msgspec.Raw = msgspec.Raw(b"[]")
