"""Usage as the nodes' agents tell it, ours or Koordinator's, in NodeMetric objects, which are watched.

Nodes that no agent speaks for are asked for elsewhere, so that agents may come to a cluster node by node.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import nan

from neaptide.kube.usage.meter import Meter
from neaptide.kube.usage.readings import MAX_AGE, Reading, Readings
from neaptide.model.node_metric import Amounts, NodeMetric
from neaptide.model.problems import FieldError
from neaptide.model.quantity import ACCEPTED, for_resource
from neaptide.model.times import seconds

_NAME = "NodeMetric"


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
        self._read: dict[str, tuple[NodeMetric, Reading, dict[str, Reading]]] = {}
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
            return Readings(told.nodes, told.pods, (*told.problems, rest.problem))
        self.name = f"{_NAME}, {rest.source}" if told.nodes else rest.source
        found = rest.readings
        return Readings(found.nodes | told.nodes, found.pods | told.pods, (*found.problems, *told.problems))

    def _told(self) -> Readings:
        oldest = self._clock() - MAX_AGE
        nodes: dict[str, Reading] = {}
        pods: dict[str, Reading] = {}
        problems: list[str] = []
        known, self._read = self._read, {}
        for name, metric in self._metrics().items():
            before = known.get(name)
            try:
                # An object that is still the same was read before: most are, since agents speak each minute.
                each = before if before is not None and before[0] is metric else (metric, *readings_of(metric))
            except FieldError as error:
                problems.append(f"NodeMetric {name}: {error}")
                continue
            self._read[name] = each
            if each[1].time >= oldest:
                nodes[name] = each[1]
                pods |= each[2]
        return Readings(nodes, pods, tuple(problems))


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
    return Reading(_amount(amounts, "cpu", where), _amount(amounts, "memory", where), time)


def _amount(amounts: Amounts, resource: str, where: str) -> float:
    """Milli-CPU or bytes; nan where it is not told."""
    text = amounts.resources.get(resource)
    if text is None:
        return nan
    try:
        amount = for_resource(resource, text)
    except ValueError as error:
        raise FieldError(f"{where}.resources.{resource}", text, ACCEPTED) from error
    if amount < 0:
        raise FieldError(f"{where}.resources.{resource}", text, "a quantity that is not negative")
    return float(amount)
