"""Our own objects as the API server has them: followed by one stream a kind, kept as they came."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import msgspec
from msgspec import Raw, Struct, field

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.pages import items_of
from neaptide.kubeapi.resources import Resource
from neaptide.kubeapi.watch import Bookmark, Changed, Interrupted, Listed, Relisted, Removed, Synced, changes


class _Meta(Struct, frozen=True):
    name: str = ""
    generation: int = 0


class _Named(Struct, frozen=True):
    metadata: _Meta = field(default_factory=_Meta)


class OwnObjects:
    """The objects of one kind without namespaces.

    `changed` is called when what users wrote has changed. A status is written from here: were that a change, each cycle
    that says something new would start the next one at once, and budgets per cycle would bound nothing.

    Args:
        client: the wire.
        resource: the kind.
        changed: see there.
        counts: whether a change of an object is one; of what is written from here as a whole, not every one is.

    Attributes:
        raws: by name, as JSON.
        synced: whether all were seen.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        changed: Callable[[], object],
        *,
        counts: Callable[[Raw], bool] = lambda _: True,
    ) -> None:
        self._client, self._resource, self._changed, self._counts = client, resource, changed, counts
        self._named: set[str] = set()
        self._generations: dict[str, int] = {}
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
                        for raw in items_of(event.raw):
                            self._put(raw)
                    case Changed():
                        if self._put(event.raw) and self.synced.is_set() and self._counts(event.raw):
                            self._changed()
                    case Removed():
                        name = _meta(event.raw).name
                        self.raws.pop(name, None)
                        self._generations.pop(name, None)
                        if self._counts(event.raw):
                            self._changed()
                    case Synced():
                        self.raws = {name: raw for name, raw in self.raws.items() if name in self._named}
                        self._generations = {name: self._generations[name] for name in self.raws}
                        self.synced.set()
                        self._changed()
                    case Bookmark() | Interrupted():
                        pass

    def _put(self, raw: Raw) -> bool:
        """Keep an object; whether it is new, or its generation is: a status has none."""
        meta = _meta(raw)
        self._named.add(meta.name)
        before = self._generations.get(meta.name)
        self.raws[meta.name], self._generations[meta.name] = bytes(raw), meta.generation
        return before != meta.generation


def _meta(raw: Raw) -> _Meta:
    return msgspec.json.decode(raw, type=_Named).metadata
