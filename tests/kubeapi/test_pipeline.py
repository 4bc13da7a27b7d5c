"""Many requests under way on few connections: each gets its own answer, whatever happens to the others."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine

import pytest
import uvloop
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.kubeapi.recorded import reset, serving

from neaptide.kubeapi import errors
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import Cluster
from neaptide.kubeapi.resources import NODES, PODS

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
piped = functools.partial(Client, pipelined=3, qps=10_000, burst=10_000)


async def named(request: web.BaseRequest) -> web.StreamResponse:
    """Say what was asked for, in chunks where the name asks for that."""
    name = request.path.rpartition("/")[2].encode()
    if not name.startswith(b"chunked"):
        return web.Response(body=name)
    response = web.StreamResponse()
    await response.prepare(request)
    for letter in name:
        await response.write(bytes([letter]))
    return response


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(["chunked", "whole"]), min_size=1, max_size=60))
def test_each_request_gets_its_own_answer(kinds: list[str]) -> None:
    names = [f"{kind}-{number}" for number, kind in enumerate(kinds)]

    async def scenario() -> list[bytes]:
        async with serving(named) as recorded, piped(recorded.cluster) as client:
            found = await asyncio.gather(*(client.get(NODES, each) for each in names))
            assert len({id(each.transport) for each in recorded.requests}) <= 3
            return found

    assert asyncio.run(scenario()) == [each.encode() for each in names]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_broken_connection_loses_what_is_under_way_on_it_and_nothing_else(
    run: Callable[[Coroutine[None, None, None]], None],
) -> None:
    async def breaking(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("breaks"):
            reset(request)
        return await named(request)

    async def scenario() -> None:
        async with serving(breaking) as recorded, piped(recorded.cluster) as client:
            names = [f"pod-{number}" if number != 20 else "breaks" for number in range(60)]
            found = await asyncio.gather(
                *(client.create(PODS, {}, "a", name=each) for each in names), return_exceptions=True
            )
            for name, answer in zip(names, found, strict=True):
                assert answer == name.encode() or isinstance(answer, errors.ConnectionLost)
            lost = sum(isinstance(each, errors.ConnectionLost) for each in found)
            assert 1 <= lost < 60
            assert await client.create(PODS, {}, "a", name="after") == b"after"

    run(scenario())


def test_a_server_that_closes_after_an_answer_is_asked_on_another_connection() -> None:
    peers = set()

    async def closing(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport
        peers.add(request.transport.get_extra_info("peername"))
        answer = await named(request)
        answer.force_close()
        return answer

    async def scenario() -> None:
        async with serving(closing) as recorded, piped(recorded.cluster) as client:
            for number in range(5):
                assert await client.create(PODS, {}, "a", name=f"pod-{number}") == f"pod-{number}".encode()
            assert len(peers) == 5

    asyncio.run(scenario())


def test_one_that_is_not_answered_in_time_takes_its_connection_along() -> None:
    async def silent(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("silent"):
            await asyncio.sleep(30)
        return await named(request)

    async def scenario() -> None:
        async with serving(silent) as recorded, piped(recorded.cluster) as client:
            with pytest.raises(errors.DeadlineExceeded):
                await client.raw("POST", PODS.path("a", "silent"), timeout=0.3)
            for number in range(10):
                assert await client.create(PODS, {}, "a", name=f"pod-{number}") == f"pod-{number}".encode()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 banana\r\n\r\n", b"\x16\x03\x01", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 2]
)
def test_what_is_no_answer_ends_the_connection_with_an_error(said: bytes) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            writer.write(said)
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(babble, "127.0.0.1", 0)
        async with server:
            cluster = Cluster(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            async with piped(cluster) as client:
                answers = await asyncio.gather(
                    *(client.create(PODS, {}, "a", name="x") for _ in range(3)), return_exceptions=True
                )
                assert all(each == b"" or isinstance(each, errors.ConnectionLost) for each in answers)

    asyncio.run(scenario())
