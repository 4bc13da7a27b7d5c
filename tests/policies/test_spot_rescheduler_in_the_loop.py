"""The policy in the simulator: on-demand nodes empty and go, an interruption is survived, and nobody waits longer than a pod takes to start."""

from typing import Any

import pytest

from neaptide.loop import Cycle
from neaptide.model.actions import Evict, Outcome, Taint
from neaptide.simulator.run import Result, run
from neaptide.simulator.scenario import parse

START_SECONDS = 5.0

SIX_HOURS = """
name: on-demand nodes empty onto spot nodes
duration: 21600
loop_period: 60
pools:
  - name: on-demand
    offerings:
      - {instance_type: m, allocatable: {cpu: "8", memory: 32Gi, pods: "110"}, price_per_hour: 0.4, nodes: 6}
  - name: spot
    minimum: 6
    offerings:
      - {instance_type: m, zone: a, capacity_type: spot, allocatable: {cpu: "8", memory: 32Gi, pods: "110"}, price_per_hour: 0.12, nodes: 3}
      - {instance_type: m, zone: b, capacity_type: spot, allocatable: {cpu: "8", memory: 32Gi, pods: "110"}, price_per_hour: 0.13, nodes: 3}
services:
  - {name: web, cpu: 1, memory: 2Gi, replicas: 12, max_unavailable: 2, start_seconds: 5, pull_seconds: 0}
  - {name: api, cpu: 500m, memory: 1Gi, replicas: 10, max_unavailable: 2, start_seconds: 5, pull_seconds: 0}
cloud: {drain_on_notice: false}
faults:
  - {kind: interrupt, after: 14400, pool: spot}
budgets: {evictionsPerWorkloadPerHour: 30}
policies:
  - name: spot-rescheduler
    mode: "MODE"
    spec: {profile: PROFILE, holdSeconds: 1200, onDemandNodeLabel: karpenter.sh/capacity-type=on-demand, spotNodeLabel: karpenter.sh/capacity-type=spot}
"""


def go(mode: str, profile: str) -> tuple[Result, list[Cycle]]:
    cycles: list[Cycle] = []
    return run(parse(SIX_HOURS.replace("MODE", mode).replace("PROFILE", profile)), record=cycles.append), cycles


@pytest.fixture(scope="module")
def with_it() -> tuple[Result, list[Cycle]]:
    return go("Enforce", "default")


def done(cycles: list[Cycle], kind: Any) -> list[Outcome]:
    return [
        each for cycle in cycles for each in cycle.outcomes if isinstance(each.action, kind) and each.result == "Done"
    ]


def test_money_falls_below_that_of_classic_and_far_below_that_of_doing_nothing(
    with_it: tuple[Result, list[Cycle]],
) -> None:
    ours, classic, nothing = (
        each.summary.money or 0.0 for each in (with_it[0], go("Enforce", "classic")[0], go("Off", "default")[0])
    )
    assert 0 < ours < classic < nothing
    # Spot nodes are paid for six hours, and the six on-demand nodes for less than two.
    assert ours < (3 * 0.12 + 3 * 0.13) * 6 + 6 * 0.4 * 2


def test_every_on_demand_node_is_drained_once(with_it: tuple[Result, list[Cycle]]) -> None:
    hard = [each.action for each in done(with_it[1], Taint) if each.action.reason.code == "Release"]
    assert len(hard) == len({each.target.name for each in hard}) == 6


def test_pods_leave_the_interrupted_node_and_nobody_waits_longer_than_a_start(
    with_it: tuple[Result, list[Cycle]],
) -> None:
    result, cycles = with_it
    assert any(each.action.reason.code == "Interrupted" for each in done(cycles, Evict))
    assert max(wait.seconds for wait in result.waits) <= START_SECONDS + 1  # and a second of the scheduler


def test_six_hours_are_the_same_twice(with_it: tuple[Result, list[Cycle]]) -> None:
    result, cycles = go("Enforce", "default")
    assert (result.summary, cycles) == (with_it[0].summary, with_it[1])
