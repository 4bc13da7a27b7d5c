"""What the files of control groups mean, in both versions: usage read from them, and settings as the text to be written.

Settings come back as a mapping from file to text for `Reconciler.settle`. CPU is in milli-cores where it is a rate or a limit, in seconds
where it adds up; memory is in bytes and without the page cache. What cannot be read is nan or None, never 0.
"""

import os
from collections.abc import Iterable
from math import inf, nan

from neaptide.agent.files import Files
from neaptide.agent.layout import Layout, Listing
from neaptide.agent.reconcile import HELD, Reconciler
from neaptide.model.cpusets import cpu_list, cpus_of
from neaptide.noderules.group_priority import GroupPriority
from neaptide.noderules.memory_qos import MemoryProtection
from neaptide.noderules.weights import weight_of_shares

Wanted = dict[str, str | None]

_PAGE = os.sysconf("SC_PAGE_SIZE")
_LEAST_QUOTA_US = 1000
"""The kernel's."""
_PERIOD_US = 1_000_000
"""Of a limit where Kubernetes has set none. A group that was held back and may run again keeps the CPU for a moment from who wakes, once a period: the
longer that is, the fewer requests of services meet it (ADR 4). The kernel accepts no more."""
_WITHOUT_CACHE = ("inactive_anon", "active_anon", "unevictable")


class Groups:
    """The control groups of one kubelet's pods.

    Attributes:
        sandboxes: those that hold a pod's network and run nothing, as far as the API server has told; set by who knows the pods.
    """

    def __init__(self, layout: Layout, files: Files, reconciler: Reconciler) -> None:
        self.layout, self.listing = layout, Listing()
        self._files, self._reconciler = files, reconciler
        self._one = layout.version == 1
        self.sandboxes: frozenset[str] = frozenset()

    def has(self, group: str, file: str) -> bool:
        return self._files.read(self.layout.path(group, file)) is not None

    # -- usage

    def cpu_seconds(self, group: str) -> float:
        """CPU time that a group and all below it have used, those that are gone included."""
        if self._one:
            return _number(self._read(group, "cpuacct.usage")) / 1e9
        return _number(_field(self._read(group, "cpu.stat"), "usage_usec")) / 1e6

    def memory_used(self, group: str) -> int | None:
        stat = self._read(group, "memory.stat")
        prefix = "total_" if self._one else ""
        used = sum(_number(_field(stat, prefix + name)) for name in _WITHOUT_CACHE)
        return None if used != used else int(used)  # noqa: PLR0124 - nan is not itself

    def memory_charged(self, group: str) -> int | None:
        """All memory of a group, the page cache included."""
        return _whole(self._read(group, "memory.usage_in_bytes" if self._one else "memory.current"))

    def memory_limited(self, group: str) -> int | None:
        """How often a group has met a limit of its own so far."""
        if self._one:
            return _whole(self._read(group, "memory.failcnt"))
        events = self._read(group, "memory.events")
        found = [_whole(_field(events, name)) for name in ("high", "max")]
        return None if None in found else sum(each or 0 for each in found)

    def disk_bytes(self, group: str) -> int | None:
        """What a group and all below it have read and written so far."""
        if self._one:
            return _whole(_field(self._read(group, "blkio.throttle.io_service_bytes_recursive"), "Total"))
        words = (self._read(group, "io.stat") or "").split()
        counts = [word.partition("=")[2] for word in words if word.startswith(("rbytes=", "wbytes="))]
        return sum(int(each) for each in counts if each.isdecimal()) if self.has(group, "io.stat") else None

    def periods(self, group: str) -> tuple[int | None, int | None]:
        """Of how many periods of its quota a group was held back in how many, so far: (held back, all)."""
        stat = self._read(group, "cpu.stat")
        return _whole(_field(stat, "nr_throttled")), _whole(_field(stat, "nr_periods"))

    def cpus(self, group: str) -> frozenset[int]:
        """The CPUs that a group may use; none where that is unknown."""
        return cpus_of(self._read(group, "cpuset.effective_cpus" if self._one else "cpuset.cpus.effective") or "")

    def cpu_and_throttled(self, group: str) -> tuple[float, int | None]:
        """CPU time as above, and in how many periods a group was held back by its quota so far."""
        stat = self._read(group, "cpu.stat")
        seconds = self.cpu_seconds(group) if self._one else _number(_field(stat, "usage_usec")) / 1e6
        return seconds, _whole(_field(stat, "nr_throttled"))

    def limit(self, group: str) -> float | None:
        """The quota that Kubernetes gave a group, in milli-cores; None where there is none, or nobody knows."""
        quota, period = self._quota_before(group)
        return None if quota is None or quota <= 0 else quota * 1000 / period

    # -- settings

    def quota(self, group: str, milli: float) -> Wanted:
        """At most so much CPU for a group; where version 1 demands it, no more for those below it that have a limit."""
        if not self._one:
            return self.limited_to(group, milli)
        wanted: Wanted = {}
        for each in self._with_all_below(group):
            before = self.limit(each)
            if each == group or (before is not None and before > milli):
                wanted |= self.limited_to(each, milli if before is None else min(milli, before))
        return wanted

    def limited_to(self, group: str, milli: float) -> Wanted:
        """Exactly this limit for one group; nothing where its period is unknown."""
        before, own = self._quota_before(group)
        if before is None or own <= 0:
            return {}
        period = own if before > 0 else _PERIOD_US
        quota = max(round(milli * period / 1000), _LEAST_QUOTA_US)
        if not self._one:
            return {self.layout.path(group, "cpu.max"): f"{quota} {period}"}
        texts = {"cpu.cfs_quota_us": str(quota)} | ({} if period == own else {"cpu.cfs_period_us": str(period)})
        return {self.layout.path(group, file): text for file, text in texts.items()}

    def without_quota(self, group: str) -> Wanted:
        """No limit by quota for a group and all below it: its CPUs are its limit."""
        wanted: Wanted = {}
        for each in self._with_all_below(group):
            _, period = self._quota_before(each)
            if period > 0:
                file, text = ("cpu.cfs_quota_us", "-1") if self._one else ("cpu.max", f"max {period}")
                wanted[self.layout.path(each, file)] = text
        return wanted

    def burst(self, group: str, milli: float) -> Wanted:
        """What a group may save up for a moment; nothing where the kernel knows no burst."""
        file = "cpu.cfs_burst_us" if self._one else "cpu.max.burst"
        _, period = self._quota_before(group)
        if period <= 0 or not self.has(group, file):
            return {}
        return {self.layout.path(group, file): str(int(milli * period / 1000))}

    def only_on(self, group: str, cpus: Iterable[int]) -> Wanted:
        """Only these CPUs for a group: in version 1 for all below it, too, since each has a list of its own."""
        there = self._with_all_below(group) if self._one else [group]
        return {self.layout.path(each, "cpuset.cpus"): cpu_list(cpus) for each in there}

    def priority(self, group: str, setting: GroupPriority) -> Wanted:
        weight = self.layout.path(group, "cpu.shares" if self._one else "cpu.weight")
        if setting.idle:
            return {self.layout.path(group, "cpu.idle"): "1", weight: HELD}
        return {weight: str(setting.shares if self._one else weight_of_shares(setting.shares))}

    def memory_limit(self, group: str, amount: int) -> Wanted:
        """No more memory than so many bytes, in whole pages; nothing where there is no such file."""
        file = "memory.limit_in_bytes" if self._one else "memory.max"
        pages = amount // _PAGE * _PAGE
        return {self.layout.path(group, file): str(pages)} if pages > 0 and self.has(group, file) else {}

    def protection(self, group: str, memory: MemoryProtection) -> Wanted:
        """The memory that a group keeps, and from where on it is slowed."""
        texts = {"memory.min": str(memory.min), "memory.low": str(memory.low)}
        if memory.high is not None:
            texts["memory.high"] = str(memory.high)
        return {self.layout.path(group, file): text for file, text in texts.items()}

    def _quota_before(self, group: str) -> tuple[int | None, int]:
        """(quota, period) in µs as Kubernetes set them; -1 for no quota, None and 0 where unknown."""
        if self._one:
            quota = _whole(self._reconciler.before(self.layout.path(group, "cpu.cfs_quota_us")))
            period = self._reconciler.before(self.layout.path(group, "cpu.cfs_period_us"))
            return quota, (_whole(period) or 0) if quota is not None else 0
        text = self._reconciler.before(self.layout.path(group, "cpu.max"))
        word, _, period = (text or "").strip().partition(" ")
        return (-1 if word == "max" else _whole(word)), _whole(period) or 0

    def _with_all_below(self, group: str) -> list[str]:
        found = [group]
        for each in found:
            found += self.layout.below(each, self.listing)
        return found

    def _read(self, group: str, file: str) -> str | None:
        return self._files.read(self.layout.path(group, file))


def _field(text: str | None, name: str) -> str | None:
    """Of lines of a name and a number, the number of one."""
    _, found, rest = f"\n{text}".partition(f"\n{name} ")
    return rest.partition("\n")[0] if found else None


def _number(text: str | None) -> float:
    try:
        found = nan if text is None else float(text)
    except ValueError:
        return nan
    return found if 0 <= found < inf else nan


def _whole(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
