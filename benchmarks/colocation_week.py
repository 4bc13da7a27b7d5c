"""A week of 1,000 nodes in the simulator with co-location and without: the same services, offline jobs and nodes.

Without, offline pods request cpu and memory like everybody and wait until some is free; with it they run in reclaimed resources, which `reclaim` sizes and the node rules
defend. Usage is shared out every five minutes and the loop turns every ten, so that a week takes minutes. NEAPTIDE_WEEK_NODES makes it smaller.
"""

import os
from collections.abc import Iterator
from typing import Any

import yaml

from benchmarks.figure import Figure, Peer
from neaptide.simulator.run import Result, run
from neaptide.simulator.scenario import parse

NODES = int(os.environ.get("NEAPTIDE_WEEK_NODES", "1000"))
DAYS, CORES = 7, 63
SERVICES, JOB_KINDS, PODS_PER_JOB = 20, 10, 10


def scenario(*, colocated: bool) -> str:
    """The week as YAML: services that request nine tenths of the CPU and use two fifths of that, and more offline work than fits beside."""
    offering = {
        "instance_type": "m5.16xlarge",
        "price_per_hour": 3.072,
        "allocatable": {"cpu": CORES, "memory": "246Gi", "pods": 110},
        "nodes": NODES,
    }
    cpu = 4
    replicas = max(round(0.9 * NODES * CORES / cpu / SERVICES), 1)
    week: dict[str, Any] = {
        "name": "a week",
        "tick": 300,
        "loop_period": 600,
        "duration": DAYS * 86400,
        "pools": [{"name": "general", "maximum": NODES, "minimum": NODES, "offerings": [offering]}],
        "services": [_service(number, replicas, cpu) for number in range(SERVICES)],
        "arrivals": [_job(number, colocated=colocated) for number in range(JOB_KINDS)],
        "node_rules": {"cpu_suppress": {}, "memory_evict": {}},
        "policies": [{"name": "reclaim", "mode": "Enforce"}] if colocated else [],
    }
    return yaml.safe_dump(week)


def _service(number: int, replicas: int, cpu: int) -> dict[str, Any]:
    curve = {"kind": "series", "name": "nyc_taxi", "peak": 0.5 + 0.01 * number, "shift": 3600 * (number % 5)}
    return {
        "name": f"service-{number}",
        "replicas": replicas,
        "cpu": cpu,
        "memory": "6Gi",
        "usage": curve,
        "memory_usage": 0.5,
        "spread": 0.1,
    }


def _job(number: int, *, colocated: bool) -> dict[str, Any]:
    return {
        "name": f"job-{number}",
        "tier": "batch" if colocated else "prod",
        "per_hour": 0.07 * NODES / JOB_KINDS,
        "parallelism": PODS_PER_JOB,
        "cpu": 3,  # of what a node has left beside its services (some 6 cores), so that the peer can run it at all
        "memory": "3Gi",
        "duration": 7200 + 1600 * number,
    }


def measure() -> Iterator[Figure]:
    """Utilisation, contention and evictions of both weeks; the week without is the peer."""
    without, colocated = (_figures(run(parse(scenario(colocated=each)))) for each in (False, True))
    for name, (value, unit) in colocated.items():
        yield Figure(f"colocation_week.{name}", value, unit, Peer("without co-location", without[name][0]))


def _figures(result: Result) -> dict[str, tuple[float, str]]:
    found = result.summary
    return {
        "cpu_use": (100 * found.cpu_use_mean, "%"),
        "offline_core_hours": (found.offline_cpu_seconds / 3600, "core-hours"),
        "lost_core_hours": (found.lost_cpu_seconds / 3600, "core-hours"),
        "contention_minutes": (found.contention_minutes, "min"),
        "evictions": (found.evictions, "pods"),
        "mean_wait": (found.mean_wait, "s"),
    }


GROUPS = {"colocation_week": measure}
