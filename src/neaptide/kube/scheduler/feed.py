"""What a cluster's streams say, as events of the scheduling cycle. Each object is read once, where its bytes arrive."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from time import thread_time

import structlog
from msgspec import Raw, Struct

from neaptide.kube.cache import known
from neaptide.kube.reading import Key, Reader, key_of
from neaptide.kube.streams import Stream
from neaptide.kube.usage.node_infos import Infos
from neaptide.kube.usage.readings import Readings
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.pages import items_of
from neaptide.kubeapi.watch import Bookmark, Changed, Interrupted, Listed, Relisted, Removed, Synced, changes
from neaptide.model.any_object import AnyObject
from neaptide.model.objects import OwnerReference, Pod, Workload
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.cycle import events
from neaptide.placement.cycle.reservation_objects import is_stand_in

_AT_ONCE = 500  # objects of a list that are told together
_log = structlog.get_logger()


class Retold(Struct, frozen=True):
    """All of a kind was told again: what was not named is gone."""

    kind: str
    named: frozenset[Key]

    def removals(self, snapshot: ClusterSnapshot) -> list[events.Removed]:
        """What a snapshot holds although it is gone."""
        gone = [key for key in known(snapshot, self.kind) if key not in self.named]
        if self.kind == "Pod":
            gone = [key for key in gone if not is_stand_in(f"{key[1]}/{key[2]}")]
        return [events.Removed(kind, name, namespace) for kind, namespace, name in gone]


Told = events.AnyEvent | Retold | Readings | Infos
_Identity = tuple[int, dict[str, str], dict[str, str], tuple[OwnerReference, ...]]


class _Kind(Struct):
    """One kind's stream, and what was named since it began to tell all."""

    synced: bool = False
    listing: bool = False
    named: set[Key] | None = None
    block: list[AnyObject] = []


class Feed:
    """Collects what streams say until it is taken.

    Args:
        streams: what to watch.
        changed: is called when there is something to take, and whether it can wait: that a pod is where it was bound to helps nobody.

    Attributes:
        decoding: CPU seconds that reading objects has taken.
    """

    def __init__(self, streams: Sequence[Stream], *, changed: Callable[[bool], None]) -> None:
        self._streams, self._changed = tuple(streams), changed
        self._kinds = {each.resource.kind: _Kind() for each in streams}
        self._reader = Reader(self._kinds)
        self._told: list[Told] = []
        self._workloads: dict[Key, _Identity] = {}
        self.decoding = 0.0

    @property
    def synced(self) -> bool:
        """Whether every stream's first list was read to the end."""
        return all(each.synced for each in self._kinds.values())

    def take(self) -> list[Told]:
        """What was said since the last call, in order."""
        told, self._told = self._told, []
        return told

    async def run(self, client: Client) -> None:
        """Follow all streams until cancelled."""
        async with asyncio.TaskGroup() as group:
            for stream in self._streams:
                group.create_task(self._follow(client, stream))

    async def _follow(self, client: Client, stream: Stream) -> None:
        kind = stream.resource.kind
        state, log = self._kinds[kind], _log.bind(kind=kind)
        async with aclosing(changes(client, stream.resource, namespace=stream.namespace)) as said:
            async for event in said:
                match event:
                    case Changed():
                        self._put(kind, state, event.raw)
                    case Removed():
                        self._remove(kind, event.raw)
                    case Listed():
                        for raw in items_of(event.raw):
                            self._put(kind, state, raw)
                    case Relisted():
                        log.info("listing", reason=event.reason)
                        state.listing, state.named = True, set() if state.synced else None
                    case Synced():
                        self._end(kind, state)
                    case Interrupted():
                        log.warning("watch interrupted", reason=str(event.error), pause=event.pause)
                    case Bookmark():
                        pass

    def _put(self, kind: str, state: _Kind, raw: bytes | Raw) -> None:
        began = thread_time()
        read = self._reader.read(kind, raw)
        self.decoding += thread_time() - began
        if isinstance(read, tuple):
            key, problem = read
            _log.warning("object left out", object=str(problem))
            self._tell(events.Removed(kind, key[2], key[1]))
            return
        key = kind, read.metadata.namespace, read.metadata.name
        if state.named is not None:
            state.named.add(key)
        if isinstance(read, Workload) and self._is_known(key, read):
            return
        if not state.listing:
            self._tell(events.Applied(read))
            return
        state.block.append(read)
        if len(state.block) >= _AT_ONCE:
            self._flush(state)

    def _remove(self, kind: str, raw: Raw) -> None:
        key = key_of(kind, raw)
        self._workloads.pop(key, None)
        self._tell(events.Removed(kind, key[2], key[1]))

    def _end(self, kind: str, state: _Kind) -> None:
        self._flush(state)
        if state.named is not None:
            self._tell(Retold(kind, frozenset(state.named)))
        state.listing, state.named, state.synced = False, None, True
        self._changed(False)

    def _flush(self, state: _Kind) -> None:
        if state.block:
            self._tell(events.Listed(tuple(state.block)))
            state.block = []

    def _tell(self, told: Told) -> None:
        self._told.append(told)
        self._changed(isinstance(told, events.Applied) and isinstance(told.item, Pod) and _stays(told.item))

    def _is_known(self, key: Key, item: Workload) -> bool:
        """Whether only a workload's status has changed, which decides nothing here and changes with each of its pods."""
        meta = item.metadata
        identity = meta.generation, meta.labels, meta.annotations, meta.owner_references
        known_before = self._workloads.get(key) == identity
        self._workloads[key] = identity
        return known_before


def _stays(pod: Pod) -> bool:
    """Whether a pod is on a node and goes on to be there."""
    return bool(
        pod.spec.node_name
        and pod.metadata.deletion_timestamp is None
        and pod.status.phase not in ("Succeeded", "Failed")
    )
