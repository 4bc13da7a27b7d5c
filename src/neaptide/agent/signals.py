"""What tells that a service suffers, and what those beside it use: looked at every few seconds, at the same moments.

A service's signals are the percentages of the time for which it waited for CPUs, memory and disks (pressure, or the run-queue wait of its threads where a kernel has
none), and the latency that it exports. Where its own limits held it back (its quota in a quarter of the periods, its memory limit at all), waiting for that resource says
nothing of those beside it, and is left out. Suspects have the CPU time, the disk traffic and the memory that they used.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from math import isnan
from pathlib import Path
from typing import NamedTuple

from neaptide.agent.files import Files
from neaptide.agent.groups import Groups
from neaptide.agent.layout import Listing
from neaptide.agent.pressure import Pressures
from neaptide.agent.readings import Look, NodePod

_HELD_BACK = 0.25


class Signal(NamedTuple):
    """A kind of signal: for people, below what value nobody suffers, and what those to blame take from the victim."""

    name: str
    floor: float
    resources: tuple[str, ...]


KINDS = {
    "cpu": Signal("time waited for a CPU, percent", 5.0, ("cpu",)),
    "memory": Signal("time waited for memory, percent", 2.0, ("memory",)),
    "io": Signal("time waited for disks, percent", 5.0, ("io",)),
    "latency": Signal("latency, ms", 0.0, ("cpu", "io", "memory")),
}


class Sample(NamedTuple):
    """What was seen since the last one.

    Attributes:
        signals: of each service (by UID) those that are known, by their kind.
        used: of each suspect what it used, by resource: milli-cores, bytes a second, bytes.
    """

    signals: Mapping[str, Mapping[str, float]]
    used: Mapping[str, Mapping[str, float]]


class Sampler:
    """Looks at the pods of a node. `say` takes what a sentence is about, and the sentence."""

    def __init__(self, groups: Groups, proc: str, say: Callable[[str, str], None]) -> None:
        self._groups, self._proc, self._say = groups, proc, say
        self._files, self._listing = Files(), Listing()
        self._pressures = Pressures(groups.layout, self._files)
        self._counts: dict[tuple[str, str], tuple[float, float]] = {}
        self._waits: dict[str, tuple[float, dict[str, int]]] = {}
        self._known: set[str] = set()

    def sample(self, now: float, look: Look) -> Sample:
        """Look at all services, and at all pods that give way."""
        groups = {pod.at.group for pod in look.pods}
        for gone in self._known - groups:
            self._files.forget(gone)
        self._known = groups
        self._counts = {key: each for key, each in self._counts.items() if key[0] in groups}
        self._waits = {group: each for group, each in self._waits.items() if group in groups}
        services = [pod for pod in look.pods if pod.known and not pod.best_effort]
        suspects = [pod for pod in look.pods if pod.known and pod.best_effort]
        pressure = self._pressures.of([pod.at.group for pod in services], now)
        signals: dict[str, dict[str, float]] = {}
        for pod in services:
            waited = pressure[pod.at.group]
            cpu = self._run_queue(pod.at.group, now) if waited.cpu is None else waited.cpu
            latency = look.latencies.get(pod.at.uid)
            found = {"cpu": cpu, "memory": waited.memory, "io": waited.io}
            found["latency"] = None if latency is None else latency.told.seconds * 1000
            own = self._own_limits(pod, look, now)
            signals[pod.at.uid] = {
                kind: value for kind, value in found.items() if value is not None and kind not in own
            }
        return Sample(signals, {pod.at.uid: self._used(pod, now) for pod in suspects})

    def _used(self, pod: NodePod, now: float) -> dict[str, float]:
        group = pod.at.group
        seconds = self._groups.cpu_seconds(group)
        cpu = self._rate(group, "used", None if isnan(seconds) else seconds, now)
        traffic = self._rate(group, "disk", self._groups.disk_bytes(group), now)
        memory = self._groups.memory_charged(group)
        return {"cpu": (cpu or 0.0) * 1000, "io": traffic or 0.0, "memory": float(memory or 0)}

    def _own_limits(self, pod: NodePod, look: Look, now: float) -> set[str]:
        """Of the resources those that the service waits for because of limits of its own."""
        group, name, found = pod.at.group, look.objects[pod.at.uid].name, set()
        throttled, periods = self._groups.periods(group)
        held = self._rate(group, "throttled", throttled, now) or 0.0
        if held > _HELD_BACK * (self._rate(group, "periods", periods, now) or float("inf")):
            found.add("cpu")
            self._say(f"{name} cpu", f"{name} is held back by its own CPU limit: nobody beside it is to blame for that")
        if (self._rate(group, "limited", self._groups.memory_limited(group), now) or 0.0) > 0:
            found.add("memory")
            self._say(f"{name} memory", f"{name} meets its own memory limit: nobody beside it is to blame for that")
        return found

    def _run_queue(self, group: str, now: float) -> float | None:
        """Percent of the time for which the main threads of a pod's processes, those that were there before, waited for a CPU; None where nobody can tell.

        An agent in a PID namespace of its own sees no process of another one: there pressure is the only signal.
        """
        seen: dict[str, int] = {}
        for each in (group, *self._groups.layout.below(group, self._listing)):
            with suppress(OSError):
                for pid in Path(self._groups.layout.directory(each), "cgroup.procs").read_text().split():
                    with suppress(OSError, ValueError, IndexError):
                        seen[pid] = int(Path(self._proc, pid, "schedstat").read_text().split()[1])
        at, before = self._waits.get(group, (now, {}))
        self._waits[group] = now, seen
        both = seen.keys() & before.keys()
        if not both or now <= at:
            return None
        most = (now - at) * 1e9
        return sum(min(max(seen[pid] - before[pid], 0), most) for pid in both) / most * 100

    def _rate(self, group: str, what: str, count: float | None, now: float) -> float | None:
        """By how much a count has grown a second; None where that is unknown, or it went backwards."""
        if count is None:
            return None
        last = self._counts.get((group, what))
        self._counts[group, what] = now, count
        if last is None or now <= last[0] or count < last[1]:
            return None
        return (count - last[1]) / (now - last[0])
