"""A proxy before the API server that makes faults: it ends TLS, speaks HTTP/1.1 and hands on as whom the client came.

A client certificate is handed on as an authenticating proxy does, by the X-Remote headers that the API server takes from the holder of the
front-proxy certificate; a bearer token goes through as it is.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

from neaptide.testbed.components import Site
from neaptide.testbed.errors import TestbedError
from neaptide.testbed.faults import NO_FAULT, Cutter, Fault, Faults, answer
from neaptide.testbed.files import ADMIN, kubeconfig, write_private
from neaptide.testbed.messages import Request, UnreadableError, body_of, next_request

_CHUNK = 64 * 1024
_SLICES = 20  # a second, of a throttled answer
_LARGEST_HEAD = 1024 * 1024
_LINGER_NOT = struct.pack("ii", 1, 0)  # closing such a socket resets its connection


class Proxy:
    """A proxy that runs within `async with`; its faults may be set at any time and befall the requests that come from then on.

    Args:
        site: of the control plane.
        faults: to begin with.
        port: to listen on at 127.0.0.1; 0: any that is free.
        seed: of the draws that decide by chance.
    """

    def __init__(self, site: Site, faults: Sequence[Fault] = (), *, port: int = 0, seed: int = 1) -> None:
        self._site = site
        self._draws = Random(seed)  # noqa: S311 - which request is struck is no secret
        self._faults = Faults(faults, self._draws)
        self._wanted_port = port
        self._links: dict[_Link, asyncio.Task[None]] = {}
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.struck = 0
        """Requests that a fault has struck."""

    async def __aenter__(self) -> Self:
        try:
            self._server = await asyncio.start_server(
                self._accept, "127.0.0.1", self._wanted_port, ssl=_serving(self._site), limit=_LARGEST_HEAD
            )
        except OSError as error:
            raise TestbedError(f"the proxy cannot listen on port {self._wanted_port}: {error}") from error
        write_private(self.kubeconfig, kubeconfig(self._site, ADMIN, self.address))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kubeconfig.unlink(missing_ok=True)
        self._server.close()
        running = list(self._links.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._server.wait_closed()
        await asyncio.sleep(0)  # sockets close in the loop's next round

    @property
    def address(self) -> str:
        """As kubeconfigs name it."""
        return f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's, through this proxy; it goes when the proxy does."""
        return self._site.directory / f"proxy-{self.address.rsplit(':', 1)[1]}.kubeconfig"

    def set(self, *faults: Fault) -> None:
        """What befalls requests from now on, in place of what did: the first that matches."""
        self._faults = Faults(faults, self._draws)

    def cut(self, *, reset: bool = False) -> int:
        """End every connection that is open, at once; how many there were."""
        links = list(self._links)
        for link in links:
            link.end(reset=reset)
        return len(links)

    def hold(self) -> None:
        """From now on no byte goes back, while connections stay open: so looks a network that loses every packet."""
        self._flowing.clear()

    def release(self) -> None:
        """Bytes go back again, those that were held first."""
        self._flowing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self, reader, writer)
        task = asyncio.current_task()
        if task is None:
            return
        self._links[link] = task
        try:
            await link.run()
        except (OSError, EOFError, UnreadableError, asyncio.CancelledError):
            pass  # the connection is over; whoever is at its other end notices by itself
        finally:
            link.close()
            del self._links[link]

    def strike(self, request: Request) -> Fault:
        """What befalls a request."""
        fault = self._faults.strike(request.method, request.target)
        self.struck += fault is not None
        return fault or NO_FAULT

    async def flow(self) -> None:
        """Return when bytes may go back."""
        await self._flowing.wait()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the API server, as the front proxy."""
        port = self._site.ports["kube-apiserver"]
        return await asyncio.open_connection("127.0.0.1", port, ssl=_calling(self._site), limit=_LARGEST_HEAD)


class _Link:
    """One client's connection, and behind it one to the API server, opened for the first request that goes on."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writer = writer
        self._identity = _identity(writer)
        self._onward: asyncio.StreamWriter | None = None
        self._answers: asyncio.Task[None] | None = None
        self._fault = NO_FAULT
        self._cutter = Cutter(NO_FAULT)

    async def run(self) -> None:
        """Hand on request after request, until either side or a fault ends the connection."""
        while request := await next_request(self._reader):
            fault = self._proxy.strike(request)
            await asyncio.sleep(fault.delay)
            if fault.drop:
                self.end(reset=fault.reset)
                return
            if fault.answer is not None:
                await self._answer(request, fault)
                continue
            self._fault, self._cutter = fault, Cutter(fault)
            onward = await self._connected()
            onward.write(request.encoded(self._identity))
            async for part in body_of(request, self._reader):
                onward.write(part)
                await onward.drain()
            if request.upgrades:
                await _copy(self._reader, onward)
                return

    async def _answer(self, request: Request, fault: Fault) -> None:
        async for _ in body_of(request, self._reader):
            pass
        status, headers, body = answer(fault, request.target)
        lines = [f"HTTP/1.1 {status} -", *(f"{name}: {value}" for name, value in headers.items())]
        await self._proxy.flow()
        self._writer.write("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body)
        await self._writer.drain()

    async def _connected(self) -> asyncio.StreamWriter:
        if self._onward is None:
            source, self._onward = await self._proxy.connect()
            self._answers = asyncio.create_task(self._hand_back(source))
        return self._onward

    async def _hand_back(self, source: asyncio.StreamReader) -> None:
        """Hand answers back: there is one request at a time, so what comes answers the last one."""
        with suppress(OSError):
            while data := await source.read(_CHUNK):
                await self._proxy.flow()
                through, cut = self._cutter.let_through(data)
                await self._write(through)
                if cut:
                    self.end(reset=self._fault.reset)
                    return
        if not self._writer.is_closing():  # Python 3.11.2 cannot abort what was closed twice
            self._writer.close()

    async def _write(self, data: bytes) -> None:
        rate = self._fault.bytes_per_second
        step = len(data) if rate is None else max(1, rate // _SLICES)
        for at in range(0, len(data), step or 1):
            self._writer.write(data[at : at + step])
            await self._writer.drain()
            if rate is not None:
                await asyncio.sleep(step / rate)

    def end(self, *, reset: bool) -> None:
        """End the client's connection at once, what was to be written still lost."""
        if reset:
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self._writer.transport.abort()

    def close(self) -> None:
        """Let go of everything."""
        if self._answers:
            self._answers.cancel()
        for writer in (self._writer, self._onward):
            if writer:
                writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()


def _identity(writer: asyncio.StreamWriter) -> list[tuple[str, str]]:
    """The headers that tell as whom a client came, by its certificate; none where it showed none."""
    certificate = writer.get_extra_info("peercert") or {}
    named = [pair for part in certificate.get("subject", ()) for pair in part]
    headers = {"commonName": "X-Remote-User", "organizationName": "X-Remote-Group"}
    return [(headers[field], value) for field, value in named if field in headers]


def _serving(site: Site) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=site.pki("ca.crt"))
    context.load_cert_chain(site.pki("apiserver.crt"), site.pki("apiserver.key"))
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def _calling(site: Site) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=site.pki("ca.crt"))
    context.load_cert_chain(site.pki("front-proxy-client.crt"), site.pki("front-proxy-client.key"))
    context.set_alpn_protocols(["http/1.1"])
    return context
