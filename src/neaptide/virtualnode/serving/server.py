"""The TLS server of a kubelet. Its connections can be taken over, for exec, attach and port-forward are upgraded ones: so it is h11 on plain streams."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any, Self

import h11
import structlog

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.errors import ApiError
from neaptide.kubeapi.keys import Keys, renewed
from neaptide.kubeapi.tls import load_chain
from neaptide.virtualnode.serving.access import Access, client_authority
from neaptide.virtualnode.serving.routes import Answer, Routes
from neaptide.virtualnode.serving.tunnel import tunnel

_CHUNK = 1 << 16
_HEAD_WITHIN = 300.0
_GOODBYE_WITHIN = 1.0
"""Seconds for a client's close_notify: asyncio's 30 would be what a process takes to end while a client does not answer."""
_RENEW_EVERY = 3600.0


class KubeletServer:
    """Listens between `async with` and its end. `open` it once its routes are known.

    Args:
        host, port: where; port 0 for one that is free, and `port` says which.
        names: names and addresses that its certificate is for, signed by an authority of its own as a kubelet's is by default.
    """

    def __init__(self, *, host: str, port: int, names: tuple[str, ...]) -> None:
        self._host, self.port, self._names = host, port, names
        self._keys = self._renewed(None)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.set_alpn_protocols(["http/1.1"])
        load_chain(self._context, self._keys.certificate, self._keys.key)
        self._routes: Routes | None = None
        self._access: Access | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept,
            self._host,
            self.port,
            ssl=self._context,
            backlog=512,
            ssl_shutdown_timeout=_GOODBYE_WITHIN,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def run(self, client: Client, routes: Routes, node: str) -> None:
        """Answer, until cancelled; certificate and trusted authority are kept up to date. Until the authority is known, only tokens are."""
        self._routes, self._access = routes, Access(client, node)
        trusted = b""
        while True:
            try:
                found = await client_authority(client)
                if found != trusted:
                    self._context.load_verify_locations(cadata=found.decode())
                    self._context.verify_mode = ssl.CERT_OPTIONAL
                    trusted = found
            except (ApiError, KeyError, ssl.SSLError, ValueError) as error:
                structlog.get_logger().warning("the authority of clients is not known", node=node, reason=str(error))
            self._keys = self._renewed(self._keys)
            load_chain(self._context, self._keys.certificate, self._keys.key)
            await asyncio.sleep(_RENEW_EVERY if trusted else 5.0)

    def _renewed(self, keys: Keys | None) -> Keys:
        found = renewed(keys, self._names, time.time()) or keys
        assert found is not None  # noqa: S101 - what is not renewed is there
        return found

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a callback of streams is a task
        self._connections.add(task)
        try:
            await _Conversation(reader, writer, self._routes, self._access).run()
        except (OSError, TimeoutError, h11.RemoteProtocolError, asyncio.IncompleteReadError):
            pass  # a client that went away, or speaks another language
        except asyncio.CancelledError:
            pass  # the server ends
        except Exception as error:  # noqa: BLE001 - one request must not end the others
            structlog.get_logger().exception("a request to the kubelet failed", error=str(error))
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()


class _Conversation:
    """One connection: requests one after the other, until it is closed or taken over."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        routes: Routes | None,
        access: Access | None,
    ) -> None:
        self._reader, self._writer, self._routes, self._access = reader, writer, routes, access
        self._http = h11.Connection(h11.SERVER)
        self._certificate: Any = writer.get_extra_info("peercert")

    async def run(self) -> None:
        while True:
            request = await self._request()
            if request is None:
                return
            answer = await self._answer(request)
            if answer is None:
                return
            await self._send(answer)
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _request(self) -> h11.Request | None:
        """The next request, its body dropped; None where the client is done."""
        request: h11.Request | None = None
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                async with asyncio.timeout(_HEAD_WITHIN):
                    self._http.receive_data(await self._reader.read(_CHUNK))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.EndOfMessage) or event is h11.PAUSED:
                return request
            elif isinstance(event, h11.ConnectionClosed):
                return None

    async def _answer(self, request: h11.Request) -> Answer | None:
        """What to send; None where the connection was led elsewhere."""
        method, target = request.method.decode(), request.target.decode()
        refused = await self._refused(request, method, target)
        if refused is not None:
            return refused
        assert self._routes is not None  # noqa: S101 - _refused has looked
        found = await self._routes.answer(target)
        if isinstance(found, Answer):
            return found
        early, _ = self._http.trailing_data
        try:
            headers = list(request.headers.raw_items())
            await tunnel(self._reader, self._writer, found, method=method, headers=headers, early=bytes(early))
        except (OSError, TimeoutError) as error:
            return Answer(502, f"the provider's streaming server cannot be reached: {error}\n".encode())
        return None

    async def _refused(self, request: h11.Request, method: str, target: str) -> Answer | None:
        if self._routes is None or self._access is None:
            return Answer(503, b"the kubelet is starting\n")
        authorization = next((value for name, value in request.headers if name == b"authorization"), b"")
        path = target.partition("?")[0]
        try:
            user = await self._access.user(self._certificate, authorization.decode("latin-1"))
            if user is None:
                return Answer(401, b"Unauthorized\n")
            if not await self._access.may(user, method, path):
                return Answer(403, f"Forbidden (user={user.name}, {method} {path})\n".encode())
        except ApiError as error:
            return Answer(503, f"whether this is allowed cannot be asked: {error}\n".encode())
        return None

    async def _send(self, answer: Answer) -> None:
        headers = [("Content-Type", answer.content_type)]
        if answer.chunks is None:
            headers.append(("Content-Length", str(len(answer.body))))
        else:
            headers.append(("Transfer-Encoding", "chunked"))
        self._write(h11.Response(status_code=answer.status, headers=headers))
        async for chunk in _chunks(answer):
            self._write(h11.Data(data=chunk))
            await self._writer.drain()
        self._write(h11.EndOfMessage())
        await self._writer.drain()

    def _write(self, event: Any) -> None:  # noqa: ANN401 - an event of h11
        self._writer.write(self._http.send(event) or b"")


async def _chunks(answer: Answer) -> AsyncIterator[bytes]:
    if answer.chunks is None:
        yield answer.body
        return
    async for chunk in answer.chunks:
        yield chunk
