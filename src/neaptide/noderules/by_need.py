"""One limit for several groups, by what they need: who uses what it has gets what others leave.

Needs are looked at every few seconds and not each second, for the kernel begins a quota's period anew, with all of its time, whenever the quota is
written; and nothing changes unless some group gains a quarter of what it has. A group is hungry that used four fifths of its part at once; any other wants
twice what it used at most, and a tenth of its even part at least, so that it can begin. Hungry groups share the rest in proportion to their weights.
"""

from collections.abc import Mapping

_HUNGRY, _ROOM, _LEAST, _GAIN = 0.8, 2.0, 0.1, 1.25


class ByNeed:
    """The parts of each group.

    Args:
        seconds: for which parts stay as they are, unless groups come or go.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._parts: dict[str, float] = {}
        self._most: dict[str, float] = {}
        self._at = float("-inf")

    def parts(
        self, limit: float, weights: Mapping[str, int], used: Mapping[str, float], now: float
    ) -> dict[str, float]:
        """The part of the limit that each group may use; together they are 1. A group without weight has none.

        Args:
            limit: in the unit of `used`, above 0.
            weights: of the groups, not negative.
            used: by group since the last call; a group that is not named has used nothing.
            now: seconds.
        """
        heavy = {group: weight for group, weight in weights.items() if weight > 0}
        self._most = {group: max(self._most.get(group, 0.0), used.get(group, 0.0)) for group in heavy}
        if heavy.keys() != self._parts.keys():
            self._parts = self._joined(heavy)
        elif 0 <= now - self._at < self._seconds:
            return dict.fromkeys(weights, 0.0) | self._parts
        else:
            self._divide(limit, heavy)
        self._at, self._most = now, {}
        return dict.fromkeys(weights, 0.0) | self._parts

    def _joined(self, weights: Mapping[str, int]) -> dict[str, float]:
        """New groups have their even part, and those that stay share what is left as they did before."""
        whole, stay = sum(weights.values()), weights.keys() & self._parts.keys()
        new = {group: weights[group] / whole for group in weights.keys() - stay}
        before = sum(self._parts[group] for group in stay)
        return new | {group: self._parts[group] / before * (1.0 - sum(new.values())) for group in stay}

    def _divide(self, limit: float, weights: Mapping[str, int]) -> None:
        whole = sum(weights.values())
        wants: dict[str, float] = {}
        for group, weight in weights.items():
            most = self._most[group] / limit
            if most < _HUNGRY * self._parts[group]:
                wants[group] = max(_ROOM * most, _LEAST * weight / whole)
        hungry = weights.keys() - wants.keys()
        parts = _filled(weights, wants) if hungry else self._parts
        if any(parts[group] >= _GAIN * self._parts[group] for group in hungry):
            self._parts = parts


def _filled(weights: Mapping[str, int], wants: Mapping[str, float]) -> dict[str, float]:
    """Max-min fair parts of 1, by weight; the groups without a want, of which there is one at least, take all that is left."""
    parts: dict[str, float] = {}
    left, heavy = 1.0, float(sum(weights.values()))
    for group in sorted(wants, key=lambda each: wants[each] / weights[each]):
        parts[group] = min(wants[group], left * weights[group] / heavy)
        left, heavy = left - parts[group], heavy - weights[group]
    return parts | {group: left * weights[group] / heavy for group in weights.keys() - wants.keys()}
