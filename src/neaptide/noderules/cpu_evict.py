"""CPU eviction: when best-effort pods starve, or a node's CPU passes its watermark, pods give way.

BECPUEvict: satisfaction = what best-effort pods may use / what they request. Where they use 90 % of it and satisfaction is
at or below the lower bound, on average and now, release = request * (upper bound - satisfaction), the smaller of both.
CPUEvict: where average usage passes the watermark, release = capacity * (used % - lower %) / 100, used % rounded down.
Source: koordinator cpuevict/cpu_evict.go.
"""

from collections.abc import Sequence
from typing import NamedTuple

from neaptide.noderules.evict import (
    MID_PRIORITY_MAX,
    Decision,
    PodReading,
    Task,
    best_effort_order,
    best_effort_request,
    cpu_used,
    decide,
    priority_order,
    watermark_percents,
)

MAX_LOWER_PERCENT = 60
ONE_CORE = 1000


class CpuEvictSettings(NamedTuple):
    """`tasks` are BECPUEvict and CPUEvict; each needs its percentages. `policy` is evictByRealLimit or evictByAllocatable."""

    tasks: tuple[str, ...] = ("BECPUEvict",)
    satisfaction_lower_percent: int | None = None
    satisfaction_upper_percent: int | None = None
    usage_percent: int = 90
    policy: str = "evictByRealLimit"
    window_seconds: float = 60.0
    threshold_percent: int | None = None
    lower_percent: int | None = None
    priority_threshold: int = MID_PRIORITY_MAX
    cool_seconds: float = 20.0


class BestEffortUse(NamedTuple):
    """The best-effort tier in milli-cores: what it uses, what its pods request, and what it may use."""

    used: float
    request: float
    limit: float


class CpuEvictReading(NamedTuple):
    """A node over the window: averages, the present, and how much of the window the samples cover.

    `batch_allocatable` is the node's batch-cpu (None where it has none), the limit under evictByAllocatable. `node_used`
    is the average in milli-cores, None where unknown.
    """

    capacity: int
    node_used: float | None
    average: BestEffortUse
    current: BestEffortUse
    covered_seconds: float
    batch_allocatable: int | None = None


def cpu_evict(
    settings: CpuEvictSettings,
    reading: CpuEvictReading,
    pods: Sequence[PodReading],
    *,
    now: float,
    last_eviction: float | None,
) -> Decision:
    """Whom to evict now. `last_eviction` is when this rule last evicted (seconds), None if never."""
    if last_eviction is not None and now - last_eviction < settings.cool_seconds:
        return Decision((), f"the last eviction is less than {settings.cool_seconds:g} s ago")
    if reading.capacity <= 0:
        return Decision((), "the node's CPU capacity is unknown")
    builders = {"BECPUEvict": _satisfaction_task, "CPUEvict": _watermark_task}
    tasks: list[Task | str] = [
        builders[name](settings, reading, pods) if name in builders else f"task {name!r} is not known: {list(builders)}"
        for name in settings.tasks
    ]
    return decide(pods, tasks)


def _satisfaction_task(settings: CpuEvictSettings, reading: CpuEvictReading, pods: Sequence[PodReading]) -> Task | str:
    lower, upper = settings.satisfaction_lower_percent, settings.satisfaction_upper_percent
    if lower is None or upper is None:
        return "no bounds of satisfaction are set"
    if not (0 < lower <= MAX_LOWER_PERCENT and lower <= upper < 100):
        return f"satisfaction bounds {lower} % and {upper} % cannot be used: 0 < lower <= 60, lower <= upper < 100"
    if reading.covered_seconds < settings.window_seconds / 3:
        return f"samples cover {reading.covered_seconds:g} s of {settings.window_seconds:g} s, a third is needed"
    release = float("inf")
    for use in (reading.average, reading.current):
        limit = use.limit if settings.policy == "evictByRealLimit" else _allocatable_limit(reading)
        if limit <= 0 or use.request <= 0:
            return "best-effort pods have no limit or request nothing"
        if limit >= ONE_CORE and use.used * 100 < limit * settings.usage_percent:
            return f"best-effort pods use {use.used:.0f}m of {limit:.0f}m, below {settings.usage_percent} %"
        if limit * 100 > use.request * lower:
            return f"best-effort pods may use {limit:.0f}m of {use.request:.0f}m requested, above {lower} %"
        release = min(release, float(int(use.request * upper / 100 - limit)))
    reason = f"best-effort pods may use at most {lower} % of what they request, {release:.0f}m less requests make it {upper} %"

    def busy(pod: PodReading) -> float:
        return cpu_used(pod) / pod.cpu_request if pod.cpu_request > 0 else 0.0

    return Task("BECPUEvict", best_effort_request, release, best_effort_order(pods, "BECPUEvict", busy), reason)


def _allocatable_limit(reading: CpuEvictReading) -> float:
    """Batch-cpu; 1m where it is 0, so that satisfaction is low and not undefined."""
    return -1.0 if reading.batch_allocatable is None else max(float(reading.batch_allocatable), 1.0)


def _watermark_task(settings: CpuEvictSettings, reading: CpuEvictReading, pods: Sequence[PodReading]) -> Task | str:
    percents = watermark_percents(settings.threshold_percent, settings.lower_percent)
    if isinstance(percents, str):
        return percents
    if reading.node_used is None:
        return "the node's CPU usage is unknown"
    threshold, lower = percents
    percent = int(reading.node_used) * 100 // reading.capacity
    if percent < threshold:
        return f"CPU at {percent} % is below {threshold} %"
    release = reading.capacity * (percent - lower) // 100
    reason = f"CPU at {percent} % passed {threshold} %, {release}m bring it to {lower} %"
    candidates = priority_order(pods, "CPUEvict", cpu_used, priority_threshold=settings.priority_threshold)
    return Task("CPUEvict", cpu_used, release, candidates, reason)
