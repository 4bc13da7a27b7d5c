"""A glance between two rounds: whether services began to use much more CPU, so that best-effort pods are to give way sooner."""

from math import nan

from neaptide.agent.groups import Groups

_JUMP_PERCENT = 10
"""Of the node, from one glance to the next."""


class Glance:
    """Remembers the last one. It reads two files, whatever the number of pods."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self._at, self._seconds, self._rate = nan, nan, nan

    def jumped(self, now: float, capacity: int) -> bool:
        """Whether pods outside the tier of those that request nothing use a tenth of the node more than between the last two glances.

        False where that is unknown. `now` is in monotonic seconds, `capacity` in milli-cores.
        """
        layout = self._groups.layout
        seconds = self._groups.cpu_seconds(layout.tier("")) - self._groups.cpu_seconds(layout.tier("besteffort"))
        rate = (seconds - self._seconds) * 1000 / (now - self._at) if now > self._at else nan
        last, self._at, self._seconds, self._rate = self._rate, now, seconds, rate
        return capacity > 0 and (rate - last) * 100 >= capacity * _JUMP_PERCENT
