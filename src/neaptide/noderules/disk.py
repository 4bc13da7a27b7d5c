"""Disk: best-effort pods together read and write no more than so much on each device, and wait behind services.

limit  = configured limit * share; each best-effort group has the part of it that its pods are of all of them
share  is halved where services wait for disks `pressure_percent` of the time or more, not below `least_percent`, and rises by a tenth of
       the whole where they wait less than half as much; it stays where nobody knows, or between the two
weight = best-effort groups', of 1 to 10000 beside the 100 of the others: heeded where the kernel weighs (iocost or bfq)
"""

from collections.abc import Mapping
from typing import NamedTuple

_RISE = 0.1
_CALM = 0.5
"""Of the threshold: below that the limits rise."""


class DiskSettings(NamedTuple):
    """Limits are bytes or operations a second for all best-effort pods together, None for none.

    `devices` are names as in vda, or numbers as in 254:0; every disk where empty. `pressure_percent` None keeps the limits as they are.
    """

    devices: tuple[str, ...] = ()
    read_bps: int | None = None
    write_bps: int | None = None
    read_iops: int | None = None
    write_iops: int | None = None
    weight: int | None = 10
    pressure_percent: float | None = None
    least_percent: int = 10


class DiskLimits(NamedTuple):
    """Of one group on one device, a second; None for no limit."""

    read_bps: int | None = None
    write_bps: int | None = None
    read_iops: int | None = None
    write_iops: int | None = None

    @property
    def limited(self) -> bool:
        return any(limit is not None for limit in self)


def configured(settings: DiskSettings) -> DiskLimits:
    """What best-effort pods may do together while no service waits."""
    return DiskLimits(settings.read_bps, settings.write_bps, settings.read_iops, settings.write_iops)


def next_share(settings: DiskSettings, share: float, pressure: float | None) -> float:
    """The share of the next step. `pressure` is the percentage of time for which services waited for disks, None where unknown."""
    if settings.pressure_percent is None:
        return 1.0
    if pressure is None:
        return share
    if pressure >= settings.pressure_percent:
        return max(share / 2, settings.least_percent / 100)
    return min(share + _RISE, 1.0) if pressure < settings.pressure_percent * _CALM else share


def disk_limits(settings: DiskSettings, share: float, pods_in: Mapping[str, int]) -> dict[str, DiskLimits]:
    """By group, what it may do on each device; `pods_in` says how many pods each is for. The parts' sum is within the limit, where that lets each do one."""
    whole = sum(pods_in.values())
    if not configured(settings).limited or not whole:
        return {}
    return {
        group: DiskLimits(*(_part(limit, share * pods / whole) for limit in configured(settings)))
        for group, pods in pods_in.items()
    }


def _part(limit: int | None, of_it: float) -> int | None:
    """The kernel takes 0 for no limit, or refuses it."""
    return None if limit is None else max(int(limit * of_it), 1)
