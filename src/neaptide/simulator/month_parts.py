"""What a month is played with: work, nodes of one type, times and prices, and what became of it."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

WHOLE = 1000
"""Thousandths of a device."""


class Work(NamedTuple):
    """A pod: when it comes (seconds), how long it runs, what it asks for (milli-CPU, bytes), and whose it is.

    It asks for `gpus` devices, of each for `gpu_milli` thousandths. What it has done is lost where it is moved, unless it is a service's.
    """

    arrival: float
    run: float
    cpu: int
    memory: int
    owner: str
    gpus: int = 0
    gpu_milli: int = WHOLE
    service: bool = False

    @property
    def requests(self) -> dict[str, int]:
        """As a tariff reads them."""
        return {"cpu": self.cpu, "memory": self.memory, "gpu": self.gpus}


class NodeType(NamedTuple):
    """A node's allocatable and its price in US dollars per hour."""

    name: str
    cpu: int
    memory: int
    price: float
    gpus: int = 0

    def holds(self, work: Work) -> bool:
        """Whether an empty one takes a pod."""
        return work.cpu <= self.cpu and work.memory <= self.memory and work.gpus <= self.gpus

    def share(self, work: Work) -> float:
        """Of its price, what a pod takes by its largest resource."""
        devices = work.gpus * work.gpu_milli / (self.gpus * WHOLE) if work.gpus else 0.0
        return max(work.cpu / self.cpu, work.memory / self.memory, devices)


class Times(NamedTuple):
    """Seconds and money that all set-ups share; the defaults are those of the policy `burst`."""

    node_start: float = 150.0
    virtual_start: float = 30.0
    give_back: float = 600.0
    default_run: float = 3600.0
    waiting_cost_per_hour: float = 1.0
    home_stable: float = 300.0


class Outcome(NamedTuple):
    """What became of a month: dollars of nodes and of virtual pods, the most nodes at once, pods that burst, and each pod's wait in seconds.

    `unsold` are the pods that no virtual size holds and that had to wait for a node, or never ran; `homes` came home, by which `redone` seconds
    were started or done once more.
    """

    nodes_dollars: float
    virtual_dollars: float
    nodes: int
    burst: int
    waits: tuple[float, ...]
    unsold: int = 0
    homes: int = 0
    redone: float = 0.0

    @property
    def dollars(self) -> float:
        return self.nodes_dollars + self.virtual_dollars

    def with_waiting(self, cost_per_hour: float = Times().waiting_cost_per_hour) -> float:
        """Dollars with what the pods' waiting is worth."""
        return self.dollars + (sum(self.waits) + self.redone) * cost_per_hour / 3600

    def wait_percentile(self, fraction: float) -> float:
        """Of the pods that ran."""
        return sorted(self.waits)[min(int(fraction * len(self.waits)), len(self.waits) - 1)] if self.waits else 0.0


class Node:
    """What a node has left, device by device, and who has which of them."""

    def __init__(self, kind: NodeType) -> None:
        self.cpu, self.memory = kind.cpu, kind.memory
        self.devices = [WHOLE] * kind.gpus
        self.pods = 0
        self._held: defaultdict[Work, list[tuple[int, ...]]] = defaultdict(list)

    def fits(self, work: Work) -> bool:
        if self.cpu < work.cpu or self.memory < work.memory:
            return False
        return not work.gpus or len(self._free(work)) >= work.gpus

    def take(self, work: Work) -> None:
        self.cpu, self.memory, self.pods = self.cpu - work.cpu, self.memory - work.memory, self.pods + 1
        if work.gpus:
            chosen = tuple(sorted(self._free(work), key=self.devices.__getitem__)[: work.gpus])
            self._held[work].append(chosen)
            for device in chosen:
                self.devices[device] -= work.gpu_milli

    def give(self, work: Work) -> None:
        self.cpu, self.memory, self.pods = self.cpu + work.cpu, self.memory + work.memory, self.pods - 1
        if work.gpus:
            for device in self._held[work].pop():
                self.devices[device] += work.gpu_milli

    def _free(self, work: Work) -> list[int]:
        return [device for device, left in enumerate(self.devices) if left >= work.gpu_milli]


def best(nodes: Sequence[Node], work: Work) -> int | None:
    """The node that is left with the least of its devices, and of its CPU."""
    fitting = [(sum(each.devices), each.cpu, at) for at, each in enumerate(nodes) if each.fits(work)]
    return min(fitting)[2] if fitting else None
