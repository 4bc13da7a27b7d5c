"""Disk limits and weights on a node: `io.max` and `io.weight` of version 2, `blkio.throttle` and bfq's weight of version 1."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from neaptide.agent.groups import Groups, Wanted
from neaptide.noderules.disk import DiskLimits, DiskSettings, disk_limits, next_share

_NO_DISKS = ("loop", "ram", "zram", "sr", "fd")
_V1 = ("read_bps", "write_bps", "read_iops", "write_iops")
_V1_WEIGHT, _V2_WEIGHTS = "blkio.bfq.weight", ("io.weight", "io.bfq.weight")
_BFQ_MOST = 1000


class Disks:
    """The disks of a node, and what best-effort pods may do on them.

    Args:
        settings: of the rule.
        groups: the pods' control groups.
        sysfs: where it is mounted.

    Attributes:
        missing: devices that the settings name and that are not there.
    """

    def __init__(self, settings: DiskSettings, groups: Groups, sysfs: str) -> None:
        self._settings, self._groups = settings, groups
        there = disks(sysfs)
        named = settings.devices or tuple(there)
        self._devices = [there.get(name, name) for name in named if name in there or name in there.values()]
        self.missing = [name for name in named if name not in there and name not in there.values()]
        self._share = 1.0
        self._there: dict[str, bool] = {}

    def wanted(self, claims: Mapping[str, int], pressure: float | None) -> Wanted:
        """What limits shall be.

        Args:
            claims: the groups that share the limits, with the pods in each.
            pressure: percentage of the last seconds for which services waited for disks; None where unknown.
        """
        self._share = next_share(self._settings, self._share, pressure)
        wanted: Wanted = {}
        for group, limits in disk_limits(self._settings, self._share, self._for_all(claims)).items():
            for device in self._devices:
                wanted |= self._limit(group, device, limits)
        return wanted

    def held(self, group: str, limits: DiskLimits) -> Wanted:
        """What a single pod's limits shall be, on every device."""
        groups = self._for_all({group: 1})
        wanted: Wanted = {}
        for each in groups:
            part = DiskLimits(*(None if limit is None else max(limit // len(groups), 1) for limit in limits))
            for device in self._devices:
                wanted |= self._limit(each, device, part)
        return wanted

    def weights(self, groups: Sequence[str]) -> Wanted:
        """What the weights of single pods that give way shall be."""
        weight, wanted = self._settings.weight, Wanted()
        for group in groups if weight is not None else ():
            wanted |= self._weight(group, weight or 0)
        return wanted

    def _for_all(self, claims: Mapping[str, int]) -> Mapping[str, int]:
        """The groups that a limit works on: version 1 heeds those of the processes alone, so the limit is shared out among the containers."""
        layout, listing = self._groups.layout, self._groups.listing
        if layout.version == 2:
            return claims
        found: dict[str, int] = {}
        for group in claims:
            below = layout.below(group, listing)
            pods = below if group == layout.tier("besteffort") else [group]
            found |= {
                container: 1
                for pod in pods
                for container in layout.below(pod, listing)
                if container not in self._groups.sandboxes
            }
        return found

    def _limit(self, group: str, device: str, limits: DiskLimits) -> Wanted:
        layout = self._groups.layout
        if layout.version == 2:
            words = (f"{name}={'max' if limit is None else limit}" for name, limit in _v2(limits))
            return self._if_there(group, "io.max", f"#{device}", " ".join(words))
        wanted: Wanted = {}
        for name, limit in zip(_V1, limits, strict=True):
            if limit is not None:
                wanted |= self._if_there(group, f"blkio.throttle.{name}_device", f"#{device}", str(limit))
        return wanted

    def _weight(self, group: str, weight: int) -> Wanted:
        if self._groups.layout.version == 1:
            return self._if_there(group, _V1_WEIGHT, "", str(min(weight, _BFQ_MOST)))
        wanted: Wanted = {}
        for file in _V2_WEIGHTS:
            most = weight if file == "io.weight" else min(weight, _BFQ_MOST)
            wanted |= self._if_there(group, file, "#default", str(most))
        return wanted

    def _if_there(self, group: str, file: str, line: str, text: str) -> Wanted:
        """Nothing where the kernel has no such file, which is asked once."""
        if file not in self._there:
            self._there[file] = self._groups.has(self._groups.layout.tier("besteffort"), file)
        return {f"{self._groups.layout.path(group, file)}{line}": text} if self._there[file] else {}


def disks(sysfs: str) -> dict[str, str]:
    """The whole disks of a machine: numbers as in 254:0 by name."""
    found = {}
    for device in sorted(Path(sysfs, "block").glob("*/dev")):
        name = device.parent.name
        if not name.startswith(_NO_DISKS):
            found[name] = device.read_text().strip()
    return found


def _v2(limits: DiskLimits) -> list[tuple[str, int | None]]:
    return [
        ("rbps", limits.read_bps),
        ("wbps", limits.write_bps),
        ("riops", limits.read_iops),
        ("wiops", limits.write_iops),
    ]
