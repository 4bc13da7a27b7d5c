"""What the scheduler shows to Prometheus."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from neaptide.placement.cycle.waits import Wait

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class SchedulerMetrics:
    """The scheduler's figures, in the registry of its process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._bindings = Counter(
            "neaptide_scheduler_bindings", "Bindings by what became of them.", ["result"], registry=registry
        )
        self._turns = Histogram(
            "neaptide_scheduler_turn_seconds",
            "Time to take in what was said and to decide.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._waiting = Gauge("neaptide_scheduler_waiting_pods", "Pods that wait for a node.", registry=registry)
        self._longest = Gauge(
            "neaptide_scheduler_longest_wait_seconds",
            "The longest wait, by priority band.",
            ["band"],
            registry=registry,
        )

    def bound(self, *, refused: str = "") -> None:
        """A binding has ended; `refused` is the API's reason."""
        self._bindings.labels(refused or "Done").inc()

    def turned(self, seconds: float) -> None:
        """A turn was taken."""
        self._turns.observe(seconds)

    def waits(self, waits: Sequence[Wait]) -> None:
        """All pods that wait."""
        longest: dict[str, float] = {}
        for each in waits:
            longest[each.band] = max(longest.get(each.band, 0.0), each.seconds)
        self._waiting.set(len(waits))
        self._longest.clear()
        for band, seconds in longest.items():
            self._longest.labels(band).set(seconds)
