"""Small writes, thousands a second: HTTP/1.1 over few connections, with many requests under way on each.

What a binding costs its sender is mostly its HTTP client. aiohttp wants a connection for each request under way and takes 0.3 ms of CPU for
one; this takes a fifth of that, for requests that become ready together go out in one piece, and answers are read by httptools' parser. It is for
short requests of one kind: answers come in the order of the requests, so that a slow one keeps those behind it waiting.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

import httptools

_IDLE = 30.0  # seconds after which a connection is not used again: API servers close those that rest for 90
_CONNECT_WITHIN = 10.0
_SLOW, _MORE = 0.1, 6
"""Seconds after which an answer is slow, and how many times as many connections there may be then."""


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    body: bytes
    retry_after: str | None = None


class NotSentError(ConnectionError):
    """No connection could be had: nothing was sent."""


class Pipeline:
    """Connections to one server.

    Args:
        server: its URL; a path in it is the caller's to put before each request's.
        connections: at most so many, opened as they are needed; six times as many where answers take longer than 0.1 s.
        user_agent: how this program calls itself.
    """

    def __init__(self, server: str, *, connections: int, user_agent: str) -> None:
        self._at: SplitResult = urlsplit(server)
        self._most, self._host = connections, self._at.netloc.rpartition("@")[2]
        self._constant = f"Host: {self._host}\r\nUser-Agent: {user_agent}\r\nAccept-Encoding: identity\r\n"
        self._open: list[_Connection] = []
        self._opening: set[asyncio.Task[None]] = set()

    async def send(
        self, method: str, target: str, headers: str, body: bytes | None, *, context: ssl.SSLContext, server_name: str
    ) -> Answer:
        """The answer to one request.

        Args:
            method: of HTTP.
            target: path and query, encoded.
            headers: lines that end with CRLF; host, agent and length are added.
            body: of the request.
            context: of the connection; one with another context is not used.
            server_name: whom the certificate must be for, where that is not the URL's host.

        Raises:
            NotSentError: there is no connection.
            ConnectionError: the connection broke before the whole answer was there.
        """
        connection = self._best(context)
        if connection is None or (connection.depth and len(self._open) < self._allowed(connection)):
            connection = self._another(context, server_name)
        length = "" if body is None else f"Content-Length: {len(body)}\r\n"
        head = f"{method} {target} HTTP/1.1\r\n{self._constant}{headers}{length}\r\n".encode("latin-1")
        return await connection.ask(head + body if body else head)

    async def close(self) -> None:
        """Close all connections; what is under way is lost."""
        for each in tuple(self._open):
            each.abort("closed")
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)

    def _allowed(self, best: "_Connection") -> int:
        """How many connections there may be: more where the server takes long, so that answers wait less for each other."""
        return self._most * (_MORE if best.waited() > _SLOW else 1)

    def _best(self, context: ssl.SSLContext) -> "_Connection | None":
        """The usable connection with the least to do; those that have rested too long, or show who we were before, are closed."""
        now, best = asyncio.get_running_loop().time(), None
        for each in tuple(self._open):
            if each.context is not context or (not each.depth and now > each.used + _IDLE):
                each.finish()
                self._open.remove(each)
            elif best is None or each.depth < best.depth:
                best = each
        return best

    def _another(self, context: ssl.SSLContext, server_name: str) -> "_Connection":
        """A new connection. It takes requests at once and sends them when it is there, so that a burst opens all that it needs side by side."""
        connection = _Connection(context, self._gone)
        self._open.append(connection)
        task = asyncio.create_task(self._connect(connection, server_name))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return connection

    async def _connect(self, connection: "_Connection", server_name: str) -> None:
        secure, host = self._at.scheme == "https", self._at.hostname or ""
        try:
            async with asyncio.timeout(_CONNECT_WITHIN):
                await asyncio.get_running_loop().create_connection(
                    lambda: connection,
                    host,
                    self._at.port or (443 if secure else 80),
                    ssl=connection.context if secure else None,
                    server_hostname=(server_name or host) if secure else None,
                )
        except (OSError, TimeoutError) as error:
            connection.lose(NotSentError(f"no connection to {self._host}: {error or type(error).__name__}"))

    def _gone(self, connection: "_Connection") -> None:
        if connection in self._open:
            self._open.remove(connection)


class _Connection(asyncio.Protocol):
    """One connection, its requests in their order, and the parser of what comes back."""

    def __init__(self, context: ssl.SSLContext, gone: Callable[["_Connection"], None]) -> None:
        self.context, self._gone = context, gone
        self._loop = asyncio.get_running_loop()
        self.used = self._since = self._loop.time()
        self._asked: deque[asyncio.Future[Answer]] = deque()
        self._parser = httptools.HttpResponseParser(self)
        self._unsent: list[bytes] = []
        self._body: list[bytes] = []
        self._retry_after: str | None = None
        self._transport: asyncio.Transport | None = None
        self._lost: ConnectionError | None = None

    @property
    def depth(self) -> int:
        """How many requests are under way."""
        return len(self._asked)

    def waited(self) -> float:
        """Seconds for which the next answer is awaited."""
        return self._loop.time() - self._since if self._asked else 0.0

    def ask(self, request: bytes) -> Awaitable[Answer]:
        """Send a request together with others that are ready now. Whoever stops waiting for its answer leaves the connection unusable."""
        answer: asyncio.Future[Answer] = self._loop.create_future()
        if self._lost is not None:
            answer.set_exception(self._lost)
            return answer
        answer.add_done_callback(self._left)
        if not self._asked:
            self._since = self._loop.time()
        self._asked.append(answer)
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(request)
        return answer

    def finish(self) -> None:
        """Close once what is under way is answered."""
        if not self._asked and self._transport is not None:
            self._transport.close()

    def abort(self, reason: str) -> None:
        """Close now; what is under way is lost."""
        self.lose(ConnectionResetError(reason))
        if self._transport is not None:
            self._transport.abort()

    def lose(self, error: ConnectionError) -> None:
        """Give up: whoever waits for an answer gets the error."""
        if self._lost is not None:
            return
        self._lost = error
        self._gone(self)
        asked, self._asked = self._asked, deque()
        for each in asked:
            if not each.done():
                each.set_exception(error)

    # -- asyncio.Protocol ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # of a stream
        if self._lost is not None:  # meanwhile
            self.abort("closed")
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.abort(f"no answer of HTTP: {error}")

    def eof_received(self) -> None:
        self.lose(ConnectionResetError("the server has closed the connection"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lose(ConnectionResetError(str(exc) if exc else "the server has closed the connection"))

    # -- httptools -----------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._body, self._retry_after = [], None

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == 11 and name.lower() == b"retry-after":
            self._retry_after = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # "100 Continue" and its like come before the answer
            return
        if not self._asked:
            self.abort("an answer that nobody asked for")
            return
        answer = self._asked.popleft()
        self.used = self._since = self._loop.time()
        if not answer.done():
            answer.set_result(Answer(status, b"".join(self._body), self._retry_after))
        if not self._parser.should_keep_alive():
            self.lose(ConnectionResetError("the server closes the connection"))
            if self._transport is not None:
                self._transport.close()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Send what is ready; before the connection is there it waits."""
        if self._transport is None:
            return
        if self._unsent and not self._transport.is_closing():
            self._transport.write(b"".join(self._unsent))
        self._unsent = []

    def _left(self, answer: "asyncio.Future[Answer]") -> None:
        """An answer was waited for too long: what follows it on this connection may wait as long, and is better sent elsewhere."""
        if answer.cancelled() and answer in self._asked:
            self.abort("an answer before this one did not come in time")
