"""A simulated cluster without an autoscaler: `provision` buys its nodes."""

from typing import Any

import yaml
from tests.simulator.worlds import sold

from neaptide.model.qos import Band
from neaptide.simulator.run import Result, run
from neaptide.simulator.scenario import parse

REPLICAS, SERVICES = 12, 3


def half_an_hour(*policies: dict[str, Any]) -> Result:
    """Three services for which one node is there, and no autoscaler."""
    services = [
        {"name": f"web-{number}", "replicas": REPLICAS, "cpu": "900m", "memory": "1Gi"} for number in range(SERVICES)
    ]
    scenario = {
        "name": "a cluster that buys its own nodes",
        "duration": 1800,
        "tick": 30,
        "loop_period": 10,
        "autoscaler": {"enabled": False},
        "pools": [{"name": "general", "offerings": [sold(cpu="8", memory="32Gi")]}],
        "services": services,
        "policies": list(policies),
    }
    return run(parse(yaml.safe_dump(scenario)))


def test_nodes_come_for_pods_that_wait_and_no_more_than_they_need() -> None:
    spec = {"pools": [{"name": "general"}]}
    bought = half_an_hour({"name": "provision", "mode": "Enforce", "spec": spec})
    assert int(half_an_hour().timeline.running[-1, Band.PROD]) == 8
    assert int(bought.timeline.running[-1, Band.PROD]) == SERVICES * REPLICAS
    assert int(bought.timeline.nodes[-1].sum()) == 5
