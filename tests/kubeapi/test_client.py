"""What the client does when the server, or the line to it, does not do as it should."""

import asyncio
import contextlib
import functools
import json
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from tests.kubeapi.recorded import begun, reset, serving, status

from neaptide.kubeapi import errors
from neaptide.kubeapi.client import Client, Patch
from neaptide.kubeapi.config import Tls
from neaptide.kubeapi.credentials import Credentials, Impersonation
from neaptide.kubeapi.pace import Backoff, TokenBucket
from neaptide.kubeapi.resources import NODES, PODS, Resource

OK = b'{"metadata":{}}'


@pytest.fixture(autouse=True, params=[0, 4], ids=["a connection each", "pipelined"])
def connections(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything here holds for both ways of sending."""
    monkeypatch.setitem(globals(), "Client", functools.partial(Client, pipelined=request.param))


def answering(*answers: web.Response | str) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """One answer after the other, `reset` for a broken connection; after the last, success."""
    left = list(answers)

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        found = left.pop(0) if left else web.Response(body=OK)
        if isinstance(found, str):
            reset(request)
            return web.Response()
        return found

    return handler


def test_credentials_that_cannot_be_read_any_more_are_an_error_like_others(tmp_path: Path) -> None:
    async def ask() -> None:
        found = Credentials(token_file=tmp_path / "token")
        async with serving(answering(), found) as server, Client(server.cluster) as client:
            await client.get(PODS, "web", "default")

    with pytest.raises(errors.ApiError, match=r"tokenFile: .*/token cannot be read: No such file or directory"):
        asyncio.run(ask())


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", errors.Invalid),
        (401, "Unauthorized", errors.Unauthorized),
        (403, "Forbidden", errors.Forbidden),
        (404, "NotFound", errors.NotFound),
        (409, "AlreadyExists", errors.AlreadyExists),
        (409, "Conflict", errors.Conflict),
        (410, "Expired", errors.Gone),
        (410, "Gone", errors.Gone),
        (422, "Invalid", errors.Invalid),
        (500, "ServerTimeout", errors.ServerTimeout),
        (500, "InternalError", errors.ApiError),
        (503, "ServiceUnavailable", errors.Unavailable),
        (504, "Timeout", errors.ServerTimeout),
        (404, "", errors.NotFound),
        (502, "", errors.Unavailable),
        (418, "", errors.ApiError),
    ],
)
def test_a_refusal_is_an_error_of_its_own_kind(code: int, reason: str, kind: type[errors.ApiError]) -> None:
    async def scenario() -> None:
        handler = answering(status(code, reason, "why", name="a"))
        async with serving(handler) as recorded, Client(recorded.cluster) as client:
            with pytest.raises(errors.ApiError) as raised:
                await client.create(PODS, {}, "b")
        assert type(raised.value) is kind
        assert (raised.value.status, raised.value.message, raised.value.details.name) == (code, "why", "a")
        assert str(raised.value).startswith(f"POST /api/v1/namespaces/b/pods: {code} {reason or kind.__name__}: why")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("body", "says"),
    [(b"<html>no</html>", "<html>no</html>"), (b"", "the answer has no body"), (b"[1]", "[1]"), (b"\xff\xfe", "\ufffd\ufffd")],
    ids=["a page", "no body", "JSON that is no Status", "no text"],
)  # fmt: skip
def test_a_refusal_that_is_no_status_is_shown(body: bytes, says: str) -> None:
    async def scenario() -> None:
        async with (
            serving(answering(web.Response(status=403, body=body))) as recorded,
            Client(recorded.cluster) as client,
        ):
            with pytest.raises(errors.Forbidden) as raised:
                await client.get(PODS, "a", "b")
        assert raised.value.message == says

    asyncio.run(scenario())


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]"])
def test_a_list_that_is_none_is_an_error(body: bytes) -> None:
    async def scenario() -> None:
        async with serving(answering(web.Response(body=body))) as recorded, Client(recorded.cluster) as client:
            with pytest.raises(errors.Unavailable, match="the answer is no list"):
                [page async for page in client.list(PODS)]

    asyncio.run(scenario())


def test_a_rate_limit_is_waited_for_and_nothing_is_lost() -> None:
    limits = [status(429, "TooManyRequests", "slow down") for _ in range(4)]

    async def scenario() -> None:
        async with serving(answering(*limits)) as recorded, Client(recorded.cluster) as client:
            assert await client.create(PODS, {"a": 1}, "b") == OK
            assert len(recorded.requests) == 5

    asyncio.run(scenario())


@pytest.mark.parametrize("code", [429, 503])
def test_the_servers_word_on_when_to_come_back_is_kept(code: int) -> None:
    refusal = web.Response(status=code, headers={"Retry-After": "1"})

    async def scenario() -> float:
        async with serving(answering(refusal)) as recorded, Client(recorded.cluster) as client:
            begin = time.monotonic()
            await client.create(PODS, {}, "b")
            return time.monotonic() - begin

    assert asyncio.run(scenario()) >= 1


def test_a_storm_of_429_ends_at_the_deadline() -> None:
    storm = [status(429, "TooManyRequests", "slow down") for _ in range(1000)]

    async def scenario() -> None:
        async with serving(answering(*storm)) as recorded, Client(recorded.cluster, timeout=0.5) as client:
            with pytest.raises((errors.RateLimited, errors.DeadlineExceeded), match="slow down"):
                await client.get(PODS, "a", "b")
            assert len(recorded.requests) < 10

    asyncio.run(scenario())


def test_a_deadline_that_passes_during_a_later_try_says_how_the_one_before_ended() -> None:
    answers = answering(status(429, "TooManyRequests", "slow down"))

    async def then_silent(request: web.BaseRequest) -> web.StreamResponse:
        response = await answers(request)
        if response.status == 200:
            await asyncio.sleep(30)
        return response

    async def scenario() -> None:
        async with serving(then_silent) as recorded, Client(recorded.cluster, timeout=3) as client:
            with pytest.raises(errors.DeadlineExceeded, match=r"no answer within 3 s; .*slow down"):
                await client.get(PODS, "a", "b")

    asyncio.run(scenario())


def test_a_disruption_budget_is_told_from_a_rate_limit() -> None:
    causes = [{"reason": "DisruptionBudget", "message": "The disruption budget web needs 2 healthy pods"}]
    refusal = status(429, "TooManyRequests", "Cannot evict pod", causes=causes)

    async def scenario() -> None:
        async with serving(answering(refusal)) as recorded, Client(recorded.cluster) as client:
            with pytest.raises(errors.DisruptionBudgetExceeded) as raised:
                await client.evict("a", "b")
            assert raised.value.causes[0].message.startswith("The disruption budget web")
            assert len(recorded.requests) == 1

    asyncio.run(scenario())


def test_a_broken_connection_is_tried_again_for_a_read() -> None:
    async def scenario() -> None:
        async with serving(answering("reset", "reset")) as recorded, Client(recorded.cluster) as client:
            assert await client.get(PODS, "a", "b") == OK

    asyncio.run(scenario())


def test_a_broken_connection_is_an_error_for_a_write_which_may_have_been_done() -> None:
    async def scenario() -> None:
        async with serving(answering("reset")) as recorded, Client(recorded.cluster) as client:
            with pytest.raises(errors.ConnectionLost):
                await client.patch(PODS, "a", {}, "b")
            assert len(recorded.requests) == 1

    asyncio.run(scenario())


def test_an_answer_cut_in_its_middle_is_read_again() -> None:
    async def half(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"half")
        reset(request)
        return response

    async def scenario() -> None:
        async with serving(half) as recorded, Client(recorded.cluster) as client:
            with pytest.raises(errors.ConnectionLost):
                await client.get(PODS, "a", "b")
            assert len(recorded.requests) > 1

    asyncio.run(scenario())


@pytest.mark.parametrize("begins", [True, False], ids=["in the middle of the body", "before the answer begins"])
def test_a_server_that_says_nothing_ends_at_the_deadline(begins: bool) -> None:
    async def silent(request: web.BaseRequest) -> web.StreamResponse:
        response = await begun(request) if begins else web.StreamResponse()
        await asyncio.sleep(30)
        return response

    async def scenario() -> None:
        async with serving(silent) as recorded, Client(recorded.cluster, timeout=0.2) as client:
            with pytest.raises(errors.DeadlineExceeded):
                await client.get(PODS, "a", "b")

    asyncio.run(scenario())


def test_no_server_is_an_error_that_names_it() -> None:
    async def scenario() -> None:
        async with serving(answering()) as recorded:
            cluster = recorded.cluster
        async with Client(cluster) as client:
            with pytest.raises(errors.ConnectionLost, match=r"GET /api/v1/nodes/a: .*localhost"):
                await client.get(NODES, "a")

    asyncio.run(scenario())


def test_a_server_that_is_not_the_one_expected_is_refused() -> None:
    async def scenario() -> None:
        async with serving(answering()) as recorded:
            for tls in (Tls(), msgspec.structs.replace(recorded.cluster.tls, server_name="other")):
                async with Client(msgspec.structs.replace(recorded.cluster, tls=tls)) as client:
                    with pytest.raises(errors.ConnectionLost, match="certificate verify failed"):
                        await client.get(NODES, "a")

    asyncio.run(scenario())


def test_to_verify_nothing_is_said_aloud_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with serving(answering()) as recorded:
            cluster = msgspec.structs.replace(recorded.cluster, tls=Tls(insecure=True))
            for _ in range(2):
                async with Client(cluster) as client:
                    assert await client.get(NODES, "a") == OK

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    assert sum("insecure-skip-tls-verify" in each for each in caplog.messages) == 1


def test_a_server_is_known_by_another_name_where_the_kubeconfig_says_so() -> None:
    async def scenario() -> None:
        async with serving(answering()) as recorded:
            tls = msgspec.structs.replace(recorded.cluster.tls, server_name="localhost")
            server = recorded.cluster.server.replace("localhost", "127.0.0.1")
            async with Client(msgspec.structs.replace(recorded.cluster, server=server, tls=tls)) as client:
                assert await client.get(NODES, "a") == OK

    asyncio.run(scenario())


def test_a_proxy_is_asked_for_a_tunnel_to_the_server() -> None:
    asked: list[bytes] = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head)
        host, _, port = head.split()[1].decode().rpartition(":")
        beyond = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(_copied(reader, beyond[1]), _copied(beyond[0], writer))

    async def scenario() -> None:
        proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
        async with serving(answering()) as recorded, proxy:
            port = proxy.sockets[0].getsockname()[1]
            cluster = msgspec.structs.replace(recorded.cluster, proxy=f"http://user:word@127.0.0.1:{port}")
            async with Client(cluster) as client:
                assert await client.get(NODES, "a") == OK
        assert asked[0].startswith(b"CONNECT localhost:")
        assert b"Proxy-Authorization: Basic dXNlcjp3b3Jk" in asked[0]

    asyncio.run(scenario())


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


def test_requests_say_who_and_what() -> None:
    found = Credentials(impersonation=Impersonation("robot", groups=("a", "b")))

    async def scenario() -> None:
        async with serving(answering(), found) as recorded, Client(recorded.cluster, field_manager="me") as client:
            await client.apply(PODS, "a", {"x": 1}, "b", force=True, dry_run=True, subresource="status")
            await client.patch(PODS, "a", b"[]", "b", kind=Patch.JSON)
            await client.delete(PODS, "a", "b", uid="u", resource_version="7", grace_seconds=0, propagation="Orphan")
            await client.bind("a", "b", "node", uid="u", annotations={"k": "v"})
            await client.get(Resource("g", "v1", "things", "Thing", namespaced=False), "sys:a/b", "ignored")
            first, second, third, fourth, fifth = recorded.requests
            assert first.path == "/api/v1/namespaces/b/pods/a/status"
            assert dict(first.query) == {"fieldManager": "me", "dryRun": "All", "force": "true"}
            assert first.headers["Content-Type"] == "application/apply-patch+yaml"
            assert first.headers.getall("Impersonate-Group") == ["a", "b"]
            assert first.headers["User-Agent"].startswith("neaptide/")
            assert second.headers["Content-Type"] == "application/json-patch+json"
            assert json.loads(await third.read()) == {
                "preconditions": {"uid": "u", "resourceVersion": "7"},
                "propagationPolicy": "Orphan",
                "gracePeriodSeconds": 0,
            }
            assert json.loads(await fourth.read())["metadata"] == {
                "name": "a",
                "namespace": "b",
                "uid": "u",
                "annotations": {"k": "v"},
            }
            assert fifth.rel_url.raw_path == "/apis/g/v1/things/sys%3Aa%2Fb"

    asyncio.run(scenario())


class Allowance:
    """A guard that allows as many seconds as it is told, one after the other."""

    def __init__(self, *seconds: float) -> None:
        self._seconds = list(seconds)

    def allowance(self) -> float:
        return self._seconds.pop(0) if len(self._seconds) > 1 else self._seconds[0]


def test_a_guarded_request_is_not_sent_without_the_lease() -> None:
    async def scenario() -> None:
        async with serving(answering()) as recorded, Client(recorded.cluster) as client:
            with pytest.raises(errors.LeaseLost):
                await client.guarded_by(Allowance(0)).create(PODS, {}, "b")
            assert not recorded.requests
            assert await client.create(PODS, {}, "b") == OK

    asyncio.run(scenario())


def test_a_guarded_request_is_not_tried_again_without_the_lease() -> None:
    limits = [status(429, "TooManyRequests", "slow down") for _ in range(4)]

    async def scenario() -> None:
        async with serving(answering(*limits)) as recorded, Client(recorded.cluster) as client:
            with pytest.raises(errors.LeaseLost):
                await client.guarded_by(Allowance(5, 5, 5, 0)).create(PODS, {}, "b")
            assert len(recorded.requests) == 2

    asyncio.run(scenario())


def test_a_guarded_request_ends_with_the_lease() -> None:
    async def silent(_: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    async def scenario() -> None:
        async with serving(silent) as recorded, Client(recorded.cluster) as client:
            with pytest.raises(errors.DeadlineExceeded, match=r"within 0\.1 s"):
                await client.guarded_by(Allowance(0.1)).create(PODS, {}, "b")

    asyncio.run(scenario())


def test_requests_beyond_the_burst_keep_to_the_rate() -> None:
    async def scenario() -> list[float]:
        bucket, begin, times = TokenBucket(100, 5), time.monotonic(), []
        for _ in range(15):
            await bucket.take()
            times.append(time.monotonic() - begin)
        return times

    times = asyncio.run(scenario())
    assert all(each >= (number - 5) / 100 for number, each in enumerate(times, 1))


def test_pauses_double_with_jitter_up_to_the_longest() -> None:
    most, least = Backoff(1, 8, draw=lambda: 1.0), Backoff(1, 8, draw=lambda: 0.0)
    assert [most.next() for _ in range(6)] == [1, 2, 4, 8, 8, 8]
    assert [least.next() for _ in range(6)] == [0.5, 1, 2, 4, 4, 4]
    most.reset()
    assert most.next() == 1
