"""The agent of one node: looks, asks the rules, writes what differs, and gives everything back when it ends."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from neaptide.agent import layout, topology
from neaptide.agent.evictions import Evictions
from neaptide.agent.features import Feature, cpu_manager_policy, features
from neaptide.agent.files import Files
from neaptide.agent.glance import Glance
from neaptide.agent.groups import Groups, Wanted
from neaptide.agent.latencies import Latency
from neaptide.agent.originals import Originals
from neaptide.agent.own_node import NodeFacts
from neaptide.agent.pods import NodePods, Pod, reading
from neaptide.agent.present import Present
from neaptide.agent.pressure import Pressure, Pressures
from neaptide.agent.readings import CpuUse, Look, NodePod, Readings
from neaptide.agent.reclaimed_limits import ReclaimedLimits
from neaptide.agent.reconcile import Change, Reconciler
from neaptide.agent.rules import Rules
from neaptide.agent.settings import Settings
from neaptide.noderules.cpuset import Cpu
from neaptide.noderules.evict import PodReading, Victim

REVIEW_EVERY = 5.0
_GLANCES = 4
"""In a round."""
_BOOT = "sys/kernel/random/boot_id"
Watcher = Callable[[float, Look, Groups], object]
"""Is told what a round saw, and when (monotonic seconds)."""


class Place(NamedTuple):
    """Where a node's files are.

    Attributes:
        cgroups: the mount of the control groups.
        cgroup_root: the kubelet's `cgroupRoot`.
        proc, sysfs: the mounts of these.
        kubelet_root: the kubelet's `--root-dir`.
        state: where the agent keeps the originals.
    """

    cgroups: str = "/sys/fs/cgroup"
    cgroup_root: str = "/"
    proc: str = "/proc"
    sysfs: str = "/sys"
    kubelet_root: str = "/var/lib/kubelet"
    state: Path = Path("/var/lib/neaptide/agent")


class Agent:
    """Keeps one node.

    Args:
        place: where its files are.
        settings: of the rules.
        pods: of the node, kept up to date by somebody else.
        evictions: who evicts.
        say: takes a sentence for the log.
        dry_run: write nothing, and say what would be written.
        review_every: seconds until files that nobody but Kubernetes and the agent writes are looked at again; changed pods are looked at at once.

    Attributes:
        adders: say what else files shall be; of two limits for one group the tighter holds.
        watchers: are told what each round saw.
        latencies: tells the latencies of services that export theirs, by UID.
        facts: tells what is known of the node.

    Raises:
        LayoutError: there is no kubelet's control group.
        LogInUseError: another agent keeps the node.
    """

    def __init__(
        self,
        place: Place,
        settings: Settings,
        pods: NodePods,
        evictions: Evictions,
        say: Callable[[str], None],
        *,
        dry_run: bool = False,
        review_every: float = REVIEW_EVERY,
    ) -> None:
        found = layout.find(place.cgroups, place.cgroup_root)
        self._place, self._pods, self._evictions, self._say, self._dry_run = place, pods, evictions, say, dry_run
        self._files = Files()
        self._there: Sequence[NodePod] = ()
        self._claims: dict[str, tuple[Pod, PodReading]] = {}
        self._review_every, self._reviewed = review_every, float("-inf")
        self._said: dict[str, str] = {}
        self._capacity = 0
        self._originals = Originals(None if dry_run else place.state, boot_id(place.proc))
        self._reconciler = Reconciler(self._files, self._originals, nests=found.version == 1, dry_run=dry_run)
        self._groups = Groups(found, self._files, self._reconciler)
        self._readings = Readings(self._groups, self._files, place.proc)
        self._rules = Rules(
            _possible(settings, place, say), self._groups, topology.cpus(place.sysfs), place.sysfs, self._once
        )
        self._present = Present(self._groups, pods)
        self._glance = Glance(self._groups)
        self._pressures = Pressures(found, self._files)
        self.watchers: list[Watcher] = []
        self.latencies: Callable[[], Mapping[str, Latency]] = dict
        self.facts: Callable[[], NodeFacts] = NodeFacts
        self.adders: list[Callable[[float, Look, Groups], Wanted]] = []
        if settings.reclaimed_limits is not None:
            self.adders.append(ReclaimedLimits(settings, found.version).wanted)
        if self._rules.missing_disks:
            say(f"disk.devices: {', '.join(self._rules.missing_disks)} are not there; the others are limited")
        for line in self._originals.corrupt:
            say(f"the originals of an earlier run are damaged: {line}")

    @property
    def of_services(self) -> frozenset[str]:
        """The files of services that must not stay as they are where the agent dies."""
        return self._rules.of_services

    def cpus(self) -> list[Cpu]:
        """The CPUs that the node's pods may use."""
        allowed = self._groups.cpus(self._groups.layout.tier(""))
        return [cpu for cpu in topology.cpus(self._place.sysfs) if cpu.id in allowed]

    def features(self) -> list[Feature]:
        """What kernel and kubelet offer."""
        place = self._place
        return features(self._groups, proc=place.proc, sysfs=place.sysfs, kubelet_root=place.kubelet_root)

    async def run(self, period: float, went_round: Callable[[], None] = lambda: None) -> None:
        """Go round each `period` seconds until cancelled, and sooner where services use much more at once; `went_round` is told each time."""
        due = time.monotonic()
        while True:
            self.tick(time.monotonic())
            went_round()
            due = max(due + period, time.monotonic())
            while (left := due - time.monotonic()) > 0:
                await asyncio.sleep(min(left, period / _GLANCES))
                if self._glance.jumped(time.monotonic(), self._capacity):
                    # What was used before would be averaged with what is used now.
                    self._readings.cpu([pod.at for pod in self._present.pods()], time.monotonic())
                    await asyncio.sleep(period / _GLANCES)
                    due = time.monotonic()

    def tick(self, now: float) -> None:
        """Go round once; `now` is in monotonic seconds."""
        there = self._present.pods()
        if there is not self._there:
            self._changed(there)
        use = self._readings.cpu([pod.at for pod in there], now)
        if use is None:
            return
        anew = not 0 <= now - self._reviewed < self._review_every
        if anew:
            self._review(now, there)
        capacity = self._capacity = self._readings.cpus * 1000
        pressure = self._pressure(there, now)
        memory, objects = self._readings.memory(), self._pods.by_uid
        look = Look(there, use, capacity, memory, objects, pressure, anew, now, self.latencies(), self.facts())
        try:
            wanted = self._rules.wanted(look)
            for adder in self.adders:
                wanted |= _tighter(wanted, adder(now, look, self._groups))
            self._told(self._reconciler.settle(wanted))
        except OSError as error:
            self._once("originals", f"nothing is written, since what was there cannot be stored: {error}")
        if self._rules.news:
            self._say(f"best-effort pods: {self._rules.news}")
        self._evict(look, now)
        for watcher in self.watchers:
            watcher(now, look, self._groups)

    def restore(self) -> int:
        """Give every file back what it said; how many could not be."""
        changes = self._reconciler.restore()
        self._told(changes)
        return sum(bool(change.problem) for change in changes if change.problem != "is gone")

    def close(self) -> None:
        self._files.close()
        self._originals.close()

    def _changed(self, there: Sequence[NodePod]) -> None:
        """Let go of pods that are gone, and have the next round look at everything."""
        for group in {pod.at.group for pod in self._there} - {pod.at.group for pod in there}:
            self._files.forget(group)
        self._there, self._reviewed = there, float("-inf")

    def _review(self, now: float, there: Sequence[NodePod]) -> None:
        """Forget what was made of pods and read from files that are seldom written."""
        self._claims = {}
        self._reviewed = now
        self._groups.listing.review()
        self._groups.sandboxes = frozenset(each for pod in there if pod.known for each in self._sandboxes(pod))
        self._reconciler.review()

    def _sandboxes(self, there: NodePod) -> list[str]:
        """What is in a pod's group besides its containers; nothing before the API server has told of one of these."""
        below, pod = self._groups.layout.below(there.at.group, self._groups.listing), self._pods.by_uid[there.at.uid]
        others = [each for each in below if pod.container(each) is None]
        return [] if len(others) == len(below) else others

    def _pressure(self, there: Sequence[NodePod], now: float) -> dict[str, Pressure]:
        """Of services, where a rule wants to know."""
        resources = self._rules.pressures
        services = [pod.at.group for pod in there if not pod.best_effort]
        return self._pressures.of(services, now, resources) if resources else {}

    def _evict(self, look: Look, now: float) -> None:
        low = self._rules.memory_is_low(look.memory)
        if not low and not self._rules.evicts_by_cpu:
            return
        readings = [self._reading(pod, look.use, memory=low) for pod in look.pods if pod.known]
        victims = self._rules.by_cpu(readings, look, now)
        if low:
            # What goes for want of CPU gives its memory back, too.
            going = {victim.pod.name for victim in victims}
            left = [each._replace(evicted=True) if each.name in going else each for each in readings]
            victims += self._rules.by_memory(look.memory, left, now)
        if victims:
            by_name = {pod.name: pod for pod, _ in self._claims.values()}
            for victim in _without_doubles(victims):
                self._evictions.evict(by_name[victim.pod.name], victim.reason)

    def _reading(self, there: NodePod, use: CpuUse, *, memory: bool) -> PodReading:
        uid = there.at.uid
        pod, claim = self._claims.get(uid) or (None, None)
        if claim is None or pod is not self._pods.by_uid[uid]:
            pod = self._pods.by_uid[uid]
            claim = reading(pod, best_effort=there.best_effort)
            self._claims[uid] = pod, claim
        used = self._groups.memory_used(there.at.group) if memory else None
        found = claim._replace(cpu_used=use.by_uid.get(uid), memory_used=used)
        if self._evictions.spares(uid) or self._evictions.under_way(uid):
            return found._replace(
                protected=found.protected or self._evictions.spares(uid),
                evicted=found.evicted or self._evictions.under_way(uid),
            )
        return found

    def _told(self, changes: Sequence[Change]) -> None:
        """A write that is refused again and again is told once; in a dry run so is every write."""
        for change in changes:
            after = change.after.strip()
            if change.problem:
                self._once(change.path, f"{change.path}: {after!r} was refused: {change.problem}")
            elif self._dry_run:
                self._once(change.path, f"would write {after!r} to {change.path}, which says {change.before.strip()!r}")

    def _once(self, about: str, sentence: str) -> None:
        if self._said.get(about) != sentence:
            self._said[about] = sentence
            self._say(sentence)


def boot_id(proc: str) -> str:
    """Which boot of the machine this is; empty where it does not say."""
    try:
        return Path(proc, _BOOT).read_text().strip()
    except OSError:
        return ""


def _possible(settings: Settings, place: Place, say: Callable[[str], None]) -> Settings:
    """The settings, without what the kubelet does itself."""
    suppress = settings.cpu_suppress
    if cpu_manager_policy(place.kubelet_root) != "static":
        return settings
    settings = settings._replace(cpu_binding=None)
    if suppress is None or suppress.policy != "cpuset":
        return settings
    say("the kubelet's CPU manager is static: best-effort pods are limited by quota, not by CPU set")
    return settings._replace(cpu_suppress=suppress._replace(policy="cfsQuota"))


def _tighter(wanted: Wanted, more: Wanted) -> Wanted:
    """`more`, without limits that are wider than those which are wanted already; other files are as `more` says."""
    found = dict(more)
    for path in wanted.keys() & more.keys():
        one, other = ((text or "").split() for text in (wanted[path], more[path]))
        words = [_smaller(*pair) for pair in zip(one, other, strict=False)]
        if len(one) == len(other) == len(words):
            found[path] = " ".join(words) or more[path]
    return found


def _smaller(one: str, other: str) -> str:
    """Of two words such as 20000, max, or wbps=20000 the one that allows less; the second where they cannot be compared."""
    limits = [word.rpartition("=")[2] for word in (one, other)]
    if one.rpartition("=")[0] != other.rpartition("=")[0] or not all(
        each.isdecimal() or each == "max" for each in limits
    ):
        return other
    return one if float(limits[0].replace("max", "inf")) < float(limits[1].replace("max", "inf")) else other


def _without_doubles(victims: Sequence[Victim]) -> list[Victim]:
    return list({victim.pod.name: victim for victim in victims}.values())
