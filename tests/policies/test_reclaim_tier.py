"""The second tier: what batch pods request and will not use, below the host's watermark, and never what is not known."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import node, pod

from neaptide.model.actions import SetNodeResources
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.reclaim import Reclaim, ReclaimMemory, ReclaimSpec

NOW, MINUTE, GIB = 1_800_000_000.0, 60.0, 1 << 30
BATCH_CPU, BATCH_MEMORY = "kubernetes.io/batch-cpu", "kubernetes.io/batch-memory"
OT_CPU, OT_MEMORY = "neaptide.io/ot-cpu", "neaptide.io/ot-memory"
BE = {"koordinator.sh/qosClass": "BE"}


def scene(batch: int = 20_000, ot: int = 0) -> ClusterSnapshot:
    """100 cores: a service, a batch pod that requests much, and perhaps a pod of the tier."""
    snapshot = ClusterSnapshot()
    snapshot.set(node("n", cpu="100", memory="100Gi"))
    snapshot.set(pod("web", node="n", owner=("StatefulSet", "web"), cpu="50", memory="50Gi"))
    labels = {**BE, "koordinator.sh/priority-class": "koord-batch"}
    requests: dict[str, Any] = {BATCH_CPU: str(batch), BATCH_MEMORY: str(20 * GIB)}
    snapshot.set(pod("job", node="n", owner=("Job", "job"), labels=labels, **requests))
    if ot:
        free = {**BE, "koordinator.sh/priority-class": "koord-free"}
        requests = {OT_CPU: str(ot), OT_MEMORY: "1"}
        snapshot.set(pod("fill", node="n", owner=("Job", "fill"), labels=free, **requests))
    snapshot.pods.created[: snapshot.pods.rows] = NOW - 7200
    return snapshot


def lived(
    snapshot: ClusterSnapshot,
    *,
    web: float,
    job: float,
    fill: float = 0.0,
    system: float = 1000.0,
    minutes: int = 70,
    **values: Any,
) -> tuple[dict[str, int | None], str]:
    """What stands on the node after some minutes of such use (milli-CPU; memory a hundred thousandth GiB of it)."""
    policy, memory = Reclaim(), ReclaimMemory()
    spec = ReclaimSpec(**{"ot_enable": True, "cpu_reclaim_threshold_percent": 70} | values)
    stands: dict[str, int | None] = {}
    reason = ""
    used = {"web": web, "job": job, "fill": fill}
    for minute in range(0, minutes, 5):
        now = NOW + minute * MINUTE
        for name, amount in used.items():
            row = snapshot.pods.by_key.get(f"default/{name}")
            if row is not None:
                snapshot.set_pod_usage(row, amount, amount * GIB / 1000)
        total = sum(used.values()) + system
        snapshot.set_node_usage(0, total, total * GIB / 1000, now)
        found, memory = policy.plan(snapshot, spec, memory, now)
        for action in found.actions:
            assert isinstance(action, SetNodeResources)
            snapshot.set_node_resources(0, action.resources)
            stands, reason = action.resources, action.reason.message
    return stands, reason


def near(amount: int | None, expected: float, *, peak: float = 20_000) -> bool:
    """Buckets are 5 % wide, the margin is 10 %."""
    return amount is not None and abs(amount - expected) <= 0.055 * peak


def test_the_tier_is_what_batch_pods_leave_once_they_are_known() -> None:
    stands, reason = lived(scene(), web=20_000, job=5000)
    assert near(stands[OT_CPU], 20_000 - 1.1 * 5000)
    assert "neaptide.io/ot-cpu" in reason
    assert "the smaller of what batch pods will not use" in reason


def test_nothing_is_offered_before_the_cold_start_is_over() -> None:
    stands, reason = lived(scene(), web=20_000, job=5000, minutes=50)
    assert (stands[OT_CPU], stands[OT_MEMORY]) == (0, 0)
    assert "the peak of what runs beside the tier is not known yet" in reason


def test_the_watermark_bounds_the_tier_by_the_peak_of_everything_else() -> None:
    stands, _ = lived(scene(), web=55_000, job=5000)
    assert near(stands[OT_CPU], 75_000 - 1.1 * 61_000, peak=61_000)


def test_the_tiers_own_use_is_not_in_its_way() -> None:
    without, _ = lived(scene(), web=20_000, job=5000)
    with_it, _ = lived(scene(ot=10_000), web=20_000, job=5000, fill=9000)
    assert near(with_it[OT_CPU], float(without[OT_CPU] or 0))


def test_the_watermark_is_above_the_first_tier_too() -> None:
    free, _ = lived(scene(), web=20_000, job=5000, cpu_reclaim_threshold_percent=120, ot_enable=False)
    bound, _ = lived(scene(), web=20_000, job=5000, cpu_reclaim_threshold_percent=120)
    assert free[BATCH_CPU] == 120_000 - 21_000
    assert bound[BATCH_CPU] == 75_000 - 21_000


def test_a_tier_that_is_switched_off_is_taken_away_and_not_spoken_of_again() -> None:
    snapshot = scene()
    assert lived(snapshot, web=20_000, job=5000)[0][OT_CPU]
    policy, memory, spec = Reclaim(), ReclaimMemory(), ReclaimSpec()
    snapshot.set_node_usage(0, 26_000.0, 26.0 * GIB, NOW)
    for expected in (1, 0, 0):
        found, memory = policy.plan(snapshot, spec, memory, NOW)
        assert len(found.actions) == expected
        for action in found.actions:
            assert isinstance(action, SetNodeResources)
            assert action.resources[OT_CPU] is None
            snapshot.set_node_resources(0, action.resources)


def test_without_the_setting_no_node_has_a_second_tier() -> None:
    assert OT_CPU not in lived(scene(), web=20_000, job=5000, ot_enable=False)[0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 90_000), st.integers(0, 30_000), st.integers(0, 20_000), st.integers(0, 60_000))
def test_the_tiers_with_all_that_they_stand_on_stay_below_the_watermark(
    web: int, job: int, fill: int, batch: int
) -> None:
    snapshot = scene(batch or 1, ot=1000)
    stands, _ = lived(snapshot, web=float(web), job=float(job), fill=float(fill))
    tier, first = stands[OT_CPU], stands[BATCH_CPU]
    assert tier is not None
    assert first is not None
    assert min(tier, first) >= 0
    assert first == 0 or first + web + 1000 <= 75_000
    assert tier == 0 or tier + web + job + 1000 <= 75_000
    assert tier <= max(batch - job, 0)


@pytest.mark.parametrize("values", [{"host_watermark_percent": 75}, {"host_watermark_percent": 50}])
def test_the_watermark_is_a_setting(values: dict[str, Any]) -> None:
    stands, _ = lived(scene(60_000), web=20_000, job=5000, **values)
    assert near(stands[OT_CPU], min(60_000 - 5500, values["host_watermark_percent"] * 1000 - 1.1 * 26_000))
