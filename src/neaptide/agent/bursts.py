"""CPU burst on a node: the limits of services, each second, container by container, and those of their pods as much."""

from collections.abc import Iterable, Sequence
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


class _Limited(NamedTuple):
    """A pod that may burst: its own limit, None for none, and those of its containers that have one."""

    group: str
    limit: float | None
    containers: Sequence[tuple[str, float]]


class Bursts:
    """What limits are at, by container."""

    def __init__(self, settings: BurstSettings, groups: Groups) -> None:
        self._settings, self._groups = settings, groups
        self._states: dict[str, _State] = {}
        self._pods: list[_Limited] = []

    def look(self, pods: Iterable[PodGroup]) -> Wanted:
        """Which pods may burst from now on, and what limits Kubernetes gave them; what they may save up is what their files shall say always."""
        wanted: Wanted = {}
        self._pods = []
        for pod in pods if self._settings.bursts or self._settings.scales else ():
            below = self._groups.layout.below(pod.group, self._groups.listing)
            limits = [(group, limit) for group in below if (limit := self._groups.limit(group)) is not None]
            self._pods.append(_Limited(pod.group, self._groups.limit(pod.group), limits))
            for group, limit in [*limits, (pod.group, self._pods[-1].limit)]:
                burst = 0.0 if limit is None else burst_milli(self._settings, limit)
                wanted |= self._groups.burst(group, burst) if burst > 0 else {}
        return wanted

    def wanted(self, pool: SharePool, passed: float) -> Wanted:
        """What limits shall be, `passed` seconds after the last call: only those that differ from what Kubernetes gives."""
        state = pool_state(self._settings, pool)
        states: dict[str, _State] = {}
        wanted: Wanted = {}
        for pod in self._pods:
            more = 0.0
            for group, base in pod.containers:
                now = states[group] = self._step(group, base, state, passed)
                more += now.milli - base
                if now.milli != base:
                    wanted |= self._groups.limited_to(group, now.milli)
            if pod.limit is not None and more:
                wanted |= self._groups.limited_to(pod.group, pod.limit + more)
        self._states = states
        return wanted

    def _step(self, group: str, base: float, pool: str, passed: float) -> _State:
        seconds, throttled = self._groups.cpu_and_throttled(group)
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
