"""Node rules and the kubelet's own eviction, as the simulated nodes apply them."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.simulator.worlds import GIB, START, job, offering, pool, running, service, template, world

from neaptide.model.offerings import Offering
from neaptide.noderules.cpu_evict import CpuEvictSettings
from neaptide.noderules.cpu_suppress import SuppressSettings
from neaptide.noderules.memory_evict import MemoryEvictSettings
from neaptide.simulator.agents import Rules
from neaptide.simulator.curves import Points
from neaptide.simulator.world import World

BATCH = {"kubernetes.io/batch-cpu": 20_000, "kubernetes.io/batch-memory": 100 * GIB}


def shared(rules: Rules, *, cpu: int = 10_000, memory: int = 100 * GIB) -> World:
    sold = offering(cpu=cpu, memory=memory)
    with_batch = Offering("large", "on-demand", "zone-a", 1.0, sold.allocatable | BATCH, sold.labels)
    return world(pool("general", with_batch), nodes=1, rules=rules)


def add(made: World, *, service_cpu: float, jobs: int, **fields: Any) -> None:
    made.add_service(service(template=template(cpu=str(service_cpu), memory="10Gi")))
    made.add_job(job(duration=1e6, parallelism=jobs, completions=jobs, template=template(best_effort=True, **fields)))
    made.run_until(START + 121)


def best_effort_cpu(made: World) -> float:
    pods = made.cluster.pods
    rows = made.cluster.meter.running()
    return float(pods.given[rows[pods.best_effort[rows]]].sum())


@pytest.mark.parametrize(
    ("settings_", "expected"),
    [
        (None, 7000),
        (SuppressSettings(threshold_percent=70, policy="cfsQuota"), 4000),
        (SuppressSettings(threshold_percent=65, policy="cfsQuota"), 3500),
        (SuppressSettings(threshold_percent=65, policy="cpuset"), 4000),
        (SuppressSettings(threshold_percent=10, policy="cpuset"), 2000),
        (SuppressSettings(threshold_percent=10, policy="cfsQuota"), 20),
        (SuppressSettings(threshold_percent=10, policy="cfsQuota", min_percent=10), 1000),
        (SuppressSettings(enabled=False, threshold_percent=10), 7000),
    ],
    ids=[
        "without the rule it takes what is left",
        "a quota",
        "another threshold",
        "whole CPUs",
        "two CPUs at least",
        "the smallest quota",
        "a least share",
        "switched off",
    ],
)
def test_suppression_keeps_best_effort_work_below_the_threshold(
    settings_: SuppressSettings | None, expected: float
) -> None:
    made = shared(Rules(suppress=settings_))
    add(made, service_cpu=3, jobs=10)
    assert best_effort_cpu(made) == pytest.approx(expected)


@settings(max_examples=30)
@given(st.integers(0, 9), st.integers(0, 12), st.integers(20, 100), st.sampled_from(["cpuset", "cfsQuota"]))
def test_a_suppressed_node_stays_below_its_threshold_unless_the_rule_has_a_floor(
    service_cpu: int, jobs: int, threshold: int, policy: str
) -> None:
    made = shared(Rules(suppress=SuppressSettings(threshold_percent=threshold, policy=policy)))
    if service_cpu:
        made.add_service(service(template=template(cpu=str(service_cpu))))
    if jobs:
        made.add_job(job(duration=1e6, parallelism=jobs, completions=jobs, template=template(best_effort=True)))
    made.run_until(START + 121)
    bound = 100 * threshold - 1000 * service_cpu
    floor = {"cpuset": 2000.0, "cfsQuota": 20.0}[policy]
    step = 1000.0 if policy == "cpuset" else 0.0  # whole CPUs round up
    wanted = min(1000.0 * jobs, 10_000 - 1000 * service_cpu)
    assert best_effort_cpu(made) <= max(bound + step, floor) + 1e-6
    assert best_effort_cpu(made) >= min(wanted, bound) - 1.0


def test_memory_above_the_watermark_is_freed_by_the_least_important_that_use_most() -> None:
    made = shared(Rules(memory_evict=MemoryEvictSettings(threshold_percent=70)))
    rising = Points(((0, 0.1), (600, 1.0), (86_399, 1.0)))
    made.add_service(service(template=template(memory="50Gi")))
    for name, memory in (("small", "5Gi"), ("large", "20Gi")):
        made.add_job(job(name, 1e6, template=_with_memory_curve(template(memory=memory, best_effort=True), rising)))
    made.run_until(START + 1200)
    assert {each.code for each in made.ledger.evictions} == {"BEMemoryEvict"}
    assert all(each.pod.startswith("default/large-") for each in made.ledger.evictions)
    assert all(each.by == "node" for each in made.ledger.evictions)
    assert len(running(made, "small")) == 1


def test_best_effort_pods_that_starve_are_evicted_until_the_rest_is_satisfied() -> None:
    evict = CpuEvictSettings(satisfaction_lower_percent=30, satisfaction_upper_percent=60)
    made = shared(Rules(suppress=SuppressSettings(threshold_percent=40, policy="cfsQuota"), cpu_evict=evict))
    add(made, service_cpu=2, jobs=10)  # 2 of 10 cores are left to them
    first = [each for each in made.ledger.evictions if each.time == made.ledger.evictions[0].time]
    assert {each.code for each in first} == {"BECPUEvict"}
    assert len(first) == 4  # 10 * 60 % - 2


def test_a_node_without_memory_has_its_kubelet_evict_who_is_most_above_its_request() -> None:
    made = shared(Rules(), memory=20 * GIB)
    made.add_service(service("modest", template=template(memory="8Gi", memory_usage=0.9)))
    made.add_service(service("greedy", template=template(memory="6Gi", memory_usage=2.5)))
    made.run_until(START + 61)
    assert {(each.by, each.code) for each in made.ledger.evictions} == {("kubelet", "NodePressure")}
    assert all(each.pod.startswith("default/greedy-") for each in made.ledger.evictions)
    assert len(running(made, "modest")) == 1


def _with_memory_curve(made: Any, curve: Points) -> Any:
    return replace(made, memory=curve)
