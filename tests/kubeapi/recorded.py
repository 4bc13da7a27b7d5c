"""A TLS server that answers as it is told, and can break off wherever it is told to."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiohttp import web

from neaptide.kubeapi.config import Cluster, Tls
from neaptide.kubeapi.credentials import Credentials
from neaptide.kubeapi.keys import renewed
from neaptide.kubeapi.secret import Secret
from neaptide.kubeapi.tls import load_chain

KEYS = renewed(None, ["localhost", "127.0.0.1"], time.time())
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Recorded(NamedTuple):
    """A server that runs: as a client sees it, and the requests that it got."""

    cluster: Cluster
    requests: list[web.BaseRequest]

    @property
    def queries(self) -> list[dict[str, str]]:
        return [dict(each.query) for each in self.requests]


@asynccontextmanager
async def serving(handler: Handler, credentials: Credentials = Credentials()) -> AsyncIterator[Recorded]:  # noqa: B008 - frozen
    """Serve every request by `handler`."""
    requests: list[web.BaseRequest] = []

    async def counted(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        requests.append(request)
        return await handler(request)

    runner = web.ServerRunner(web.Server(counted), shutdown_timeout=0.05)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context())
    await site.start()
    try:
        port = runner.addresses[0][1]
        yield Recorded(cluster(port, credentials), requests)
    finally:
        await runner.cleanup()


def server_context() -> ssl.SSLContext:
    assert KEYS
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_chain(context, KEYS.certificate, KEYS.key)
    return context


def cluster(port: int, credentials: Credentials = Credentials()) -> Cluster:  # noqa: B008 - frozen
    assert KEYS
    return Cluster(f"https://localhost:{port}", tls=Tls(Secret(KEYS.bundle)), credentials=credentials)


async def begun(request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    return response


def status(code: int, reason: str = "", message: str = "", **details: object) -> web.Response:
    """A `v1.Status`."""
    body = {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}
    return web.json_response(body, status=code)


def reset(request: web.BaseRequest) -> None:
    """Break the connection off, as a server that was killed does."""
    assert request.transport
    request.transport.abort()


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 180) -> None:
    """Wait for something that other tasks or processes bring about."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.1)
