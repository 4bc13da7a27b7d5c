"""Usage from metrics.k8s.io, which metrics-server (or an adapter) serves."""

from collections.abc import Iterable
from math import isnan, nan

import msgspec

from neaptide.kube.usage.readings import Reading, Readings
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.pages import items_of
from neaptide.kubeapi.resources import NODE_METRICS, POD_METRICS, Resource
from neaptide.model.objects import NodeMetrics, PodMetrics
from neaptide.model.problems import FieldError
from neaptide.model.quantity import for_resource
from neaptide.model.times import seconds


class MetricsApi:
    """The source. `namespace` limits pods to one namespace, empty for all."""

    name = "metrics.k8s.io"

    def __init__(self, client: Client, namespace: str = "", *, nodes: bool = True) -> None:
        self._client, self._namespace, self._nodes = client, namespace, nodes

    async def read(self) -> Readings:
        nodes: dict[str, Reading] = {}
        pods: dict[str, Reading] = {}
        problems: list[str] = []
        for raw in await self._items(NODE_METRICS, "") if self._nodes else ():
            try:
                node = msgspec.json.decode(raw, type=NodeMetrics)
                nodes[node.metadata.name] = Reading(*_amounts([node.usage]), seconds(node.timestamp))
            except (msgspec.MsgspecError, FieldError, ValueError) as error:
                problems.append(f"{NODE_METRICS.kind}: {error}")
        for raw in await self._items(POD_METRICS, self._namespace):
            try:
                pod = msgspec.json.decode(raw, type=PodMetrics)
                key = f"{pod.metadata.namespace}/{pod.metadata.name}"
                pods[key] = Reading(*_amounts([each.usage for each in pod.containers]), seconds(pod.timestamp))
            except (msgspec.MsgspecError, FieldError, ValueError) as error:
                problems.append(f"{POD_METRICS.kind}: {error}")
        return Readings(nodes, pods, tuple(problems))

    async def _items(self, resource: Resource, namespace: str) -> list[msgspec.Raw]:
        found: list[msgspec.Raw] = []
        async for page in self._client.list(resource, namespace):
            found += items_of(page)
        return found


def _amounts(usages: list[dict[str, str]]) -> tuple[float, float]:
    """Milli-CPU and bytes of all containers; what one of them lacks is unknown for all. Raises ValueError."""
    return _sum("cpu", usages), _sum("memory", usages)


def _sum(resource: str, usages: Iterable[dict[str, str]]) -> float:
    amounts = [float(for_resource(resource, usage[resource])) if resource in usage else nan for usage in usages]
    total = sum(amounts) if amounts else nan
    if not isnan(total) and min(amounts) < 0:
        raise ValueError(f"{resource} below 0")
    return total
