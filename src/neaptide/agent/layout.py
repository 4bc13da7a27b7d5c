"""Where a kubelet keeps the control groups of its pods: both versions, both drivers, any root.

A group is named by its path below a hierarchy, `/kubepods/burstable/podUID`; version 1 has that path in the hierarchy of each
controller, version 2 in the one that there is.
"""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

_TIERS = ("", "burstable", "besteffort")


class LayoutError(Exception):
    """No kubelet's groups are where they were looked for; says what was looked for and what is accepted."""


class PodGroup(NamedTuple):
    """A pod's group; `tier` is burstable, besteffort or, for guaranteed pods, empty."""

    uid: str
    tier: str
    group: str


class Layout(NamedTuple):
    """The groups of one kubelet.

    Attributes:
        mount: of the control groups, as /sys/fs/cgroup.
        version: 1 or 2.
        systemd: whether the kubelet's driver is systemd, else cgroupfs.
        root: the parts of the kubelet's `cgroupRoot`; none for `/`.
    """

    mount: str
    version: int
    systemd: bool
    root: tuple[str, ...]

    def tier(self, name: str) -> str:
        """The group of a quality class; that of all pods for an empty name."""
        return _group((*self.root, "kubepods", *([name] if name else [])), systemd=self.systemd)

    def path(self, group: str, file: str) -> str:
        """The file of a group; its controller is the word before the first dot."""
        hierarchy = f"/{file.partition('.')[0]}" if self.version == 1 else ""
        return f"{self.mount}{hierarchy}{group}/{file}"

    def directory(self, group: str) -> str:
        """Where the groups below a group are seen."""
        return f"{self.mount}{'/cpu' if self.version == 1 else ''}{group}"

    def names(self, listing: "Listing") -> list[list[str]]:
        """The names of all that is in the groups of the quality classes, pods' groups among them."""
        return [listing.now(self.directory(self.tier(tier))) for tier in _TIERS]

    def pods(self, listing: "Listing") -> Iterator[PodGroup]:
        """The groups of all pods."""
        for tier in _TIERS:
            above = self.tier(tier)
            for name in listing.below(self.directory(above)):
                uid = self._uid(name)
                if uid:
                    yield PodGroup(uid, tier, f"{above}/{name}")

    def above(self, group: str) -> list[str]:
        """The groups above a group, from the nearest up to where the kubelet's begin and those above that but the mount."""
        found = []
        while group.count("/") > 1:
            group = group.rpartition("/")[0]
            found.append(group)
        return found

    def below(self, group: str, listing: "Listing") -> list[str]:
        """The groups right below a group."""
        return [f"{group}/{name}" for name in listing.below(self.directory(group))]

    def _uid(self, name: str) -> str:
        """The UID of the pod whose group has this name; empty where it is no pod's."""
        if not self.systemd:
            return name[3:] if name.startswith("pod") else ""
        before, found, uid = name.removesuffix(".slice").rpartition("-pod")
        return uid.replace("_", "-") if found and before and name.endswith(".slice") else ""


class Listing:
    """Names of the directories in a directory, sorted; none where there is no such directory.

    A listing costs fifty times a stat, which tells that a directory is another or has more or fewer of them; not that one took the place of another,
    for the kernel moves no time of a control group's directory.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, int], list[str]]] = {}

    def below(self, directory: str) -> list[str]:
        """As they were listed last, where a stat tells of no change."""
        try:
            there = os.stat(directory)  # noqa: PTH116 - each second for each pod: a Path costs as much again
        except OSError:
            self._known.pop(directory, None)
            return []
        known = self._known.get(directory)
        return known[1] if known is not None and known[0] == (there.st_ino, there.st_nlink) else self.now(directory)

    def now(self, directory: str) -> list[str]:
        """As they are."""
        try:
            there = os.stat(directory)  # noqa: PTH116 - as above
            with os.scandir(directory) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        except OSError:
            self._known.pop(directory, None)
            return []
        self._known[directory] = (there.st_ino, there.st_nlink), names
        return names

    def review(self) -> None:
        """List all again when they are asked for."""
        self._known.clear()


def find(mount: str, root: str = "/") -> Layout:
    """The groups of the kubelet whose `cgroupRoot` is `root`.

    Raises:
        LayoutError: there are none below `mount`.
    """
    version = 2 if Path(mount, "cgroup.controllers").exists() else 1
    parts = tuple(part for part in root.split("/") if part)
    looked = []
    for systemd in (True, False):
        layout = Layout(mount.rstrip("/"), version, systemd, parts)
        directory = layout.directory(layout.tier(""))
        if Path(directory).is_dir():
            return layout
        looked.append(directory)
    raise LayoutError(
        f"no kubelet's control groups: neither {looked[0]} nor {looked[1]} is there; accepted: the mount of the "
        f"control groups, and the kubelet's cgroupRoot"
    )


@cache
def _group(parts: tuple[str, ...], *, systemd: bool) -> str:
    """The path of a group; systemd's slices are named by all their parents, with dashes inside a name turned to underscores."""
    if not systemd:
        return "/" + "/".join(parts)
    names = [part.replace("-", "_") for part in parts]
    return "".join(f"/{'-'.join(names[: end + 1])}.slice" for end in range(len(names)))
