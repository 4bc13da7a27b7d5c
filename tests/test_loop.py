"""The loop in the simulated world: what modes allow, what the journal keeps, and that a restart changes nothing."""

from pathlib import Path

import msgspec
import pytest

from neaptide.loop import Cycle, LoopMemory, Mode, Setting, checkpoint, plan_all, restore, run_once
from neaptide.placement.place import Placement
from neaptide.placement.profile import read_profile
from neaptide.policies.registry import POLICIES
from neaptide.records.log import Log
from neaptide.records.reading import read
from neaptide.simulator.run import policy_settings
from neaptide.simulator.scenario import parse
from neaptide.simulator.setup import build
from neaptide.simulator.world import World

DAY = """
start: 2026-01-05T20:00:00Z
duration: 28800
pools:
- name: general
  offerings: [{instance_type: large, allocatable: {cpu: 16, memory: 64Gi, pods: 110}, price_per_hour: 0.5, nodes: 4}]
services:
- {name: web, replicas: 8, cpu: 3, memory: 4Gi, usage: {kind: constant, level: 0.3}}
arrivals:
- {name: crunch, tier: batch, cpu: 1, memory: 1Gi, duration: 1800, per_hour: 6}
policies:
- {name: reclaim, mode: Enforce, spec: {coldStartSeconds: 0}}
- name: time-windows
  mode: Enforce
  spec: {rules: [{windows: [{schedule: "0 22 * * *", durationSeconds: 10800, timeZone: Europe/Berlin}], deadlineSeconds: 7200}]}
"""
PERIOD = 300.0


def made() -> tuple[World, list[Setting]]:
    scenario = parse(DAY)
    profile = read_profile("{}")
    world = build(scenario, lambda snapshot: Placement(snapshot, profile), None)
    return world, policy_settings(scenario, POLICIES)


def cycles(world: World) -> list[float]:
    start = world.now()
    return [start + PERIOD * number for number in range(1, 96)]


def test_a_restart_between_any_two_cycles_gives_the_same_next_plan() -> None:
    world, settings = made()
    memory = LoopMemory()
    known = {policy.name: policy for policy in POLICIES}
    kinds = set()
    for time in cycles(world):
        world.run_until(time)
        restored = restore(checkpoint(memory), known)
        kept = plan_all(world.observe(), settings, memory, world.now())
        again = plan_all(world.observe(), settings, restored, world.now())
        assert again == kept
        cycle, memory = run_once(world, settings, restored)
        kinds |= {type(action).__name__ for plan in cycle.plans for action in plan.actions}
    assert kinds == {"SetNodeResources", "Suspend", "Resume"}


def test_an_applied_plan_needs_nothing_more() -> None:
    world, settings = made()
    memory = LoopMemory()
    for time in cycles(world):
        world.run_until(time)
        cycle, memory = run_once(world, settings, memory)
        done = {str(each.action.target) for each in cycle.outcomes if each.result == "Done"}
        plans, _ = plan_all(world.observe(), settings, memory, world.now())
        assert not {str(action.target) for plan in plans for action in plan.actions} & done


def test_what_is_only_recommended_changes_nothing_and_what_is_off_is_not_planned() -> None:
    world, settings = made()
    recommend = [Setting(each.policy, each.spec, Mode.RECOMMEND) for each in settings]
    off = [Setting(each.policy, each.spec, Mode.OFF) for each in settings]
    world.run_until(cycles(world)[20])
    before = world.observe().digest()
    cycle, _ = run_once(world, recommend, LoopMemory())
    assert {each.result for each in cycle.outcomes} == {"Recommended"}
    assert world.observe().digest() == before == cycle.digest
    nothing, memory = run_once(world, off, LoopMemory())
    assert not nothing.plans
    assert not nothing.outcomes
    assert memory == LoopMemory()


def test_planning_leaves_the_world_as_it_was() -> None:
    world, settings = made()
    memory = LoopMemory()
    for time in cycles(world)[:30]:
        world.run_until(time)
        before = world.observe().digest()
        _, remembered = plan_all(world.observe(), settings, memory, world.now())
        assert world.observe().digest() == before
        memory = LoopMemory(remembered)


def test_every_cycle_stands_in_the_journal_as_it_was(tmp_path: Path) -> None:
    world, settings = made()
    memory = LoopMemory()
    kept: list[Cycle] = []
    with Log(tmp_path, "journal") as log:
        for time in cycles(world)[:40]:
            world.run_until(time)
            cycle, memory = run_once(world, settings, memory, record=log.append)
            kept.append(cycle)
        log.sync()
    found = [msgspec.convert(record, Cycle) for _, record in read(tmp_path, "journal")]
    assert found == kept


def test_memory_that_no_loop_wrote_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        restore(b'{"policies": 7}', {})
