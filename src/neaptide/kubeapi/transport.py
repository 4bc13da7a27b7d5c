"""One request after another over one pool of connections: identity, rate, deadline, what may be tried again."""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol, Self
from urllib.parse import urlencode, urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from neaptide import __version__
from neaptide.kubeapi import errors
from neaptide.kubeapi.config import Cluster
from neaptide.kubeapi.credentials import Identities, Identity
from neaptide.kubeapi.pace import Backoff, TokenBucket
from neaptide.kubeapi.pipeline import Answer, NotSentError, Pipeline
from neaptide.kubeapi.tls import Trust, client_context, trust

_log = logging.getLogger(__name__)
_warned: set[str] = set()
_CLOSING = 0.05  # seconds
_CONNECT_WITHIN = 10.0
_TRIES_WHEN_LOST = 4
_AGENT = f"neaptide/{__version__}"


class Guard(Protocol):
    """Says before each request whether it may be sent, and within how many seconds it must be answered."""

    def allowance(self) -> float: ...


class Call(NamedTuple):
    """One request."""

    method: str
    path: str
    query: Mapping[str, str] = {}
    body: bytes | None = None
    content_type: str = "application/json"
    accept: str = "application/json"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Transport:
    """The connections to one API server.

    Args:
        cluster: where and as whom.
        bucket: how fast.
        pipelined: send requests over at most so many connections, many under way on each (pipeline.py); 0 for a connection each. Behind a proxy it
            is always one each.
    """

    def __init__(self, cluster: Cluster, bucket: TokenBucket, *, pipelined: int = 0) -> None:
        self._cluster, self._bucket = cluster, bucket
        self._pipeline = (
            Pipeline(cluster.server, connections=pipelined, user_agent=_AGENT)
            if pipelined and not cluster.proxy
            else None
        )
        self._base = urlsplit(cluster.server).path
        self._identities = Identities(cluster.credentials)
        self._identity: Identity | None = None
        self._trust: Trust | None = None
        self._context: ssl.SSLContext | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        if self._cluster.tls.insecure and self._cluster.server not in _warned:
            _warned.add(self._cluster.server)
            _log.warning(
                "%s: insecure-skip-tls-verify is set: whoever answers is believed to be the API server",
                self._cluster.server,
            )
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_WITHIN),
            headers={"User-Agent": _AGENT},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pipeline:
            await self._pipeline.close()
        if self._session:
            await self._session.close()
            await asyncio.sleep(_CLOSING)  # what was closed in mid-stream is gone only after the loop has turned

    async def send(self, call: Call, *, timeout: float, guard: Guard | None) -> bytes:  # noqa: ASYNC109 - a deadline for all tries
        """The answer's body. Raises ApiError."""
        seconds = _allowed(call, timeout, guard)
        refused: list[errors.ApiError] = []
        try:
            async with asyncio.timeout(seconds):
                return await self._tried(call, guard, asyncio.get_running_loop().time() + seconds, refused)
        except TimeoutError as error:
            raise _late(call, seconds, refused) from error

    @asynccontextmanager
    async def stream(self, call: Call, *, timeout: float) -> AsyncIterator[aiohttp.StreamReader]:  # noqa: ASYNC109 - until the answer begins
        """The body as it comes. Raises ApiError; what breaks while it is read is raised as ConnectionLost."""
        try:
            async with asyncio.timeout(timeout):
                await self._bucket.take()
                response = await self._answer(call)
        except TimeoutError as error:
            raise _late(call, timeout, ()) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _lost(call, error) from error
        try:
            yield response.content
        except (aiohttp.ClientError, OSError) as error:
            raise _lost(call, error) from error
        finally:
            response.close()

    async def access(self) -> tuple[dict[str, str], ssl.SSLContext]:
        """The headers and the TLS context of the identity of now."""
        identity = await self._identities.current()
        return dict(identity.headers), self._tls(identity)

    async def _tried(self, call: Call, guard: Guard | None, due: float, refused: list[errors.ApiError]) -> bytes:
        """Try until it is answered, must not be tried again, or would not be before `due` in loop time; how the tries ended goes to `refused`."""
        failed: errors.ApiError
        backoff, lost = Backoff(0.1, 10.0), 0
        while True:
            await self._bucket.take()
            _allowed(call, 0, guard)
            try:
                if self._pipeline is not None:
                    return await self._piped(self._pipeline, call)
                response = await self._answer(call)
                try:
                    return await response.read()
                finally:
                    response.release()
            except errors.ApiError as error:
                failed, pause = error, _pause(error, backoff)
            except (aiohttp.ClientError, OSError) as error:
                lost += 1
                failed, pause = _lost(call, error), backoff.next()
                if lost == _TRIES_WHEN_LOST or not _may_repeat(call, error):
                    raise failed from error
            if asyncio.get_running_loop().time() + pause >= due:
                raise failed
            refused.append(failed)
            await asyncio.sleep(pause)

    async def _answer(self, call: Call) -> aiohttp.ClientResponse:
        """A successful answer whose body is still to be read; an identity that is refused is found anew once."""
        identity = await self._identities.current()
        response = await self._asked(call, identity)
        if response.status == 401 and self._identities.can_change:
            renewed = await self._identities.current(refused=identity)
            if renewed != identity:
                response.release()
                response = await self._asked(call, renewed)
        if response.status < 300:
            return response
        body = await response.read()
        raise errors.from_answer(
            response.status, body, retry_after=response.headers.get("Retry-After"), request=str(call)
        )

    async def _piped(self, pipeline: Pipeline, call: Call) -> bytes:
        """As `_answer`, with its body, over connections that are shared."""
        identity = await self._identities.current()
        answer = await self._pipe(pipeline, call, identity)
        if answer.status == 401 and self._identities.can_change:
            renewed = await self._identities.current(refused=identity)
            if renewed != identity:
                answer = await self._pipe(pipeline, call, renewed)
        if answer.status < 300:
            return answer.body
        raise errors.from_answer(answer.status, answer.body, retry_after=answer.retry_after, request=str(call))

    async def _pipe(self, pipeline: Pipeline, call: Call, identity: Identity) -> Answer:
        headers = "".join(f"{name}: {value}\r\n" for name, value in identity.headers)
        headers += f"Accept: {call.accept}\r\n"
        if call.body is not None:
            headers += f"Content-Type: {call.content_type}\r\n"
        query = f"?{urlencode(call.query)}" if call.query else ""
        return await pipeline.send(
            call.method,
            self._base + call.path + query,
            headers,
            call.body,
            context=self._tls(identity),
            server_name=self._cluster.tls.server_name,
        )

    async def _asked(self, call: Call, identity: Identity) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("the client is used outside of `async with`")
        headers = CIMultiDict(identity.headers)
        headers["Accept"] = call.accept
        headers["Accept-Encoding"] = "gzip" if self._cluster.compress else "identity"
        if call.body is not None:
            headers["Content-Type"] = call.content_type
        query = f"?{urlencode(call.query)}" if call.query else ""
        return await self._session.request(
            call.method,
            URL(self._cluster.server + call.path + query, encoded=True),
            data=call.body,
            headers=headers,
            ssl=self._tls(identity),
            server_hostname=self._cluster.tls.server_name or None,
            proxy=self._cluster.proxy or None,
            allow_redirects=False,
        )

    def _tls(self, identity: Identity) -> ssl.SSLContext:
        """The context for an identity. One is made anew only where certificates changed, for connections of the old one are not used again."""
        if self._identity is not identity or self._context is None:
            found = trust(self._cluster.tls, identity)
            if self._context is None or found != self._trust:
                self._context = client_context(found, insecure=self._cluster.tls.insecure)
            self._identity, self._trust = identity, found
        return self._context


def _allowed(call: Call, timeout: float, guard: Guard | None) -> float:
    """Seconds for the request. Raises LeaseLost."""
    if guard is None:
        return timeout
    allowance = guard.allowance()
    if allowance <= 0:
        raise errors.LeaseLost(0, "LeaseLost", "not sent: the lease is not held, or about to end", request=str(call))
    return min(timeout, allowance)


def _pause(error: errors.ApiError, backoff: Backoff) -> float:
    """Seconds until a refused request is tried again; raises the error where it must not be.

    A 429 or an answer with Retry-After says that nothing was done. A disruption budget is for the caller to wait for.
    """
    if isinstance(error, errors.DisruptionBudgetExceeded):
        raise error
    if error.retry_after is not None and (error.status == 429 or error.status >= 500):
        return max(error.retry_after, backoff.next())
    if isinstance(error, errors.RateLimited):
        return backoff.next()
    raise error


def _may_repeat(call: Call, error: Exception) -> bool:
    """Whether a lost request changes nothing when sent again: it was never sent, or only reads."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorDNSError):
        return False
    if isinstance(error, NotSentError):
        return not isinstance(error.__cause__, ssl.SSLCertVerificationError | socket.gaierror)
    return call.method == "GET" or isinstance(error, aiohttp.ClientConnectorError)


def _lost(call: Call, error: Exception) -> errors.ConnectionLost:
    return errors.ConnectionLost(0, "ConnectionLost", str(error) or type(error).__name__, request=str(call))


def _late(call: Call, seconds: float, refused: Sequence[errors.ApiError]) -> errors.DeadlineExceeded:
    """What the server said to the try before the one that got no answer is part of the message."""
    told = f"; the try before it ended so: {refused[-1]}" if refused else ""
    return errors.DeadlineExceeded(0, "DeadlineExceeded", f"no answer within {seconds:g} s{told}", request=str(call))
