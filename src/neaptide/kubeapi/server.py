"""A TLS server whose certificate can be exchanged while it serves: starlette's applications on uvicorn and httptools."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from neaptide.kubeapi.keys import Keys
from neaptide.kubeapi.tls import load_chain

_BACKLOG = 2048


class TlsServer:
    """Serves an application between `async with` and its end; on uvloop, where the process runs that loop.

    Args:
        app: a starlette application, or any other of ASGI.
        keys: its first certificate.
        host: address to listen on.
        port: 0 for one that is free; `port` says which.
        grace: seconds that requests under way have to end when the server stops.
    """

    def __init__(self, app: ASGIApp, keys: Keys, *, host: str = "0.0.0.0", port: int = 8443, grace: int = 10) -> None:  # noqa: S104 - a pod's address
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.set_alpn_protocols(["http/1.1"])
        self.exchange(keys)
        self._socket = _listening(host, port)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            ssl_context_factory=lambda _config, _default: self._context,
            timeout_graceful_shutdown=grace,
        )
        self._server = _Server(config)
        self._serving: asyncio.Task[None] | None = None

    def exchange(self, keys: Keys) -> None:
        """Show another certificate on connections from now on; those that are open stay. Raises ssl.SSLError, and keeps the old one."""
        load_chain(
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), keys.certificate, keys.key
        )  # a pair that does not fit would half replace the old one
        load_chain(self._context, keys.certificate, keys.key)

    async def __aenter__(self) -> Self:
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started:
            if self._serving.done():
                await self._serving
                raise RuntimeError("the server ended before it had begun")
            await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Take no more connections, and let requests under way end within `grace`."""
        self._server.should_exit = True
        if self._serving:
            await self._serving

    async def ended(self) -> None:
        """Wait until the server ends, and raise what ended it."""
        if self._serving:
            await asyncio.shield(self._serving)


class _Server(uvicorn.Server):
    """Leaves signals to the process that it is a part of."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listening(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(_BACKLOG)
        found.setblocking(False)
    except OSError:
        found.close()
        raise
    return found
