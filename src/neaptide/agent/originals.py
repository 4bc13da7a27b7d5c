"""What files said before the agent wrote to them, kept so that they say so again whatever becomes of it.

One record a cycle, appended before the cycle's first write: the files to be written, what they said before, and all that they may say
by the agent's hand. A file that says anything else was changed by somebody else since: that is its original from then on. After so many
bytes a record holds all files, so that rotation loses none. Records of another boot are of groups that are gone.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from neaptide.records.log import Log
from neaptide.records.reading import Corrupt, read

NAME = "originals"
_MAX_BYTES = 4 * 2**20
_WHOLE_AFTER = _MAX_BYTES // 2
_KEEP = 4
"""Files: a record that holds all, alone in one where it is long, those of `_WHOLE_AFTER` after it, and the next that holds all."""


class Entry(Struct, frozen=True, gc=False):
    """A file that was written to: its text before, and what the agent wrote or was about to, without white space around."""

    original: str
    ours: tuple[str, ...] = ()

    def is_ours(self, text: str) -> bool:
        return text.strip() in self.ours

    def knows(self, text: str) -> bool:
        """Whether nobody else has changed the file."""
        return text.strip() in (self.original.strip(), *self.ours)


class _Record(Struct, frozen=True, omit_defaults=True):
    """What changed; or all there is, where `whole`."""

    boot: str
    changed: dict[str, Entry] = {}
    dropped: tuple[str, ...] = ()
    whole: bool = False


class Originals:
    """The entries by file, in memory and in a log.

    Args:
        directory: of the log; None keeps them in memory only, for a dry run.
        boot: which boot of the machine this is.

    Raises:
        LogInUseError: another agent has the log.

    Attributes:
        corrupt: lines of the log that could not be read.
    """

    def __init__(self, directory: Path | None, boot: str) -> None:
        self.entries: dict[str, Entry] = {}
        self.corrupt: list[Corrupt] = []
        self._boot = boot
        self._log = None if directory is None else Log(directory, NAME, max_bytes=_MAX_BYTES, keep=_KEEP)
        self._since_whole = 0
        if directory is not None:
            self._replay(directory)

    def note(self, changed: Mapping[str, Entry], dropped: tuple[str, ...] = ()) -> None:
        """Remember, in the log before anywhere else. Raises OSError: nothing of it is remembered."""
        if not changed and not dropped:
            return
        after = {path: entry for path, entry in self.entries.items() if path not in dropped} | dict(changed)
        if self._log is not None:
            record = _Record(self._boot, dict(changed), dropped)
            self._since_whole += len(msgspec.json.encode(record))
            if self._since_whole > _WHOLE_AFTER:
                record = _Record(self._boot, after, whole=True)
            self._log.append(record)
            self._since_whole = 0 if record.whole else self._since_whole
        self.entries = after

    def close(self) -> None:
        if self._log is not None:
            self._log.close()

    def _replay(self, directory: Path) -> None:
        for _, content in read(directory, NAME, on_corrupt=self.corrupt.append):
            record = msgspec.convert(content, _Record)
            if record.boot != self._boot:
                continue
            if record.whole:
                self.entries = {}
            self.entries |= record.changed
            for path in record.dropped:
                self.entries.pop(path, None)
        self._since_whole = _WHOLE_AFTER  # the first record of this run holds all
