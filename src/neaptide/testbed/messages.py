"""Requests of HTTP/1.1 as they come off a connection: their heads, and where each ends."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

_CHUNK = 64 * 1024


class UnreadableError(Exception):
    """What came is no request."""


class Request(NamedTuple):
    """The head of a request; `target` is the path with its query."""

    method: str
    target: str
    headers: list[tuple[str, str]]

    def header(self, name: str) -> str:
        """The value of a header in lower case; empty where there is none."""
        return next((value.lower() for key, value in self.headers if key.lower() == name), "")

    @property
    def upgrades(self) -> bool:
        """Whether the connection is another protocol's from here on."""
        return "upgrade" in self.header("connection")

    def encoded(self, identity: Sequence[tuple[str, str]]) -> bytes:
        """The head as it goes on: nobody but the proxy says as whom the client came."""
        own = [(name, value) for name, value in self.headers if not name.lower().startswith("x-remote-")]
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in [*own, *identity])]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def next_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request's head; None where the connection ends instead.

    Raises:
        UnreadableError: it is none.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise UnreadableError("a head was begun and not ended") from error
        return None
    except asyncio.LimitOverrunError as error:
        raise UnreadableError("the head is too large") from error
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3:
        raise UnreadableError(f"no request begins with {first!r}")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return Request(words[0], words[1], headers)


async def body_of(request: Request, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """What follows the head, as it stands on the wire.

    Raises:
        UnreadableError: its length cannot be told.
    """
    if request.header("transfer-encoding") == "chunked":
        async for part in _chunks(reader):
            yield part
        return
    left = _number(request.header("content-length") or "0", 10)
    while left > 0:
        part = await reader.read(min(left, _CHUNK))
        if not part:
            raise UnreadableError("a body was begun and not ended")
        left -= len(part)
        yield part


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    size = -1
    while size != 0:
        line = await reader.readuntil(b"\r\n")
        size = _number(line.split(b";")[0].decode("latin-1").strip(), 16)
        yield line
        if size:
            yield await reader.readexactly(size + 2)
    while line != b"\r\n":  # trailers, then an empty line
        line = await reader.readuntil(b"\r\n")
        yield line


def _number(text: str, base: int) -> int:
    try:
        return int(text, base)
    except ValueError as error:
        raise UnreadableError(f"{text!r} is no length") from error
