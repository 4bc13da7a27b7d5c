"""Consolidation: what the plan costs beside the linear programme's bound for as many evictions, and how long it takes."""

from collections.abc import Iterator
from functools import partial

from benchmarks.consolidation_cluster import cluster
from benchmarks.figure import Figure, Peer, best_seconds
from neaptide.model.actions import Evict
from neaptide.model.scope import everything
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.packing.relaxation import relaxed
from neaptide.policies.consolidation import Consolidation, ConsolidationMemory
from neaptide.policies.consolidation_spec import ConsolidationSpec
from neaptide.policies.consolidation_survey import survey
from neaptide.pricing.cluster import money_per_hour

NOW = 1.8e9
LIMITS = (400, 796, None)
REPLICAS = (62, 124, 248, 620)
"""About 500, 1,000, 2,000 and 5,000 nodes; half of the pods are gone."""


def frontier_figures() -> Iterator[Figure]:
    """100 Deployments, 24 pods scaled to 12."""
    snapshot = cluster()
    for limit in LIMITS:
        spec = ConsolidationSpec(max_evictions=limit)
        money, evictions = _planned(snapshot, spec)
        name = f"consolidation.frontier.evictions_{'any' if limit is None else limit}"
        yield Figure(f"{name}.money_per_hour", money, "USD/h", Peer("linear programme", _bound(snapshot, spec, limit)))
        yield Figure(f"{name}.evictions", float(evictions), "pods", Peer("limit", float(limit or 0)))
        yield Figure(f"{name}.seconds", best_seconds(partial(_planned, snapshot, spec), times=2), "s")


def growth_figures() -> Iterator[Figure]:
    """Without a limit, by the number of nodes."""
    for replicas in REPLICAS:
        snapshot = cluster(replicas, replicas // 2)
        spec = ConsolidationSpec()
        money, _ = _planned(snapshot, spec)
        name = f"consolidation.growth.pods_{len(snapshot.pods.indices())}.nodes_{len(snapshot.nodes.indices())}"
        yield Figure(f"{name}.money_per_hour", money, "USD/h", Peer("linear programme", _bound(snapshot, spec, None)))
        yield Figure(f"{name}.seconds", best_seconds(partial(_planned, snapshot, spec), times=1), "s")


GROUPS = {"consolidation.frontier": frontier_figures, "consolidation.growth": growth_figures}


def _planned(snapshot: ClusterSnapshot, spec: ConsolidationSpec) -> tuple[float, int]:
    """US dollars per hour after the plan, and its evictions."""
    plan, _ = Consolidation().plan(snapshot, spec, ConsolidationMemory(), NOW)
    actions = (*plan.actions, *plan.later)
    change = sum(each.expected.money_per_hour or 0.0 for each in actions)
    return (money_per_hour(snapshot) or 0.0) + change, sum(isinstance(each, Evict) for each in actions)


def _bound(snapshot: ClusterSnapshot, spec: ConsolidationSpec, limit: int | None) -> float:
    prices = relaxed(survey(snapshot, spec, NOW, everything).problem, evictions=limit)
    return prices.money if prices is not None else 0.0
