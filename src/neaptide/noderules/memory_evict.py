"""Memory eviction: when a node's memory passes its watermark, pods give way until it is back at the lower one.

release = capacity * (used % - lower %) / 100, where used % is rounded down. Source: koordinator
memoryevict/memory_evict.go; a victim releases the bytes it uses (upstream counts a thousand times as much for
`MemoryEvict`, and stops too early).
"""

from collections.abc import Sequence
from typing import NamedTuple

from neaptide.noderules.evict import (
    MID_PRIORITY_MAX,
    Decision,
    PodReading,
    Task,
    best_effort_order,
    decide,
    memory_used,
    priority_order,
    watermark_percents,
)


class MemoryEvictSettings(NamedTuple):
    """`tasks` are BEMemoryEvict (best effort) and MemoryEvict (any class below prod up to `priority_threshold`)."""

    tasks: tuple[str, ...] = ("BEMemoryEvict",)
    threshold_percent: int = 70
    lower_percent: int | None = None
    priority_threshold: int = MID_PRIORITY_MAX
    cool_seconds: float = 4.0


class MemoryReading(NamedTuple):
    """Bytes; `used` is without the page cache, None where unknown."""

    capacity: int
    used: int | None


def memory_evict(
    settings: MemoryEvictSettings,
    reading: MemoryReading,
    pods: Sequence[PodReading],
    *,
    now: float,
    last_eviction: float | None,
) -> Decision:
    """Whom to evict now. `last_eviction` is when this rule last evicted (seconds), None if never."""
    if last_eviction is not None and now - last_eviction < settings.cool_seconds:
        return Decision((), f"the last eviction is less than {settings.cool_seconds:g} s ago")
    percents = watermark_percents(settings.threshold_percent, settings.lower_percent)
    if isinstance(percents, str):
        return Decision((), percents)
    if reading.used is None or reading.capacity <= 0:
        return Decision((), "the node's memory usage or capacity is unknown")
    threshold, lower = percents
    percent = reading.used * 100 // reading.capacity
    if percent < threshold:
        return Decision((), f"memory at {percent} % is below {threshold} %")
    release = reading.capacity * (percent - lower) // 100
    reason = f"memory at {percent} % passed {threshold} %, {release} bytes bring it to {lower} %"
    return decide(pods, [_task(name, settings, pods, release, reason) for name in settings.tasks])


def _task(
    name: str, settings: MemoryEvictSettings, pods: Sequence[PodReading], release: int, reason: str
) -> Task | str:
    match name:
        case "BEMemoryEvict":
            candidates = best_effort_order(pods, name, memory_used)
        case "MemoryEvict":
            candidates = priority_order(pods, name, memory_used, priority_threshold=settings.priority_threshold)
        case _:
            return f"task {name!r} is not known: BEMemoryEvict, MemoryEvict"
    return Task(name, memory_used, release, candidates, reason)
