from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.forecast.peaks import (
    PeakSettings,
    PodPeaks,
    node_peak,
    overcommit_tier,
    pod_reclaimable,
    priority_reclaimable,
    prod_reclaimable,
    warm,
    with_margin,
)

NOW = 1_800_000_000.0
HOUR = 3600.0
SETTINGS = PeakSettings(cold_start_seconds=HOUR)
MIB = 1 << 20
GIB = 1 << 30
UNKNOWN = float("nan")


class Node(NamedTuple):
    """The node of koordinator's peak_predictor_test.go, for one resource: a cold pod, a warm one, system and prod."""

    requests: list[int]
    predicted: list[float]
    system: float
    prod: float


CPU = Node([1000, 2000], [500, 500], 300, 1000)
MEMORY = Node([GIB, 2 * GIB], [GIB, GIB], 512 * MIB, GIB)
AGES = np.array([60.0, 2 * HOUR])


def pods_of(node: Node) -> PodPeaks:
    grown = warm(NOW - AGES, np.full(2, NOW - 10 * HOUR), np.full(2, NOW), NOW, SETTINGS)
    peak = np.where(grown, with_margin(np.array(node.predicted), SETTINGS), np.nan)
    return PodPeaks(np.array([0, 0]), np.array(node.requests), peak)


def reclaimable(node: Node, allocatable: int) -> tuple[int, int, int]:
    size = np.array([allocatable])
    by_pod = pod_reclaimable(pods_of(node), size)
    peak = with_margin(np.array([node.system + node.prod]), SETTINGS)
    by_priority = priority_reclaimable(np.array([sum(node.requests)]), peak, size)
    return int(by_pod[0]), int(by_priority[0]), int(prod_reclaimable(by_pod, by_priority)[0])


@pytest.mark.parametrize(
    ("node", "allocatable", "expected"),
    [
        (CPU, 3000, (1450, 1570, 1450)),
        (CPU, 1000, (450, 0, 0)),
        (MEMORY, 3 * GIB, (2 * GIB - int(1.1 * GIB), 3 * GIB - int(1.1 * 1.5 * GIB), 2 * GIB - int(1.1 * GIB))),
    ],
    ids=["cpu of three cores", "a node of one core has less to lend", "memory"],
)
def test_reclaimable_amounts_are_koordinators(node: Node, allocatable: int, expected: tuple[int, int, int]) -> None:
    assert reclaimable(node, allocatable) == expected


@pytest.mark.parametrize(
    ("requests", "predicted", "expected"),
    [
        ([1000, 1000, 500], [500, UNKNOWN, UNKNOWN], 2050),
        ([GIB, GIB, 512 * MIB], [768 * MIB, UNKNOWN, UNKNOWN], int(1.1 * 768 * MIB) + GIB + GIB // 2),
    ],
    ids=["cpu", "memory"],
)
def test_a_pod_without_a_prediction_counts_at_its_request_in_the_nodes_peak(
    requests: list[int], predicted: list[float], expected: int
) -> None:
    pods = PodPeaks(np.zeros(3, np.int64), np.array(requests), with_margin(np.array(predicted), SETTINGS))
    assert node_peak(pods, np.array([UNKNOWN])).tolist() == [expected]
    assert node_peak(pods, np.array([float(expected + 7)])).tolist() == [expected + 7]


@pytest.mark.parametrize(
    ("pod_age", "history_age", "expected"),
    [(2 * HOUR, 2 * HOUR, True), (HOUR, 2 * HOUR, False), (2 * HOUR, HOUR, False), (2 * HOUR, UNKNOWN, False)],
    ids=["both old", "a young pod of an old workload", "an old pod whose history was lost", "never observed"],
)
def test_a_cold_start_ends_when_pod_and_history_are_old_enough(
    pod_age: float, history_age: float, *, expected: bool
) -> None:
    assert warm(np.array([NOW - pod_age]), np.array([NOW - history_age]), np.array([NOW]), NOW, SETTINGS).tolist() == [
        expected
    ]


@pytest.mark.parametrize(("ago", "expected"), [(1800.0, True), (1801.0, False), (UNKNOWN, False)])
def test_a_prediction_of_what_is_not_measured_any_more_expires(ago: float, *, expected: bool) -> None:
    old = np.array([NOW - 48 * HOUR])
    assert warm(old, old, np.array([NOW - ago]), NOW, SETTINGS).tolist() == [expected]


def test_nothing_is_lent_where_the_priority_peak_is_unknown() -> None:
    assert priority_reclaimable(np.array([4000]), np.array([UNKNOWN]), np.array([8000])).tolist() == [0]


@pytest.mark.parametrize(
    ("others_peak", "expected"),
    [(2000.0, 700), (5500.0, 500), (9000.0, 0), (UNKNOWN, 0)],
    ids=["what batch pods leave", "the room below three quarters", "no room", "an unknown peak of the others"],
)
def test_the_second_tier_is_what_batch_pods_leave_within_the_room(others_peak: float, expected: int) -> None:
    batch = PodPeaks(np.array([0, 0, 0]), np.array([1000, 500, 800]), np.array([300.0, 600.0, np.nan]))
    assert overcommit_tier(batch, np.array([8000]), np.array([others_peak])).tolist() == [expected]


pod_lists = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(0, 64_000), st.one_of(st.just(UNKNOWN), st.integers(0, 64_000).map(float))
    ),
    max_size=30,
)


@given(pod_lists, st.lists(st.integers(0, 128_000), min_size=3, max_size=3))
def test_no_more_is_lent_than_was_requested_nor_than_the_node_has(
    pods: list[tuple[int, int, float]], allocatable: list[int]
) -> None:
    node, request, peak = (np.array([pod[i] for pod in pods], kind) for i, kind in ((0, int), (1, int), (2, float)))
    lent = pod_reclaimable(PodPeaks(node, request, peak), np.array(allocatable))
    for each in range(3):
        requested = sum(pod[1] for pod in pods if pod[0] == each)
        assert 0 <= lent[each] <= min(requested, allocatable[each])
