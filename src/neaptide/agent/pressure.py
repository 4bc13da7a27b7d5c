"""Pressure (PSI) of control groups: for how much of the time somebody in them waited for CPU, disks or memory.

Taken from the total of waiting time, not from the kernel's averages, so that it answers within one round. It is unknown, and not zero,
where a file is not there or cannot be read (a kernel without PSI, or booted with psi=0), where all pods together have never waited for anything since
the machine started (version 1's hierarchy shows files that nobody fills), and at the first look.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from neaptide.agent.files import Files
from neaptide.agent.layout import Layout

RESOURCES = ("cpu", "io", "memory")
_UNIFIED = "unified"
"""Where machines of version 1 mount the other hierarchy, by custom."""


class Pressure(NamedTuple):
    """Percentages of the time since the last look in which some process waited; None where unknown."""

    cpu: float | None = None
    io: float | None = None
    memory: float | None = None


class Pressures:
    """Looks at the pressure of groups."""

    def __init__(self, layout: Layout, files: Files) -> None:
        self._layout, self._files = layout, files
        self._last: dict[str, tuple[float, tuple[int | None, ...]]] = {}

    def offered(self) -> bool:
        """Whether the kernel has files for it; they may say nothing."""
        return any(self._total(self._layout.tier(""), resource) is not None for resource in RESOURCES)

    def of(self, groups: Iterable[str], now: float, resources: Collection[str] = RESOURCES) -> dict[str, Pressure]:
        """By group, since the last call; `now` is in monotonic seconds. Groups that are not named are forgotten, other resources are unknown."""
        filled = any(self._total(self._layout.tier(""), resource) for resource in RESOURCES)
        looked = [filled and resource in resources for resource in RESOURCES]
        seen, found = {}, {}
        for group in groups:
            totals = tuple(
                self._total(group, resource) if there else None
                for resource, there in zip(RESOURCES, looked, strict=True)
            )
            seen[group] = now, totals
            before, last = self._last.get(group, (now, (None,) * len(RESOURCES)))
            found[group] = Pressure(*(_percent(*pair, now - before) for pair in zip(last, totals, strict=True)))
        self._last = seen
        return found

    def _total(self, group: str, resource: str) -> int | None:
        """µs for which some process of a group waited so far."""
        text = self._files.read(self._path(group, f"{resource}.pressure")) or ""
        some = text.partition("\n")[0]
        total = some.rpartition("total=")[2]
        return int(total) if some.startswith("some ") and total.isdigit() else None

    def _path(self, group: str, file: str) -> str:
        if self._layout.version == 2:
            return self._layout.path(group, file)
        return f"{self._layout.mount}/{_UNIFIED}{group}/{file}"


def _percent(last: int | None, now: int | None, passed: float) -> float | None:
    """None where a total is unknown or went backwards, as that of a new group of the same name does."""
    if last is None or now is None or passed <= 0 or now < last:
        return None
    return min((now - last) / (passed * 1e6) * 100, 100.0)
