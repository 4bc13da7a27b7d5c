"""What a node and its pods use, second by second."""

from collections.abc import Iterable, Mapping, Sequence
from math import nan
from typing import NamedTuple

from neaptide.agent.files import Files
from neaptide.agent.groups import Groups
from neaptide.agent.layout import PodGroup
from neaptide.agent.pods import Pod
from neaptide.agent.pressure import Pressure
from neaptide.model.qos import QoS
from neaptide.noderules.memory_evict import MemoryReading

_TICKS = 100
"""USER_HZ, the same on every Linux."""
_IDLE = (3, 4)
"""Of the numbers after `cpu` in /proc/stat: idle and waiting for a disk; those from the eighth on were used by others or are counted twice."""
_OWN = 7
_SHORTEST = 0.05
"""Seconds: the kernel counts a node's CPU time in hundredths."""


class NodePod(NamedTuple):
    """A pod that runs on the node; `known` where the API server told of it, `qos` the class that its label names."""

    at: PodGroup
    best_effort: bool
    known: bool
    qos: QoS | None = None


class Look(NamedTuple):
    """A node at one moment.

    Attributes:
        pods: those that run.
        use: of CPU since the last look.
        capacity: milli-cores.
        memory: of the node.
        objects: the pods that the API server told of, by UID.
        pressure: by group; no entry where nobody looked.
    """

    pods: Sequence[NodePod]
    use: "CpuUse"
    capacity: int
    memory: MemoryReading = MemoryReading(0, None)
    objects: Mapping[str, Pod] = {}
    pressure: Mapping[str, Pressure] = {}


class _Sample(NamedTuple):
    """CPU seconds since the beginning."""

    at: float
    node: float
    kubepods: float
    by_uid: Mapping[str, float]


class CpuUse(NamedTuple):
    """Milli-cores between two looks; nan, or without an entry, where unknown."""

    seconds: float
    node: float
    kubepods: float
    by_uid: Mapping[str, float]


class Readings:
    """Looks at the node and its pods."""

    def __init__(self, groups: Groups, files: Files, proc: str) -> None:
        self._groups, self._files = groups, files
        self._stat, self._meminfo = f"{proc}/stat", f"{proc}/meminfo"
        self._last: _Sample | None = None

    def cpus(self) -> int:
        """How many CPUs the node's pods may use; 0 where that is unknown."""
        return len(self._own()) or len(self._lines())

    def cpu(self, pods: Iterable[PodGroup], now: float) -> CpuUse | None:
        """What was used since the last call; None at the first one, and where hardly any time has passed."""
        groups, last = self._groups, self._last
        if last is not None and 0 <= now - last.at < _SHORTEST:
            return None
        by_uid = {pod.uid: groups.cpu_seconds(pod.group) for pod in pods}
        sample = _Sample(now, self._node_seconds(), groups.cpu_seconds(groups.layout.tier("")), by_uid)
        self._last = sample
        if last is None or now <= last.at:
            return None
        passed = now - last.at
        known = {uid: _rate(last.by_uid[uid], used, passed) for uid, used in by_uid.items() if uid in last.by_uid}
        return CpuUse(
            passed,
            _rate(last.node, sample.node, passed),
            _rate(last.kubepods, sample.kubepods, passed),
            {uid: rate for uid, rate in known.items() if rate >= 0},
        )

    def memory(self) -> MemoryReading:
        """The node's, as what is not available."""
        lines = (self._files.read(self._meminfo) or "").splitlines()
        found = {name: words[0] for name, _, rest in (line.partition(":") for line in lines) if (words := rest.split())}
        try:
            whole, available = int(found["MemTotal"]) * 1024, int(found["MemAvailable"]) * 1024
        except (KeyError, ValueError):
            return MemoryReading(0, None)
        return MemoryReading(whole, whole - available)

    def _lines(self) -> dict[str, str]:
        """What /proc/stat tells of each CPU, by its name; of all together it has the name cpu, which is left out."""
        lines = (self._files.read(self._stat) or "").splitlines()
        return {
            name: rest
            for name, _, rest in (line.partition(" ") for line in lines if line.startswith("cpu"))
            if name != "cpu"
        }

    def _own(self) -> list[str]:
        """The CPUs of a node that has only some of its machine's: those of the group of all pods. None where it has them all."""
        allowed = {f"cpu{cpu}" for cpu in self._groups.cpus(self._groups.layout.tier(""))}
        there = self._lines()
        return [name for name in there if name in allowed] if allowed and not allowed >= there.keys() else []

    def _node_seconds(self) -> float:
        """CPU time that was used on the node's CPUs."""
        own = self._own()
        if not own:
            return _busy((self._files.read(self._stat) or "").partition("\n")[0].partition(" ")[2])
        there = self._lines()
        return sum(_busy(there[name]) for name in own)


def _busy(numbers: str) -> float:
    words = numbers.split()[:_OWN]
    try:
        return sum(int(word) for index, word in enumerate(words) if index not in _IDLE) / _TICKS if words else nan
    except ValueError:
        return nan


def _rate(before: float, now: float, passed: float) -> float:
    """Milli-cores; nan where a counter is unknown or went backwards, as that of a new group of the same name does."""
    rate = (now - before) / passed * 1000
    return rate if rate >= 0 else nan
