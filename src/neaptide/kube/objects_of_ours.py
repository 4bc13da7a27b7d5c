"""Our own objects as the API server has them: followed by one stream a kind, kept as they came."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import msgspec
from msgspec import Raw, Struct, field

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.resources import Resource
from neaptide.kubeapi.watch import Bookmark, Changed, Interrupted, Listed, Relisted, Removed, Synced, changes


class _Meta(Struct, frozen=True):
    name: str = ""


class _Named(Struct, frozen=True):
    metadata: _Meta = field(default_factory=_Meta)


class _List(Struct, frozen=True):
    items: list[Raw] = []


class OwnObjects:
    """The objects of one kind without namespaces.

    Attributes:
        raws: by name, as JSON.
        synced: whether all were seen.
    """

    def __init__(self, client: Client, resource: Resource, changed: Callable[[], object]) -> None:
        self._client, self._resource, self._changed = client, resource, changed
        self._named: set[str] = set()
        self.raws: dict[str, bytes] = {}
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Follow the stream until cancelled."""
        async with aclosing(changes(self._client, self._resource)) as events:
            async for event in events:
                match event:
                    case Relisted():
                        self._named = set()
                    case Listed():
                        for raw in msgspec.json.decode(event.raw, type=_List).items:
                            self._put(raw)
                    case Changed():
                        self._put(event.raw)
                        if self.synced.is_set():
                            self._changed()
                    case Removed():
                        self.raws.pop(_name(event.raw), None)
                        self._changed()
                    case Synced():
                        self.raws = {name: raw for name, raw in self.raws.items() if name in self._named}
                        self.synced.set()
                        self._changed()
                    case Bookmark() | Interrupted():
                        pass

    def _put(self, raw: Raw) -> None:
        name = _name(raw)
        self._named.add(name)
        self.raws[name] = bytes(raw)


def _name(raw: Raw) -> str:
    return msgspec.json.decode(raw, type=_Named).metadata.name
