"""Both policies in the simulator: a day of services and offline jobs, carried out by the loop."""

from datetime import UTC, datetime
from typing import Any

import pytest

from neaptide.loop import Cycle
from neaptide.model.actions import Resume, SetNodeResources, Suspend
from neaptide.model.problems import FieldError
from neaptide.simulator.run import Result, run
from neaptide.simulator.scenario import parse

DAY = """
name: a day
duration: 108000
loop_period: 300
scheduler_period: 15
pools:
  - name: machines
    offerings: [{instance_type: m, allocatable: {cpu: "16", memory: 64Gi, pods: "110"}, nodes: 3}]
    system: {cpu: 500m, memory: 1Gi}
services:
  - {name: web, cpu: 1, memory: 1Gi, replicas: 36, usage: {kind: constant, level: 0.3}}
arrivals:
  - {name: work, tier: batch, cpu: 1, memory: 1Gi, duration: 1200, checkpoint_seconds: 60, per_hour: 3}
jobs:
  - {name: queued, tier: batch, cpu: 1, memory: 1Gi, duration: 600, after: 30000, suspend: true}
policies:
  - {name: reclaim, mode: Enforce, spec: {coldStartSeconds: 3600}}
  - name: time-windows
    mode: Enforce
    spec:
      rules: [{name: night, windows: [{schedule: "0 20 * * *", durationSeconds: 28800}], deadlineSeconds: 21600}]
"""


def go() -> tuple[Result, list[Cycle]]:
    cycles: list[Cycle] = []
    return run(parse(DAY), record=cycles.append), cycles


@pytest.fixture(scope="module")
def day() -> tuple[Result, list[Cycle]]:
    return go()


@pytest.mark.parametrize(
    ("wrong", "field", "accepted"),
    [
        ("0 20 * *", "policies[1].spec.rules[0].windows[0].schedule", "a cron expression"),
        ("0 20 * * *', timeZone: 'Mars", "policies[1].spec.rules[0].windows[0].timeZone", "an IANA time zone"),
    ],
)
def test_a_scenario_names_what_a_policy_does_not_accept(wrong: str, field: str, accepted: str) -> None:
    text = DAY.replace('"0 20 * * *"', f"'{wrong}'")
    with pytest.raises(FieldError) as error:
        run(parse(text))
    assert error.value.field == field
    assert accepted in error.value.accepted


def actions(cycles: list[Cycle], kind: Any) -> list[tuple[float, Any, str]]:
    return [
        (cycle.time, each.action, each.result)
        for cycle in cycles
        for each in cycle.outcomes
        if isinstance(each.action, kind)
    ]


def test_services_lend_what_they_do_not_use_and_jobs_run_on_it(day: tuple[Result, list[Cycle]]) -> None:
    result, cycles = day
    written = actions(cycles, SetNodeResources)
    assert {outcome for *_, outcome in written} == {"Done"}
    # 16 cores - a margin of 40 % - 0.5 of the system - 12 pods that use 0.3 each.
    assert any(action.resources["kubernetes.io/batch-cpu"] == pytest.approx(5500, abs=300) for _, action, _ in written)
    assert result.summary.jobs_finished > 20


def test_jobs_are_suspended_by_day_only_and_go_on_by_night_or_after_their_deadline(
    day: tuple[Result, list[Cycle]],
) -> None:
    _, cycles = day
    for time, action, _ in actions(cycles, Suspend):
        assert 4 <= datetime.fromtimestamp(time, UTC).hour < 20, action
    resumed = actions(cycles, Resume)
    for time, action, _ in resumed:
        night = not 4 <= datetime.fromtimestamp(time, UTC).hour < 20
        assert action.reason.code == ("WindowOpen" if night else "DeadlinePassed")
    assert "queued" in {action.target.name for _, action, _ in resumed}


def test_no_job_waits_longer_than_its_deadline(day: tuple[Result, list[Cycle]]) -> None:
    result, _ = day
    assert 3 * 3600 < max(wait.seconds for wait in result.waits if wait.offline) < 21600 + 600 + 120


def test_a_day_is_the_same_twice(day: tuple[Result, list[Cycle]]) -> None:
    result, cycles = go()
    assert (result.summary, cycles) == (day[0].summary, day[1])
