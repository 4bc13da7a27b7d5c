"""Files of the kernel: read through descriptors that are held, since a pread costs a tenth of an open; written whole.

Some hold a line for each device, and take one line a write. `FILE#KEY` names such a line; it says what stands after its key, or nothing
where it is not there.
"""

import os
import resource
from contextlib import suppress

_USUAL = 1024
"""Bytes: most files are shorter, and a longer buffer costs more; what fills it is read again with one of eight times its size."""
_NO_LINE = {"io.max": "rbps=max wbps=max riops=max wiops=max"}
"""What is written to have a line gone; 0 in all other files."""


class Files:
    """Reads and writes small files; those that are read stay open until they are gone."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}

    def read(self, path: str) -> str | None:
        """What a file says; None where it cannot be read, as when its group is gone."""
        file, _, key = path.partition("#")
        text = self._whole(file)
        return text if text is None or not key else _line(text, key)

    def _whole(self, path: str) -> str | None:
        held = self._open.get(path)
        if held is not None:
            try:
                return _text(held)
            except OSError:  # its group is gone; another may have its name by now
                os.close(self._open.pop(path))
        try:
            opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            text = _text(opened)
        except OSError:
            os.close(opened)
            return None
        self._open[path] = opened
        return text

    def write(self, path: str, text: str) -> None:
        """Put `text` in the place of what a file says. Raises OSError: the file is gone, or the kernel refuses."""
        path, _, key = path.partition("#")
        if key:
            text = f"{key} {text.strip() or _NO_LINE.get(path.rpartition('/')[2], '0')}\n"
        opened = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(opened, text.encode())
        finally:
            os.close(opened)

    def forget(self, group: str) -> None:
        """Let go of the files of a group and of those below it, in every hierarchy; `group` is as in layout."""
        for path in [path for path in self._open if f"{group}/" in path]:
            os.close(self._open.pop(path))

    def close(self) -> None:
        for opened in self._open.values():
            with suppress(OSError):
                os.close(opened)
        self._open.clear()


def hold_many() -> None:
    """Let this process hold as many files as it may: some four are held for each pod."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _text(opened: int) -> str:
    """What stands in a file. Raises OSError."""
    size = _USUAL
    while len(text := os.pread(opened, size, 0)) == size:
        size *= 8
    return text.decode(errors="replace")


def _line(text: str, key: str) -> str:
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        if name == key:
            return rest
    return ""
