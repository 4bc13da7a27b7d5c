"""Offline work grows into what is free and shrinks before services need it: who, by how much, and when not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import node, pod

from neaptide.model import objects as o
from neaptide.model.actions import Plan, Scale
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.arbiter import ArbiterMemory, Budgets, arbitrate
from neaptide.policies.elastic_offline import ElasticOffline, ElasticOfflineMemory, Size
from neaptide.policies.elastic_offline_forecast import DAY, SLOT, Offered, noted, part_expected
from neaptide.policies.elastic_offline_spec import ElasticOfflineSpec, ElasticRule, ElasticSelector
from neaptide.policies.protection import DO_NOT_DISRUPT

NOW = 1_800_000_000.0
BATCH = {"koordinator.sh/priority-class": "koord-batch"}
FREE = {"koordinator.sh/priority-class": "koord-free"}
WANTS = {"kubernetes.io/batch-cpu": "1000"}
ALL = ElasticOfflineSpec((ElasticRule(ElasticSelector(("Deployment", "Job"))),), reserve=0.0)


def cluster(batch_cpu: int = 10_000, nodes: int = 2) -> ClusterSnapshot:
    snapshot = ClusterSnapshot()
    for number in range(nodes):
        snapshot.set(node(f"n{number}", resources={"kubernetes.io/batch-cpu": str(batch_cpu)}))
    return snapshot


def work(
    snapshot: ClusterSnapshot,
    name: str,
    count: int,
    *,
    kind: str = "Deployment",
    running: int | None = None,
    **extra: Any,
) -> None:
    """A workload that wants `count` pods, of which so many run."""
    labels, requests = extra.pop("labels", BATCH), extra.pop("requests", WANTS)
    spec = o.WorkloadSpec(parallelism=count) if kind == "Job" else o.WorkloadSpec(replicas=count)
    spec = extra.pop("spec", spec)
    status = extra.pop("status", o.WorkloadStatus())
    snapshot.set(o.Workload(kind, o.Metadata(name=name, namespace="default", labels=labels), spec, status))
    for number in range(count):
        on = f"n{len(snapshot.pods.by_key) % 2}" if number < (count if running is None else running) else ""
        snapshot.set(pod(f"{name}-{number}", node=on, owner=(kind, name), labels=labels, **(requests | extra)))


def decide(
    snapshot: ClusterSnapshot, spec: ElasticOfflineSpec = ALL, memory: ElasticOfflineMemory | None = None
) -> Plan:
    return ElasticOffline().plan(snapshot, spec, memory or ElasticOfflineMemory(), NOW)[0]


def sizes(plan: Plan) -> dict[str, int]:
    return {each.target.name: each.replicas for each in plan.actions if isinstance(each, Scale)}


def codes(plan: Plan) -> dict[str, str]:
    return {each.target.name: each.reason.code for each in plan.declined}


def rule(**settings: Any) -> ElasticOfflineSpec:
    return ElasticOfflineSpec((ElasticRule(**settings),), reserve=0.0)


def test_it_grows_by_its_step_into_what_is_free() -> None:
    snapshot = cluster()
    work(snapshot, "a", 4)
    assert sizes(decide(snapshot)) == {"a": 9}


def test_it_grows_no_further_than_room_reserve_and_maximum_let_it() -> None:
    snapshot = cluster(3500)
    work(snapshot, "a", 4)
    assert sizes(decide(snapshot)) == {"a": 6}
    assert sizes(decide(snapshot, rule(maximum=5))) == {"a": 5}
    reserving = ElasticOfflineSpec((ElasticRule(),), reserve=0.2)
    assert codes(decide(snapshot, reserving)) == {"a": "NoRoom"}


def test_room_is_for_the_more_important_first_and_given_once() -> None:
    snapshot = cluster(4500)
    work(snapshot, "free", 2, labels=FREE)
    work(snapshot, "batch", 2)
    plan = decide(snapshot)
    assert sizes(plan) == {"batch": 6}
    assert codes(plan) == {"free": "NoRoom"}


def test_the_least_important_shrinks_first_and_only_as_far_as_needed() -> None:
    snapshot = cluster(4000)
    work(snapshot, "free", 4, labels=FREE)
    work(snapshot, "batch", 8)
    assert sizes(decide(snapshot)) == {"free": 0}
    assert sizes(decide(snapshot, rule(minimum=1))) == {"free": 1, "batch": 7}


def test_it_shrinks_before_the_room_is_gone() -> None:
    snapshot, policy, memory = cluster(10_000), ElasticOffline(), ElasticOfflineMemory()
    work(snapshot, "a", 14)
    seen = []
    for minute in range(6):
        for row in (0, 1):
            snapshot.set_node_resources(row, {"kubernetes.io/batch-cpu": 10_000 - 500 * minute})
        plan, memory = policy.plan(snapshot, rule(maximum=14), memory, NOW + 60 * minute)
        seen.append(sizes(plan))
    assert seen[:2] == [{}, {}]  # two cycles make no trend
    assert seen[2]["a"] < 14  # though 18 pods would fit now
    assert [each["a"] for each in seen[2:]] == sorted((each["a"] for each in seen[2:]), reverse=True)


def test_a_job_grows_by_its_parallelism_and_not_beyond_what_is_left_of_it() -> None:
    snapshot = cluster()
    spec = o.WorkloadSpec(parallelism=2, completions=10)
    work(snapshot, "job", 2, kind="Job", spec=spec, status=o.WorkloadStatus(succeeded=7))
    assert sizes(decide(snapshot)) == {"job": 3}


def test_one_pod_shows_what_a_workload_without_pods_needs() -> None:
    snapshot = cluster()
    work(snapshot, "a", 0)
    assert sizes(decide(snapshot)) == {"a": 1}


def _autoscaled(snapshot: ClusterSnapshot) -> None:
    work(snapshot, "a", 2)
    spec = o.AutoscalerSpec(o.ScaleTarget("Deployment", "a"))
    snapshot.set(o.HorizontalPodAutoscaler(o.Metadata(name="hpa", namespace="default"), spec))


def _service_waits(snapshot: ClusterSnapshot) -> None:
    work(snapshot, "a", 2)
    snapshot.set(pod("service", cpu="1"))


REFUSED: dict[str, tuple[Any, str]] = {
    "an autoscaler sets its replicas": (_autoscaled, "Autoscaled"),
    "its pods use nothing that was reclaimed": (
        lambda snapshot: work(snapshot, "a", 2, requests={"cpu": "1"}),
        "NotElastic",
    ),
    "a service waits for a node": (_service_waits, "ServicesWait"),
    "some of its own pods do": (lambda snapshot: work(snapshot, "a", 2, running=1), "PodsWait"),
    "it is suspended": (
        lambda snapshot: work(snapshot, "a", 2, kind="Job", spec=o.WorkloadSpec(suspend=True, parallelism=2)),
        "Suspended",
    ),
}


@pytest.mark.parametrize(("prepare", "code"), REFUSED.values(), ids=REFUSED)
def test_a_workload_does_not_grow_while(prepare: Any, code: str) -> None:
    snapshot = cluster()
    prepare(snapshot)
    plan = decide(snapshot)
    assert not plan.actions
    assert codes(plan) == {"a": code}


def test_it_grows_again_after_its_cool_down() -> None:
    snapshot = cluster()
    work(snapshot, "a", 4)
    for since, grows in ((NOW - 299, False), (NOW - 300, True)):
        memory = ElasticOfflineMemory({"Deployment default/a": Size(4, since)})
        assert bool(sizes(decide(snapshot, memory=memory))) is grows


def test_pods_of_services_are_no_offline_work() -> None:
    snapshot = cluster()
    work(snapshot, "a", 4, labels={"app": "web"})
    assert decide(snapshot) == Plan("elastic-offline")


def test_the_arbiter_keeps_protected_pods() -> None:
    snapshot = cluster(1000)
    work(snapshot, "a", 4, annotations={DO_NOT_DISRUPT: "true"})
    plan = decide(snapshot)
    assert sizes(plan) == {"a": 2}
    approved, refused = arbitrate([plan], snapshot, Budgets(), ArbiterMemory(), NOW)
    assert not approved
    assert refused[0].reason.code == "DoNotDisrupt"


def test_the_day_before_tells_what_comes() -> None:
    known, start = Offered(), NOW - NOW % DAY - DAY
    for quarter in range(96):  # the valley ends at noon
        known = noted(known, 100.0 if quarter < 48 else 40.0, start + quarter * SLOT, 900.0)
    for quarter in range(48):
        now = start + DAY + quarter * SLOT
        known = noted(known, 80.0, now, 900.0)
        expected = 0.4 if quarter >= 46 else 1.0
        assert part_expected(known, now + 60, 1800.0) == pytest.approx(expected)


def test_without_a_past_what_is_there_now_is_expected_to_stay() -> None:
    assert part_expected(Offered(), NOW, 900.0) == 1.0
    assert part_expected(noted(Offered(), 50.0, NOW, 900.0), NOW, 900.0) == 1.0


@given(st.lists(st.integers(0, 8), min_size=1, max_size=4), st.integers(0, 12_000), st.integers(1, 3))
def test_plans_carried_out_settle_within_what_is_there(counts: list[int], batch_cpu: int, minimum: int) -> None:
    """Nobody is below its minimum or above its maximum by a plan, and what grew never shrinks again for want of room."""
    spec = rule(minimum=minimum, maximum=10)
    grown: set[str] = set()
    for _ in range(8):
        snapshot = cluster(batch_cpu)
        for number, count in enumerate(counts):
            work(snapshot, f"w{number}", count)
        plan = decide(snapshot, spec)
        after = list(counts)
        for name, size in sizes(plan).items():
            at = int(name[1:])
            assert min(counts[at], minimum) <= size <= 10 or size < counts[at]
            assert size > counts[at] or name not in grown
            if size > counts[at] >= minimum:
                grown.add(name)
            after[at] = size
        counts = after
