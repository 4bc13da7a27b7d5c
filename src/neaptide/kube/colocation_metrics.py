"""What Prometheus sees of co-location: what is free, lent and used; which nodes nobody measures; offline work that fails or waits; services that suffer; protected pods whose end is announced."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from neaptide.kube.cache import Cache
from neaptide.kube.protected_metrics import announced
from neaptide.kube.troubles import failed, unmeasured, unready, waits
from neaptide.model.accounts import account_of
from neaptide.model.node_metric import FINDINGS, OBJECTIVE, Objective
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.vocabulary import CPU, FIRST_RESOURCES, MEMORY
from neaptide.policies.interference import Finding, InterferenceSpec, told_of

_AGE = InterferenceSpec().metric_age_seconds
"""Seconds for which what an agent said counts."""


class ColocationMetrics(Collector):
    """Looks at a cluster when Prometheus asks; while a cycle reads it, what was seen last is shown again."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._cache: Cache | None = None
        self._seen: tuple[Metric, ...] = ()

    def watch(self, cache: Cache) -> None:
        """Where to look."""
        self._cache = cache

    def collect(self) -> Iterable[Metric]:
        if self._cache is not None and not self._cache.is_held:
            self._seen = tuple(seen(self._cache.snapshot, self._clock()))
        return self._seen


def seen(snapshot: ClusterSnapshot, now: float) -> Iterator[Metric]:
    """Every figure of a cluster."""
    yield from _accounts(snapshot)
    yield _nodes(snapshot, now)
    yield from _offline(snapshot, now)
    yield _findings(snapshot, now)
    yield _objectives(snapshot, now)
    yield from announced(snapshot, now)


def _accounts(snapshot: ClusterSnapshot) -> Iterator[Metric]:
    amounts = GaugeMetricFamily(
        "neaptide_resource_amount",
        "Milli-CPU and bytes: of the resource itself (tier own) and of each reclaimed tier, what is offered, requested, free.",
        labels=["resource", "tier", "what"],
    )
    used = GaugeMetricFamily(
        "neaptide_resource_used", "Milli-CPU and bytes in use, by band; no series where a node's use is unknown.",
        labels=["resource", "user"],
    )  # fmt: skip
    rows = snapshot.nodes.indices()
    for resource in (CPU, MEMORY):
        account, name = account_of(snapshot, resource, rows), FIRST_RESOURCES[resource]
        own = {"offered": account.capacity - account.reserved, "requested": account.requested, "free": account.free}
        for what, amount in own.items():
            amounts.add_metric([name, "own", what], amount)
        for tier, each in account.tiers.items():
            for what in ("offered", "requested", "free"):
                amounts.add_metric([name, tier, what], getattr(each, what))
        for user, amount_used in (account.used or {}).items():
            used.add_metric([name, user], amount_used)
    return iter((amounts, used))


def _nodes(snapshot: ClusterSnapshot, now: float) -> Metric:
    found = GaugeMetricFamily("neaptide_nodes", "Nodes that are not ready, or whose use is unknown.", labels=["state"])
    found.add_metric(["not_ready"], len(unready(snapshot)))
    found.add_metric(["unmeasured"], len(unmeasured(snapshot, now)))
    return found


def _offline(snapshot: ClusterSnapshot, now: float) -> Iterator[Metric]:
    ended = GaugeMetricFamily("neaptide_offline_failed_pods", "Pods of bands batch and free that have failed.")
    ended.add_metric([], len(failed(snapshot)))
    since = snapshot.pods.created[waits(snapshot)]
    longest = float(np.nanmax(now - since)) if len(since) and not np.isnan(since).all() else 0.0
    wait = GaugeMetricFamily(
        "neaptide_offline_longest_wait_seconds", "How long a pod of these bands has waited for a node."
    )
    wait.add_metric([], longest)
    return iter((ended, wait))


def _objectives(snapshot: ClusterSnapshot, now: float) -> Metric:
    """Services whose own latency is known, above and within what it shall be."""
    found = GaugeMetricFamily(
        "neaptide_objective_pods",
        "Services' pods that export a latency, by whether it is above their objective.",
        labels=["above"],
    )
    above = [each.seconds > each.objective for _, each in told_of(snapshot, _AGE, now, OBJECTIVE, Objective)]
    found.add_metric(["true"], sum(above))
    found.add_metric(["false"], len(above) - sum(above))
    return found


def _findings(snapshot: ClusterSnapshot, now: float) -> Metric:
    """Services that suffer, by what their node's agent does about it."""
    steps = Counter(found.step for _, found in told_of(snapshot, _AGE, now, FINDINGS, Finding))
    found = GaugeMetricFamily(
        "neaptide_suffering_pods", "Services' pods that suffer, by the step that is taken.", labels=["step"]
    )
    for step in ("SUPPRESS", "THROTTLE_DISK", "EVICT", "MOVE"):
        found.add_metric([step], steps[step])
    return found
