from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.noderules.cpu_evict import BestEffortUse, CpuEvictReading, CpuEvictSettings, cpu_evict
from neaptide.noderules.evict import (
    PROD,
    Decision,
    PodReading,
    Task,
    best_effort_order,
    choose,
    cpu_used,
    memory_used,
    priority_order,
)
from neaptide.noderules.memory_evict import MemoryEvictSettings, MemoryReading, memory_evict

GB = 10**9
NOW = 1_800_000_000.0
DEFAULT = MemoryEvictSettings()


def lent(name: str, priority: int = 5500, **fields: Any) -> PodReading:
    return PodReading(f"jobs/{name}", "BE", 1, priority, **fields)


def names(decision: Decision) -> list[str]:
    return [victim.pod.name.removeprefix("jobs/") for victim in decision.victims]


def by_memory(pods: list[PodReading], used: int, settings: MemoryEvictSettings = DEFAULT) -> Decision:
    return memory_evict(settings, MemoryReading(120 * GB, used), pods, now=NOW, last_eviction=None)


FIVE = [
    lent("small", memory_used=5 * GB),
    lent("large", memory_used=30 * GB),
    lent("middle", memory_used=10 * GB),
    lent("free", 3500, memory_used=GB),
    PodReading("shop/web", "LS", PROD, 9500, memory_used=40 * GB),
]


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        (83 * GB, []),
        (84 * GB, ["free", "large"]),
        (115 * GB, ["free", "large", "middle"]),
        (120 * GB, ["free", "large", "middle"]),
    ],
    ids=["below the watermark", "at the watermark", "far above", "full"],
)
def test_memory_is_released_by_the_lowest_priority_first_then_the_largest_use(used: int, expected: list[str]) -> None:
    assert names(by_memory(FIVE, used)) == expected


def test_pods_that_name_no_band_go_after_those_that_do() -> None:
    plain = PodReading("jobs/plain", "BE", PROD, 0, memory_used=30 * GB)
    assert names(by_memory([plain, *FIVE], 84 * GB)) == ["free", "large"]
    assert names(by_memory([plain, FIVE[0]], 100 * GB)) == ["small", "plain"]


def test_memory_is_counted_in_bytes_for_every_task() -> None:
    """Upstream counts a thousand times as much for MemoryEvict, and stops after the first pod."""
    pods = [pod._replace(eviction_enabled=True) for pod in FIVE]
    settings = MemoryEvictSettings(tasks=("MemoryEvict",))
    assert names(by_memory(pods, 115 * GB, settings)) == ["free", "large", "middle"]


def test_two_tasks_release_the_larger_demand_and_not_the_sum() -> None:
    pods = [pod._replace(eviction_enabled=True) for pod in FIVE]
    both = MemoryEvictSettings(tasks=("BEMemoryEvict", "MemoryEvict"))
    assert names(by_memory(pods, 115 * GB, both)) == names(by_memory(pods, 115 * GB))


def test_a_second_task_adds_only_what_the_first_did_not_release() -> None:
    pods = [lent("a", cpu_used=1000.0), lent("b", cpu_used=2000.0), lent("c", cpu_used=4000.0)]
    tasks = [
        Task("one", cpu_used, 4000, best_effort_order(pods, "one", cpu_used), "one"),
        Task("two", cpu_used, 5000, best_effort_order(pods, "two", cpu_used), "two"),
    ]
    assert names(choose(pods, tasks)) == ["c", "b"]


def test_a_pod_that_was_evicted_and_is_still_there_counts_as_released() -> None:
    pods = [pod._replace(evicted="large" in pod.name) for pod in FIVE]
    assert names(by_memory(pods, 90 * GB)) == []
    assert names(by_memory(pods, 115 * GB)) == ["free", "middle"]


def test_a_pod_of_unknown_usage_is_left_alone() -> None:
    pods = [lent("unknown", 3500), *FIVE]
    assert "unknown" not in names(by_memory(pods, 120 * GB))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"threshold_percent": -1}, "cannot be used"),
        ({"lower_percent": 70}, "cannot be used"),
        ({"tasks": ("NoSuchEvict",)}, "not known"),
        ({"tasks": ()}, "no task"),
    ],
    ids=["a negative threshold", "lower at the threshold", "an unknown task", "no task"],
)
def test_settings_that_make_no_sense_evict_nobody_and_say_so(change: dict[str, Any], reason: str) -> None:
    decision = by_memory(FIVE, 120 * GB, MemoryEvictSettings()._replace(**change))
    assert not decision.victims
    assert reason in decision.reason


def test_nobody_is_evicted_on_an_unknown_reading_nor_while_it_cools() -> None:
    unknown = memory_evict(MemoryEvictSettings(), MemoryReading(GB, None), FIVE, now=NOW, last_eviction=None)
    cooling = memory_evict(MemoryEvictSettings(), MemoryReading(GB, GB), FIVE, now=NOW, last_eviction=NOW - 3)
    assert not unknown.victims
    assert not cooling.victims
    assert "unknown" in unknown.reason
    assert "4 s" in cooling.reason


# -- order -------------------------------------------------------------------------------------------------------------


def test_eviction_priority_goes_before_band_priority_label_and_use() -> None:
    def pod(name: str, band: int, priority: int, **fields: Any) -> PodReading:
        return PodReading(name, "LS", band, priority, eviction_enabled=True, **fields)

    expected = [
        pod("asked to go", 2, 7500, eviction_priority=-1, cpu_used=1.0),
        pod("free", 0, 5700, cpu_used=1.0),
        pod("batch", 1, 5500, cpu_used=1.0),
        pod("mid by label", 2, 7500, label_priority=100, cpu_used=1.0),
        pod("mid and busy", 2, 7500, cpu_used=9.0),
        pod("mid", 2, 7500, cpu_used=1.0),
        pod("mid and idle, a later name", 2, 7500),
        pod("mid and idle", 2, 7500),
    ]
    never = [
        pod("prod", PROD, 0),
        pod("above the threshold", 2, 7600),
        pod("not enabled", 1, 5500)._replace(eviction_enabled=False),
        pod("protected", 1, 5500, protected=True),
        pod("for another task only", 1, 5500, eviction_policies=("BECPUEvict",)),
    ]
    order = priority_order([*never, *reversed(expected)], "CPUEvict", cpu_used, priority_threshold=7500)
    assert [each.name for each in order] == [each.name for each in expected]


def test_only_labelled_best_effort_pods_give_way_to_best_effort_tasks() -> None:
    pods = [lent("a", memory_used=1), PodReading("x/plain", "", 1, 5500), PodReading("x/ls", "LS", 1, 5500)]
    assert [pod.name for pod in best_effort_order(pods, "BEMemoryEvict", memory_used)] == ["jobs/a"]


# -- CPU ---------------------------------------------------------------------------------------------------------------

STARVED = BestEffortUse(used=5000, request=20_000, limit=5000)
SATISFACTION = CpuEvictSettings(satisfaction_lower_percent=30, satisfaction_upper_percent=40)
WORKERS = [
    lent("lazy", cpu_request=4000, cpu_used=400.0),
    lent("busy", cpu_request=2000, cpu_used=2000.0),
    lent("busier", cpu_request=1500, cpu_used=3000.0),
]


def by_cpu(settings: CpuEvictSettings, average: BestEffortUse = STARVED, **fields: Any) -> Decision:
    reading = CpuEvictReading(40_000, 30_000.0, average, STARVED, 60.0)._replace(**fields)
    return cpu_evict(settings, reading, WORKERS, now=NOW, last_eviction=None)


@pytest.mark.parametrize(
    ("change", "fields", "expected"),
    [
        ({}, {}, ["busier", "busy"]),
        ({"satisfaction_upper_percent": 30}, {}, ["busier"]),
        ({}, {"average": STARVED._replace(used=4400)}, []),
        ({}, {"current": STARVED._replace(limit=7000, used=7000)}, []),
        ({}, {"average": STARVED._replace(limit=6000, used=6000)}, ["busier", "busy"]),
        ({}, {"average": BestEffortUse(10, 1000, 300)}, ["busier"]),
        ({}, {"covered_seconds": 19.0}, []),
        ({"policy": "evictByAllocatable"}, {"batch_allocatable": 0}, ["busier", "busy", "lazy"]),
        ({"policy": "evictByAllocatable"}, {"batch_allocatable": None}, []),
        ({"satisfaction_lower_percent": 61, "satisfaction_upper_percent": 70}, {}, []),
        ({"satisfaction_lower_percent": None}, {}, []),
    ],
    ids=[
        "the largest use of its request goes first",
        "a smaller gap",
        "they do not use what they may",
        "satisfied now, if not on average",
        "the smaller of average and present",
        "a limit below one core counts as used up",
        "too few samples",
        "no batch-cpu is no satisfaction",
        "unknown batch-cpu",
        "bounds that cannot be used",
        "bounds that are not set",
    ],
)
def test_best_effort_pods_that_starve_give_way_to_each_other(
    change: dict[str, Any], fields: dict[str, Any], expected: list[str]
) -> None:
    decision = by_cpu(SATISFACTION._replace(**change), **fields)
    assert names(decision) == expected
    assert decision.reason


@pytest.mark.parametrize(
    ("threshold", "lower", "expected"),
    [(76, None, []), (75, None, ["busier"]), (75, 65, ["busier", "busy"]), (None, None, [])],
    ids=["below the watermark", "two percent below it", "down to a lower mark", "no watermark"],
)
def test_cpu_above_its_watermark_is_released_by_use(
    threshold: int | None, lower: int | None, expected: list[str]
) -> None:
    settings = CpuEvictSettings(tasks=("CPUEvict",), threshold_percent=threshold, lower_percent=lower)
    pods = [pod._replace(eviction_enabled=True) for pod in WORKERS]
    reading = CpuEvictReading(40_000, 30_000.0, STARVED, STARVED, 60.0)
    assert names(cpu_evict(settings, reading, pods, now=NOW, last_eviction=None)) == expected


def test_cpu_eviction_cools_for_twenty_seconds() -> None:
    reading = CpuEvictReading(40_000, 30_000.0, STARVED, STARVED, 60.0)
    for ago, evicts in ((19.0, False), (20.0, True)):
        assert bool(cpu_evict(SATISFACTION, reading, WORKERS, now=NOW, last_eviction=NOW - ago).victims) is evicts


# -- invariants --------------------------------------------------------------------------------------------------------

pod_readings = st.lists(
    st.builds(
        PodReading,
        name=st.integers(0, 1000).map(str),
        qos=st.sampled_from(["", "LS", "BE"]),
        band=st.integers(0, 3),
        priority=st.integers(0, 9999),
        eviction_priority=st.integers(-2, 2),
        eviction_enabled=st.booleans(),
        protected=st.booleans(),
        evicted=st.booleans(),
        memory_used=st.one_of(st.none(), st.integers(0, 30 * GB)),
    ),
    unique_by=lambda pod: pod.name,
    max_size=25,
)


@given(
    pod_readings,
    st.integers(0, 120 * GB),
    st.integers(1, 100),
    st.sampled_from([("BEMemoryEvict",), ("MemoryEvict",), ("MemoryEvict", "BEMemoryEvict")]),
)
def test_enough_and_not_more_in_order_and_nothing_protected(
    pods: list[PodReading], used: int, threshold: int, tasks: tuple[str, ...]
) -> None:
    decision = by_memory(pods, used, MemoryEvictSettings(tasks=tasks, threshold_percent=threshold))
    victims = [victim.pod for victim in decision.victims]
    assert not any(pod.protected or pod.evicted for pod in victims)
    assert all(pod.qos == "BE" or (pod.band < PROD and pod.eviction_enabled) for pod in victims)
    assert len({pod.name for pod in victims}) == len(victims)
    if not victims:
        return
    percent = used * 100 // (120 * GB)
    release = 120 * GB * (percent - max(threshold - 2, 0)) // 100
    assert release <= used
    pending = sum(map(memory_used, (pod for pod in pods if pod.evicted)))
    assert pending + sum(map(memory_used, victims[:-1])) < release
    if len(tasks) == 1:
        order = (
            best_effort_order(pods, tasks[0], memory_used)
            if tasks == ("BEMemoryEvict",)
            else priority_order(pods, tasks[0], memory_used, priority_threshold=7999)
        )
        useful = [pod for pod in order if memory_used(pod) > 0]
        assert victims == useful[: len(victims)]
        assert pending + sum(map(memory_used, victims)) >= release or victims == useful
