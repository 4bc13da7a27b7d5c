"""Policy `burst`: who goes to virtual nodes, who waits, who comes home, and for how much money."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import node, pod

from neaptide.model import objects as o
from neaptide.model.actions import Evict, Plan, Tolerate
from neaptide.model.offerings import Offering
from neaptide.model.problems import FieldError
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.burst import ASKED, Burst
from neaptide.policies.burst_costs import Choice, decide, pays_home
from neaptide.policies.burst_memory import BurstMemory, Spending, accrued, purse
from neaptide.policies.burst_rooms import KEY
from neaptide.policies.burst_spec import BurstBudget, BurstSpec

NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z
TAINT = o.Taint(KEY, "containerd", "NoSchedule")
PRICE = 4 * 0.02772 + 8 * 0.003456
"""Per hour, of 4 vCPU and 8 GiB at the tariff eci."""
LARGE = Offering("large", "on-demand", "", 0.4, {"cpu": 16000, "memory": 64 * 2**30, "pods": 100})


def virtual(name: str = "virtual-1", cpu: str = "1000") -> o.Node:
    return node(name, cpu=cpu, memory="4000Gi", pods="3000", labels={"type": "virtual-kubelet"}, taints=(TAINT,))


def waiting(name: str = "p", **fields: Any) -> o.Pod:
    """A Job's pod of 4 CPUs and 8 GiB that has waited since NOON - 60."""
    usual: dict[str, Any] = {"owner": ("Job", "job"), "cpu": "4", "memory": "8Gi"}
    made = pod(name, **{**usual, **fields})
    meta = o.Metadata(
        name=name,
        namespace=made.metadata.namespace,
        uid=made.metadata.uid,
        labels=made.metadata.labels,
        annotations=made.metadata.annotations,
        owner_references=made.metadata.owner_references,
        creation_timestamp="2026-01-01T11:59:00Z",
    )
    return o.Pod(meta, made.spec, made.status)


def running(name: str, on: str, started: str = "2026-01-01T11:00:00Z", **fields: Any) -> o.Pod:
    usual: dict[str, Any] = {"owner": ("Job", "job"), "cpu": "4", "memory": "8Gi", "node": on}
    return pod(name, started=started, **{**usual, **fields})


def cluster(*items: Any, offerings: tuple[Offering, ...] = ()) -> ClusterSnapshot:
    snapshot = ClusterSnapshot()
    for each in items:
        snapshot.set(each)
    snapshot.offerings = offerings
    return snapshot


USUAL = BurstSpec()


def planned(
    snapshot: ClusterSnapshot, spec: BurstSpec = USUAL, memory: BurstMemory | None = None, now: float = NOON
) -> tuple[Plan, BurstMemory]:
    return Burst().plan(snapshot, spec, memory or BurstMemory(), now)


def codes(plan: Plan) -> list[str]:
    return [each.reason.code for each in (*plan.actions, *plan.declined)]


FULL = (node("real", cpu="4", memory="16Gi"), running("there", "real"))


@pytest.mark.parametrize(
    ("items", "spec", "expected"),
    [
        pytest.param((node("real", cpu="8"), waiting()), BurstSpec(), ["FitsNow"], id="a real node has room"),
        pytest.param(
            (*FULL, waiting()), BurstSpec(), ["NoNodeFits"], id="no real node will ever have room by what is known"
        ),
        pytest.param((*FULL, waiting(owner=("DaemonSet", "d"))), BurstSpec(), ["DaemonSet"], id="never a DaemonSet"),
        pytest.param((*FULL, waiting(owner=("ReplicaSet", "r"))), BurstSpec(), ["Service"], id="no service unasked"),
        pytest.param(
            (*FULL, waiting(owner=("ReplicaSet", "r"), labels={ASKED: "true"})),
            BurstSpec(),
            ["NoNodeFits"],
            id="a service that asks for it",
        ),
        pytest.param(
            (*FULL, waiting(owner=("ReplicaSet", "r"))),
            BurstSpec(services=True),
            ["NoNodeFits"],
            id="services, where wanted",
        ),
        pytest.param(
            (*FULL, waiting(labels={ASKED: "false"})), BurstSpec(), ["NotWanted"], id="a pod that does not want to"
        ),
        pytest.param(
            (*FULL, waiting(spec={"node_selector": {"gpu": "yes"}})),
            BurstSpec(),
            ["NotForVirtual"],
            id="another node is wanted",
        ),
        pytest.param((*FULL, waiting(cpu="2000")), BurstSpec(), ["VirtualFull"], id="no virtual node is large enough"),
        pytest.param((*FULL, waiting(cpu="65")), BurstSpec(), ["NotSold"], id="no size that is sold is large enough"),
        pytest.param((*FULL, waiting()), BurstSpec(grace_seconds=120), [], id="it has not waited long enough"),
        pytest.param(
            (*FULL, waiting(spec={"tolerations": (o.Toleration(key=KEY, operator="Exists"),)})),
            BurstSpec(),
            [],
            id="it may go there already",
        ),
        pytest.param(
            (*FULL, waiting()),
            BurstSpec(budgets=(BurstBudget(per_day=0.1),)),
            ["Budget"],
            id="the day's money is not enough",
        ),
        pytest.param(
            (*FULL, waiting()),
            BurstSpec(budgets=(BurstBudget(("other",), per_day=0),)),
            ["NoNodeFits"],
            id="another's budget",
        ),
        pytest.param(
            (*FULL, waiting()),
            BurstSpec(budgets=(BurstBudget(concurrent=0),)),
            ["Budget"],
            id="no pod is allowed there",
        ),
    ],
)
def test_who_bursts_and_why_the_others_wait(items: tuple[Any, ...], spec: BurstSpec, expected: list[str]) -> None:
    plan, _ = planned(cluster(virtual(), *items), spec)
    assert codes(plan) == expected
    assert all(isinstance(each, Tolerate) and each.key == KEY for each in plan.actions)


def test_without_a_virtual_node_nothing_is_decided() -> None:
    plan, _ = planned(cluster(*FULL, waiting()))
    assert plan == Plan("burst")


def test_waiting_for_a_node_that_can_be_bought_is_compared_with_the_price_of_the_burst() -> None:
    snapshot = cluster(virtual(), *FULL, waiting(), offerings=(LARGE,))
    patient, _ = planned(snapshot, BurstSpec(waiting_cost_per_hour=0.1))
    assert codes(patient) == ["WaitingCostsLess"]
    hasty, _ = planned(snapshot, BurstSpec(waiting_cost_per_hour=10))
    assert codes(hasty) == ["WaitingCostsMore"]
    assert hasty.actions[0].expected.money_per_hour == pytest.approx(PRICE)


def test_a_pod_waits_for_one_that_ends_soon_by_its_owners_run_times() -> None:
    snapshot = cluster(virtual(), *FULL, waiting())
    soon = BurstMemory(runs={"Job/default/job": (3620.0,)})
    plan, _ = planned(snapshot, BurstSpec(waiting_cost_per_hour=1.0), soon)
    assert codes(plan) == ["WaitingCostsLess"]
    late = BurstMemory(runs={"Job/default/job": (7200.0,)})
    plan, _ = planned(snapshot, BurstSpec(waiting_cost_per_hour=1.0), late)
    assert codes(plan) == ["WaitingCostsMore"]


def test_run_times_are_learnt_from_pods_that_have_gone() -> None:
    first, memory = planned(cluster(virtual(), running("a", "virtual-1"), waiting("b")))
    del first
    _, after = planned(cluster(virtual(), waiting("b")), memory=memory, now=NOON + 600)
    assert after.runs == {"Job/default/job": (4200.0,)}


def test_pods_share_a_budget_and_the_longest_waiting_comes_first() -> None:
    snapshot = cluster(virtual(), *FULL, waiting("a"), waiting("b"), waiting("c"))
    plan, _ = planned(snapshot, BurstSpec(budgets=(BurstBudget(per_day=2.5 * PRICE),)))
    assert [each.target.name for each in plan.actions] == ["a", "b"]
    assert [(each.target.name, each.reason.code) for each in plan.declined] == [("c", "Budget")]
    two, _ = planned(snapshot, BurstSpec(budgets=(BurstBudget(concurrent=1),)))
    assert [each.target.name for each in two.actions] == ["a"]


def test_room_on_real_nodes_is_given_once() -> None:
    snapshot = cluster(virtual(), node("real", cpu="4", memory="16Gi"), waiting("a"), waiting("b"))
    plan, _ = planned(snapshot, BurstSpec(waiting_cost_per_hour=1000))
    assert sorted(codes(plan)) == [
        "FitsNow",
        "FitsNow",
    ]  # the scheduler decides between them; the other is asked about again


def test_a_pod_that_would_miss_its_deadline_by_waiting_bursts_whatever_it_costs() -> None:
    snapshot = cluster(virtual(), *FULL, waiting(), offerings=(LARGE,))
    memory = BurstMemory(runs={"Job/default/job": (100.0,)})
    spec = BurstSpec(waiting_cost_per_hour=0, deadline_seconds=200)
    plan, _ = planned(snapshot, spec, memory)
    assert codes(plan) == ["Deadline"]


def home(**fields: Any) -> ClusterSnapshot:
    return cluster(virtual(), node("real", cpu="8"), running("away", "virtual-1", **fields))


def test_a_service_comes_home_once_a_real_node_has_had_room_for_long_enough() -> None:
    snapshot = home(owner=("ReplicaSet", "web"))
    first, memory = planned(snapshot)
    assert first.actions == ()
    later, _ = planned(snapshot, memory=memory, now=NOON + 300)
    assert [(type(each), each.reason.code) for each in later.actions] == [(Evict, "ComesHome")]
    assert later.actions[0].expected.money_per_hour == pytest.approx(-PRICE)


@pytest.mark.parametrize(
    ("snapshot", "spec"),
    [
        pytest.param(home(owner=None), BurstSpec(), id="nobody would start a bare pod again"),
        pytest.param(
            home(owner=("ReplicaSet", "web"), annotations={"karpenter.sh/do-not-disrupt": "true"}),
            BurstSpec(),
            id="it must not be disrupted",
        ),
        pytest.param(home(owner=("ReplicaSet", "web")), BurstSpec(come_home=False), id="it is not wanted"),
        pytest.param(home(), BurstSpec(), id="a Job's pod would begin anew, and has done most of its work"),
        pytest.param(
            cluster(virtual(), *FULL, running("away", "virtual-1", owner=("ReplicaSet", "web"))),
            BurstSpec(),
            id="no room",
        ),
    ],
)
def test_who_does_not_come_home(snapshot: ClusterSnapshot, spec: BurstSpec) -> None:
    _, memory = planned(snapshot, spec)
    plan, _ = planned(snapshot, spec, memory, NOON + 3000)
    assert plan.actions == ()


def test_a_namespace_whose_money_is_spent_stops_or_only_queues() -> None:
    snapshot = home(owner=("ReplicaSet", "web"))
    spent = BurstMemory(spent={"default": Spending(NOON, 5.0, 5.0)})
    for when, expected in (("Queue", []), ("Stop", ["BudgetSpent"])):
        spec = BurstSpec(budgets=(BurstBudget(per_day=5.0, when_spent=when),), come_home=False)  # type: ignore[arg-type]
        plan, _ = planned(snapshot, spec, spent)
        assert [each.reason.code for each in plan.actions] == expected


def test_money_is_counted_by_the_second_and_a_new_day_begins_with_nothing() -> None:
    rates = {"a": 3.6}
    found = accrued({}, rates, NOON)
    assert found["a"] == Spending(NOON)
    found = accrued(found, rates, NOON + 100)
    assert found["a"].day == pytest.approx(0.1)
    assert accrued(found, rates, NOON - 500)["a"] == found["a"]  # the clock was set back
    midnight = NOON + 12 * 3600
    after = accrued(found, rates, midnight + 1000)["a"]
    assert after.day == pytest.approx(1.0)
    assert after.month == pytest.approx(0.1 + 3.6 * (12 * 3600 - 100) / 3600 + 1.0)


@given(steps=st.lists(st.floats(0, 200_000), max_size=8), rate=st.floats(0, 50))
def test_however_often_it_is_looked_at_the_same_money_is_counted(steps: list[float], rate: float) -> None:
    once = accrued({"a": Spending(NOON)}, {"a": rate}, NOON + sum(steps))["a"]
    many, now = {"a": Spending(NOON)}, NOON
    for step in steps:
        now += step
        many = accrued(many, {"a": rate}, now)
    assert many["a"].day == pytest.approx(once.day, rel=1e-6, abs=1e-6)
    assert many["a"].month == pytest.approx(once.month, rel=1e-6, abs=1e-6)


def test_what_is_left_of_a_budget() -> None:
    left = purse(BurstBudget(per_day=1.0, per_month=10.0, concurrent=2), Spending(NOON, 0.75, 4.0), 1)
    assert (left.day, left.month, left.pods) == (0.25, 6.0, 1)
    assert left.refusal(0.2) == ""
    assert "of the day's budget" in left.refusal(0.3)
    assert "as many of its pods" in left.without(0.0).refusal(0.0)
    assert purse(BurstBudget(), None, 99).refusal(1e9) == ""


@given(
    run=st.floats(0, 1e6),
    price=st.floats(0, 100),
    wait=st.floats(0, 1e6),
    real=st.floats(0, 100),
    worth=st.floats(0, 100),
)
def test_the_cheaper_of_the_two_is_taken(run: float, price: float, wait: float, real: float, worth: float) -> None:
    choice = Choice(0, run, price, wait, real)
    found = decide(choice, virtual_start=30, waiting_cost_per_hour=worth, deadline=None)
    assert found.burst == ((price - real) * run / 3600 < (wait - 30) * worth / 3600)
    dearer = decide(
        choice._replace(virtual_price=price + 1), virtual_start=30, waiting_cost_per_hour=worth, deadline=None
    )
    assert found.burst or not dearer.burst


def test_coming_home_must_be_worth_the_work_that_is_lost() -> None:
    facts = {"virtual_price": 1.0, "restart": 30.0, "waiting_cost_per_hour": 1.0}
    assert pays_home(remaining=100, elapsed=1000, restartable_from_start=False, **facts)
    assert not pays_home(remaining=100, elapsed=1000, restartable_from_start=True, **facts)
    assert pays_home(remaining=2000, elapsed=1000, restartable_from_start=True, **facts)


def test_one_price_without_the_other_is_refused() -> None:
    with pytest.raises(FieldError, match="both prices"):
        BurstSpec(price_per_vcpu_hour=1.0)
