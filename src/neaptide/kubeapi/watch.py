"""What is there and what changes, as one stream of events that mends itself.

    Relisted  Listed | Changed ...  Synced  Changed | Removed | Bookmark ...  [Interrupted ...]  [Relisted ... Synced ...]

After `Relisted` everything is told again, as pages of a list or object by object; what was not told by the next `Synced` is gone. An
interruption without `Relisted` after it has lost nothing.
"""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from functools import partial

import aiohttp
import msgspec
from msgspec import Raw, Struct, field

from neaptide.kubeapi import errors
from neaptide.kubeapi.client import Client, list_metadata
from neaptide.kubeapi.pace import Backoff
from neaptide.kubeapi.resources import Resource

_INITIAL_END = "k8s.io/initial-events-end"
_TOO_LARGE = "ResourceVersionTooLarge"
_NOT_STREAMED = (400, 405, 422)
"""How a server answers that does not stream lists, or has nothing to watch."""
_SHOWN = 100
_AT_ONCE = 1.0
"""A watch that ends sooner is taken for a failure, so that a pause follows."""


class Patience(Struct, frozen=True):
    """How long what may take, in seconds.

    Attributes:
        first_pause: after a first failure; doubled at each further one, with jitter, to `longest_pause`.
        longest_pause: see there.
        inactivity: without a byte, after which a watch is begun anew; servers send a bookmark about each minute.
        initial: without a byte, after which a server that was asked to stream what is there is asked for a list instead.
        watch: for which a watch is asked for; drawn between once and twice this.
        calm: since the last relisting, after which the pause before the next one is `first_pause` again.
        page: objects per page of a list.
    """

    first_pause: float = 0.5
    longest_pause: float = 30.0
    inactivity: float = 90.0
    initial: float = 30.0
    watch: float = 300.0
    calm: float = 120.0
    page: int = 500


_PATIENCE = Patience()


class Relisted(Struct, frozen=True):
    """All is told again; `reason` says why."""

    reason: str


class Listed(Struct, frozen=True, gc=False):
    """The JSON of a list with some of the objects."""

    raw: bytes


class Changed(Struct, frozen=True, gc=False, tag_field="type", tag="MODIFIED"):
    """An object that is new or changed, as JSON: a view of what was received, so decode it rather than keep it."""

    raw: Raw = field(name="object")


class Added(Changed, frozen=True, gc=False, tag_field="type", tag="ADDED"):
    """A change that the server calls new."""


class Removed(Struct, frozen=True, gc=False, tag_field="type", tag="DELETED"):
    """The JSON of an object that is gone, or no longer selected, as it was last."""

    raw: Raw = field(name="object")


class Synced(Struct, frozen=True):
    """All that is there at a resource version has been told."""

    resource_version: str


class Bookmark(Struct, frozen=True):
    """Nothing else has changed up to a resource version."""

    resource_version: str


class Interrupted(Struct, frozen=True):
    """The stream failed and is tried again after `pause` seconds. Forbidden and NotFound are tried again, too: rights and kinds may come."""

    error: Exception
    pause: float


Event = Relisted | Listed | Changed | Removed | Synced | Bookmark | Interrupted


class _NotStreamedError(Exception):
    """A server did not stream what is there, though asked to: one older than that, which began to watch instead."""


class _Mark(Struct, tag_field="type", tag="BOOKMARK"):
    raw: Raw = field(name="object")


class _Error(Struct, tag_field="type", tag="ERROR"):
    raw: Raw = field(name="object")


class _Meta(Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    annotations: dict[str, str] | None = None


class _Object(Struct):
    metadata: _Meta = _Meta()


_lines = msgspec.json.Decoder(Added | Changed | Removed | _Mark | _Error)
_object = msgspec.json.Decoder(_Object)


async def changes(
    client: Client,
    resource: Resource,
    *,
    namespace: str = "",
    label_selector: str = "",
    field_selector: str = "",
    patience: Patience = _PATIENCE,
) -> AsyncGenerator[Event, None]:
    """Everything that is there and then everything that changes, until it is closed. Never ends and never raises for the server's sake."""
    selected = {"labelSelector": label_selector, "fieldSelector": field_selector}
    stream = _Stream(client, resource, namespace, selected, patience)
    async with aclosing(stream.batches()) as batches:
        async for batch in batches:
            for event in batch:
                yield event


class _Stream:
    """Where a stream of changes stands between one request and the next."""

    def __init__(
        self, client: Client, resource: Resource, namespace: str, selected: dict[str, str], patience: Patience
    ) -> None:
        self._client, self._path = client, resource.path(namespace)
        self._list = partial(
            client.list,
            resource,
            namespace,
            label_selector=selected["labelSelector"],
            field_selector=selected["fieldSelector"],
        )
        self._selected, self._patience = selected, patience
        self._version = ""
        """Resource version to go on from; empty where all must be told again."""
        self._latest: Raw | None = None
        """The object told last, whose resource version is newer than that: read only when it is needed."""
        self._reason = "first list"
        self._streams_lists, self._limit = True, patience.page
        self._cut_short = False
        """Whether a streamed list was cut: where every stream is, pages come through."""

    async def batches(self) -> AsyncGenerator[list[Event], None]:
        """One list or watch after the other, with pauses after those that failed."""
        patience = self._patience
        cuts, relists = (Backoff(patience.first_pause, patience.longest_pause) for _ in range(2))
        clock = asyncio.get_running_loop().time
        forgotten = -float("inf")
        while True:
            failed: Exception
            try:
                async with aclosing(self._told()) as told:
                    async for batch in told:
                        yield batch
                        if self._version:
                            cuts.reset()
                continue
            except errors.Gone as error:
                self._version, self._latest, self._reason = "", None, str(error)
                if clock() - forgotten > patience.calm:
                    relists.reset()
                failed, pause, forgotten = error, relists.next(), clock()
            except errors.ApiError as error:
                failed, pause = error, max(cuts.next(), error.retry_after or 0)
            except errors.ConfigError as error:
                failed, pause = error, cuts.next()
            yield [Interrupted(failed, pause)]
            await asyncio.sleep(pause)

    async def _told(self) -> AsyncGenerator[list[Event], None]:
        """All that one list or one watch tells."""
        version = self._resumed()
        if version:
            try:
                async with aclosing(self._watched({"resourceVersion": version})) as watched:
                    async for batch in watched:
                        yield batch
            except errors.Invalid as error:
                raise errors.Gone(error.status, error.reason, error.message, request=error.request) from error
            return
        yield [Relisted(self._reason)]
        if self._cut_short or not self._streams_lists:
            self._cut_short = False
            async with aclosing(self._listed()) as listed:
                async for batch in listed:
                    yield batch
            return
        try:
            query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
            async with aclosing(self._watched(query)) as watched:
                async for batch in watched:
                    yield batch
        except _NotStreamedError:
            self._streams_lists = False
        except errors.ConnectionLost:
            self._cut_short = not self._version
            raise
        except errors.ApiError as error:
            if self._version or error.status not in _NOT_STREAMED:
                raise
            self._streams_lists = False

    async def _listed(self) -> AsyncGenerator[list[Event], None]:
        """The pages of a list. One that was forgotten before its last page is asked for in one piece the next time."""
        version = ""
        try:
            async for page in self._list(limit=self._limit):
                version = list_metadata(page, self._path).resource_version
                yield [Listed(page)]
        except errors.Gone:
            self._limit = 0
            raise
        if not version:
            raise self._lost("the list has no resource version to watch from")
        self._version, self._latest, self._limit = version, None, self._patience.page
        yield [Synced(version)]

    async def _watched(self, query: dict[str, str]) -> AsyncGenerator[list[Event], None]:
        """What one watch tells until the server ends it. Raises ApiError where it ends otherwise."""
        seconds = self._patience.watch * random.uniform(1, 2)  # noqa: S311 - spreads load, keeps no secret
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(seconds)),
            **self._selected,
            **query,
        }
        clock = asyncio.get_running_loop().time
        begun = clock()
        async with self._client.stream(self._path, query) as reader:
            async for lines in self._lines(reader):
                events, error = self._read(lines)
                yield events
                if error:
                    raise error
        if clock() - begun < _AT_ONCE:
            raise self._lost("the watch ended at once")

    async def _lines(self, reader: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
        """Whole lines, as many as have come, however long; the half line at a stream's end is dropped."""
        parts: list[bytes] = []
        while True:
            chunk = await self._chunk(reader)
            if not chunk:
                return
            end = chunk.rfind(b"\n") + 1
            if end:
                yield b"".join((*parts, chunk[:end])) if parts else chunk[:end]
                parts = [chunk[end:]] if end < len(chunk) else []
            else:
                parts.append(chunk)

    async def _chunk(self, reader: aiohttp.StreamReader) -> bytes:
        """What has come; empty at the end. Raises where nothing comes for too long."""
        patience = self._patience.inactivity if self._version else self._patience.initial
        try:
            async with asyncio.timeout(patience):
                return await reader.readany()
        except TimeoutError:
            message = f"nothing came for {patience:g} s"
            raise (self._lost(message) if self._version else _NotStreamedError(message)) from None

    def _read(self, lines: bytes) -> tuple[list[Event], errors.ApiError | None]:
        """The events of some lines, and the error that the server ended them with.

        Lines that cannot be read are as a broken connection: what came before them will be told again.
        """
        try:
            found = _lines.decode_lines(lines)
        except msgspec.DecodeError as error:
            raise self._unreadable(error, lines) from None
        events: list[Event] = []
        for each in found:
            try:
                if isinstance(each, _Mark):
                    events += self._marked(each)
                elif isinstance(each, _Error):
                    return events, _failure(each, self._path)
                else:
                    events.append(each)
                    if self._version:
                        self._latest = each.raw
            except msgspec.DecodeError as error:
                return events, self._unreadable(error, bytes(each.raw))
        return events, None

    def _unreadable(self, error: msgspec.DecodeError, found: bytes) -> errors.ConnectionLost:
        return self._lost(f"no event of a watch: {error}: {found[:_SHOWN]!r}")

    def _marked(self, mark: _Mark) -> list[Event]:
        """What a bookmark says. Among what is there at first, only the one that ends it counts."""
        metadata = _object.decode(mark.raw).metadata
        synced = not self._version and _INITIAL_END in (metadata.annotations or {})
        if not (self._version or synced):
            return []
        self._version, self._latest = metadata.resource_version, None
        return [Synced(self._version) if synced else Bookmark(self._version)]

    def _resumed(self) -> str:
        """The resource version to go on from; empty where the latest object has none that can be read."""
        if self._latest is not None:
            with suppress(msgspec.DecodeError):
                self._version = ""
                self._version = _object.decode(self._latest).metadata.resource_version
            self._latest = None
        return self._version

    def _lost(self, message: str) -> errors.ConnectionLost:
        return errors.ConnectionLost(0, "ConnectionLost", message, request=f"GET {self._path}")


def _failure(error: _Error, path: str) -> errors.ApiError:
    """What an ERROR event means. A server that is behind the version asked for may never reach it: all is told again."""
    status = msgspec.json.decode(error.raw, type=errors.Status)
    found = errors.from_status(status, request=f"GET {path}")
    if any(cause.reason == _TOO_LARGE for cause in found.causes):
        return errors.Gone(found.status, found.reason, found.message, request=found.request)
    return found
