"""The scheduling cycle in a thread of its own: what was said goes in, what is to be done comes out, preemptions after the arbiter's say."""

import gc
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import structlog

from neaptide.kube.scheduler.feed import Retold, Told
from neaptide.kube.usage.node_infos import Infos, set_infos
from neaptide.kube.usage.readings import Readings, apply
from neaptide.model.renewal import is_outgrown, weight
from neaptide.placement.cycle import events
from neaptide.placement.cycle.actions import AnyCycleAction, Emit, Preempt
from neaptide.placement.cycle.machine import SchedulingCycle
from neaptide.placement.cycle.profile import CycleProfile
from neaptide.placement.cycle.waits import Wait
from neaptide.policies import preemptions
from neaptide.policies.arbiter import ArbiterMemory
from neaptide.policies.protection import protection

_ALL = 2**31
_TELLING = ("PodGroup", "ElasticQuota", "Reservation")
_TOLD_WITHIN = 1.0  # seconds in which their status follows
_REPORT = 15.0  # seconds between two looks at who waits
_log = structlog.get_logger()


class Turn(NamedTuple):
    """What came of one turn: what is to be done, when the next one is due at the latest, and now and then who waits."""

    actions: list[AnyCycleAction]
    due: float
    waits: list[Wait] | None = None


class Turns:
    """The machine. `take` is called by one thread at a time.

    Args:
        profile: what decides.
        memory: the arbiter's, of the loop in this process.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        profile: CycleProfile,
        *,
        memory: Callable[[], ArbiterMemory] = ArbiterMemory,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.cycle = SchedulingCycle(profile, protects=protection)
        self._profile, self._weight = profile, 0
        self._memory, self._clock = memory, clock
        self._reported = self._tried = -float("inf")
        self._heard = False
        self.planning = 0.0
        """CPU seconds that all turns have taken."""

    def take(self, told: Sequence[Told], *, leading: bool) -> Turn:
        """Take in what was said and, while leading, try the pods whose turn it is. Nothing is to be done while another leads."""
        began = time.thread_time()
        try:
            return self._take(told, leading=leading)
        finally:
            self.planning += time.thread_time() - began

    def _take(self, told: Sequence[Told], *, leading: bool) -> Turn:
        now = self._clock()
        self._renew()
        actions: list[AnyCycleAction] = []
        for each in told:
            for event in self._events(each, now):
                actions += self._stepped(event, now)
        if not leading:  # what was done before is said all the same
            return Turn([each for each in actions if isinstance(each, Emit)], float("inf"))
        self._heard = self._heard or bool(told)
        if self._due(now) <= now:
            self._heard, self._tried = False, now
            actions += self.cycle.step(events.Cycle(), now)
        actions = [final for each in actions for final in self._arbitrated(each, now)]
        return Turn(actions, self._due(now), self._waits(now))

    def _renew(self) -> None:
        """Let go of what nothing refers to any more: jobs come and go, each with a class of its own."""
        if is_outgrown(self.cycle.snapshot, self._weight):
            self.cycle = SchedulingCycle(self._profile, protects=protection, before=self.cycle)
            self._weight = weight(self.cycle.snapshot)
            gc.collect()  # the old one refers to itself: two or three of them would lie about for minutes

    def _events(self, told: Told, now: float) -> Sequence[events.AnyEvent]:
        """What was said, as the machine hears it."""
        if isinstance(told, Retold):
            return told.removals(self.cycle.snapshot)
        if isinstance(told, Readings):
            apply(self.cycle.snapshot, told, now)
            return (events.Measured(),)
        if isinstance(told, Infos):
            set_infos(self.cycle.snapshot, told.by_node)
            return (events.Measured(),)
        return (told,)

    def _due(self, now: float) -> float:
        """When a cycle is worth its while: somebody is to be tried, or objects may have to say what has come of them."""
        due = self.cycle.due(now)
        others = self.cycle.snapshot.others
        if self._heard and any(others.get(kind) for kind in _TELLING):
            due = min(due, self._tried + _TOLD_WITHIN)
        return due

    def _waits(self, now: float) -> list[Wait] | None:
        if now < self._reported + _REPORT:
            return None
        self._reported = now
        return self.cycle.longest_waits(now, count=_ALL)

    def _stepped(self, event: events.AnyEvent, now: float) -> list[AnyCycleAction]:
        """One event's actions; an object that breaks something keeps none of the others from being heard."""
        try:
            return self.cycle.step(event, now)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end scheduling
            _log.error("event not applied", kind=type(event).__name__, exc_info=error)
            return []

    def _arbitrated(self, action: AnyCycleAction, now: float) -> Iterable[AnyCycleAction]:
        if not isinstance(action, Preempt):
            return (action,)
        reason = preemptions.refusal(action, self.cycle.snapshot, self._memory(), now)
        if reason is None:
            return (action,)
        pod = action.pod
        _log.info("preemption refused", pod=str(pod), node=action.node, reason=reason.message)
        key = f"{pod.namespace}/{pod.name}"
        return self._stepped(events.PreemptionRefused(key, pod.uid, reason.message), now)
