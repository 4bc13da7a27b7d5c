"""Offline work breathes with the services beside it: a day and a half in the simulator."""

from neaptide.loop import Cycle
from neaptide.model.actions import Scale
from neaptide.simulator.run import run
from neaptide.simulator.scenario import parse

TIDES = """
name: tides
duration: 129600
loop_period: 300
pools:
  - name: machines
    offerings: [{instance_type: m, allocatable: {cpu: "16", memory: 64Gi, pods: "110"}, nodes: 2}]
    minimum: 2
    maximum: 2
services:
  - {name: web, cpu: 1, memory: 1Gi, replicas: 24, usage: {kind: daily, low: 0.1, high: 0.7}}
  - {name: crunch, tier: batch, cpu: 1, memory: 1Gi, replicas: 1}
policies:
  - {name: reclaim, mode: Enforce}
  - {name: elastic-offline, mode: Enforce, spec: {rules: [{maximum: 60}]}}
"""


def test_it_grows_at_night_and_is_small_again_before_the_day_is_at_its_height() -> None:
    cycles: list[Cycle] = []
    result = run(parse(TIDES), record=cycles.append)
    size, sizes = 1, []
    for cycle in cycles:
        for outcome in cycle.outcomes:
            if isinstance(outcome.action, Scale):
                assert outcome.result == "Done"
                size = outcome.action.replicas
        sizes.append(size)
    by_hour = [sizes[12 * hour] for hour in range(36)]
    assert by_hour[14] < 0.5 * by_hour[4]
    assert by_hour[14] < 0.5 * by_hour[28]
    assert not result.evictions
