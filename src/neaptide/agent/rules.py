"""The rules of a node, asked each second: readings in, the files that shall be otherwise and the pods that shall go out."""

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from math import inf, isnan
from typing import NamedTuple

from neaptide.agent.binding import NOBODY, Binding, Bound
from neaptide.agent.bursts import Bursts
from neaptide.agent.disks import Disks
from neaptide.agent.groups import Groups, Wanted
from neaptide.agent.memory import MemoryQos
from neaptide.agent.objective_share import ObjectiveShare
from neaptide.agent.readings import Look, NodePod
from neaptide.agent.settings import Settings
from neaptide.model.qos import QoS
from neaptide.noderules.by_need import ByNeed
from neaptide.noderules.cpu_burst import SharePool
from neaptide.noderules.cpu_evict import BestEffortUse, CpuEvictReading, cpu_evict
from neaptide.noderules.cpu_suppress import (
    CFS_PERIOD_US,
    UNLIMITED,
    BestEffortCpu,
    CpuReading,
    best_effort_limit,
    suppress,
)
from neaptide.noderules.cpuset import Cpu, CpuPools
from neaptide.noderules.evict import PodReading, Victim
from neaptide.noderules.group_priority import group_priorities
from neaptide.noderules.low_water import LowWater
from neaptide.noderules.memory_evict import MemoryReading, memory_evict

_OWN_CPUS = (QoS.LSE, QoS.LSR, QoS.SYSTEM)
_NOTHING = BestEffortCpu(UNLIMITED, ())
_RISES_AFTER = 5.0
"""Seconds for which a quota may have been higher before it is, and for which pods keep their parts of it."""


class _Steady(NamedTuple):
    """What follows from pods alone, and stays until they change.

    Attributes:
        bound: the CPUs of pods that have their own.
        denied: the CPUs that best-effort pods may not use: of LSE pods, and those that the node keeps for the system.
        claims: the groups that limits of best-effort pods are for, with the pods in each.
        services: what files of services shall say.
        others: what other files shall say.
    """

    bound: Bound
    denied: frozenset[int]
    claims: Mapping[str, int]
    services: Wanted
    others: Wanted


class _Use(NamedTuple):
    at: float
    seconds: float
    node: float
    best_effort: BestEffortUse


class Rules:
    """What is in force on a node, and what comes next.

    Args:
        settings: of the rules.
        groups: the pods' control groups.
        topology: the node's CPUs.
        sysfs: where it is mounted.
        say: takes what a sentence is about, and the sentence.

    Attributes:
        of_services: the files of services that are not to be left as they are where nobody looks after them.
        news: what best-effort pods may use and why, where that has changed by a tenth of the node since it was told; else empty.
    """

    def __init__(
        self,
        settings: Settings,
        groups: Groups,
        topology: Sequence[Cpu],
        sysfs: str,
        say: Callable[[str, str], None],
    ) -> None:
        self._settings, self._groups, self._topology = settings, groups, topology
        self._in_force = self._asked = _NOTHING
        self._low = LowWater(_RISES_AFTER)
        self._needs = ByNeed(_RISES_AFTER)
        self._history: deque[_Use] = deque()
        self._last: dict[str, float] = {}
        self._bursts = None if settings.cpu_burst is None else Bursts(settings.cpu_burst, groups)
        self._binding = None if settings.cpu_binding is None else Binding(groups, say)
        self._objectives = None if settings.slo_share is None else ObjectiveShare(settings.slo_share)
        self._steady = _Steady(NOBODY, frozenset(), {}, {}, {})
        self._memory = None if settings.memory_qos is None else MemoryQos(settings.memory_qos, groups)
        self._disks = None if settings.disk is None else Disks(settings.disk, groups, sysfs)
        self._has_idle = groups.has(groups.layout.tier("besteffort"), "cpu.idle")
        self._told = inf
        self.news = ""
        self.of_services: frozenset[str] = frozenset()

    @property
    def missing_disks(self) -> list[str]:
        """Disks that the settings name and that are not there."""
        return [] if self._disks is None else self._disks.missing

    @property
    def pressures(self) -> Sequence[str]:
        """The resources for which some rule asks in each round how long services wait."""
        disk = self._settings.disk
        return ("io",) if disk is not None and disk.pressure_percent is not None else ()

    def wanted(self, look: Look) -> Wanted:
        """What files shall say; every file that is not named shall say what it said before the agent came."""
        if look.anew:
            self._steady = self._of_pods(look)
        steady = self._steady
        wanted = self._suppressed(look) | steady.others
        services = dict(steady.services)
        if self._bursts is not None:
            services |= self._bursts.wanted(self._share_pool(look), look.use.seconds)
        self.of_services = frozenset(services)
        wanted |= services
        if self._disks is not None:
            waits = [each.io for each in look.pressure.values() if each.io is not None]
            wanted |= self._disks.wanted(steady.claims, max(waits, default=None))
        return wanted

    def _of_pods(self, look: Look) -> _Steady:
        """What follows from the pods that are there, and from what Kubernetes says of them and wrote for them."""
        pods, bound = look.pods, NOBODY
        services: Wanted = {}
        others: Wanted = {}
        if self._binding is not None:
            bound = self._binding.bound(pods, look.objects)
            services |= self._binding.wanted(pods, bound)
        if self._bursts is not None:
            may = [pod.at for pod in pods if pod.known and not pod.best_effort and pod.qos not in _OWN_CPUS]
            services |= self._bursts.look(may)
        groups = {pod.at.uid: pod.at.group for pod in pods if pod.best_effort and pod.known}
        if self._settings.group_priority is not None:
            priorities = group_priorities(self._settings.group_priority, groups, kernel_has_idle=self._has_idle)
            for uid, setting in priorities.items():
                others |= self._groups.priority(groups[uid], setting)
        if self._memory is not None:
            of_services = tuple(f"{pod.at.group}/" for pod in pods if not pod.best_effort)
            for path, text in self._memory.wanted(pods, look.objects, _allocatable(look)).items():
                kind = services if any(group in path for group in of_services) else others
                kind[path] = text
        if self._disks is not None:
            others |= self._disks.weights(list(groups.values()))
        return _Steady(bound, bound.lse | look.facts.reserved_cpus, self._claims(pods), services, others)

    def by_memory(self, reading: MemoryReading, pods: Sequence[PodReading], now: float) -> tuple[Victim, ...]:
        """Who goes because memory passed its watermark."""
        settings = self._settings.memory_evict
        if settings is None:
            return ()
        decision = memory_evict(settings, reading, pods, now=now, last_eviction=self._last.get("memory"))
        return self._noted("memory", decision.victims, now)

    def memory_is_low(self, reading: MemoryReading) -> bool:
        """Whether it is worth to look at what each pod uses."""
        settings = self._settings.memory_evict
        return (
            settings is not None
            and reading.used is not None
            and reading.used * 100 >= reading.capacity * settings.threshold_percent
        )

    @property
    def evicts_by_cpu(self) -> bool:
        return self._settings.cpu_evict is not None

    def by_cpu(self, pods: Sequence[PodReading], look: Look, now: float) -> tuple[Victim, ...]:
        """Who goes because best-effort pods starve, or because the node's CPU passed its watermark."""
        settings, use, capacity = self._settings.cpu_evict, look.use, look.capacity
        if settings is None:
            return ()
        best_effort = [pod for pod in pods if pod.qos == "BE"]
        used = sum(pod.cpu_used or 0.0 for pod in best_effort)
        request = float(sum(pod.cpu_request for pod in best_effort))
        current = BestEffortUse(used, request, self._limit(capacity))
        history = self._history
        history.append(_Use(now, use.seconds, use.node, current))
        while now - history[0].at > settings.window_seconds:
            history.popleft()
        covered = sum(each.seconds for each in history)
        parts = [_mean([(each.best_effort[index], each.seconds) for each in history]) for index in range(3)]
        node = _mean([(each.node, each.seconds) for each in history if not isnan(each.node)])
        reading = CpuEvictReading(
            capacity,
            None if isnan(use.node) else node,
            BestEffortUse(*parts),
            current,
            min(covered, settings.window_seconds),
            look.facts.batch_cpu,
        )
        decision = cpu_evict(settings, reading, pods, now=now, last_eviction=self._last.get("cpu"))
        return self._noted("cpu", decision.victims, now)

    def _suppressed(self, look: Look) -> Wanted:
        settings, groups, use, capacity = self._settings.cpu_suppress, self._groups, look.use, look.capacity
        self.news = ""
        if settings is None or not settings.enabled:
            self._in_force = self._asked = _NOTHING
            self._low.forget()
            return self._kept_off()
        lent = sum(use.by_uid.get(pod.at.uid, 0.0) for pod in look.pods if pod.best_effort)
        reserved = max(self._settings.reserved_cpu, look.facts.kept_of(capacity))
        reading = CpuReading(capacity, use.node, lent, max(use.kubepods - lent, 0.0), reserved=reserved)
        reading = reading._replace(part=self._borne(look, reading))
        allowed = groups.cpus(groups.layout.tier(""))
        lsr, denied = self._steady.bound.lsr, self._steady.denied
        pools = CpuPools(tuple(cpu for cpu in self._topology if cpu.id in allowed), lsr, denied)
        if capacity > 0:
            done = suppress(settings, reading, pools, self._asked)
            if done is not None:
                self._asked = done.setting
                self._in_force = self._steadied(done.setting, look.at)
                self._tell(done.reason, capacity)
        return self._by_quota(look) if settings.policy == "cfsQuota" else self._by_cpu_set()

    def _steadied(self, setting: BestEffortCpu, now: float) -> BestEffortCpu:
        """What the rule asks for, a quota as far as it asked for all of that of late."""
        if setting.quota_us == UNLIMITED:
            self._low.forget()
            return setting
        return setting._replace(quota_us=self._low.of(setting.quota_us, now))

    def _borne(self, look: Look, reading: CpuReading) -> float | None:
        """The part of the node that services' latencies leave to best-effort pods; None where none is known."""
        share, settings = self._objectives, self._settings.cpu_suppress
        formula = None if settings is None else best_effort_limit(settings, reading)
        if share is None or formula is None or reading.capacity <= 0:
            return None
        parts = max(formula.milli, 0) / reading.capacity, reading.best_effort_pods / reading.capacity
        share.follow(look.latencies, formula=parts[0], used=parts[1], now=look.at)
        return share.part

    def _share_pool(self, look: Look) -> SharePool:
        """What is left without the CPUs of pods that have their own, and what is used of it but by best-effort pods.

        A pod of its own CPUs whose limit is unknown stays in both sums, which is the safe reading.
        """
        whole, used = float(look.capacity), look.use.node
        for pod in look.pods:
            limit = self._groups.limit(pod.at.group) if pod.qos in _OWN_CPUS else None
            if pod.best_effort or limit is not None:
                used -= look.use.by_uid.get(pod.at.uid, 0.0)
                whole -= limit or 0.0
        return SharePool(whole, used)

    def _kept_off(self) -> Wanted:
        """The CPUs that best-effort pods may use at all, where some are not theirs whatever they use; nothing where none would be left."""
        wanted: Wanted = {}
        denied = self._steady.denied
        # Where the kubelet's CPU manager is static, CPU sets are its own.
        if denied and self._binding is not None:
            rest = self._groups.cpus(self._groups.layout.tier("")) - denied
            for group in self._steady.claims if rest else ():
                wanted |= self._groups.only_on(group, rest)
        return wanted

    def _by_quota(self, look: Look) -> Wanted:
        wanted, claims = self._kept_off(), self._steady.claims
        if self._in_force.quota_us == UNLIMITED:
            return wanted
        milli = self._in_force.quota_us * 1000 / CFS_PERIOD_US
        used: defaultdict[str, float] = defaultdict(float)
        for pod in look.pods:
            own = pod.at.group if pod.at.group in claims else self._groups.layout.tier(pod.at.tier)
            used[own] += look.use.by_uid.get(pod.at.uid, 0.0)
        for group, part in self._needs.parts(milli, claims, used, look.at).items():
            wanted |= self._groups.quota(group, milli * part)
        return wanted

    def _by_cpu_set(self) -> Wanted:
        wanted = self._kept_off()
        for group in self._steady.claims if self._in_force.cpus else ():
            wanted |= self._groups.only_on(group, self._in_force.cpus)
        return wanted

    def _claims(self, pods: Sequence[NodePod]) -> dict[str, int]:
        """The groups that the limit is for, with the pods in each.

        The tier of pods that request nothing is one of them, so that they share, unless a service is in it; all other best-effort pods, and
        then those of the tier too, stand for themselves.
        """
        tier = self._groups.layout.tier("besteffort")
        inside = [pod for pod in pods if pod.at.tier == "besteffort"]
        shared = all(pod.best_effort or not pod.known for pod in inside)
        alone = {pod.at.group: 1 for pod in pods if pod.best_effort and not (shared and pod.at.tier == "besteffort")}
        return {tier: max(len(inside), 0 if alone else 1), **alone} if shared else alone

    def _limit(self, capacity: int) -> float:
        """What best-effort pods may use."""
        if self._in_force.quota_us != UNLIMITED:
            return self._in_force.quota_us * 1000 / CFS_PERIOD_US
        return float(min(len(self._in_force.cpus) * 1000, capacity) if self._in_force.cpus else capacity)

    def _tell(self, reason: str, capacity: int) -> None:
        limit = self._limit(capacity)
        if abs(limit - self._told) * 10 >= capacity:
            self.news, self._told = reason, limit

    def _noted(self, rule: str, victims: tuple[Victim, ...], now: float) -> tuple[Victim, ...]:
        if victims:
            self._last[rule] = now
        return victims


def _allocatable(look: Look) -> int:
    """The node's memory that pods may request, all of it where nobody has told."""
    told = look.facts.allocatable_memory
    return look.memory.capacity if told is None else told


def _mean(values: Sequence[tuple[float, float]]) -> float:
    """Weighted by time."""
    whole = sum(seconds for _, seconds in values)
    return sum(value * seconds for value, seconds in values) / whole if whole else 0.0
