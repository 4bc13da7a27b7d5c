"""A simulated week of `spot-rescheduler`: money, evictions, and minutes below the wanted replicas, beside all on demand and beside `classic`.

Prices: on demand 0.40 USD/h for 8 CPUs and 32 GiB; the same as spot in three types and three zones at 30 to 42 % of it (stated, not
measured). Interruptions: each spot node alone, exponential, at the frequency per month that the Spot Advisor's bands name, with two minutes of
notice; what is interrupted is bought anew by the autoscaler when pods wait. HOURS is the length (168).
"""

import os
from collections.abc import Iterator
from math import log
from typing import Any

import numpy as np
import yaml

from benchmarks.figure import Figure, Peer
from neaptide.model.qos import Band
from neaptide.simulator.run import Result, run
from neaptide.simulator.scenario import parse

HOURS = float(os.environ.get("HOURS", "168"))
BANDS = {"5_percent": 0.05, "25_percent": 0.25}
"""Of the nodes of a pool, interrupted within a month: the lowest band, and one for `>20 %`."""
MONTH_HOURS = 730.0
ON_DEMAND = 0.40
SPOT = [
    (f"m{kind}", zone, round(ON_DEMAND * (0.30 + 0.02 * kind + 0.04 * row), 4))
    for kind in range(3)
    for row, zone in enumerate("abc")
]
NODES, SERVICES, REPLICAS = 14, 10, 8
_LABELS = {
    "onDemandNodeLabel": "karpenter.sh/capacity-type=on-demand",
    "spotNodeLabel": "karpenter.sh/capacity-type=spot",
}


def week(profile: str, share: float) -> Result:
    """One week; without a profile there are on-demand nodes alone."""
    spot = [_offering(*each, nodes=1) for each in SPOT] if profile else []
    policies = [{"name": "spot-rescheduler", "mode": "Enforce", "spec": {"profile": profile, **_LABELS}}]
    scenario = {
        "name": f"a week of {profile or 'on-demand nodes'}",
        "duration": int(HOURS * 3600),
        "tick": 60,
        "loop_period": 30,
        "pools": [
            {"name": "on-demand", "offerings": [_offering("m", "a", ON_DEMAND, nodes=NODES)]},
            *([{"name": "spot", "minimum": len(spot), "offerings": spot}] if spot else []),
        ],
        "services": [_service(number) for number in range(SERVICES)],
        "cloud": {"spot_interruptions_per_hour": -log(1 - share) / MONTH_HOURS, "drain_on_notice": not profile},
        "budgets": {"evictionsPerWorkloadPerHour": 12, "evictionsPerWorkloadPercent": 25},
        "policies": policies if profile else [],
    }
    return run(parse(yaml.safe_dump(scenario)))


def figures() -> Iterator[Figure]:
    """For each band."""
    nothing = week("", 0.0)
    for name, share in BANDS.items():
        ours, classic = week("default", share), week("classic", share)
        start = f"spot_week.interrupted_{name}"
        yield Figure(f"{start}.dollars", _dollars(ours), "USD", Peer("all on demand", _dollars(nothing)))
        yield Figure(f"{start}.against_classic.dollars", _dollars(ours), "USD", Peer("classic", _dollars(classic)))
        yield Figure(f"{start}.evictions", _evictions(ours), "pods", Peer("classic", _evictions(classic)))
        yield Figure(f"{start}.minutes_below_wanted", _below(ours), "min", Peer("classic", _below(classic)))


GROUPS = {"spot_week": figures}


def _dollars(result: Result) -> float:
    return float(result.summary.money or np.nan)


def _evictions(result: Result) -> float:
    return float(result.summary.evictions)


def _below(result: Result) -> float:
    """Minutes in which fewer pods ran than were wanted, the first ten left out, in which all of them start."""
    running = result.timeline.running[10:, Band.PROD]
    return float(np.count_nonzero(running < SERVICES * REPLICAS))


def _offering(kind: str, zone: str, price: float, *, nodes: int) -> dict[str, Any]:
    return {
        "instance_type": kind,
        "zone": zone,
        "capacity_type": "on-demand" if price == ON_DEMAND else "spot",
        "allocatable": {"cpu": "8", "memory": "32Gi", "pods": "110"},
        "price_per_hour": price,
        "nodes": nodes,
    }


def _service(number: int) -> dict[str, Any]:
    return {
        "name": f"service-{number}",
        "replicas": REPLICAS,
        "cpu": f"{500 + 100 * number}m",
        "memory": f"{1 + number % 4}Gi",
        "max_unavailable": "25%",
        "start_seconds": 20,
        "pull_seconds": 0,
    }
