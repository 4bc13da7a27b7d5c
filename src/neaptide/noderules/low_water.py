"""A value that falls at once and rises late: what was asked for all the while."""

from collections import deque


class LowWater:
    """The least of what was asked for within the last seconds.

    The kernel begins a quota's period anew, with all of its time, whenever the quota is written: one that follows each breath of a service lets
    offline work use more than any of its values says.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lows: deque[tuple[float, int]] = deque()
        """What was asked for and when, rising in both: what was asked for before something lower is of no account."""

    def of(self, value: int, now: float) -> int:
        """What holds once this is asked for."""
        while self._lows and self._lows[-1][1] >= value:
            self._lows.pop()
        self._lows.append((now, value))
        while now - self._lows[0][0] >= self._seconds:
            self._lows.popleft()
        return self._lows[0][1]

    def forget(self) -> None:
        """Nothing was asked for."""
        self._lows.clear()
