"""The demo's set-ups differ in what they are compared by, and in nothing else."""

from collections import Counter

import pytest

from neaptide.simulator.demo import DAY, FULL, NIGHT, OFFLINE_SHARE, SHORT, START, Size, cases, offline_work
from neaptide.simulator.scenario import JobSpec, Scenario
from neaptide.simulator.traces.packaged import openb
from neaptide.simulator.workloads import services

SEEDS = (0, 1, 2, 3)


def scenarios(seed: int, size: Size = SHORT) -> tuple[Scenario, Scenario, Scenario]:
    two, by_requests, own = (each.scenario for each in cases(seed, size))
    return two, by_requests, own


def work(job: JobSpec) -> tuple[object, ...]:
    return job.name, job.cpu, job.memory, job.duration, job.after, job.parallelism, job.checkpoint_seconds


@pytest.mark.parametrize("seed", SEEDS)
def test_all_set_ups_have_the_same_work_at_the_same_times(seed: int) -> None:
    first, *others = scenarios(seed)
    for other in others:
        assert [work(job) for job in other.jobs] == [work(job) for job in first.jobs]
        assert other.trace_services == first.trace_services
        assert (other.start, other.duration, other.seed) == (first.start, first.duration, first.seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_all_set_ups_buy_the_same_node_types_at_the_same_prices_and_give_them_back_alike(seed: int) -> None:
    first, *others = scenarios(seed)

    def bought(scenario: Scenario) -> list[list[tuple[object, ...]]]:
        return [
            [(each.instance_type, each.price_per_hour, each.allocatable["cpu"]) for each in pool.offerings]
            for pool in scenario.pools
        ]

    for other in others:
        assert bought(other) == bought(first)
        assert (other.autoscaler, other.cloud, other.profile) == (first.autoscaler, first.cloud, first.profile)


def test_two_clusters_share_no_node_and_one_cluster_shares_those_of_services() -> None:
    two, by_requests, _ = scenarios(1)
    taint = two.pools[1].taints[0]
    assert {tuple(job.node_selector.values()) for job in two.jobs} == {("offline",)}
    assert not two.pools[0].taints
    assert all(not job.node_selector for job in by_requests.jobs)
    assert all(taint.key in [each.key for each in job.tolerations] for job in by_requests.jobs)


def test_only_neaptide_runs_policies_and_puts_jobs_on_reclaimed_resources() -> None:
    two, by_requests, own = scenarios(1)
    assert two.policies == by_requests.policies == ()
    assert [(each.name, str(each.mode)) for each in own.policies] == [
        ("reclaim", "Enforce"),
        ("time-windows", "Enforce"),
    ]
    assert {job.tier for job in own.jobs} == {"batch"}
    assert {job.tier for job in (*two.jobs, *by_requests.jobs)} == {"prod"}


@pytest.mark.parametrize("seed", SEEDS)
def test_half_of_the_long_jobs_run_at_night(seed: int) -> None:
    own = scenarios(seed, FULL)[2]
    counts = Counter((job.duration >= 1800, job.labels == NIGHT, job.suspend) for job in own.jobs)
    assert set(counts) <= {(False, False, False), (True, False, False), (True, True, True)}
    assert abs(counts[True, True, True] - counts[True, False, False]) <= 1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", [SHORT, FULL], ids=["short", "full"])
def test_jobs_ask_for_their_share_of_what_services_ask_for(seed: int, size: Size) -> None:
    drawn = offline_work(seed, size)
    asked = sum(each.cpu_milli * each.parallelism * each.duration for each in drawn)
    largest = max(each.cpu_milli * each.parallelism * each.duration for each in drawn)
    online = sum(each.replicas * each.cpu_milli for each in services(seed, size.services, openb())) * DAY
    assert OFFLINE_SHARE * online <= asked <= OFFLINE_SHARE * online + largest


def test_jobs_arrive_at_their_time_of_day() -> None:
    own = scenarios(1)[2]
    for job, each in zip(own.jobs, offline_work(1, SHORT), strict=True):
        assert (START.hour * 3600 + job.after) % DAY == pytest.approx(each.arrival % DAY)
        assert 0 <= job.after < DAY
