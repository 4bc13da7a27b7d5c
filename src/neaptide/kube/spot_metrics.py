"""The figures of the k8s-spot-rescheduler under their old names, for as long as the policy `spot-rescheduler` is among those that run."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import time

import numpy as np
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from neaptide.kube.acting.registry import Method
from neaptide.kube.cache import Cache
from neaptide.loop import Mode, Setting
from neaptide.model.actions import Evict, Outcome, Untaint
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.spot_rescheduler_nodes import DRAIN_RESULTS, kinds, node_type, on_it
from neaptide.policies.spot_rescheduler_spec import NAME, SpotReschedulerSpec


class SpotMetrics(Collector):
    """Counts what is done, and looks at the nodes when Prometheus asks."""

    def __init__(self) -> None:
        self._drains: Counter[tuple[str, str]] = Counter()
        self._evicted = 0
        self._cache: Cache | None = None
        self._settings: Callable[[], Sequence[Setting]] = tuple
        self._seen: tuple[Metric, ...] = ()

    def watch(self, cache: Cache, settings: Callable[[], Sequence[Setting]]) -> None:
        """Where to look."""
        self._cache, self._settings = cache, settings

    def outcome(self, outcome: Outcome, method: Method) -> None:  # noqa: ARG002 - a watcher of the actuator
        """Count what became of an action that was tried."""
        action = outcome.action
        if action.policy != NAME or outcome.result != "Done":
            return
        if isinstance(action, Evict):
            self._evicted += 1
        elif isinstance(action, Untaint) and action.reason.code in DRAIN_RESULTS:
            self._drains[DRAIN_RESULTS[action.reason.code], action.target.name] += 1

    def collect(self) -> Iterable[Metric]:
        running = [each for each in self._settings() if each.policy.name == NAME and each.mode is not Mode.OFF]
        if not running:
            return
        if self._cache is not None and not self._cache.is_held:
            self._seen = tuple(_nodes(self._cache.snapshot, running[0].spec))
        yield from self._seen
        drains = CounterMetricFamily(
            "spot_rescheduler_node_drain_total", "Drains by how they ended.", labels=["drain_state", "node"]
        )
        for (state, node), count in self._drains.items():
            drains.add_metric([state, node], count)
        yield drains
        yield CounterMetricFamily("spot_rescheduler_evicted_pods_total", "Pods that were evicted.", value=self._evicted)


def _nodes(snapshot: ClusterSnapshot, spec: SpotReschedulerSpec) -> Iterator[Metric]:
    pods = GaugeMetricFamily(
        "spot_rescheduler_node_pods_count", "Pods that a drain of the node would move.", labels=["node_type", "node"]
    )
    nodes = GaugeMetricFamily("spot_rescheduler_nodes_count", "Nodes of a type.", labels=["node_type"])
    found, now = kinds(snapshot, spec), time()
    for kind, rows in (("on demand", found.on_demand), ("spot", found.spot)):
        name = node_type(kind, spec)
        nodes.add_metric([name], int(np.count_nonzero(rows)))
        for row in np.flatnonzero(rows).tolist():
            pods.add_metric([name, snapshot.nodes.names[row]], len(on_it(snapshot, row, now)))
    yield pods
    yield nodes
