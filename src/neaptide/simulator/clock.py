"""The simulator's time: events in order of (time, sequence), so that every run of a scenario is the same."""

import heapq
from collections.abc import Callable
from itertools import count

Event = Callable[[], object]


class Clock:
    """Seconds since the epoch that pass from event to event."""

    def __init__(self, start: float) -> None:
        self.now = start
        self.events = 0
        self._heap: list[tuple[float, int, Event]] = []
        self._sequence = count()

    def at(self, time: float, event: Event) -> None:
        """Have something happen at a time, or now if that has passed."""
        heapq.heappush(self._heap, (max(time, self.now), next(self._sequence), event))

    def after(self, delay: float, event: Event) -> None:
        """Have something happen in `delay` seconds."""
        self.at(self.now + delay, event)

    def every(self, period: float, event: Event, *, first: float | None = None) -> None:
        """Have something happen at `first` (now, unless given) and then every `period` seconds, without drift."""
        begin = self.now if first is None else first

        def fire(round_: int) -> None:
            event()
            self.at(begin + (round_ + 1) * period, lambda: fire(round_ + 1))

        self.at(begin, lambda: fire(0))

    def run_until(self, time: float) -> None:
        """Let time pass: everything due before `time` or at it happens, in order."""
        while self._heap and self._heap[0][0] <= time:
            self.now, _, event = heapq.heappop(self._heap)
            self.events += 1
            event()
        self.now = max(self.now, time)
