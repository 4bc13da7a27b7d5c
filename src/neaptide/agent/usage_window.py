"""What a node and its pods used over the last minutes: means for NodeMetric, and percentiles of the node."""

from collections import deque
from collections.abc import Mapping, Sequence
from math import isnan, nan
from typing import NamedTuple

PERCENTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
"""By Koordinator's names of aggregations."""


class Round(NamedTuple):
    """CPU (milli-cores) over some seconds, and memory (bytes) at their end, where it was looked at."""

    at: float
    seconds: float
    node: float
    pods: Mapping[str, float]
    node_memory: int | None = None
    memory: Mapping[str, int] = {}


class UsageWindow:
    """The rounds of the last `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._rounds: deque[Round] = deque()

    def add(self, seen: Round) -> None:
        """Take a round in; those that are too old go."""
        self._rounds.append(seen)
        while seen.at - self._rounds[0].at >= self._seconds:
            self._rounds.popleft()

    def node_cpu(self) -> float:
        """Mean milli-cores; nan where unknown."""
        return _mean([(each.node, each.seconds) for each in self._rounds])

    def cpu_percentiles(self) -> dict[str, float]:
        """Of the node, by PERCENTILES: of the rounds, each counted once; none where nothing is known."""
        known = sorted(each.node for each in self._rounds if not isnan(each.node))
        return {name: known[min(int(part * len(known)), len(known) - 1)] for name, part in PERCENTILES.items() if known}

    def node_memory(self) -> float:
        """Mean bytes of the looks; nan where there was none."""
        return _mean([(float(each.node_memory), 1.0) for each in self._rounds if each.node_memory is not None])

    def pod_cpu(self, uid: str) -> float:
        """Mean milli-cores of a pod, over the rounds in which it was measured; nan where it never was."""
        return _mean([(each.pods[uid], each.seconds) for each in self._rounds if uid in each.pods])

    def pod_memory(self, uid: str) -> float:
        """Mean bytes of a pod; nan where nobody looked."""
        return _mean([(float(each.memory[uid]), 1.0) for each in self._rounds if uid in each.memory])


def _mean(values: Sequence[tuple[float, float]]) -> float:
    """Weighted; unknown values are passed over, and nan comes where none is known."""
    known = [(value, weight) for value, weight in values if not isnan(value)]
    whole = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / whole if whole > 0 else nan
