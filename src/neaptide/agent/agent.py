"""The agent of one node: looks, asks the rules, writes what differs, and gives everything back when it ends."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from neaptide.agent import layout, topology
from neaptide.agent.evictions import Evictions
from neaptide.agent.features import Feature, cpu_manager_policy, features
from neaptide.agent.files import Files
from neaptide.agent.glance import Glance
from neaptide.agent.groups import Groups, Wanted
from neaptide.agent.originals import Originals
from neaptide.agent.pods import NodePods, Pod, reading
from neaptide.agent.pressure import Pressure, Pressures
from neaptide.agent.readings import CpuUse, Look, NodePod, Readings
from neaptide.agent.reconcile import Change, Reconciler
from neaptide.agent.rules import Rules
from neaptide.agent.settings import Settings
from neaptide.noderules.evict import PodReading, Victim

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

    Attributes:
        adders: say what else files shall be; of two limits of CPU for one group the tighter holds.
        watchers: are told what each round saw.

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
    ) -> None:
        found = layout.find(place.cgroups, place.cgroup_root)
        self._place, self._pods, self._evictions, self._say, self._dry_run = place, pods, evictions, say, dry_run
        self._files = Files()
        self._seen: set[str] = set()
        self._said: dict[str, str] = {}
        self._capacity = 0
        self._originals = Originals(None if dry_run else place.state, boot_id(place.proc))
        self._reconciler = Reconciler(self._files, self._originals, nests=found.version == 1, dry_run=dry_run)
        self._groups = Groups(found, self._files, self._reconciler)
        self._readings = Readings(self._groups, self._files, place.proc)
        self._rules = Rules(
            _possible(settings, place, say), self._groups, topology.cpus(place.sysfs), place.sysfs, self._once
        )
        self._glance = Glance(self._groups)
        self._pressures = Pressures(found, self._files)
        self.watchers: list[Watcher] = []
        self.adders: list[Callable[[float, Look, Groups], Wanted]] = []
        if self._rules.missing_disks:
            say(f"disk.devices: {', '.join(self._rules.missing_disks)} are not there; the others are limited")
        for line in self._originals.corrupt:
            say(f"the originals of an earlier run are damaged: {line}")

    @property
    def of_services(self) -> frozenset[str]:
        """The files of services that must not stay as they are where the agent dies."""
        return self._rules.of_services

    def features(self) -> list[Feature]:
        """What kernel and kubelet offer."""
        return features(self._groups, sysfs=self._place.sysfs, kubelet_root=self._place.kubelet_root)

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
                    self._readings.cpu(self._groups.layout.pods(self._groups.listing), time.monotonic())
                    await asyncio.sleep(period / _GLANCES)
                    due = time.monotonic()

    def tick(self, now: float) -> None:
        """Go round once; `now` is in monotonic seconds."""
        groups = list(self._groups.layout.pods(self._groups.listing))
        self._forget({pod.group for pod in groups})
        use = self._readings.cpu(groups, now)
        if use is None:
            return
        capacity = self._capacity = self._readings.cpus() * 1000
        there = [self._node_pod(group) for group in groups]
        look = Look(there, use, capacity, self._readings.memory(), self._pods.by_uid, self._pressure(there, now))
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

    def _node_pod(self, group: layout.PodGroup) -> NodePod:
        """Before the API server has told anything, the tier is all that is known of a pod."""
        pod = self._pods.by_uid.get(group.uid)
        if pod is None:
            return NodePod(group, group.tier == "besteffort" and not self._pods.synced, known=False)
        return NodePod(group, pod.is_best_effort(group.tier), known=True, qos=pod.qos)

    def _pressure(self, there: Sequence[NodePod], now: float) -> dict[str, Pressure]:
        """Of services, where a rule wants to know."""
        services = [pod.at.group for pod in there if not pod.best_effort]
        return self._pressures.of(services, now) if self._rules.looks_at_pressure else {}

    def _evict(self, look: Look, now: float) -> None:
        there, use, capacity, memory = look.pods, look.use, look.capacity, look.memory
        low = self._rules.memory_is_low(memory)
        pods = {pod.at.uid: self._pods.by_uid[pod.at.uid] for pod in there if pod.known}
        readings = [self._reading(pod, pods[pod.at.uid], use, memory=low) for pod in there if pod.known]
        victims = self._rules.by_cpu(readings, use, capacity, now)
        if low:
            victims += self._rules.by_memory(memory, readings, now)
        by_name = {pod.name: pod for pod in pods.values()}
        for victim in _without_doubles(victims):
            self._evictions.evict(by_name[victim.pod.name], victim.reason)

    def _reading(self, there: NodePod, pod: Pod, use: CpuUse, *, memory: bool) -> PodReading:
        found = reading(
            pod,
            best_effort=there.best_effort,
            cpu_used=use.by_uid.get(there.at.uid),
            memory_used=self._groups.memory_used(there.at.group) if memory else None,
            spared=self._evictions.spares(pod.metadata.uid),
        )
        return found._replace(evicted=True) if self._evictions.under_way(pod.metadata.uid) else found

    def _forget(self, groups: set[str]) -> None:
        for group in self._seen - groups:
            self._files.forget(group)
        self._seen = groups

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
        limits = [(text or "").partition(" ")[0] for text in (wanted[path], more[path])]
        if all(each.isdecimal() for each in limits) and int(limits[0]) < int(limits[1]):
            del found[path]
    return found


def _without_doubles(victims: Sequence[Victim]) -> list[Victim]:
    return list({victim.pod.name: victim for victim in victims}.values())
