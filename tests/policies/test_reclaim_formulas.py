from math import nan
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.policies.reclaim_formulas import (
    CALCULATE_POLICIES,
    NodeAmounts,
    PodAmounts,
    batch,
    degraded,
    demand,
    explain_batch,
    explain_degraded,
    mid_dynamic,
    mid_static,
    needs_sync,
    reserved,
    system_usage,
    unallocated,
)

CORE = 1000
GB = 10**9
NOW = 1_800_000_000.0


class Pod(NamedTuple):
    """CPU in cores and memory in GB, (request, used); used is nan without a metric."""

    cpu: tuple[float, float]
    memory: tuple[float, float]
    lse: bool = False


A = Pod((20, 11), (20, 11))
C = Pod((20, 22), (40, 22))
DANGLING = Pod((0, 4), (0, 4))
BANDS = [Pod((10, 5), (10, 11), lse=True), Pod((10, 6), (10, 11)), Pod((10, 22), (10, 11))]
UNMEASURED = [A, Pod((30, nan), (30, nan))]

# Node of koordinator's batchresource plugin_test.go: 100 cores, 120 GB; system uses 7 cores and 12 GB.
BASE: dict[str, Any] = {
    "pods": [A, C],
    "cpu": "usage",
    "memory": "usage",
    "thresholds": (65, 65),
    "limits": (None, None),
    "allocatable": (100, 120),
    "annotated": (0, 0),
}
CASES: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {
    "by usage": ({}, (25, 33)),
    "CPU of an LSE pod counts at its request": ({"pods": BANDS}, (20, 33)),
    "without LSE": ({"pods": [pod._replace(lse=False) for pod in BANDS]}, (25, 33)),
    "memory by request": ({"thresholds": (70, 80), "memory": "request"}, (30, 36)),
    "CPU by the larger of usage and request": ({"thresholds": (70, 65), "cpu": "maxUsageRequest"}, (21, 33)),
    "thresholds above capacity": (
        {"thresholds": (150, 120), "cpu": "maxUsageRequest", "memory": "request"},
        (101, 84),
    ),
    "a limit on batch CPU": (
        {"thresholds": (150, 120), "cpu": "maxUsageRequest", "memory": "request", "limits": (100, None)},
        (100, 84),
    ),
    "memory by the larger of usage and request": (
        {"thresholds": (150, 120), "cpu": "usage", "memory": "maxUsageRequest"},
        (110, 72),
    ),
    "reserved by the kubelet and by annotation": ({"allocatable": (90, 100), "annotated": (2, 5)}, (22, 25)),
    "reserved by annotation only": ({"annotated": (10, 20)}, (22, 25)),
    "reserved below what the system uses": ({"annotated": (2, 5)}, (25, 33)),
    "a pod without a metric counts at its request": ({"pods": UNMEASURED}, (17, 25)),
    "a pod without a metric counts at its request in the larger": (
        {"pods": UNMEASURED, "cpu": "maxUsageRequest", "memory": "maxUsageRequest"},
        (8, 16),
    ),
    "a metric without a pod counts at its usage": ({"pods": [A, C, DANGLING]}, (21, 29)),
    "no pods": ({"pods": []}, (58, 66)),
    "nothing left": ({"thresholds": (30, 30)}, (0, 0)),
}


def batch_of(**changes: Any) -> tuple[int, int]:
    case = BASE | changes
    found = []
    for row, (unit, capacity, system) in enumerate(((CORE, 100, 7), (GB, 120, 12))):
        amounts = [(pod.cpu, pod.memory)[row] for pod in case["pods"]]
        pods = PodAmounts(
            np.zeros(len(amounts), np.int64),
            np.array([int(request * unit) for request, _ in amounts], np.int64),
            np.array([used * unit for _, used in amounts], np.float64),
            np.array([pod.lse and row == 0 for pod in case["pods"]], np.bool_),
        )
        size = np.array([capacity * unit])
        kept = reserved(size, np.array([case["allocatable"][row] * unit]), np.array([case["annotated"][row] * unit]))
        nodes = NodeAmounts(size, kept, np.array([float(system * unit)]))
        result = batch(
            nodes,
            demand(pods, 1),
            policy=case[("cpu", "memory")[row]],
            reclaim_threshold_percent=case["thresholds"][row],
            limit_percent=case["limits"][row],
        )
        found.append(int(result.amount[0]))
    return found[0], found[1]


@pytest.mark.parametrize(("changes", "expected"), CASES.values(), ids=CASES)
def test_batch_resources_are_koordinators(changes: dict[str, Any], expected: tuple[int, int]) -> None:
    assert batch_of(**changes) == (expected[0] * CORE, expected[1] * GB)


@pytest.mark.parametrize(
    ("metric_time", "expected"),
    [(NOW, False), (NOW - 15 * 60, False), (NOW - 15 * 60 - 1, True), (nan, True)],
    ids=["fresh", "as old as may be", "too old", "missing"],
)
def test_reclaimed_resources_go_when_the_metric_is_missing_or_old(metric_time: float, *, expected: bool) -> None:
    assert degraded(np.array([metric_time]), NOW, degrade_time_minutes=15).tolist() == [expected]
    assert explain_degraded(metric_time, NOW, degrade_time_minutes=15).startswith("removed: the node")


def test_unknown_system_usage_makes_nothing_reclaimable() -> None:
    nodes = NodeAmounts(np.array([100_000]), np.array([0]), np.array([nan]))
    nobody = demand(PodAmounts(*(np.zeros(0, kind) for kind in (int, int, float, bool))), 1)
    for policy, expected in (("usage", 0), ("maxUsageRequest", 0), ("request", 60_000)):
        found = batch(nodes, nobody, policy=policy, reclaim_threshold_percent=60, limit_percent=None)
        assert found.amount.tolist() == [expected]
    assert unallocated(nodes, np.array([0])).tolist() == [0]


def test_system_usage_is_what_pods_do_not_use_and_never_negative() -> None:
    used = system_usage(np.array([10.0, 5.0, nan]), np.array([0, 0, 1, 2]), np.array([2.0, nan, 7.0, 1.0]))
    assert used[:2].tolist() == [8.0, 0.0]
    assert np.isnan(used[2])


def test_the_explanation_is_the_sum_with_its_terms() -> None:
    nodes = NodeAmounts(np.array([100_000]), np.array([10_000]), np.array([7000.0]))
    pods = demand(PodAmounts(np.array([0]), np.array([20_000]), np.array([11_000.0]), np.array([False])), 1)
    found = batch(nodes, pods, policy="usage", reclaim_threshold_percent=65, limit_percent=80)
    assert explain_batch(nodes, found, 0, policy="usage", limit_percent=80) == (
        "44000 = capacity 100000 - margin 35000 - system or reserved 10000"
        " - high-priority pods 11000 (by usage), not below 0, at most 80 % of capacity"
    )


@pytest.mark.parametrize(
    ("old", "new", "synced", "expected"),
    [
        (1000.0, 1100.0, NOW - 300, False),
        (1000.0, 1101.0, NOW, True),
        (1000.0, 899.0, NOW, True),
        (1000.0, 1000.0, NOW - 301, True),
        (1000.0, 1000.0, nan, True),
        (nan, 0.0, NOW, True),
        (5.0, nan, NOW, True),
        (nan, nan, nan, False),
        (0.0, 0.0, NOW, False),
        (0.0, 1.0, NOW, True),
    ],
    ids=[
        "within a tenth",
        "above a tenth",
        "below a tenth",
        "written too long ago",
        "never written",
        "appears",
        "goes",
        "absent and stays so",
        "zero stays zero",
        "from zero",
    ],
)
def test_a_resource_is_written_when_it_matters(old: float, new: float, synced: float, *, expected: bool) -> None:
    found = needs_sync(
        np.array([old]),
        np.array([new]),
        np.array([synced]),
        NOW,
        resource_diff_threshold=0.1,
        update_time_threshold_seconds=300,
    )
    assert found.tolist() == [expected]


@pytest.mark.parametrize(
    ("used", "lent", "free", "percents", "expected"),
    [
        (20_000.0, 10_000, 80_000, (0, 100), 10_000),
        (95_000.0, 10_000, 80_000, (0, 100), 5_000),
        (20_000.0, 10_000, 80_000, (50, 100), 50_000),
        (20_000.0, 10_000, 80_000, (50, 45), 45_000),
        (nan, 10_000, 80_000, (0, 100), 0),
        (nan, 10_000, 80_000, (10, 100), 8_000),
        (120_000.0, 10_000, 0, (0, 100), 0),
    ],
    ids=[
        "what prod will not use",
        "no more than is unused",
        "and half of what is unallocated",
        "bounded by its threshold",
        "unknown usage",
        "unknown usage leaves the unallocated part",
        "more used than there is",
    ],
)
def test_mid_resources_are_what_prod_leaves(
    used: float, lent: int, free: int, percents: tuple[int, int], expected: int
) -> None:
    found = mid_dynamic(
        np.array([100_000]),
        np.array([used]),
        np.array([lent]),
        np.array([free]),
        unallocated_percent=percents[0],
        threshold_percent=percents[1],
    )
    assert found.tolist() == [expected]


def test_static_mid_resources_are_a_part_of_capacity() -> None:
    capacity = np.array([100_000])
    assert mid_static(capacity, reserved_percent=30, threshold_percent=100).tolist() == [30_000]
    assert mid_static(capacity, reserved_percent=30, threshold_percent=20).tolist() == [20_000]


def test_unallocated_is_beside_system_or_reserved_and_prod_requests() -> None:
    nodes = NodeAmounts(np.array([100_000] * 3), np.array([10_000] * 3), np.array([7000.0, 12_000.0, 7000.0]))
    assert unallocated(nodes, np.array([20_000, 20_000, 95_000])).tolist() == [70_000, 68_000, 0]


pods_on_nodes = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 50_000), st.one_of(st.just(nan), st.floats(0, 50_000)), st.booleans()),
    max_size=30,
)


@given(
    pods_on_nodes,
    st.lists(st.integers(0, 100_000), min_size=3, max_size=3),
    st.sampled_from(CALCULATE_POLICIES),
    st.integers(0, 150),
    st.one_of(st.none(), st.integers(0, 150)),
)
def test_batch_is_within_its_bounds_and_more_usage_never_gives_more(
    pods: list[tuple[int, int, float, bool]], capacity: list[int], policy: str, threshold: int, limit: int | None
) -> None:
    columns = PodAmounts(*(np.array([pod[i] for pod in pods], kind) for i, kind in enumerate((int, int, float, bool))))
    nodes = NodeAmounts(np.array(capacity), np.array([100] * 3), np.array([0.0, 50.0, 5000.0]))

    def amount(given_pods: PodAmounts) -> list[int]:
        taken = demand(given_pods, 3)
        found = batch(nodes, taken, policy=policy, reclaim_threshold_percent=threshold, limit_percent=limit)
        return [int(each) for each in found.amount]

    less = amount(columns._replace(used=columns.used + 1000))
    for each, low, size in zip(amount(columns), less, capacity, strict=True):
        assert 0 <= low <= each <= -(-size * threshold // 100)
        assert limit is None or each <= size * limit / 100
