"""Brings files to what is wanted, by writing the differences only; what is not wanted any more gets its original back.

What was in place is taken to stay so until the next review, for nobody but the kubelet writes there, and rarely: to read all files in every
round is most of what an agent costs.

Version 1 refuses a group less than a group below it has. So whatever nests is written in two rounds: from the top down, each file the
wider of what it says and what it shall say; then from the bottom up, what it shall say.
"""

import errno
from collections.abc import Collection, Mapping
from typing import NamedTuple

from neaptide.agent.files import Files
from neaptide.agent.originals import Entry, Originals
from neaptide.model.cpusets import cpu_list, cpus_of

HELD: None = None
"""Wanted of a file that the kernel changes when another one is written: its original is kept, and nothing is written."""

_UNKNOWN = "\0"
"""What no file shall ever say."""
_GONE = (errno.ENOENT, errno.ENODEV)
_IDLE_WEIGHTS = {"cpu.shares": ("3", "1024"), "cpu.weight": ("0", "100")}
"""What the kernel makes of a group's weight while it is idle, and when it is no more."""


class Change(NamedTuple):
    """A write; `problem` is empty where the kernel took it, or, in a dry run, would be asked to."""

    path: str
    before: str
    after: str
    problem: str = ""


class _Step(NamedTuple):
    path: str
    before: str
    after: str


class Reconciler:
    """Writes files and remembers what they said.

    Args:
        files: to read and write with.
        originals: what was there before.
        nests: whether a group may have no less than those below it, as in version 1.
        dry_run: write nothing, and say what would be written.
    """

    def __init__(self, files: Files, originals: Originals, *, nests: bool, dry_run: bool = False) -> None:
        self._files, self._originals, self._nests, self._dry_run = files, originals, nests, dry_run
        self._before: dict[str, str] = {}
        self._in_place: dict[str, str | None] = {}

    def review(self) -> None:
        """Look at every file again from now on: somebody else may have written to it."""
        self._before.clear()
        self._in_place.clear()

    def before(self, path: str) -> str | None:
        """What a file said at the last review, or would have if the agent had never written to it; None where it cannot be read."""
        known = self._before.get(path)
        if known is not None:
            return known
        text = self._files.read(path)
        entry = self._originals.entries.get(path)
        if text is not None:
            self._before[path] = text = entry.original if entry is not None and entry.is_ours(text) else text
        return text

    def settle(self, wanted: Mapping[str, str | None]) -> list[Change]:
        """Bring every file to what is wanted, and those that are not named back; what was written, or failed to be.

        Raises:
            OSError: the originals cannot be stored; nothing was written.
        """
        steps, entries, gone = self._plan(wanted)
        if self._dry_run:
            return [Change(*step) for step in steps]
        try:
            self._originals.note(entries, tuple(gone))
        except OSError:
            self.review()  # what seemed to be in place may have been, but is not remembered
            raise
        changes = [self._write(step) for step in self._rounds(steps)]
        finished = tuple(step.path for step in steps if step.path not in wanted and self._is_original(step.path))
        self._originals.note({}, finished)
        return changes

    def give_back(self, paths: Collection[str]) -> list[Change]:
        """Bring some files back to their originals, and leave all others as they are. Raises OSError as `settle` does."""
        stay = {
            path: text.strip()
            for path in self._originals.entries
            if path not in paths and (text := self._files.read(path)) is not None
        }
        return self.settle(stay)

    def restore(self) -> list[Change]:
        """Bring every file back to its original."""
        return self.settle({})

    def _plan(self, wanted: Mapping[str, str | None]) -> tuple[list[_Step], dict[str, Entry], list[str]]:
        steps: list[_Step] = []
        entries: dict[str, Entry] = {}
        gone = []
        known, in_place = self._originals.entries, self._in_place
        open_questions = [path for path, after in wanted.items() if in_place.get(path, _UNKNOWN) != after]
        for path in [*open_questions, *(path for path in known if path not in wanted)]:
            in_place.pop(path, None)
            text = self._files.read(path)
            entry = known.get(path)
            if text is None:
                gone += [path] if entry is not None else []
                continue
            if path not in wanted:
                if entry is None or not entry.is_ours(text) or text == entry.original:
                    gone.append(path)
                else:
                    steps.append(_Step(path, text, entry.original))
                continue
            if entry is None or not entry.knows(text):
                entry = Entry(text)
                self._before.pop(path, None)
            after = wanted[path]
            if after is HELD:
                ours = tuple(dict.fromkeys([*_IDLE_WEIGHTS.get(path.rpartition("/")[2], ()), *entry.ours]))
                in_place[path] = HELD
            elif after == text.strip():
                ours = entry.ours
                in_place[path] = after
            else:
                steps.append(_Step(path, text, f"{after}\n"))
                middle = self._wider(path, text, after)
                ours = tuple(dict.fromkeys([*(each for each in (text.strip(),) if entry.is_ours(each)), middle, after]))
            if entry.ours != ours and (ours or path in known):
                entry = Entry(entry.original, ours)
            if entry != known.get(path) and entry.ours:
                entries[path] = entry
        return steps, entries, gone

    def _rounds(self, steps: list[_Step]) -> list[_Step]:
        """The writes, in the order that the kernel demands."""
        first, second = [], []
        for step in sorted(steps, key=lambda step: (step.path.count("/"), step.path)):
            middle = self._wider(step.path, step.before, step.after.strip())
            if middle not in (step.before.strip(), step.after.strip()):
                first.append(_Step(step.path, step.before, f"{middle}\n"))
                second.append(step._replace(before=f"{middle}\n"))
            elif self._nests and middle == step.after.strip() and _nested(step.path):
                first.append(step)
            else:
                second.append(step)
        return first + sorted(second, key=lambda step: (-step.path.count("/"), step.path))

    def _wider(self, path: str, before: str, after: str) -> str:
        """The wider of two settings, or what holds both; `after` where nothing nests."""
        if not self._nests or not _nested(path):
            return after
        if path.endswith("/cpuset.cpus"):
            return cpu_list(cpus_of(before) | cpus_of(after))
        return max(before.strip(), after, key=_quota)

    def _write(self, step: _Step) -> Change:
        try:
            self._files.write(step.path, step.after or "\n")
        except OSError as error:
            problem = "is gone" if error.errno in _GONE else error.strerror or str(error)
            return Change(*step, problem)
        return Change(*step)

    def _is_original(self, path: str) -> bool:
        text = self._files.read(path)
        entry = self._originals.entries.get(path)
        return text is None or (entry is not None and text.strip() == entry.original.strip())


def _nested(path: str) -> bool:
    return path.endswith(("/cpuset.cpus", "/cpu.cfs_quota_us"))


def _quota(text: str) -> float:
    """A quota to compare; none is infinite, and so is what nobody can read."""
    try:
        return float("inf") if int(text) < 0 else int(text)
    except ValueError:
        return float("inf")
