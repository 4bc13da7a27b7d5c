import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neaptide.simulator.curves import CurveTable, Real
from neaptide.simulator.traces.openb import Openb
from neaptide.simulator.traces.packaged import openb
from neaptide.simulator.traces.series import DAY, WEEK
from neaptide.simulator.workloads import OFFLINE, ONLINE, Noisy, jobs, services

TRACE = openb()
MONDAY = 4 * DAY
seeds = st.integers(0, 2**32)


def _sizes(trace: Openb, classes: tuple[str, ...]) -> set[tuple[int, ...]]:
    pods = trace.pods
    columns = (trace.qos, pods.cpu.tolist(), pods.memory.tolist(), pods.num_gpu.tolist(), pods.gpu_milli.tolist())
    return {size for qos, *size_ in zip(*columns, strict=True) if qos in classes and (size := tuple(size_))}


@given(seed=seeds, gpu=st.booleans())
@settings(max_examples=20)
def test_services_have_real_sizes_and_names_of_their_own_and_the_same_seed_gives_the_same_ones(
    seed: int, gpu: bool
) -> None:
    drawn = services(seed, 30, TRACE, gpu=gpu)
    assert drawn == services(seed, 30, TRACE, gpu=gpu)
    assert drawn[:10] == services(seed, 10, TRACE, gpu=gpu)
    assert len({service.name for service in drawn}) == 30
    real = _sizes(TRACE, ONLINE)
    for service in drawn:
        assert (service.cpu_milli, service.memory_bytes, service.gpus, service.gpu_milli) in real
        assert gpu or service.gpus == 0
        assert 1 <= service.replicas <= 40
        assert 0 < service.memory < 1


def test_the_use_of_services_has_a_tide_by_day_and_leaves_most_of_the_request_unused() -> None:
    times = MONDAY + np.arange(0, WEEK, 300)
    fleet = np.array([service.cpu.usage(times) for service in services(1, 200, TRACE)])
    assert (fleet >= 0).all()
    assert 0.2 < fleet.mean() < 0.5
    by_hour = fleet.mean(axis=0).reshape(7, 24, 12).mean(axis=(0, 2))
    assert by_hour.max() > 2 * by_hour.min()
    assert by_hour.argmin() in range(3, 7)
    quantile = np.quantile(fleet, 0.99, axis=1)
    assert np.median(quantile) < 1


def test_services_differ_in_when_and_how_much() -> None:
    curves = {service.cpu for service in services(2, 100, TRACE)}
    assert len(curves) == 100
    bare = [curve.curve if isinstance(curve, Noisy) else curve for curve in curves]
    assert {curve.name for curve in bare if isinstance(curve, Real)} == {
        "nyc_taxi",
        "cpu_utilization_asg_misconfiguration",
        "ec2_cpu_utilization_fe7f93",
    }


def test_curves_of_services_are_evaluated_by_the_simulators_table_as_alone() -> None:
    table = CurveTable(300.0)
    curves = [service.cpu for service in services(3, 20, TRACE)]
    rows = [table.add(curve) for curve in curves]
    now = MONDAY + 7 * 3600.0
    alone = [float(curve.usage(np.array([now]))[0]) for curve in curves]
    np.testing.assert_allclose(table.at(now)[rows], alone)


def test_noise_has_its_deviation_and_no_drift_and_holds_for_a_step() -> None:
    curve = Noisy(Real("nyc_taxi", unit=WEEK), 0.06, seed=7)
    times = MONDAY + 300.0 * np.arange(20_000, dtype=np.float64)
    factor = curve.usage(times) / curve.curve.usage(times)
    assert factor.mean() == pytest.approx(1, abs=0.002)
    assert factor.std() == pytest.approx(0.06, rel=0.03)
    assert np.corrcoef(factor[:-1], factor[1:])[0, 1] == pytest.approx(0, abs=0.03)
    within = curve.usage(times + 299) / curve.curve.usage(times + 299)
    np.testing.assert_allclose(within, factor)


@given(seed=seeds, count=st.integers(0, 300), days=st.integers(1, 5), gpu=st.booleans())
@settings(max_examples=20)
def test_jobs_arrive_in_order_within_their_days_with_real_sizes_and_known_run_times(
    seed: int, count: int, days: int, gpu: bool
) -> None:
    drawn = jobs(seed, count, TRACE, days=days, gpu=gpu)
    assert drawn == jobs(seed, count, TRACE, days=days, gpu=gpu)
    arrivals = [job.arrival for job in drawn]
    assert arrivals == sorted(arrivals)
    assert len({job.name for job in drawn}) == count
    real = _sizes(TRACE, OFFLINE)
    for job in drawn:
        assert 0 <= job.arrival < days * DAY
        assert job.duration >= 0
        assert job.parallelism >= 1
        assert job.qos in OFFLINE
        assert (job.cpu_milli, job.memory_bytes, job.gpus, job.gpu_milli) in real
        assert gpu or job.gpus == 0


def test_the_run_times_of_many_jobs_are_distributed_as_the_real_ones() -> None:
    offline = np.isin(TRACE.qos, OFFLINE) & (TRACE.pods.num_gpu == 0) & ~np.isnan(TRACE.scheduled)
    real = (TRACE.deleted - TRACE.scheduled)[offline]
    drawn = np.concatenate([[job.duration] * job.parallelism for job in jobs(4, 4_000, TRACE)])
    for quantile in (0.25, 0.9):
        assert np.quantile(drawn, quantile) == pytest.approx(np.quantile(real, quantile), rel=0.35)


def test_a_trace_without_such_pods_is_refused_with_what_is_accepted() -> None:
    bare = TRACE._replace(qos=[""] * len(TRACE.qos))
    for draw in (services, jobs):
        with pytest.raises(ValueError, match=r"of 8152 pods none is .* and ran; accepted"):
            draw(1, 1, bare)


def test_a_series_that_is_not_packaged_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match="no series tide is packaged; accepted: nyc_taxi, "):
        services(1, 1, TRACE, curves=(("nyc_taxi", 1), ("tide", 2)))
