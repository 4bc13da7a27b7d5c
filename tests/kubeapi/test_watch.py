"""What `changes` tells, whatever the server and the line do."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kubeapi.recorded import Recorded, begun, reset, serving, status

from neaptide.kubeapi import errors
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import Cluster
from neaptide.kubeapi.resources import CONFIG_MAPS
from neaptide.kubeapi.watch import (
    Bookmark,
    Changed,
    Event,
    Interrupted,
    Listed,
    Patience,
    Relisted,
    Removed,
    Synced,
    _Stream,
    changes,
)

HASTY = Patience(first_pause=0.001, longest_pause=0.01, inactivity=0.5, initial=0.2, page=3)
END = {"k8s.io/initial-events-end": "true"}


class Model:
    """What an API server holds: a row of events, of which the objects follow, and the version before which they are forgotten."""

    def __init__(self, row: list[tuple[str, bool]] | None = None) -> None:
        self.row: list[tuple[str, bool]] = row or []
        self.forgotten = 0
        self.streams_lists = True

    @property
    def version(self) -> int:
        return len(self.row)

    def objects(self, upto: int | None = None) -> dict[str, int]:
        """By name, the version of what is there."""
        found: dict[str, int] = {}
        for number, (name, there) in enumerate(self.row[:upto], 1):
            found.pop(name, None)
            if there:
                found[name] = number
        return found

    def lines(self, query: Any) -> bytes:
        """All that a watch has to tell at once."""
        if query.get("sendInitialEvents"):
            initial = [line("ADDED", name, version) for name, version in self.objects().items()]
            return b"".join([*initial, line("BOOKMARK", "", self.version, END)])
        since = int(query["resourceVersion"])
        told = []
        for number, (name, there) in enumerate(self.row[since:], since + 1):
            known = name in self.objects(number - 1)
            if there or known:
                told.append(line("DELETED" if not there else "MODIFIED" if known else "ADDED", name, number))
        return b"".join([*told, line("BOOKMARK", "", self.version)])

    def page(self, query: Any) -> web.Response:
        """A page of a list, whose continuation is `version.start`."""
        version, _, start = (query.get("continue") or f"{self.version}.0").partition(".")
        if int(version) < self.forgotten:
            return status(410, "Expired", "the continue token is too old")
        names = list(self.objects(int(version)).items())
        limit = int(query.get("limit", 0)) or len(names)
        end = int(start) + limit
        metadata = {"resourceVersion": version} | ({"continue": f"{version}.{end}"} if end < len(names) else {})
        return web.json_response({"metadata": metadata, "items": [thing(*each) for each in names[int(start) : end]]})


def thing(name: str, version: int, annotations: dict[str, str] | None = None) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version), "annotations": annotations or {}}}


def line(kind: str, name: str, version: int, annotations: dict[str, str] | None = None) -> bytes:
    return json.dumps({"type": kind, "object": thing(name, version, annotations)}).encode() + b"\n"


class Known:
    """A cache, as a consumer of `changes` keeps it."""

    def __init__(self) -> None:
        self.objects: dict[str, int] = {}
        self.version = 0
        self.events: list[Event] = []
        self._told: dict[str, int] | None = None

    def take(self, event: Event) -> None:
        self.events.append(event)
        into = self.objects if self._told is None else self._told
        match event:
            case Relisted():
                self._told = {}
            case Listed(raw):
                into |= {each["metadata"]["name"]: _version(each) for each in json.loads(raw)["items"]}
            case Changed(raw):
                found = msgspec.json.decode(raw)
                into[found["metadata"]["name"]] = _version(found)
                self._reached(_version(found))
            case Removed(raw):
                found = msgspec.json.decode(raw)
                into.pop(found["metadata"]["name"], None)
                self._reached(_version(found))
            case Synced(version):
                assert self._told is not None
                self.objects, self._told, self.version = self._told, None, int(version)
            case Bookmark(version):
                self._reached(int(version))
            case Interrupted():
                pass

    def _reached(self, version: int) -> None:
        if self._told is None:
            self.version = max(self.version, version)

    def names(self) -> list[str]:
        return [type(each).__name__ for each in self.events]

    def failures(self) -> list[type[Exception]]:
        return [type(each.error) for each in self.events if isinstance(each, Interrupted)]


def _version(found: dict[str, Any]) -> int:
    return int(found["metadata"]["resourceVersion"])


async def settled(recorded: Recorded, done: Callable[[Known], bool], patience: Patience = HASTY) -> Known:
    """Follow the changes until the cache is as it should be."""
    known = Known()
    async with (
        asyncio.timeout(20),
        Client(recorded.cluster, qps=1e6) as client,
        aclosing(changes(client, CONFIG_MAPS, namespace="default", patience=patience)) as events,
    ):
        async for event in events:
            known.take(event)
            if done(known):
                return known
    raise AssertionError("it never ends by itself")


async def streamed(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    """Send lines and leave the stream open."""
    response = await begun(request)
    await response.write(body)
    await asyncio.sleep(30)
    return response


def served(model: Model) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """A server without faults."""

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        query = request.query
        if "watch" not in query:
            return model.page(query)
        if "sendInitialEvents" in query and not model.streams_lists:
            return status(422, "Invalid", "sendInitialEvents is forbidden")
        if "sendInitialEvents" not in query and int(query["resourceVersion"]) < model.forgotten:
            return status(410, "Expired", "too old resource version")
        return await streamed(request, model.lines(query))

    return handler


ROW = [("a", True), ("b", True), ("a", True), ("c", True), ("b", False), ("d", True), ("e", True)]


@pytest.mark.parametrize("streams_lists", [True, False], ids=["streams what is there", "lists it in pages"])
def test_what_is_there_is_told_between_relisted_and_synced(streams_lists: bool) -> None:
    model = Model(ROW)
    model.streams_lists = streams_lists

    async def scenario() -> None:
        async with serving(served(model)) as recorded:
            known = await settled(recorded, lambda known: known.version == len(ROW))
            assert known.objects == model.objects()
            assert known.names()[0] == "Relisted"
            assert known.names()[-1] == "Synced"
            assert ("Listed" in known.names()) is not streams_lists

    asyncio.run(scenario())


def test_a_server_that_watches_instead_of_streaming_a_list_is_asked_for_a_list() -> None:
    model = Model(ROW)

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if "sendInitialEvents" in request.query:
            return await streamed(request, line("ADDED", "ghost", 1))
        return await served(model)(request)

    async def scenario() -> None:
        async with serving(handler) as recorded:
            known = await settled(recorded, lambda known: known.version == len(ROW))
            assert known.objects == model.objects()

    asyncio.run(scenario())


async def _gone_as_answer(_: web.BaseRequest) -> web.StreamResponse:
    return status(410, "Expired", "too old")


async def _gone_as_event(request: web.BaseRequest) -> web.StreamResponse:
    return await _error_event(request, {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})


async def _ahead_of_the_server(request: web.BaseRequest) -> web.StreamResponse:
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return await _error_event(
        request, {"kind": "Status", "code": 504, "reason": "Timeout", "details": {"causes": [cause]}}
    )


async def _error_event(request: web.BaseRequest, found: dict[str, Any]) -> web.StreamResponse:
    return await streamed(request, json.dumps({"type": "ERROR", "object": found}).encode() + b"\n")


@pytest.mark.parametrize(
    "fault",
    [_gone_as_answer, _gone_as_event, _ahead_of_the_server],
    ids=["410 as the answer", "410 as an event", "a version that the server has not reached"],
)
def test_a_version_that_the_server_does_not_have_leads_to_a_relisting(
    fault: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
) -> None:
    model, cut = Model(ROW), asyncio.Event()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if "sendInitialEvents" in request.query and not cut.is_set():
            cut.set()
            response = await begun(request)
            await response.write(model.lines(request.query))
            model.row.append(("late", True))
            return response
        if "sendInitialEvents" not in request.query:
            return await fault(request)
        return await served(model)(request)

    async def scenario() -> None:
        async with serving(handler) as recorded:
            known = await settled(recorded, lambda known: known.version == len(ROW) + 1)
            assert known.objects == model.objects()
            assert known.failures() == [errors.ConnectionLost, errors.Gone]
            assert known.names().count("Relisted") == 2

    model.row = list(ROW)
    asyncio.run(scenario())


def test_a_storm_of_410_is_met_with_growing_pauses() -> None:
    model = Model(ROW)

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if "sendInitialEvents" in request.query:
            response = await begun(request)
            await response.write(model.lines(request.query))
            return response
        return status(410, "Expired", "too old")

    async def scenario() -> None:
        async with serving(handler) as recorded:
            patience = Patience(first_pause=0.001, longest_pause=0.06)
            known = await settled(recorded, lambda known: known.names().count("Relisted") == 8, patience)
            pauses = [
                each.pause
                for each in known.events
                if isinstance(each, Interrupted) and isinstance(each.error, errors.Gone)
            ]
            assert all(0.0005 * 2**n <= pause <= 0.001 * 2**n for n, pause in enumerate(pauses[:6]))
            assert max(pauses) <= 0.06

    asyncio.run(scenario())


def test_a_list_that_is_forgotten_between_its_pages_is_asked_for_in_one_piece() -> None:
    model = Model([(f"n{number}", True) for number in range(8)])
    model.streams_lists = False

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if "continue" in request.query:
            return status(410, "Expired", "the continue token is too old")
        return await served(model)(request)

    async def scenario() -> None:
        async with serving(handler) as recorded:
            known = await settled(recorded, lambda known: known.version == 8)
            assert known.objects == model.objects()
            assert known.failures() == [errors.Gone]

    asyncio.run(scenario())


def test_a_silent_watch_is_begun_anew_where_it_stood() -> None:
    model = Model(ROW)
    silent = iter([True, False])

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if "sendInitialEvents" in request.query:
            return await streamed(request, model.lines(request.query))
        if next(silent):
            model.row.append(("late", True))
            return await streamed(request, b"")
        return await served(model)(request)

    async def scenario() -> None:
        model.row = list(ROW)
        async with serving(handler) as recorded:
            known = await settled(
                recorded, lambda known: known.version == len(ROW) + 1, Patience(first_pause=0.001, inactivity=0.1)
            )
            assert known.objects == model.objects()
            assert known.names().count("Relisted") == 1
            assert [each.get("resourceVersion") for each in recorded.queries] == [None, "7", "7"]

    asyncio.run(scenario())


def test_an_object_of_many_megabytes_is_one_event() -> None:
    large = {"type": "ADDED", "object": {**thing("large", 1), "data": {"x": "y" * 8_000_000}}}
    body = json.dumps(large).encode() + b"\n" + line("BOOKMARK", "", 1, END)

    async def scenario() -> None:
        async with serving(lambda request: streamed(request, body)) as recorded:
            known = await settled(recorded, lambda known: known.version == 1)
            assert known.objects == {"large": 1}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "nonsense",
    [b'{"type":"BOOKMARK","object":{"metadata":7}}\n', b'{"type":"ERROR","object":7}\n', b'{"type":"NEW","object":{}}\n', b"{\n"],
    ids=["a bookmark", "an error", "an unknown event", "half an object"],
)  # fmt: skip
def test_what_stands_before_nonsense_is_not_lost(nonsense: bytes) -> None:
    model = Model(ROW)
    sent = iter([line("MODIFIED", "late", len(ROW) + 1) + nonsense])

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if "sendInitialEvents" in request.query:
            response = await begun(request)
            await response.write(model.lines(request.query))
            model.row.append(("late", True))
            return response
        if body := next(sent, b""):
            return await streamed(request, body)
        return await served(model)(request)

    async def scenario() -> None:
        model.row = list(ROW)
        async with serving(handler) as recorded:
            known = await settled(recorded, lambda known: known.names()[-1] == "Bookmark")
            assert known.objects == model.objects()
            assert known.names().count("Relisted") == 1

    asyncio.run(scenario())


def test_a_list_that_cannot_be_watched_is_told_and_asked_for_again_after_a_pause() -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return (
            status(405, "MethodNotAllowed", "no watch")
            if "watch" in request.query
            else web.json_response({"items": []})
        )

    async def scenario() -> None:
        async with serving(handler) as recorded:
            known = await settled(recorded, lambda known: known.names().count("Interrupted") == 3)
            assert "Listed" in known.names()
            assert "Synced" not in known.names()

    asyncio.run(scenario())


def test_what_the_server_refuses_is_told_and_tried_again() -> None:
    model = Model(ROW)
    refusals = iter([status(403, "Forbidden", "no"), status(404, "NotFound", "no such resource"), status(500, "", "")])

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return next(refusals, None) or await served(model)(request)

    async def scenario() -> None:
        async with serving(handler) as recorded:
            known = await settled(recorded, lambda known: known.version == len(ROW))
            assert known.failures() == [errors.Forbidden, errors.NotFound, errors.ApiError]

    asyncio.run(scenario())


async def broken(request: web.BaseRequest, model: Model, fault: str, part: float) -> web.StreamResponse:
    """An answer that ends before it should, somewhere in its bytes, or is none."""
    match fault:
        case "410":
            return status(410, "Expired", "too old")
        case "429":
            return status(429, "TooManyRequests", "too many")
        case "500":
            return web.Response(status=500, body=b"")
        case "no JSON":
            return web.Response(body=b"<html>a proxy</html>\n")
        case "forgotten":
            model.forgotten = model.version
            return status(410, "Expired", "compacted")
    whole = model.lines(request.query) if "watch" in request.query else model.page(request.query).body
    assert isinstance(whole, bytes)
    response = await begun(request)
    await response.write(whole[: int(part * len(whole))])
    if fault == "reset":
        reset(request)
    return response


class Pieces:
    """A body that comes in the pieces given."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = [each for each in pieces if each]

    async def readany(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


@given(
    lines=st.lists(st.binary().map(lambda each: each.replace(b"\n", b"")), max_size=8),
    cuts=st.lists(st.integers(0, 99)),
)
def test_however_a_body_is_cut_into_pieces_its_lines_are_whole(lines: list[bytes], cuts: list[int]) -> None:
    body = b"".join(each + b"\n" for each in lines)
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    pieces = [body[start:end] for start, end in pairwise(places)]

    async def scenario() -> list[bytes]:
        stream = _Stream(
            Client(Cluster("https://x")), CONFIG_MAPS, "", {"labelSelector": "", "fieldSelector": ""}, HASTY
        )
        return [each async for each in stream._lines(Pieces([*pieces, b"half"]))]  # type: ignore[arg-type]

    found = asyncio.run(scenario())
    assert b"".join(found) == body
    assert all(each.endswith(b"\n") for each in found)


FAULTS = st.sampled_from(["cut", "reset", "410", "429", "500", "no JSON", "forgotten"])
CHANGES = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), max_size=30)


@settings(max_examples=60)
@given(
    row=CHANGES, faults=st.lists(st.tuples(FAULTS, st.floats(0, 1), CHANGES), max_size=10), streams_lists=st.booleans()
)
def test_however_the_stream_is_cut_the_objects_known_are_the_servers(
    row: list[tuple[str, bool]], faults: list[tuple[str, float, list[tuple[str, bool]]]], streams_lists: bool
) -> None:
    model, pending = Model([("first", True), *row]), list(faults)
    model.streams_lists = streams_lists

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if not pending:
            return await served(model)(request)
        fault, part, added = pending.pop(0)
        try:
            return await broken(request, model, fault, part)
        finally:
            model.row += added

    async def scenario() -> None:
        async with serving(handler) as recorded:
            known = await settled(
                recorded,
                lambda known: (
                    not pending and known.version == model.version and known.names()[-1] in ("Synced", "Bookmark")
                ),
            )
            assert known.objects == model.objects()

    asyncio.run(scenario())
