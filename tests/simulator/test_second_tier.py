"""The second tier of reclaimed resources in a simulated day: training runs in what a batch job requested and does not use."""

from typing import Any

import yaml
from tests.simulator.worlds import sold

from neaptide.model.qos import Band
from neaptide.simulator.run import Result, run
from neaptide.simulator.scenario import parse

HOUR = 3600
FIFTH, QUARTER = ({"kind": "constant", "level": each} for each in (0.2, 0.25))
OT = {"neaptide.io/ot-cpu": "1000", "neaptide.io/ot-memory": "1073741824"}


def hours(**settings: Any) -> Result:
    """A service that uses a fifth of its request, a batch job that uses a quarter of its own, and training for the tier below, on one node."""
    training = {"containers": [{"name": "main", "image": "train", "resources": {"requests": OT, "limits": OT}}]}
    scenario = {
        "name": "two tiers",
        "duration": 4 * HOUR,
        "tick": 60,
        "loop_period": 60,
        "autoscaler": {"enabled": False},
        "pools": [{"name": "general", "offerings": [sold(cpu="16", memory="64Gi")]}],
        "services": [{"name": "web", "cpu": 12, "memory": "32Gi", "usage": FIFTH, "memory_usage": 0.2}],
        "jobs": [
            {
                "name": "batch",
                "tier": "batch",
                "cpu": 6,
                "memory": "8Gi",
                "usage": QUARTER,
                "memory_usage": 0.25,
                "after": 600,
                "duration": 24 * HOUR,
            },
            {"name": "training", "tier": "free", "spec": training, "after": 600, "duration": 24 * HOUR},
        ],
        "policies": [{"name": "reclaim", "mode": "Enforce", "spec": settings}],
    }
    return run(parse(yaml.safe_dump(scenario)))


def test_training_waits_for_what_batch_work_leaves_and_runs_in_it() -> None:
    with_tier = hours(otEnable=True, otColdStartSeconds=1800.0)
    assert int(with_tier.timeline.running[-1, Band.BATCH]) == 1
    assert int(with_tier.timeline.running[30, Band.FREE]) == 0, "the batch job is too young to be believed"
    assert int(with_tier.timeline.running[-1, Band.FREE]) == 1
    assert int(hours().timeline.running[-1, Band.FREE]) == 0
