"""What is known of a cluster, kept up with its changes: streams of objects, applied to one snapshot at the cost of the change.

The order in which streams deliver does not matter. An object that cannot be used is left out with the reason, until a
later version of it can. While a cycle of the loop reads the snapshot the cache is held: what arrives waits, and is applied
afterwards bit by bit, so that an event loop goes on meanwhile.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from msgspec import Raw, Struct

from neaptide.kube.disruptions import Disruptions
from neaptide.kube.reading import Key, Reader, key_of
from neaptide.kubeapi.pages import items_of
from neaptide.model import objects
from neaptide.model.any_object import AnyObject
from neaptide.model.manifests import KINDS, describe
from neaptide.model.problems import FieldError, LeftOut
from neaptide.model.renewal import is_outgrown, renewed, weight
from neaptide.model.snapshot import ClusterSnapshot

_AT_ONCE = 500  # pods of a list that are applied together
_SLICE = 200  # changes that are applied before others have their turn on the event loop: some 10 ms


class StreamState(Struct):
    """One kind's stream.

    Attributes:
        synced: whether its first list was read to the end.
        heard: when it last said anything (monotonic), None before the first word.
        lists: how often all was told.
        listing: whether all is being told now.
        named: while all is told again, what was named so far.
        problem: why it was interrupted, empty while it is not.
    """

    synced: bool = False
    heard: float | None = None
    lists: int = 0
    listing: bool = False
    named: set[Key] | None = None
    problem: str = ""


class Cache:
    """The snapshot of a cluster and how it came about. One thread changes it; another may read while it is held.

    Args:
        kinds: the kinds whose streams must be synced before anything is believed.
        clock: monotonic seconds.

    Attributes:
        snapshot: the cluster; now and then another object, so that caches notice that rows have other numbers.
        streams: by kind, how its stream is.
        unseen: what could not be seen, and why, as sentences.
        disruptions: what nodes and others did to pods.
    """

    def __init__(self, kinds: Sequence[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.snapshot = ClusterSnapshot()
        self.streams = {kind: StreamState() for kind in kinds}
        self.unseen: list[str] = []
        self.disruptions = Disruptions()
        self._clock = clock
        self._reader = Reader(kinds)
        self._left_out: dict[Key, LeftOut] = {}
        self._unranked: dict[Key, objects.Pod] = {}
        self._cyclic: dict[Key, objects.Workload] = {}
        self._block: list[objects.Pod] = []
        self._changed_nodes: set[str] = set()
        self._weight = 0
        self._held = False
        self._waiting: deque[Callable[[], None]] = deque()

    # -- what streams say ----------------------------------------------------------------------------------------------

    def list_begins(self, kind: str) -> None:
        """Everything of a kind is told anew: what is not named until `list_ends` is gone."""
        self._soon(kind, partial(self._begin, kind))

    def page(self, kind: str, raw: bytes) -> None:
        """The JSON of a list with some of the objects."""
        for item in items_of(raw):
            self.put(kind, item)

    def put(self, kind: str, raw: bytes | Raw) -> None:
        """An object that is there or has changed; the bytes are read now and not kept."""
        read = self._reader.read(kind, raw)
        if isinstance(read, tuple):
            self._soon(kind, partial(self._leave_out, *read))
        else:
            self._soon(kind, partial(self._apply, kind, read))

    def remove(self, kind: str, raw: bytes | Raw) -> None:
        """An object that is gone, as it was last."""
        self._soon(kind, partial(self._forget, key_of(kind, raw)))

    def list_ends(self, kind: str) -> None:
        """Everything of a kind was named."""
        self._soon(kind, partial(self._end, kind))

    def heard(self, kind: str) -> None:
        """A stream is alive and has nothing to say."""
        stream = self.streams[kind]
        stream.heard, stream.problem = self._clock(), ""

    # -- what is known -------------------------------------------------------------------------------------------------

    @property
    def synced(self) -> bool:
        """Whether every stream's first list was read to the end."""
        return all(stream.synced for stream in self.streams.values())

    def ages(self) -> dict[str, float | None]:
        """By kind, seconds since its stream last said anything; None before its first word."""
        now = self._clock()
        return {kind: None if each.heard is None else now - each.heard for kind, each in self.streams.items()}

    def left_out(self) -> list[LeftOut]:
        """The objects that cannot be used as they are now, and why."""
        return list(self._left_out.values())

    def changed_nodes(self) -> set[str]:
        """The names of the nodes that were added or changed since the last call, gone ones among them."""
        changed, self._changed_nodes = self._changed_nodes, set()
        return changed

    @property
    def is_held(self) -> bool:
        """Whether a cycle reads the snapshot now, and tries out in it what is not so."""
        return self._held

    @contextmanager
    def held(self) -> Iterator[ClusterSnapshot]:
        """The snapshot, which does not change inside; what arrives meanwhile is applied from the end on. Does not nest."""
        self._apply_waiting()
        self._look_again()
        self._renew()
        self._held = True
        try:
            yield self.snapshot
        finally:
            self._held = False
            self._apply_some()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _soon(self, kind: str, change: Callable[[], None]) -> None:
        self.heard(kind)
        if self._held or self._waiting:
            self._waiting.append(change)
        else:
            change()

    def _apply_some(self) -> None:
        """Apply a slice of what waits, and the rest soon; all at once where there is no event loop to hold up."""
        if self._held:
            return  # the end of that applies them
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._apply_waiting()
            return
        for _ in range(min(_SLICE, len(self._waiting))):
            self._waiting.popleft()()
        if self._waiting:
            loop.call_soon(self._apply_some)

    def _apply_waiting(self) -> None:
        while self._waiting:
            self._waiting.popleft()()

    def _begin(self, kind: str) -> None:
        stream = self.streams[kind]
        stream.listing = True
        stream.named = set() if stream.synced else None  # what the first list does not name was never there

    def _end(self, kind: str) -> None:
        self._flush()
        stream = self.streams[kind]
        if stream.named is not None:
            left_out = (key for key in self._left_out if key[0] == kind)
            for key in {*known(self.snapshot, kind), *left_out} - stream.named:
                self._forget(key)
        stream.listing, stream.named, stream.synced = False, None, True
        stream.lists += 1

    def _apply(self, kind: str, item: AnyObject) -> None:
        if isinstance(item, objects.Pod) and self.streams[kind].listing:
            self._block.append(item)  # in blocks they cost half as much
            if len(self._block) >= _AT_ONCE:
                self._flush()
            return
        self._flush()
        self._set((kind, item.metadata.namespace, item.metadata.name), item)

    def _flush(self) -> None:
        """Add the pods that a list has named so far."""
        if not self._block:
            return
        pods, self._block = self._block, []
        refused = {id(pod): error for pod, error in self.snapshot.add_pods(pods)}
        for pod in pods:
            key = ("Pod", pod.metadata.namespace, pod.metadata.name)
            if id(pod) in refused:
                self._leave_out(key, refused[id(pod)].left_out("", describe(pod)))
            else:
                self._accepted(key, pod)

    def _set(self, key: Key, item: AnyObject) -> None:
        try:
            self.snapshot.set(item)
        except FieldError as error:
            self._leave_out(key, error.left_out("", describe(item)))
            if isinstance(item, objects.Workload):
                self._cyclic[key] = item
        else:
            self._accepted(key, item)

    def _accepted(self, key: Key, item: AnyObject) -> None:
        self._left_out.pop(key, None)
        self._cyclic.pop(key, None)
        self._name(key)
        if isinstance(item, objects.Pod):
            self.disruptions.saw(item, self.snapshot, fresh=self.streams["Pod"].synced)
            if item.spec.priority is None:
                self._unranked[key] = item
            else:
                self._unranked.pop(key, None)
        elif isinstance(item, objects.Node):
            self._changed_nodes.add(item.metadata.name)
        elif isinstance(item, objects.PriorityClass):
            self._rank_again()

    def _rank_again(self) -> None:
        """Pods that state no priority have that of their class, which may come after them."""
        for pod in self._unranked.values():
            self.snapshot.set_pod(pod)

    def _look_again(self) -> None:
        """Workloads whose owners led back to themselves: the others may have changed."""
        for key, item in list(self._cyclic.items()):
            self._set(key, item)

    def _renew(self) -> None:
        """Let go of what nothing refers to any more, once it may be the larger part of the snapshot."""
        if is_outgrown(self.snapshot, self._weight):
            self.snapshot = renewed(self.snapshot)
            self._weight = weight(self.snapshot)

    def _forget(self, key: Key) -> None:
        self._flush()
        self._drop(key)
        self._left_out.pop(key, None)
        self._cyclic.pop(key, None)
        if key[0] == "Pod":
            self.disruptions.forget(key)
        elif key[0] == "PriorityClass":
            self._rank_again()

    def _leave_out(self, key: Key, problem: LeftOut) -> None:
        self._drop(key)
        self._left_out[key] = problem
        self._name(key)

    def _drop(self, key: Key) -> None:
        """Take an object out of the snapshot."""
        kind, namespace, name = key
        self._unranked.pop(key, None)
        self._cyclic.pop(key, None)
        self.snapshot.remove(kind, name, namespace)

    def _name(self, key: Key) -> None:
        named = self.streams[key[0]].named
        if named is not None:
            named.add(key)


def known(snapshot: ClusterSnapshot, kind: str) -> Iterator[Key]:
    """The objects of a kind that a snapshot holds."""
    if kind == "Pod":
        for pod in snapshot.pods.by_key:
            namespace, _, name = pod.partition("/")
            yield kind, namespace, name
    elif kind == "Node":
        for node in snapshot.nodes.by_name:
            yield kind, "", node
    elif KINDS.get(kind, objects.Workload) is objects.Workload:
        for ref, item in zip(snapshot.workloads.refs, snapshot.workloads.objects, strict=True):
            if item is not None and ref.kind == kind:
                yield kind, ref.namespace, ref.name
    else:
        for item in snapshot.others.get(kind, {}).values():
            yield kind, item.metadata.namespace, item.metadata.name
