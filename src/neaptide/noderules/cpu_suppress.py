"""How much CPU best-effort pods may use, so that a node stays below its threshold while services come first.

limit = capacity * threshold - pods that are not best effort - host applications that are not - system,
system = max(node - all pods - all host applications, reserved). Where services' own latencies say how much offline work they bear (slo_share.py),
that part of capacity takes the place of the threshold: limit = min(capacity * part, capacity - services - system). The limit is put in force as a CPU set or as a CFS
quota; it falls at once and rises by a tenth of the node a step. Source: koordinator cpusuppress/cpu_suppress.go.
"""

from collections.abc import Collection, Mapping
from math import floor, isnan
from typing import NamedTuple

from neaptide.noderules.cpuset import CpuPools, best_effort_cpus, cpus_wanted

CFS_PERIOD_US = 100_000
MIN_QUOTA_US = 2_000
UNLIMITED = -1
MAX_RISE_PERCENT = 10
BYPASS_PERCENT = 1


class CpuReading(NamedTuple):
    """A node's CPU in milli-cores; usage is nan where unknown.

    `reserved` is the kubelet's or the annotation's, the larger; `part` is that of capacity which services' latencies leave to best-effort pods, None
    where no latency is known.
    """

    capacity: int
    node_used: float
    best_effort_pods: float
    other_pods: float
    best_effort_apps: float = 0.0
    other_apps: float = 0.0
    reserved: int = 0
    part: float | None = None


class SuppressSettings(NamedTuple):
    """Koordinator's resource-threshold-config: `policy` is cpuset or cfsQuota; `min_percent` of capacity is never taken away."""

    enabled: bool = True
    threshold_percent: int = 65
    policy: str = "cpuset"
    min_percent: int | None = None


class BestEffortCpu(NamedTuple):
    """What is in force for the best-effort tier: a quota in µs a period (-1: none) and CPUs (empty: none set)."""

    quota_us: int
    cpus: tuple[int, ...]


class Limit(NamedTuple):
    milli: int
    reason: str


class Suppression(NamedTuple):
    """What to put in force, and why."""

    setting: BestEffortCpu
    reason: str


def usage_split(used: Mapping[str, float], best_effort: Collection[str]) -> tuple[float, float]:
    """Usage of (best-effort pods, other pods) by UID; one whose pod is not known counts as not best effort."""
    lent = sum(amount for uid, amount in used.items() if uid in best_effort)
    return lent, sum(used.values()) - lent


def best_effort_limit(settings: SuppressSettings, reading: CpuReading) -> Limit | None:
    """What best-effort pods may use in milli-cores; None where a usage is unknown."""
    pods = reading.best_effort_pods + reading.other_pods
    apps = reading.best_effort_apps + reading.other_apps
    system = max(reading.node_used - pods - apps, reading.reserved)
    if isnan(system + pods + apps):
        return None
    percent = settings.threshold_percent if reading.part is None else 100
    share = reading.capacity * percent // 100
    milli = floor(share - reading.other_pods - reading.other_apps - system)
    least = reading.capacity * (settings.min_percent or 0) // 100
    reason = (
        f"{percent} % of {reading.capacity}m, less {reading.other_pods:.0f}m of other pods, "
        f"{reading.other_apps:.0f}m of host applications and {system:.0f}m of system, leaves {milli}m"
    )
    if reading.part is not None:
        borne = floor(reading.capacity * reading.part)
        reason = f"services' latencies bear {borne}m of best-effort pods; {reason}"
        milli = min(milli, borne)
    return Limit(milli, reason) if milli >= least else Limit(least, f"{reason}; {least}m is the least")


def next_quota(limit_milli: int, *, current_us: int, capacity_milli: int) -> int:
    """The CFS quota of the next step in µs a period.

    The target is never below `MIN_QUOTA_US` and holds at once where there was no quota. Else a change of less than 1 % of
    the node is passed over unless it goes to that minimum, and a rise is at most 10 % of the node.
    """
    target = max(limit_milli * CFS_PERIOD_US // 1000, MIN_QUOTA_US)
    node = capacity_milli * CFS_PERIOD_US // 1000
    if current_us == UNLIMITED:
        return target
    if abs(target - current_us) * 100 < node * BYPASS_PERCENT and target != MIN_QUOTA_US:
        return current_us
    return min(target, current_us + node * MAX_RISE_PERCENT // 100)


def suppress(
    settings: SuppressSettings, reading: CpuReading, pools: CpuPools, current: BestEffortCpu
) -> Suppression | None:
    """What to put in force now; None where usage is unknown, and all stays as it is."""
    everything = tuple(sorted(cpu.id for cpu in pools.allowed()))
    if not settings.enabled:
        return Suppression(BestEffortCpu(UNLIMITED, everything), "suppression is switched off")
    limit = best_effort_limit(settings, reading)
    if limit is None:
        return None
    if settings.policy == "cfsQuota":
        quota = next_quota(limit.milli, current_us=current.quota_us, capacity_milli=reading.capacity)
        return Suppression(BestEffortCpu(quota, everything), f"quota {quota} µs: {limit.reason}")
    wanted = cpus_wanted(limit.milli, total=len(pools.cpus), current=len(current.cpus))
    chosen = best_effort_cpus(wanted, pools)
    return Suppression(BestEffortCpu(UNLIMITED, tuple(chosen)), f"{len(chosen)} CPUs: {limit.reason}")
