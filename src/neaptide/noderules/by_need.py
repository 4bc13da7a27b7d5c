"""One limit for several groups, by what they need: who uses what it has gets what others leave.

Needs are looked at every few seconds and not each second, for the kernel begins a quota's period anew, with all of its time, whenever the quota is
written. A group is hungry that used four fifths of its part at once; any other wants half as much again as it used at most, and a tenth of its even part at
least, so that it can begin. Hungry groups share the rest in proportion to their weights; where none is hungry, all have it in proportion to their wants.
"""

from collections.abc import Mapping

_HUNGRY, _ROOM, _LEAST = 0.8, 1.5, 0.1


class ByNeed:
    """The parts of each group.

    Args:
        seconds: for which parts stay as they are, unless groups come or go.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._parts: dict[str, float] = {}
        self._most: dict[str, float] = {}
        self._weights: Mapping[str, int] = {}
        self._at = float("-inf")

    def parts(
        self, limit: float, weights: Mapping[str, int], used: Mapping[str, float], now: float
    ) -> dict[str, float]:
        """The part of the limit that each group may use; together they are 1.

        Args:
            limit: in the unit of `used`, above 0.
            weights: of the groups, above 0.
            used: by group since the last call; a group that is not named has used nothing.
            now: seconds.
        """
        for group in weights:
            self._most[group] = max(self._most.get(group, 0.0), used.get(group, 0.0))
        if weights != self._weights:
            whole = sum(weights.values())
            self._parts = {group: weight / whole for group, weight in weights.items()}
        elif not 0 <= now - self._at < self._seconds:
            self._parts = self._divided(limit, weights)
        else:
            return self._parts
        self._weights, self._at, self._most = dict(weights), now, {}
        return self._parts

    def _divided(self, limit: float, weights: Mapping[str, int]) -> dict[str, float]:
        whole = sum(weights.values())
        wants: dict[str, float] = {}
        for group, weight in weights.items():
            most = self._most.get(group, 0.0) / limit
            if most < _HUNGRY * self._parts[group]:
                wants[group] = max(_ROOM * most, _LEAST * weight / whole)
        return _filled(weights, wants)


def _filled(weights: Mapping[str, int], wants: Mapping[str, float]) -> dict[str, float]:
    """Max-min fair parts of 1, by weight; a group without a want takes all that it can get."""
    parts: dict[str, float] = {}
    left, heavy = 1.0, float(sum(weights.values()))
    for group in sorted(wants, key=lambda each: wants[each] / weights[each]):
        parts[group] = min(wants[group], left * weights[group] / heavy)
        left, heavy = left - parts[group], heavy - weights[group]
    hungry = weights.keys() - wants.keys()
    if not hungry:
        return {group: part / (1.0 - left) for group, part in parts.items()}
    return parts | {group: left * weights[group] / heavy for group in hungry}
