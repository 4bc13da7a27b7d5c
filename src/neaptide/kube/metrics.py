"""What the controller shows to Prometheus. Every name begins with `neaptide_`; docs/operations.md lists them."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import nan
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from neaptide.kube.acting.registry import Method
from neaptide.kube.events import Events
from neaptide.model.actions import Outcome

if TYPE_CHECKING:  # the scheduler alone needs neither the loop nor its policies, which take a second to import
    from neaptide.kube.world import World
    from neaptide.loop import Cycle

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The figures of one process, in a registry of their own."""

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.registry = registry = CollectorRegistry()
        self._phases = Histogram(
            "neaptide_loop_phase_seconds", "Time of a cycle's phase.", ["phase"], buckets=_SECONDS, registry=registry
        )
        self._cycles = Counter(
            "neaptide_cycles", "Cycles of the loop by how they ended.", ["result"], registry=registry
        )
        self._planned = Gauge(
            "neaptide_planned_actions",
            "Actions that a policy wanted in the latest cycle.",
            ["policy", "kind"],
            registry=registry,
        )
        self._declined = Gauge(
            "neaptide_declined_objects",
            "Objects that a policy left alone in the latest cycle.",
            ["policy"],
            registry=registry,
        )
        self._actions = Counter(
            "neaptide_actions",
            "Actions by what became of them.",
            ["policy", "kind", "result", "reason"],
            registry=registry,
        )
        self._money = Gauge(
            "neaptide_money_per_hour_dollars",
            "What the nodes cost now, would once the plan is carried out, and at best (bound); NaN where it is unknown.",
            ["when"],
            registry=registry,
        )
        self._leading = Gauge("neaptide_leading", "Whether this process holds the lease.", registry=registry)
        self._memory = Gauge("neaptide_checkpoint_bytes", "Size of the loop's memory, uncompressed.", registry=registry)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Take the time of what happens inside."""
        began = self._clock()
        try:
            yield
        finally:
            self._phases.labels(name).observe(self._clock() - began)

    def watch(self, world: "World", events: Events, is_leading: Callable[[], bool]) -> None:
        """Show what a world knows, read when Prometheus asks."""
        self._leading.set_function(lambda: float(is_leading()))
        self.registry.register(_Seen(world, events))

    def outcome(self, outcome: Outcome, method: Method) -> None:  # noqa: ARG002 - a watcher of the actuator
        """Count what became of an action that was tried."""
        action = outcome.action
        self._actions.labels(
            action.policy,
            type(action).__name__,
            outcome.result,
            outcome.reason.code if outcome.result != "Done" else "",
        ).inc()

    def cycle(self, cycle: "Cycle", money: float | None) -> None:
        """Show what a cycle wanted, and count what was not tried."""
        self._cycles.labels("done").inc()
        self._planned.clear()
        for plan in cycle.plans:
            self._declined.labels(plan.policy).set(len(plan.declined))
            for action in plan.actions:
                self._planned.labels(plan.policy, type(action).__name__).inc()
        self._money.labels("now").set(nan if money is None else money)
        planned = planned_money(cycle, money)
        self._money.labels("planned").set(nan if planned is None else planned)

    def bound(self, money: float | None) -> None:
        """Show below which cost no set of nodes can host the pods."""
        self._money.labels("bound").set(nan if money is None else money)

    def skipped(self, why: str) -> None:
        """Count a cycle that was not made: `stale`, or `failed`."""
        self._cycles.labels(why).inc()

    def checkpoint(self, size: int) -> None:
        """Show how large the loop's memory is."""
        self._memory.set(size)

    def exposition(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self.registry)


def planned_money(cycle: "Cycle", money: float | None) -> float | None:
    """What the nodes would cost once all that was granted is carried out; None where something of it is unknown."""
    changes = [each.action.expected.money_per_hour for each in cycle.outcomes if each.result in ("Done", "Recommended")]
    known = [change for change in changes if change is not None]
    return None if money is None or len(known) < len(changes) else money + sum(known)


class _Seen(Collector):
    """A collector of what a world knows."""

    def __init__(self, world: "World", events: Events) -> None:
        self._world, self._events = world, events

    def collect(self) -> Iterable[Metric]:
        cache, meter = self._world.cache, self._world.meter
        age = GaugeMetricFamily("neaptide_snapshot_age_seconds", "Time since a stream was heard.", labels=["kind"])
        lists = GaugeMetricFamily("neaptide_watch_lists_total", "How often all of a kind was told.", labels=["kind"])
        synced = GaugeMetricFamily("neaptide_watch_synced", "Whether a kind was seen to the end.", labels=["kind"])
        for kind, seconds in cache.ages().items():
            age.add_metric([kind], nan if seconds is None else seconds)
            lists.add_metric([kind], cache.streams[kind].lists)
            synced.add_metric([kind], cache.streams[kind].synced)
        usage = GaugeMetricFamily("neaptide_usage_source", "1 for the source that usage comes from.", labels=["source"])
        if meter.source:
            usage.add_metric([meter.source], 1)
        left_out = GaugeMetricFamily("neaptide_left_out_objects", "Objects that cannot be used as they are.")
        left_out.add_metric([], len(self._world.left_out()))
        objects = GaugeMetricFamily("neaptide_objects", "Nodes and pods in the snapshot.", labels=["kind"])
        objects.add_metric(["Node"], len(cache.snapshot.nodes.by_name))
        objects.add_metric(["Pod"], len(cache.snapshot.pods.by_key))
        dropped = GaugeMetricFamily(
            "neaptide_events_dropped_total", "Events that were cut off or could not be written."
        )
        dropped.add_metric([], self._events.dropped)
        return [age, lists, synced, usage, left_out, objects, dropped]
