from math import nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.noderules.cpu_suppress import (
    CFS_PERIOD_US,
    MIN_QUOTA_US,
    UNLIMITED,
    BestEffortCpu,
    CpuReading,
    SuppressSettings,
    best_effort_limit,
    next_quota,
    suppress,
    usage_split,
)
from neaptide.noderules.cpuset import Cpu, CpuPools

SEVENTY = SuppressSettings(threshold_percent=70)
POOLS = CpuPools(tuple(Cpu(id=i, core=i // 2, socket=0, numa=0) for i in range(16)))
ALL = tuple(range(16))


def reading(cores: int, node: float, services: float, best_effort: float, **other: Any) -> CpuReading:
    return CpuReading(cores * 1000, node * 1000, best_effort * 1000, services * 1000, **other)


@pytest.mark.parametrize(
    ("given_reading", "settings", "expected"),
    [
        (reading(20, 12, 8, 2), SEVENTY, 4000),
        (reading(20, 11, 8, 4), SEVENTY, 6000),
        (reading(20, 12, 8, 2), SEVENTY._replace(min_percent=60), 12_000),
        (reading(20, 12, 8, 2, other_apps=1000), SEVENTY, 4000),
        (reading(20, 12, 8, 2, best_effort_apps=1000), SEVENTY, 5000),
        (reading(16, 12, 8, 2), SEVENTY, 1200),
        (reading(16, 12, 8, 4), SEVENTY, 3200),
        (reading(20, 12, 8, 2, reserved=3000), SEVENTY, 3000),
        (reading(10, 12, 8, 2), SEVENTY, 0),
    ],
    ids=[
        "services, best effort and system",
        "more pods than the node shows",
        "a least share",
        "a host application of a service moves out of system usage",
        "a best-effort host application",
        "a fraction of a core",
        "a fraction above three cores",
        "reserved above what system uses",
        "no room at all",
    ],
)
def test_best_effort_gets_what_services_and_system_leave(
    given_reading: CpuReading, settings: SuppressSettings, expected: int
) -> None:
    limit = best_effort_limit(settings, given_reading)
    assert limit is not None
    assert limit.milli == expected


def test_usage_without_a_pod_counts_as_not_best_effort() -> None:
    assert usage_split({"a": 2000.0, "b": 500.0, "gone": 8000.0}, {"a"}) == (2000.0, 8500.0)


@pytest.mark.parametrize(
    ("wanted", "current", "expected"),
    [
        (20, 10, 18 * CFS_PERIOD_US),
        (20, 19, 20 * CFS_PERIOD_US),
        (20, 24, 20 * CFS_PERIOD_US),
        (20, 19.8, 19.8 * CFS_PERIOD_US),
        (0.001, 20, MIN_QUOTA_US),
        (-3, 0.5, MIN_QUOTA_US),
        (20, -1 / CFS_PERIOD_US, 20 * CFS_PERIOD_US),
        (0.1, -1 / CFS_PERIOD_US, CFS_PERIOD_US // 10),
    ],
    ids=[
        "rises a tenth of the node",
        "rises to the target",
        "falls at once",
        "a small change is passed over",
        "never below the minimum",
        "nothing left, however small the change",
        "from no quota in one step",
        "from no quota to a small one",
    ],
)
def test_a_quota_falls_at_once_and_rises_in_steps(wanted: float, current: float, expected: float) -> None:
    quota = next_quota(int(wanted * 1000), current_us=round(current * CFS_PERIOD_US), capacity_milli=80_000)
    assert quota == expected


@pytest.mark.parametrize(
    ("settings", "given_reading", "expected"),
    [
        (SEVENTY._replace(policy="cfsQuota"), reading(16, 12, 8, 2), BestEffortCpu(120_000, ALL)),
        (SEVENTY._replace(policy="cfsQuota"), reading(16, 12, 8, 4), BestEffortCpu(320_000, ALL)),
        (SEVENTY, reading(16, 12, 8, 2), BestEffortCpu(UNLIMITED, (0, 1))),
        (SEVENTY._replace(enabled=False), reading(16, 12, 8, 2), BestEffortCpu(UNLIMITED, ALL)),
    ],
    ids=["quota", "quota with a pod that has no object", "two CPUs at least", "switched off"],
)
def test_one_policy_is_in_force_and_the_other_is_undone(
    settings: SuppressSettings, given_reading: CpuReading, expected: BestEffortCpu
) -> None:
    done = suppress(settings, given_reading, POOLS, BestEffortCpu(UNLIMITED, ALL))
    assert done is not None
    assert done.setting == expected
    assert done.reason


@pytest.mark.parametrize("field", ["node_used", "other_pods", "best_effort_pods"])
def test_all_stays_as_it_is_where_usage_is_unknown(field: str) -> None:
    unusable: dict[str, Any] = {field: nan}
    unknown = reading(16, 12, 8, 2)._replace(**unusable)
    assert suppress(SEVENTY, unknown, POOLS, BestEffortCpu(UNLIMITED, ALL)) is None


milli = st.integers(0, 64_000).map(float)
parts = st.one_of(st.none(), st.floats(0.0, 1.0))
readings = st.builds(
    CpuReading, st.integers(1000, 64_000), milli, milli, milli, milli, milli, st.integers(0, 8000), part=parts
)


@given(readings, st.integers(0, 100), st.one_of(st.none(), st.integers(0, 100)))
def test_limit_services_and_system_stay_within_the_threshold(
    given_reading: CpuReading, threshold: int, least: int | None
) -> None:
    settings = SuppressSettings(threshold_percent=threshold, min_percent=least)
    limit = best_effort_limit(settings, given_reading)
    assert limit is not None
    capacity = given_reading.capacity
    pods = given_reading.best_effort_pods + given_reading.other_pods
    apps = given_reading.best_effort_apps + given_reading.other_apps
    system = max(given_reading.node_used - pods - apps, given_reading.reserved)
    floor = capacity * (least or 0) // 100
    assert limit.milli >= floor
    if limit.milli > floor:
        others = given_reading.other_pods + given_reading.other_apps + system
        percent = threshold if given_reading.part is None else 100  # services' own latencies say more than a threshold
        assert limit.milli + others <= capacity * percent / 100
        assert given_reading.part is None or limit.milli <= capacity * given_reading.part


@given(st.integers(-10_000, 64_000), st.integers(0, 6_400_000), st.integers(1000, 64_000))
def test_a_quota_never_rises_by_more_than_a_tenth_nor_stays_far_above_its_target(
    limit: int, current: int, capacity: int
) -> None:
    quota = next_quota(limit, current_us=current, capacity_milli=capacity)
    node = capacity * CFS_PERIOD_US // 1000
    target = max(limit * CFS_PERIOD_US // 1000, MIN_QUOTA_US)
    assert quota - current <= node / 10
    assert quota - target < max(node / 100, 1)
