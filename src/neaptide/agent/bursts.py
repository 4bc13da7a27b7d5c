"""CPU burst on a node: the limits of services, each second, container by container, and those of their pods as much."""

from collections.abc import Iterable
from math import isnan, nan
from typing import NamedTuple

from neaptide.agent.groups import Groups, Wanted
from neaptide.agent.layout import PodGroup
from neaptide.noderules.cpu_burst import (
    BurstSettings,
    Container,
    SharePool,
    Tokens,
    burst_milli,
    next_limit,
    pool_state,
)


class _State(NamedTuple):
    """A container as it was at the last look."""

    base: float
    milli: float
    tokens: Tokens
    seconds: float
    throttled: int | None


class Bursts:
    """What limits are at, by container."""

    def __init__(self, settings: BurstSettings, groups: Groups) -> None:
        self._settings, self._groups = settings, groups
        self._states: dict[str, _State] = {}

    def wanted(self, pods: Iterable[PodGroup], pool: SharePool, passed: float) -> Wanted:
        """What the files of pods that may burst shall say, `passed` seconds after the last call."""
        state = pool_state(self._settings, pool)
        states: dict[str, _State] = {}
        wanted: Wanted = {}
        for pod in pods if self._settings.bursts or self._settings.scales else ():
            more = 0.0
            for group in self._groups.layout.below(pod.group, self._groups.listing):
                base = self._groups.limit(group)
                if base is None:
                    continue
                now = states[group] = self._step(group, base, state, passed)
                more += now.milli - base
                wanted |= self._files(group, base, now.milli)
            whole = self._groups.limit(pod.group)
            if whole is not None:
                wanted |= self._files(pod.group, whole, whole + more)
        self._states = states
        return wanted

    def _step(self, group: str, base: float, pool: str, passed: float) -> _State:
        seconds, throttled = self._groups.cpu_seconds(group), self._groups.throttled(group)
        last = self._states.get(group)
        if last is None or last.base != base:  # new, or resized
            last = _State(base, base, Tokens(), nan, None)
        used = (seconds - last.seconds) / passed * 1000
        known = throttled is not None and last.throttled is not None
        container = Container(
            base,
            last.milli,
            nan if isnan(used) or used < 0 else used,
            (throttled or 0) > (last.throttled or 0) if known else None,
        )
        scaled = next_limit(self._settings, container, last.tokens, pool=pool, seconds=passed)
        return _State(base, scaled.milli, scaled.tokens, seconds, throttled)

    def _files(self, group: str, base: float, milli: float) -> Wanted:
        """Only what differs from what Kubernetes gives: a container that does not burst keeps its files."""
        wanted = self._groups.limited_to(group, milli) if milli != base else {}
        burst = burst_milli(self._settings, base)
        return wanted | self._groups.burst(group, burst) if burst > 0 else wanted
