"""Consolidation: what the plan costs beside the linear programme's bound for as many evictions, and how long it takes."""

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.consolidation_cluster import cluster, dump, market, objects
from benchmarks.consolidation_market import price_file
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


def command_figures() -> Iterator[Figure]:
    """`neaptide plan` on a dump of the first cluster, from the start of the process to its end; machine code is there."""
    with TemporaryDirectory() as directory:
        saved = Path(directory) / "dump.json"
        saved.write_bytes(dump(objects(24, 12)))
        prices = price_file(Path(directory) / "prices.csv", market())
        command = [sys.executable, "-m", "neaptide", "plan", str(saved), "--policy=consolidation", f"--prices={prices}"]
        command.append("--set=consolidation.maxEvictions=400")
        for _ in range(2):
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    yield Figure("consolidation.command.evictions_400.seconds", seconds, "s")
    yield Figure("consolidation.command.evictions_400.cpu_seconds", cpu, "s")


GROUPS = {
    "consolidation.command": command_figures,
    "consolidation.frontier": frontier_figures,
    "consolidation.growth": growth_figures,
}


def _planned(snapshot: ClusterSnapshot, spec: ConsolidationSpec) -> tuple[float, int]:
    """US dollars per hour after the plan, and its evictions."""
    plan, _ = Consolidation().plan(snapshot, spec, ConsolidationMemory(), NOW)
    actions = (*plan.actions, *plan.later)
    change = sum(each.expected.money_per_hour or 0.0 for each in actions)
    return (money_per_hour(snapshot) or 0.0) + change, sum(isinstance(each, Evict) for each in actions)


def _bound(snapshot: ClusterSnapshot, spec: ConsolidationSpec, limit: int | None) -> float:
    prices = relaxed(survey(snapshot, spec, NOW, everything).problem, evictions=limit)
    return prices.money if prices is not None else 0.0
