"""A client's upgraded connection, led on to a streaming server: what they say to each other is theirs, SPDY or WebSocket."""

import asyncio
import contextlib
from collections.abc import Sequence
from urllib.parse import urlsplit

from neaptide.virtualnode.provider import StreamTarget

_CHUNK = 1 << 16
_CONNECT_WITHIN = 10.0
_OWN = ("host", "authorization", "content-length", "transfer-encoding")
"""Headers of the client's request that are between it and us."""

Header = tuple[bytes, bytes]


async def tunnel(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    target: StreamTarget,
    *,
    method: str,
    headers: Sequence[Header],
    early: bytes = b"",
) -> None:
    """Repeat a request to a target, and move bytes both ways until either side ends.

    Args:
        reader: the client, whose request head was read.
        writer: the client.
        target: where the streaming server is.
        method: of the client's request.
        headers: of the client's request.
        early: what the client has sent after its request's head.

    Raises:
        OSError: the target cannot be reached; nothing was sent to the client.
    """
    url = urlsplit(target.url)
    secure = url.scheme == "https"
    port = url.port or (443 if secure else 80)
    async with asyncio.timeout(_CONNECT_WITHIN):
        there_reader, there_writer = await asyncio.open_connection(
            url.hostname, port, ssl=(target.tls or True) if secure else None
        )
    try:
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        there_writer.write(_head(method, path, f"{url.hostname}:{port}", headers, target) + early)
        await there_writer.drain()
        await _both_ways((reader, there_writer), (there_reader, writer))
    finally:
        there_writer.close()
        with contextlib.suppress(OSError):
            await there_writer.wait_closed()


def _head(method: str, path: str, host: str, headers: Sequence[Header], target: StreamTarget) -> bytes:
    replaced = {name.lower() for name in target.headers}
    kept = [
        (name, value)
        for name, value in headers
        if (lower := name.decode("latin-1").lower()) not in _OWN and lower not in replaced
    ]
    lines = [f"{method} {path} HTTP/1.1".encode(), f"Host: {host}".encode(), b"Content-Length: 0"]
    lines += [f"{name}: {value}".encode() for name, value in target.headers.items()]
    lines += [name + b": " + value for name, value in kept]
    return b"\r\n".join(lines) + b"\r\n\r\n"


async def _both_ways(*ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    tasks = [asyncio.create_task(_one_way(*way)) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the end of what is read; whichever side breaks, the tunnel ends."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
