"""The append-only log that the journal, bills and the agent's originals share.

What `append` has returned for survives the death of the process; what `sync` has returned for survives the loss of power. A crash in
mid-write leaves at most one torn line, at the very end: opening the log cuts it off. Files are rotated by size, the oldest are removed, and
sequence numbers go on over rotation and restart.
"""

import fcntl
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from neaptide.records.line import check_name, encode_line, segment_path, segments, split_line

DEFAULT_MAX_BYTES = 16 * 2**20
DEFAULT_KEEP = 8


class LogInUseError(RuntimeError):
    """Another process, or another `Log` of this one, writes to the same log."""


class Log:
    """Writes one log; there is one writer at a time, and any number of readers.

    Args:
        directory: where the files are; made if it is not there.
        name: letters, digits, - and _; several logs may share a directory.
        max_bytes: a file that would pass this is closed and a new one begun; a longer record has a file of its own.
        keep: how many files stay, the one being written included; None keeps all.
        sync_each: sync at the end of every `append` and `extend`, not only on demand.

    Raises:
        LogInUseError: the log has a writer.
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        directory: str | Path,
        name: str,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        keep: int | None = DEFAULT_KEEP,
        sync_each: bool = False,
    ) -> None:
        check_name(name)
        if max_bytes < 1:
            raise ValueError(f"max_bytes is at least 1, not {max_bytes}")
        if keep is not None and keep < 1:
            raise ValueError(f"keep is at least 1, or None for all, not {keep}")
        self._directory = Path(directory)
        self._name = name
        self._max_bytes = max_bytes
        self._keep = keep
        self._sync_each = sync_each
        self._file = -1
        _make_directory(self._directory)
        self._lock = _lock(self._directory / f"{name}.lock")
        try:
            self._open_last()
        except BaseException:
            self._release()
            raise

    @property
    def last_seq(self) -> int:
        """The number of the newest record; 0 before the first."""
        return self._next_seq - 1

    def append(self, record: Mapping[str, Any] | msgspec.Struct) -> int:
        """Append one record and return its sequence number. The first is 1.

        Raises:
            TypeError: the record is not an object in JSON.
            OSError: it could not be written; it is not in the log, and the log can go on.
        """
        return self.extend([record])

    def extend(self, records: Iterable[Mapping[str, Any] | msgspec.Struct]) -> int:
        """Append a batch with one write per file and return the number of its last record.

        Each record is written whole or not at all; a batch may be written in part when the process dies or the disk is full: `last_seq`
        says how far it came.
        """
        batch = bytearray()
        seq = self._next_seq
        lines = [encode_line(seq + index, record) for index, record in enumerate(records)]
        for line in lines:
            if self._end + len(batch) + len(line) > self._max_bytes and self._end + len(batch) > 0:
                self._write(batch)
                batch.clear()
                self._rotate()
            batch += line
        self._write(batch)
        if self._sync_each:
            self.sync()
        return self.last_seq

    def sync(self) -> None:
        """Return when everything appended so far is on the disk.

        Raises:
            OSError: it may not be. The log is closed, since what the system keeps after a failed sync is unknown; open it again.
        """
        self._check_open()
        try:
            os.fsync(self._file)
        except OSError:
            self._release()
            raise

    def close(self) -> None:
        """Sync and let go of the log; closing twice is fine."""
        if self._file >= 0:
            self.sync()
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open_last(self) -> None:
        """Go on in the newest file, behind its last whole line."""
        found = segments(self._directory, self._name)
        if not found:
            self._begin_file(1)
            return
        self._file = os.open(found[-1].path, os.O_RDWR | os.O_CLOEXEC)
        self._end, self._next_seq = _end_of(found[-1].path, found[-1].first_seq)
        self._cut_torn_line()
        self._remove_old()

    def _begin_file(self, first_seq: int) -> None:
        path = segment_path(self._directory, self._name, first_seq)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._end, self._next_seq = 0, first_seq
        _sync_directory(self._directory)

    def _rotate(self) -> None:
        self.sync()
        full = self._file
        try:
            self._begin_file(self._next_seq)
        finally:
            if self._file != full:
                os.close(full)
        self._remove_old()

    def _remove_old(self) -> None:
        if self._keep is not None:
            for segment in segments(self._directory, self._name)[: -self._keep]:
                segment.path.unlink(missing_ok=True)

    def _write(self, lines: bytearray) -> None:
        """Write whole lines at the end; where that fails, keep those that are whole and cut off the torn one."""
        self._check_open()
        done = 0
        try:
            while done < len(lines):
                done += os.pwrite(self._file, lines[done:], self._end + done)
        finally:
            whole = lines.rfind(b"\n", 0, done) + 1
            self._end += whole
            self._next_seq += lines.count(b"\n", 0, whole)
            if whole < done:
                self._cut_torn_line()

    def _cut_torn_line(self) -> None:
        if os.fstat(self._file).st_size > self._end:
            os.ftruncate(self._file, self._end)

    def _check_open(self) -> None:
        if self._file < 0:
            raise ValueError(f"the log {self._name!r} is closed")

    def _release(self) -> None:
        for file in (self._file, self._lock):
            if file >= 0:
                os.close(file)
        self._file = self._lock = -1


def _lock(path: Path) -> int:
    """Hold the lock file until it is closed; the system lets go of it when the process dies."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        raise LogInUseError(f"{path} is locked: the log has a writer") from error
    return file


def _end_of(path: Path, first_seq: int) -> tuple[int, int]:
    """Where the last whole line of a file ends, and the next sequence number.

    A whole line that is corrupt had a number too, that somebody may have read: it is not given again.
    """
    end, next_seq = 0, first_seq
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            end += len(line)
            parts = split_line(line)
            next_seq = next_seq + 1 if isinstance(parts, str) else max(next_seq, parts[0] + 1)
    return end, next_seq


def _make_directory(path: Path) -> None:
    if not path.is_dir():
        _make_directory(path.parent)
        path.mkdir(exist_ok=True)
        _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    """A new name in a directory survives the loss of power once the directory is synced."""
    file = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
