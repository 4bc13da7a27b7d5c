"""The TLS server: its certificate changes while it serves, and requests under way end before it does."""

import asyncio
import socket
import ssl
import time

import aiohttp
import msgspec
import pytest
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from neaptide.kubeapi.keys import Keys, renewed
from neaptide.kubeapi.secret import Secret
from neaptide.kubeapi.server import TlsServer


def made() -> Keys:
    found = renewed(None, ["localhost"], time.time())
    assert found
    return found


async def _slow(_: Request) -> PlainTextResponse:
    await asyncio.sleep(0.3)
    return PlainTextResponse("done")


async def _quick(_: Request) -> PlainTextResponse:
    return PlainTextResponse("done")


APP = Starlette(routes=[Route("/slow", _slow), Route("/quick", _quick)])


async def asked(server: TlsServer, keys: Keys, path: str = "/quick") -> str:
    context = ssl.create_default_context(cadata=keys.bundle.decode())
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"https://localhost:{server.port}{path}", ssl=context) as answer,
    ):
        return await answer.text()


def test_the_certificate_is_exchanged_while_it_serves() -> None:
    async def scenario() -> None:
        first, second = made(), made()
        async with TlsServer(APP, first, host="127.0.0.1", port=0) as server:
            under_way = asyncio.create_task(asked(server, first, "/slow"))
            await asyncio.sleep(0.1)
            server.exchange(second)
            assert await asked(server, second) == "done"
            assert await under_way == "done"
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await asked(server, first)

    uvloop.run(scenario())


def test_a_pair_that_does_not_fit_is_refused_and_the_old_one_stays() -> None:
    async def scenario() -> None:
        keys = made()
        async with TlsServer(APP, keys, host="127.0.0.1", port=0) as server:
            for wrong in (made().key, Secret(b"nothing")):
                with pytest.raises(ssl.SSLError):
                    server.exchange(msgspec.structs.replace(keys, key=wrong))
            assert await asked(server, keys) == "done"

    asyncio.run(scenario())


def test_a_request_under_way_ends_before_the_server_does_and_no_other_begins() -> None:
    async def scenario() -> None:
        keys = made()
        async with TlsServer(APP, keys, host="127.0.0.1", port=0) as server:
            under_way = asyncio.create_task(asked(server, keys, "/slow"))
            await asyncio.sleep(0.1)
        assert await under_way == "done"
        with pytest.raises(aiohttp.ClientConnectorError):
            await asked(server, keys)

    asyncio.run(scenario())


def test_a_port_that_is_taken_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        TlsServer(APP, made(), host="127.0.0.1", port=taken.getsockname()[1])
