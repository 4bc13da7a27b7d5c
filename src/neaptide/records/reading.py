"""Reads a log while it grows, or after it was damaged: `read` once, or a `Reader` again and again."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from neaptide.records.line import Segment, check_name, segments, split_line


class Corrupt(msgspec.Struct, frozen=True, gc=False):
    """A line that could not be read; the lines around it were."""

    file: str
    offset: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file} at byte {self.offset}: {self.reason}"


class CorruptLine(UserWarning):
    """A log holds a line that could not be read, and nobody asked to be told in another way."""


class Position(msgspec.Struct, frozen=True, gc=False):
    """Where a reader stands: `offset` bytes into the file that starts at `segment`, after the record `seq`."""

    segment: int = 0
    offset: int = 0
    seq: int = 0


def read(
    directory: str | Path, name: str, *, since: int = 0, on_corrupt: Callable[[Corrupt], object] | None = None
) -> Iterator[tuple[int, Any]]:
    """Yield (sequence number, record) of every record after `since`, in order.

    A partial last line is one that is being written: it is left for the next time. A corrupt line goes to `on_corrupt`, by default as a
    warning, and reading goes on behind it. Records that rotation has removed are not there: compare the first number with `since`.
    """
    return Reader(directory, name, since=since, on_corrupt=on_corrupt).poll()


class Reader:
    """Follows a log: each `poll` yields what was appended after the one before.

    `position` may be stored and given to a later reader in place of `since`, which then starts there without reading what is before.
    """

    def __init__(
        self,
        directory: str | Path,
        name: str,
        *,
        since: int = 0,
        position: Position | None = None,
        on_corrupt: Callable[[Corrupt], object] | None = None,
    ) -> None:
        check_name(name)
        self._directory = Path(directory)
        self._name = name
        self._on_corrupt = on_corrupt or _warn
        self.position = position or Position(seq=since)

    def poll(self) -> Iterator[tuple[int, Any]]:
        """Yield what is new and end at the end of the log. The reader may be polled again, also when the caller stopped half-way."""
        # Listed before reading: a file that already has a successor is not written any more, so its end is its end.
        while found := self._segments_from_position():
            here, later = found[0], found[1:]
            if here.first_seq != self.position.segment:
                self.position = Position(segment=here.first_seq, seq=self.position.seq)
            yield from self._read_segment(here, complete=bool(later))
            if not later:
                return
            self.position = Position(segment=later[0].first_seq, seq=self.position.seq)

    def _segments_from_position(self) -> list[Segment]:
        """The file the position is in, or the one that holds the next record, and those after it."""
        found = segments(self._directory, self._name)
        start = max(self.position.segment, self.position.seq + 1 if not self.position.segment else 0)
        before = [index for index, segment in enumerate(found) if segment.first_seq <= start]
        return found[before[-1] :] if before else found

    def _read_segment(self, segment: Segment, *, complete: bool) -> Iterator[tuple[int, Any]]:
        try:
            file = segment.path.open("rb")
        except FileNotFoundError:  # rotation removed it after it was listed
            return
        with file:
            file.seek(self.position.offset)
            for line in file:
                if not line.endswith(b"\n") and not complete:
                    return
                yield from self._read_line(segment, line)

    def _read_line(self, segment: Segment, line: bytes) -> Iterator[tuple[int, Any]]:
        offset = self.position.offset
        self.position = Position(segment=segment.first_seq, offset=offset + len(line), seq=self.position.seq)
        parts = split_line(line)
        if isinstance(parts, str):
            self._on_corrupt(Corrupt(file=str(segment.path), offset=offset, reason=parts))
            return
        seq, body = parts
        if seq <= self.position.seq:
            return
        self.position = Position(segment=segment.first_seq, offset=offset + len(line), seq=seq)
        try:
            record = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._on_corrupt(Corrupt(file=str(segment.path), offset=offset, reason=f"record {seq}: {error}"))
            return
        yield seq, record


def _warn(corrupt: Corrupt) -> None:
    warnings.warn(str(corrupt), CorruptLine, stacklevel=2)
