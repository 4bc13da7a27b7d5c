"""What a node and its pods use, second by second."""

from collections.abc import Iterable, Mapping, Sequence
from math import nan
from typing import NamedTuple

from neaptide.agent.files import Files
from neaptide.agent.groups import Groups
from neaptide.agent.latencies import Latency
from neaptide.agent.layout import PodGroup
from neaptide.agent.own_node import NodeFacts
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
        at: monotonic seconds.
        latencies: of services that export theirs, by UID.
        facts: what the API server says of the node.
        anew: whether this is a round in which everything is looked at: pods have changed, or some seconds have passed. In all others, what
            rules made of pods and of what only Kubernetes writes stays as it is.
    """

    pods: Sequence[NodePod]
    use: "CpuUse"
    capacity: int
    memory: MemoryReading = MemoryReading(0, None)
    objects: Mapping[str, Pod] = {}
    pressure: Mapping[str, Pressure] = {}
    anew: bool = True
    at: float = 0.0
    latencies: Mapping[str, Latency] = {}
    facts: NodeFacts = NodeFacts()


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
    """Looks at the node and its pods.

    Attributes:
        cpus: how many CPUs the node's pods may use, as of the last look at their use; 0 where that is unknown.
    """

    def __init__(self, groups: Groups, files: Files, proc: str) -> None:
        self._groups, self._files = groups, files
        self._stat, self._meminfo = f"{proc}/stat", f"{proc}/meminfo"
        self._last: _Sample | None = None
        self.cpus = 0

    def cpu(self, pods: Iterable[PodGroup], now: float) -> CpuUse | None:
        """What was used since the last call; None at the first one, and where hardly any time has passed."""
        groups, last = self._groups, self._last
        if last is not None and 0 <= now - last.at < _SHORTEST:
            return None
        seconds = groups.cpu_seconds
        by_uid = {pod.uid: seconds(pod.group) for pod in pods}
        sample = _Sample(now, self._node_seconds(), groups.cpu_seconds(groups.layout.tier("")), by_uid)
        self._last = sample
        if last is None or now <= last.at:
            return None
        passed, before = now - last.at, last.by_uid
        rates = {uid: (used - before.get(uid, nan)) / passed * 1000 for uid, used in by_uid.items()}
        return CpuUse(
            passed,
            _rate(last.node, sample.node, passed),
            _rate(last.kubepods, sample.kubepods, passed),
            {uid: rate for uid, rate in rates.items() if rate >= 0},
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

    def _node_seconds(self) -> float:
        """CPU time that was used on the node's CPUs: on those of the group of all pods, where these are not all of the machine's."""
        whole, *rest = (self._files.read(self._stat) or "").split("\n")
        lines = [line.partition(" ") for line in rest if line.startswith("cpu")]
        allowed = {f"cpu{cpu}" for cpu in self._groups.cpus(self._groups.layout.tier(""))}
        own = [numbers for name, _, numbers in lines if name in allowed]
        if not own or len(own) == len(lines):
            self.cpus = len(lines)
            return _busy(whole.partition(" ")[2])
        self.cpus = len(own)
        return sum(_busy(numbers) for numbers in own)


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
