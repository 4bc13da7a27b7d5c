"""Logs in CRI's format: `2026-11-30T14:00:00.123456789Z stdout F the line`, where `P` marks a part of a line that goes on in the next.

Source: kubernetes/kubernetes pkg/kubelet/kuberuntime/logs (v1.36). Files are read in blocks; a tail is found from the end, so that its cost is
that of the lines asked for.
"""

import asyncio
import mmap
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple

from neaptide.virtualnode.provider import LogOptions

_BLOCK = 64 * 2**10
_PAUSE = 0.1
_STAMP_LENGTH = 26  # as many characters of a time as datetime reads: microseconds


class Line(NamedTuple):
    """One line of a file. `whole` says whether the line that the container wrote ends here."""

    stamp: bytes
    stream: bytes
    whole: bool
    text: bytes

    @property
    def time(self) -> float:
        """Epoch seconds."""
        return _time(self.stamp)


def parse(line: bytes) -> Line | None:
    """A line without its newline; None for what is none."""
    stamp, _, rest = line.partition(b" ")
    stream, _, rest = rest.partition(b" ")
    tag, found, text = rest.partition(b" ")
    if not stamp or stream not in (b"stdout", b"stderr") or not (found or tag):
        return None
    return Line(stamp, stream, tag.split(b":")[0] != b"P", text)


async def read_log(path: Path, options: LogOptions, *, alive: Callable[[], bool]) -> AsyncIterator[bytes]:
    """What a container wrote, in chunks; with `follow`, until `alive` is false and the file is read to its end.

    A file that is not there yet is one without a line.
    """
    left = options.limit_bytes
    async for chunk in _chunks(path, options, alive):
        if left is None:
            yield chunk
            continue
        yield chunk[:left]
        left -= len(chunk)
        if left <= 0:
            return


async def _chunks(path: Path, options: LogOptions, alive: Callable[[], bool]) -> AsyncIterator[bytes]:
    file = _opened(path)
    while file is None:
        if not (options.follow and alive()):
            return
        await asyncio.sleep(_PAUSE)
        file = _opened(path)
    with file:
        if options.tail is not None:
            file.seek(_start_of_tail(file, options.tail))
        rest, begins = b"", True
        while True:
            ended = not (options.follow and alive())  # asked before reading: what was written until then is read
            while block := file.read(_BLOCK):
                *lines, rest = (rest + block).split(b"\n")
                chunk = bytearray()
                for line in lines:
                    begins = _render(line, options, chunk, begins=begins)
                if chunk:
                    yield bytes(chunk)
            if ended:
                return
            await asyncio.sleep(_PAUSE)


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _render(raw: bytes, options: LogOptions, target: bytearray, *, begins: bool) -> bool:
    """Add a line as it is shown; whether the next one begins a line of the container's."""
    line = parse(raw)
    if line is None or (options.since is not None and line.time < options.since):
        return True
    if options.timestamps and begins:
        target += line.stamp + b" "
    target += line.text
    if line.whole:
        target += b"\n"
    return line.whole


def _start_of_tail(file: BinaryIO, count: int) -> int:
    """Where the last `count` lines of a container begin; parts of one line are one."""
    size = file.seek(0, 2)
    if count <= 0 or not size:
        return size
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        seen, end = 0, content.rfind(b"\n") + 1  # behind it is a line that is being written
        while end > 0:
            start = content.rfind(b"\n", 0, end - 1) + 1
            line = parse(content[start : end - 1])
            if line is None or line.whole:
                if seen == count:
                    return end
                seen += 1
            end = start
    return 0


def _time(stamp: bytes) -> float:
    text = stamp.decode(errors="replace").rstrip("Z")
    zone = "+00:00" if stamp.endswith(b"Z") else ""
    for sign in "+-":
        body, found, offset = text.rpartition(sign)
        if found and "T" in body:
            text, zone = body, sign + offset
    try:
        return datetime.fromisoformat(text[:_STAMP_LENGTH] + (zone or "+00:00")).timestamp()
    except ValueError:
        return 0.0
