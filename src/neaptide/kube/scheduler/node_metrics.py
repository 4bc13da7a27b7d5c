"""What the nodes' agents say, while a scheduler runs: usage for its meter, and real-time data, which are told as soon as they change."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import structlog
from msgspec import Raw

from neaptide.kube.reading import Reader, key_of
from neaptide.kube.usage.node_infos import Infos, info_of
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.pages import items_of
from neaptide.kubeapi.resources import NODE_METRIC
from neaptide.kubeapi.watch import Changed, Listed, Relisted, Removed, Synced, changes
from neaptide.model.node_info import NodeInfo
from neaptide.model.node_metric import NodeMetric
from neaptide.model.problems import FieldError

_KIND = NODE_METRIC.kind
_TOGETHER = 2.0
"""Seconds in which what agents say is told together: each time, the pods that a hot node refused are tried again."""
_log = structlog.get_logger()


class NodeMetrics:
    """Follows the NodeMetric objects.

    Args:
        tell: gets what is known of all nodes, after something of it has changed.

    Attributes:
        known: the objects, by node.
    """

    def __init__(self, tell: Callable[[Infos], None]) -> None:
        self.known: dict[str, NodeMetric] = {}
        self._infos: dict[str, NodeInfo] = {}
        self._tell, self._reader, self._changed = tell, Reader([_KIND]), asyncio.Event()

    async def run(self, client: Client) -> None:
        """Follow and tell, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(client))
            group.create_task(self._tell_on())

    async def _tell_on(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(_TOGETHER)
            self._changed.clear()
            self._tell(Infos(dict(self._infos)))

    async def _follow(self, client: Client) -> None:
        named: set[str] = set()
        async with aclosing(changes(client, NODE_METRIC)) as said:
            async for event in said:
                match event:
                    case Changed():
                        named.add(self._put(event.raw))
                    case Listed():
                        named.update(self._put(raw) for raw in items_of(event.raw))
                    case Removed():
                        named.discard(gone := key_of(_KIND, event.raw)[2])
                        self._forget(gone)
                    case Relisted():
                        named = set()
                    case Synced():
                        for gone in self.known.keys() - named:
                            self._forget(gone)

    def _put(self, raw: bytes | Raw) -> str:
        """Take an object in; its name."""
        read = self._reader.read(_KIND, raw)
        if isinstance(read, tuple):
            key, problem = read
            _log.warning("object left out", object=str(problem))
            self._forget(key[2])
            return key[2]
        if isinstance(read, NodeMetric):
            self._take(read)
        return read.metadata.name

    def _take(self, metric: NodeMetric) -> None:
        name = metric.metadata.name
        self.known[name] = metric
        try:
            info = info_of(metric)
        except FieldError as error:
            _log.warning("object left out", object=f"NodeMetric {name}: {error}")
            info = None
        if info is not None:
            self._infos[name] = info
            self._changed.set()
        elif self._infos.pop(name, None) is not None:
            self._changed.set()

    def _forget(self, name: str) -> None:
        self.known.pop(name, None)
        if self._infos.pop(name, None) is not None:
            self._changed.set()
