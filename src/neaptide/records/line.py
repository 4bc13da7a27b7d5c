"""One line of a log, and the files that hold the lines.

A line is a JSON object, `{"seq":7,"crc":"9ae0daaf","record":{...}}`: the sequence number, a CRC-32 of everything in it but itself, and the
record. A log is a row of files in one directory, `NAME.SEQ.jsonl`, each named by the first sequence number it may hold, so that sorting the
names sorts the records, and a number is never given twice, even where every line of a file is gone.
"""

import re
import zlib
from pathlib import Path
from typing import NamedTuple

import msgspec

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_LINE = re.compile(rb'\{"seq":([0-9]{1,20}),"crc":"([0-9a-f]{8})","record":(.*)\}\n', re.DOTALL)
_RECORD_STARTS_WITH = b"{"
_SEQ_DIGITS = 20
_SHOWN_BYTES = 60


class Segment(NamedTuple):
    """One file of a log."""

    first_seq: int
    path: Path


def encode_line(seq: int, record: object) -> bytes:
    """The line for a record, newline and all.

    Raises:
        TypeError: the record is not an object in JSON (a mapping or a struct), or holds a value that JSON cannot carry.
    """
    body = msgspec.json.encode(record)
    if not body.startswith(_RECORD_STARTS_WITH):
        raise TypeError(f"a record is a mapping or a struct, not {type(record).__name__}")
    return b'{"seq":%d,"crc":"%08x","record":%s}\n' % (seq, _checksum(b"%d" % seq, body), body)


def split_line(line: bytes) -> tuple[int, bytes] | str:
    """The sequence number and the record's JSON of a line that stands as it was written, or what is wrong with it."""
    found = _LINE.fullmatch(line)
    if found is None:
        return f"not a line of a log: {line[:_SHOWN_BYTES]!r}"
    seq, checksum, body = found.groups()
    if int(checksum, 16) != _checksum(seq, body):
        return f"checksum {checksum.decode()} does not match: {line[:_SHOWN_BYTES]!r}"
    return int(seq), body


def segment_path(directory: Path, name: str, first_seq: int) -> Path:
    return directory / f"{name}.{first_seq:0{_SEQ_DIGITS}d}.jsonl"


def segments(directory: Path, name: str) -> list[Segment]:
    """The files of a log, oldest first; none where the directory does not exist."""
    form = re.compile(rf"{re.escape(name)}\.([0-9]{{{_SEQ_DIGITS}}})\.jsonl")
    found = (form.fullmatch(path.name) for path in directory.glob(f"{name}.*.jsonl"))
    return sorted(Segment(int(match[1]), directory / match[0]) for match in found if match)


def check_name(name: str) -> None:
    """Raises ValueError where a name cannot be that of a log."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"a log is named by letters, digits, - and _, not {name!r}")


def _checksum(seq: bytes, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(seq))
