"""A day of 1,000 nodes and 20,000 pods in the simulator, with every policy enforced.

15,000 pods of 100 services follow real demand; about 5,000 pods of offline jobs arrive over the day and run in reclaimed
resources, which the policies size and the node rules defend. Usage is shared out every minute, the loop turns every five.
"""

from collections.abc import Iterator
from typing import Any

import yaml

from benchmarks.figure import Figure, best_seconds
from neaptide.policies.registry import POLICIES
from neaptide.simulator.run import Result, run
from neaptide.simulator.scenario import Scenario, parse

NODES, SERVICES, REPLICAS = 1000, 100, 150
JOB_KINDS, JOBS_PER_HOUR, PODS_PER_JOB = 20, 2.1, 5


def scenario() -> Scenario:
    """The day, as its YAML would be written."""
    offering = {
        "instance_type": "m5.16xlarge",
        "price_per_hour": 3.072,
        "allocatable": {"cpu": 63, "memory": "246Gi", "pods": 110},
        "nodes": NODES,
    }
    services = [_service(number) for number in range(SERVICES)]
    arrivals = [_job(number) for number in range(JOB_KINDS)]
    day = {
        "name": "a day of 1,000 nodes",
        "tick": 60,
        "loop_period": 300,
        "pools": [{"name": "general", "maximum": NODES, "minimum": NODES, "offerings": [offering]}],
        "services": services,
        "arrivals": arrivals,
        "node_rules": {"cpu_suppress": {}, "memory_evict": {}},
        "policies": [{"name": policy.name, "mode": "Enforce"} for policy in POLICIES],
    }
    return parse(yaml.safe_dump(day))


def _service(number: int) -> dict[str, Any]:
    curve = {"kind": "series", "name": "nyc_taxi", "peak": 0.5 + 0.004 * number, "shift": 3600 * (number % 5)}
    return {
        "name": f"service-{number}",
        "replicas": REPLICAS,
        "cpu": 1 + number % 4,
        "memory": f"{2 + number % 5}Gi",
        "usage": curve,
        "memory_usage": 0.5,
        "spread": 0.1,
        "max_unavailable": "25%",
    }


def _job(number: int) -> dict[str, Any]:
    return {
        "name": f"job-{number}",
        "tier": "batch",
        "per_hour": JOBS_PER_HOUR,
        "parallelism": PODS_PER_JOB,
        "cpu": 1 + number % 4,
        "memory": f"{1 + number % 5}Gi",
        "duration": 600 + 300 * number,
    }


def measure() -> Iterator[Figure]:
    """Seconds for the day, and what happened in each of them."""
    day = scenario()
    results: list[Result] = []
    seconds = best_seconds(lambda: results.append(run(day)), times=1)
    yield Figure("simulated_day.seconds", seconds, "s")
    yield Figure("simulated_day.events_per_second", results[-1].summary.events / seconds, "1/s")
    yield Figure("simulated_day.pods", len(results[-1].waits), "pods")


GROUPS = {"simulated_day": measure}
