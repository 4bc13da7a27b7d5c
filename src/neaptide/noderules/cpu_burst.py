"""CPU burst: services that hit their limit for moments get more while the node has it, and give it back when it has not.

burst = limit * cpu_burst_percent / 100, no more than the limit itself: a mainline kernel refuses more.
quota: x 1.2 where a container was throttled and the share pool is idle, x 0.8 where the pool is overloaded or the container has used up
its tokens; never below its base, never above base * quota_burst_percent / 100.
tokens: a bucket of period * (quota_burst_percent - 100) seconds-percent; at a usage of u % of the base, u >= 100 spends (u - 100) a second,
u < 60 saves (100 - u). Source: koordinator cpuburst/cpu_burst.go.
"""

from math import isnan
from typing import NamedTuple

UP = 1.2
DOWN = 0.8
COOLING = 0.9
"""Of the threshold of the share pool: from here on nothing rises."""
SAVES_BELOW = 60.0


class BurstSettings(NamedTuple):
    """Koordinator's cpu-burst-config. `policy` is none, cpuBurstOnly, cfsQuotaBurstOnly or auto, which is both.

    `period_seconds` is for how long a container may use the most; -1 is for ever.
    """

    policy: str = "none"
    cpu_burst_percent: int = 1000
    quota_burst_percent: int = 300
    period_seconds: int = -1
    share_pool_percent: int = 50

    @property
    def bursts(self) -> bool:
        return self.policy in ("cpuBurstOnly", "auto")

    @property
    def scales(self) -> bool:
        return self.policy in ("cfsQuotaBurstOnly", "auto")


class SharePool(NamedTuple):
    """Milli-cores that pods without CPUs of their own share, and what services use of them; nan where unknown."""

    capacity: float
    used: float


class Container(NamedTuple):
    """One with a limit: `base` is that in milli-cores, `current` what is in force; `used` and `throttled` since the last look.

    `used` is nan and `throttled` None where unknown.
    """

    base: float
    current: float
    used: float
    throttled: bool | None


class Tokens(NamedTuple):
    """What is left of a container's bucket; None for a full one."""

    left: float | None = None


class Scaled(NamedTuple):
    """The limit of the next step in milli-cores, and the tokens after this one."""

    milli: float
    tokens: Tokens


def burst_milli(settings: BurstSettings, base: float) -> float:
    """What a container with this limit may save up for a moment, in milli-cores over a period; 0 where it may not."""
    return min(base * settings.cpu_burst_percent / 100, base) if settings.bursts else 0.0


def pool_state(settings: BurstSettings, pool: SharePool) -> str:
    """idle, cooling, overload, or unknown."""
    if pool.capacity <= 0 or isnan(pool.used + pool.capacity):
        return "unknown"
    percent = pool.used * 100 / pool.capacity
    if percent >= settings.share_pool_percent:
        return "overload"
    return "cooling" if percent >= settings.share_pool_percent * COOLING else "idle"


def next_limit(settings: BurstSettings, container: Container, tokens: Tokens, *, pool: str, seconds: float) -> Scaled:
    """One step of a container's limit, `seconds` after the last. Where something is unknown it does not rise."""
    tokens = _spent(settings, container, tokens, seconds)
    base, current = container.base, container.current
    if not settings.scales:
        return Scaled(base, tokens)
    most = base * max(settings.quota_burst_percent, 100) / 100
    if pool in ("overload", "unknown") or (tokens.left is not None and tokens.left <= 0):
        wanted = current * DOWN
    elif pool == "idle" and container.throttled:
        wanted = current * UP
    else:
        wanted = current
    return Scaled(min(max(wanted, base), most), tokens)


def _spent(settings: BurstSettings, container: Container, tokens: Tokens, seconds: float) -> Tokens:
    if settings.period_seconds < 0 or container.base <= 0:
        return Tokens()
    capacity = float(settings.period_seconds * max(settings.quota_burst_percent - 100, 0))
    left = capacity if tokens.left is None else tokens.left
    percent = container.used * 100 / container.base
    if percent >= 100:
        left -= (percent - 100) * seconds
    elif percent < SAVES_BELOW:
        left += (100 - percent) * seconds
    return Tokens(min(max(left, -capacity), capacity))
