"""Usage as the nodes' agents tell it, ours or Koordinator's, in NodeMetric objects, which are watched.

Nodes that no agent speaks for are asked for elsewhere, so that agents may come to a cluster node by node.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import nan
from typing import NamedTuple

from neaptide.kube.usage.meter import Meter
from neaptide.kube.usage.node_infos import info_of
from neaptide.kube.usage.readings import Reading, Readings
from neaptide.model.metrics import MAX_AGE, usage_of
from neaptide.model.node_info import NodeInfo
from neaptide.model.node_metric import Amounts, NodeMetric
from neaptide.model.problems import FieldError
from neaptide.model.times import seconds

_NAME = "NodeMetric"


class _Told(NamedTuple):
    """What one object says; an object that is still the same is not read again."""

    metric: NodeMetric
    node: Reading
    pods: dict[str, Reading]
    info: NodeInfo | None


class Agents:
    """The source.

    Args:
        metrics: the NodeMetric objects by name.
        nodes: names the nodes that there are.
        rest: reads from elsewhere what no agent tells.

    Attributes:
        name: says where the latest readings came from.
    """

    def __init__(
        self,
        metrics: Callable[[], Mapping[str, NodeMetric]],
        nodes: Callable[[], Iterable[str]],
        rest: Meter,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._metrics, self._nodes, self._rest, self._clock = metrics, nodes, rest, clock
        self._read: dict[str, _Told] = {}
        self.name = _NAME

    async def read(self) -> Readings:
        """Everything that agents tell, and what other sources tell of the other nodes. Raises OSError where nobody tells anything."""
        told = self._told()
        self.name = _NAME
        if told.nodes and all(name in told.nodes for name in self._nodes()):
            return told
        await self._rest.read()
        rest = self._rest
        if rest.problem:
            if not told.nodes:
                raise OSError(f"no agent has written a NodeMetric of late; {rest.problem}")
            return Readings(told.nodes, told.pods, (*told.problems, rest.problem), told.infos)
        self.name = f"{_NAME}, {rest.source}" if told.nodes else rest.source
        found = rest.readings
        problems = (*found.problems, *told.problems)
        return Readings(found.nodes | told.nodes, found.pods | told.pods, problems, told.infos)

    def _told(self) -> Readings:
        now = self._clock()
        nodes: dict[str, Reading] = {}
        pods: dict[str, Reading] = {}
        infos: dict[str, NodeInfo] = {}
        problems: list[str] = []
        known, self._read = self._read, {}
        for name, metric in self._metrics().items():
            before = known.get(name)
            try:
                same = before is not None and before.metric is metric  # most are, since agents speak each minute
                each = before if before and same else _Told(metric, *readings_of(metric), info_of(metric))
            except FieldError as error:
                problems.append(f"NodeMetric {name}: {error}")
                continue
            self._read[name] = each
            if abs(now - each.node.time) <= MAX_AGE:
                nodes[name] = each.node
                pods |= each.pods
                if each.info is not None:
                    infos[name] = each.info
        return Readings(nodes, pods, tuple(problems), infos)


def readings_of(metric: NodeMetric) -> tuple[Reading, dict[str, Reading]]:
    """What a NodeMetric says of its node, and of its pods by `namespace/name`. Raises FieldError."""
    status = metric.status
    time = seconds(status.update_time)
    node = Reading(nan, nan, nan if status.node_metric is None else time)
    if status.node_metric is not None:
        node = _reading(status.node_metric.node_usage, time, "status.nodeMetric.nodeUsage")
    return node, dict(_pods(metric, time))


def _pods(metric: NodeMetric, time: float) -> Iterator[tuple[str, Reading]]:
    for number, pod in enumerate(metric.status.pods_metric):
        yield f"{pod.namespace}/{pod.name}", _reading(pod.pod_usage, time, f"status.podsMetric[{number}].podUsage")


def _reading(amounts: Amounts, time: float, where: str) -> Reading:
    return Reading(*usage_of(amounts.resources, f"{where}.resources"), time)
