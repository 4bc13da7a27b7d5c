"""The scheduler as a part of a process: its streams, the thread that decides, and the writers, until it is cancelled.

streams -> Feed -> Turns (the scheduling cycle, in a thread) -> Binder, PodStatuses, Objects, Events, Actuator
^                                                     |
+---------------- what became of bindings ------------+
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog
from msgspec import Struct
from prometheus_client import CollectorRegistry

from neaptide.kube.actuator import Actuator
from neaptide.kube.events import Events
from neaptide.kube.scheduler.binding import Binder
from neaptide.kube.scheduler.feed import Feed, Told
from neaptide.kube.scheduler.lanes import Lanes, Pool
from neaptide.kube.scheduler.metrics import SchedulerMetrics
from neaptide.kube.scheduler.node_metrics import NodeMetrics
from neaptide.kube.scheduler.objects import Objects
from neaptide.kube.scheduler.pod_statuses import PodStatuses
from neaptide.kube.scheduler.turns import Turns
from neaptide.kube.streams import Stream
from neaptide.kube.usage.meter import Meter
from neaptide.kube.usage.readings import Source
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.lease import Election
from neaptide.model.actions import Ref
from neaptide.model.objects import Pod
from neaptide.placement import warm
from neaptide.placement.cycle import events
from neaptide.placement.cycle.actions import AnyCycleAction, Bind, Emit, Nominate, Preempt, SetUnscheduled
from neaptide.placement.cycle.profile import CycleProfile
from neaptide.policies.arbiter import ArbiterMemory

_LONGEST = 3600.0
_LOOK = 1.0
_MEASURE = 30.0
_SHORTEST = 0.01  # seconds from one turn to the next: what comes meanwhile is taken together
_LATER = 0.1
"""Seconds that confirmations wait for others: each turn has its price, and they decide nothing."""
_GOING = ("Terminating", "Finished")
_EVENTS = 20_000
"""How many may wait to be written; each takes about a kilobyte."""
GATED = "SchedulingGated"
ACTIONS = {"Scheduled": "Binding", "FailedScheduling": "Scheduling", "Preempted": "Preempting"}
"""By an Event's reason, its action, as kube-scheduler calls them."""


class Wires(Struct, frozen=True):
    """How the scheduler speaks to the API server; those that change something are guarded by the lease.

    Attributes:
        reads: streams.
        binds: bindings alone, so that nothing else takes from their rate.
        writes: everything else.
        says: Events alone, of which there is one for each binding; they are written whoever leads.
        at_once: bindings under way at a time.
        events_per_second: written in the long run.
    """

    reads: Client
    binds: Client
    writes: Client
    says: Client
    at_once: int = 100
    events_per_second: float = 200.0


class Scheduler:
    """Schedules the pods of one `schedulerName` while it leads, and knows the cluster all the time.

    Args:
        wires: to the API server.
        streams: what is watched.
        profile: what decides.
        election: of the lease that it leads by.
        actuator: carries evictions out.
        memory: the arbiter's, of the loop in this process.
        disrupted: is told the workload of each pod that was preempted.
        registry: of the process's figures.
    """

    def __init__(
        self,
        wires: Wires,
        streams: Sequence[Stream],
        profile: CycleProfile,
        *,
        election: Election,
        actuator: Actuator,
        memory: Callable[[], ArbiterMemory] = ArbiterMemory,
        disrupted: Callable[[Ref], None] = lambda _: None,
        registry: CollectorRegistry,
    ) -> None:
        self._wires, self._election, self._actuator, self._disrupted = wires, election, actuator, disrupted
        self._profile, self._metrics = profile, SchedulerMetrics(registry)
        self._wake = asyncio.Event()
        self._feed = Feed(streams, changed=self._heard)
        self._soon: asyncio.TimerHandle | None = None
        self._answers: list[Told] = []
        self.turns = Turns(profile, memory=memory)
        self._binds, others = Pool(wires.at_once), Pool(8)
        self._lanes = Lanes(self._binds, others)
        self._binder = Binder(wires.binds, self._tell, self._lanes.is_superseded)
        self._statuses = PodStatuses(wires.writes, self._lanes, others)
        self._objects = Objects(wires.writes, self._lanes, others)
        self._events = Events(
            wires.says,
            election.identity,
            controller=profile.scheduler_name,
            per_second=wires.events_per_second,
            at_once=8,
            waiting=_EVENTS,
        )
        self._meter: Meter | None = None
        self.agents = NodeMetrics(self._know)
        """What the nodes' agents say; followed where somebody asks."""
        self._hears_agents = False
        self._preempting: set[asyncio.Task[None]] = set()
        self._started = self._read_before = 0.0
        """CPU seconds of this process until everything was seen once, and how many of them went into reading objects."""
        self._log = structlog.get_logger()

    @property
    def synced(self) -> bool:
        """Whether everything was seen once."""
        return self._feed.synced

    def measure_by(self, sources: Sequence[Source], *, agents: bool) -> None:
        """Read usage while running, from the first of these sources that works, and follow agents: the profile asks for it."""
        self._meter, self._hears_agents = Meter(sources), agents

    def node_names(self) -> list[str]:
        """The nodes that are known."""
        return list(self.turns.cycle.snapshot.nodes.by_name)

    async def run(self) -> None:
        """Run until cancelled. Raises what ends one of its parts."""
        try:
            with ThreadPoolExecutor(1, "scheduler") as thread:
                async with asyncio.TaskGroup() as group:
                    for part in (
                        self._feed.run(self._wires.reads),
                        self._lanes.run(),
                        self._events.run(),
                        self._wake_when_leading(),
                        self._measure(),
                        self._hear_agents(),
                        self._take_turns(thread),
                    ):
                        group.create_task(part)
        finally:
            self._log.info("scheduler ends", cpu_seconds=self._spent(), events_lost=self._events.dropped)

    def _spent(self) -> dict[str, float]:
        """Seconds of this process's CPU, by what they went into."""
        started, decoding, planning = self._started, self._feed.decoding - self._read_before, self.turns.planning
        rest = time.process_time() - started - decoding - planning
        parts = {"start": started, "decode": decoding, "plan": planning, "write": max(rest, 0.0)}
        return {name: round(seconds, 3) for name, seconds in parts.items()}

    async def _take_turns(self, thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(thread, warm.scheduling, self._profile)
        while not self._feed.synced:
            self._wake.clear()
            await self._woken(_LONGEST)
        self._started, self._read_before = time.process_time(), self._feed.decoding
        self._log.info("scheduler synced")
        while True:
            self._wake.clear()
            told = [*self._feed.take(), *self._answers]
            self._answers = []
            self._saw(told)
            began = loop.time()
            take = partial(self.turns.take, told, leading=self._election.leading)
            turn = await loop.run_in_executor(thread, take)
            self._metrics.turned(loop.time() - began)
            if turn.waits is not None:
                self._metrics.waits(turn.waits)
            for action in turn.actions:
                self._carry_out(action)
            await self._woken(turn.due - time.time())
            await asyncio.sleep(began + _SHORTEST - loop.time())

    async def _woken(self, seconds: float) -> None:
        """Wait until something was said, or so many seconds have passed."""
        if seconds > 0:
            try:
                async with asyncio.timeout(min(seconds, _LONGEST)):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _measure(self) -> None:
        """Tell what nodes and pods use, again and again, where somebody asks."""
        while self._meter is not None:
            if not self.synced:  # who is asked depends on which nodes there are
                await asyncio.sleep(_LOOK)
                continue
            await self._meter.read()
            self._know(self._meter.readings)  # those of before where it failed: they get too old
            await asyncio.sleep(_MEASURE)

    async def _hear_agents(self) -> None:
        if self._hears_agents:
            await self.agents.run(self._wires.reads)

    def _know(self, told: Told) -> None:
        """Have something that was measured taken in."""
        self._answers.append(told)
        self._wake.set()

    async def _wake_when_leading(self) -> None:
        while True:
            await self._election.won()
            self._wake.set()
            await asyncio.sleep(_LOOK)

    def _tell(self, event: events.AnyEvent) -> None:
        if isinstance(event, events.Bound):
            self._metrics.bound()
        elif isinstance(event, events.BindFailed):
            self._metrics.bound(refused=event.reason)
        self._answers.append(event)
        self._heard(isinstance(event, events.Bound))

    def _heard(self, can_wait: bool) -> None:
        """Take a turn, now or with what else comes within a tenth of a second."""
        if not can_wait:
            self._wake.set()
        elif self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(_LATER, self._now)

    def _now(self) -> None:
        self._soon = None
        self._wake.set()

    def _saw(self, told: Sequence[Told]) -> None:
        """Let the writers know what stands in the cluster already."""
        for each in told:
            match each:
                case events.Applied(Pod() as pod):
                    self._statuses.saw((pod,))
                case events.Listed(items):
                    self._statuses.saw(item for item in items if isinstance(item, Pod))
                case events.Removed("Pod", name, namespace):
                    self._statuses.forget(f"{namespace}/{name}")

    def _carry_out(self, action: AnyCycleAction) -> None:
        match action:
            case Bind(pod):
                key = f"{pod.namespace}/{pod.name}"
                self._statuses.forget(key)
                self._lanes.put(key, self._binds, partial(self._binder.bind, action))
            case SetUnscheduled(pod, reason, message):
                self._statuses.unscheduled(action)
                if reason != GATED:
                    self._say(pod, "FailedScheduling", message, warning=True)
            case Nominate():
                self._statuses.nominate(action)
            case Emit(about, kind, reason, message):
                self._say(about, reason, message, warning=kind == "Warning", once=reason == "Scheduled")
            case Preempt():
                task = asyncio.create_task(self._preempt(action))
                self._preempting.add(task)
                task.add_done_callback(self._preempting.discard)
            case _:
                self._objects.write(action)

    def _say(
        self,
        about: Ref,
        reason: str,
        message: str,
        *,
        warning: bool = False,
        related: Ref | None = None,
        once: bool = False,
    ) -> None:
        action = ACTIONS.get(reason, "Scheduling")
        self._events.say(about, reason=reason, note=message, action=action, warning=warning, related=related, once=once)

    async def _preempt(self, action: Preempt) -> None:
        """Evict all victims; where one of them may not go, the machine is told."""
        outcomes = await self._actuator.carry_out(action.evictions)
        for victim, outcome in zip(action.evictions, outcomes, strict=True):
            if outcome.result == "Done":
                message = f"Preempted by pod {action.pod.uid} on node {action.node}"
                self._say(victim.target, "Preempted", message, related=action.pod)
                if victim.workload is not None:
                    self._disrupted(victim.workload)
        left = [each for each in outcomes if each.result != "Done" and each.reason.code not in _GOING]
        if left:
            key = f"{action.pod.namespace}/{action.pod.name}"
            self._tell(events.PreemptionRefused(key, action.pod.uid, left[0].reason.message))
