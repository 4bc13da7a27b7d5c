"""The arbiter: one owner per object, budgets that all policies share, no bouncing, nothing protected."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import node, pod

from neaptide.model.actions import DeleteNode, Evict, Outcome, Plan, Reason, Ref, Resume, SetNodeResources, Suspend
from neaptide.model.objects import (
    DisruptionBudgetSpec,
    DisruptionBudgetStatus,
    LabelSelector,
    Metadata,
    OwnerReference,
    PodDisruptionBudget,
    Workload,
)
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.arbiter import APPROVED, HOUR, ArbiterMemory, Budgets, arbitrate, settle
from neaptide.policies.protection import DO_NOT_DISRUPT

NOW = 1_800_000_000.0
WHY = Reason("Test", "because")
LOOSE = Budgets(evictions_per_workload_percent=100, evictions_per_workload_per_hour=100, evictions_per_node=100)


def cluster(pods: int = 10, nodes: int = 2, **extra: Any) -> ClusterSnapshot:
    """`pods` pods of one workload, spread over `nodes` nodes; `extra` goes to every pod."""
    snapshot = ClusterSnapshot()
    for number in range(nodes):
        snapshot.set(node(f"n{number}"))
    for number in range(pods):
        snapshot.set(pod(f"p{number}", node=f"n{number % nodes}", labels={"app": "web"}, **extra))
    return snapshot


def evict(snapshot: ClusterSnapshot, name: str, policy: str = "a") -> Evict:
    row = snapshot.pods.by_key[f"default/{name}"]
    where = snapshot.nodes.names[snapshot.pods.node[row]]
    return Evict(
        policy=policy, target=snapshot.pod_ref(row), reason=WHY, node=where, workload=snapshot.workload_of(row)
    )


def plan(snapshot: ClusterSnapshot, count: int = 10, policy: str = "a") -> Plan:
    return Plan(policy, tuple(evict(snapshot, f"p{number}", policy) for number in range(count)))


def decide(
    snapshot: ClusterSnapshot, *plans: Plan, budgets: Budgets = LOOSE, memory: ArbiterMemory | None = None
) -> Counter[str]:
    """How many actions were approved, and refused by code."""
    approved, refused = arbitrate(plans, snapshot, budgets, memory or ArbiterMemory(), NOW)
    assert {each.result for each in refused} <= {"Refused", "Deferred"}
    return Counter({"approved": len(approved)} if approved else {}) + Counter(each.reason.code for each in refused)


def budget(allowed: int, name: str = "pdb") -> PodDisruptionBudget:
    return PodDisruptionBudget(
        Metadata(name=name, namespace="default"),
        DisruptionBudgetSpec(selector=LabelSelector({"app": "web"})),
        DisruptionBudgetStatus(disruptions_allowed=allowed),
    )


@pytest.mark.parametrize(
    ("budgets", "expected"),
    [
        (LOOSE, {"approved": 10}),
        (Budgets(), {"approved": 1, "BudgetOfWorkload": 9}),
        (Budgets(evictions_per_workload_percent=100), {"approved": 6, "Bouncing": 4}),
        (Budgets(evictions_per_cycle=3, evictions_per_workload_percent=100), {"approved": 3, "BudgetOfCycle": 7}),
        (
            Budgets(evictions_per_node=2, evictions_per_workload_percent=100, evictions_per_workload_per_hour=100),
            {"approved": 4, "BudgetOfNode": 6},
        ),
    ],
    ids=["loose", "a tenth of the workload", "six an hour", "three a cycle", "two a node"],
)
def test_evictions_stay_within_each_budget(budgets: Budgets, expected: dict[str, int]) -> None:
    snapshot = cluster()
    assert decide(snapshot, plan(snapshot), budgets=budgets) == Counter(expected)


@pytest.mark.parametrize(
    ("pdbs", "expected"),
    [
        ([budget(2)], {"approved": 2, "DisruptionBudget": 8}),
        ([budget(0)], {"DisruptionBudget": 10}),
        ([budget(9), budget(9, "other")], {"SeveralBudgets": 10}),
    ],
)
def test_disruption_budgets_hold_over_the_whole_cycle(
    pdbs: list[PodDisruptionBudget], expected: dict[str, int]
) -> None:
    snapshot = cluster()
    for each in pdbs:
        snapshot.set(each)
    assert decide(snapshot, plan(snapshot)) == Counter(expected)


def test_the_first_policy_that_wants_a_pod_gets_it() -> None:
    snapshot = cluster()
    assert decide(snapshot, plan(snapshot, 1, "a"), plan(snapshot, 2, "b")) == Counter(
        {"approved": 2, "OwnedByOther": 1}
    )


def test_a_pod_stays_with_its_owner_for_a_while_and_not_longer() -> None:
    snapshot = cluster(1)
    action = evict(snapshot, "p0", "a")
    memory = settle(ArbiterMemory(), [Outcome(action, "Done", WHY)], [], NOW - 100)
    assert decide(snapshot, plan(snapshot, 1, "b"), memory=memory) == Counter({"OwnedByOther": 1})
    memory = settle(ArbiterMemory(), [Outcome(action, "Done", WHY)], [], NOW - 301)
    assert decide(snapshot, plan(snapshot, 1, "b"), memory=memory) == Counter({"approved": 1})


def test_evictions_by_nodes_count_against_the_workload() -> None:
    snapshot = cluster()
    memory = settle(ArbiterMemory(), [], [Ref("ReplicaSet", "web", "default")] * 6, NOW - 60)
    assert decide(snapshot, plan(snapshot, 1), budgets=Budgets(), memory=memory) == Counter({"Bouncing": 1})
    later = settle(memory, [], [], NOW + 3600)
    assert later == ArbiterMemory()


def test_what_was_only_recommended_or_failed_leaves_no_trace() -> None:
    snapshot = cluster(1)
    action = evict(snapshot, "p0")
    outcomes = [Outcome(action, result, WHY) for result in ("Recommended", "Refused", "Failed")]
    assert settle(ArbiterMemory(), outcomes, [], NOW) == ArbiterMemory()


def test_what_a_clock_far_ahead_has_written_is_forgotten() -> None:
    ahead = NOW + 10 * HOUR
    memory = ArbiterMemory(
        owners={"Node n": ("p", ahead)}, disruptions={"Job d/j": [ahead]}, switched={"Job d/j": ahead}
    )
    assert settle(memory, (), (), NOW) == ArbiterMemory()
    assert settle(memory, (), (), ahead - 60.0) == memory  # two clocks may differ a little


def test_a_pod_that_just_started_is_left_alone() -> None:
    snapshot = cluster(1, started="2027-01-15T07:59:00Z")
    assert decide(snapshot, plan(snapshot, 1)) == Counter({"JustStarted": 1})


def test_a_pod_that_is_gone_or_was_replaced_is_refused() -> None:
    snapshot = cluster(2)
    wanted = plan(snapshot, 2)
    snapshot.remove("Pod", "p0", "default")
    snapshot.remove("Pod", "p1", "default")
    other = pod("p1", node="n1")
    snapshot.set(
        type(other)(type(other.metadata)(name="p1", namespace="default", uid="another"), other.spec, other.status)
    )
    assert decide(snapshot, wanted) == Counter({"Gone": 2})


def test_a_workload_with_a_protected_pod_is_not_suspended_and_no_workload_is_switched_to_and_fro() -> None:
    target = Ref("ReplicaSet", "web", "default")
    suspend, resume = Suspend(policy="a", target=target, reason=WHY), Resume(policy="a", target=target, reason=WHY)
    assert decide(cluster(), Plan("a", (suspend,))) == Counter({"approved": 1})
    protected = cluster(annotations={DO_NOT_DISRUPT: "true"})
    assert decide(protected, Plan("a", (suspend,))) == Counter({"DoNotDisrupt": 1})
    memory = settle(ArbiterMemory(), [Outcome(suspend, "Done", WHY)], [], NOW - 299)
    assert decide(cluster(), Plan("a", (resume,)), memory=memory) == Counter({"JustSwitched": 1})


def test_a_protected_pod_of_a_cron_jobs_job_keeps_the_job_from_being_suspended() -> None:
    snapshot = cluster(1, owner=("Job", "nightly-1"), annotations={DO_NOT_DISRUPT: "true"})
    owner = OwnerReference("CronJob", "nightly", controller=True)
    snapshot.set(Workload("Job", Metadata(name="nightly-1", namespace="default", owner_references=(owner,))))
    for kind, name in (("Job", "nightly-1"), ("CronJob", "nightly")):
        suspend = Suspend(policy="a", target=Ref(kind, name, "default"), reason=WHY)
        assert decide(snapshot, Plan("a", (suspend,))) == Counter({"DoNotDisrupt": 1})


def test_node_resources_may_be_set_whoever_owns_the_node() -> None:
    action = SetNodeResources(
        policy="reclaim", target=Ref("Node", "n0"), reason=WHY, resources={"kubernetes.io/batch-cpu": 1}
    )
    memory = ArbiterMemory(owners={"Node n0": ("other", NOW)})
    assert decide(cluster(), Plan("reclaim", (action,)), memory=memory) == Counter({"approved": 1})


@given(st.lists(st.tuples(st.integers(0, 19), st.sampled_from("ab")), max_size=40), st.integers(0, 4), st.data())
def test_no_plans_make_it_break_a_budget_or_touch_what_is_protected(
    wishes: list[tuple[int, str]], allowed: int, data: st.DataObject
) -> None:
    snapshot = ClusterSnapshot()
    for number in range(3):
        snapshot.set(node(f"n{number}"))
    protected = data.draw(st.sets(st.integers(0, 19)))
    for number in range(20):
        marks = {DO_NOT_DISRUPT: "true"} if number in protected else {}
        owner = ("ReplicaSet", f"w{number % 3}")
        snapshot.set(pod(f"p{number}", node=f"n{number % 3}", labels={"app": "web"}, annotations=marks, owner=owner))
    snapshot.set(budget(allowed))
    limits = Budgets(evictions_per_cycle=6, evictions_per_node=3, evictions_per_workload_percent=40)
    plans = [
        Plan(name, tuple(evict(snapshot, f"p{each}", who) for each, who in wishes if who == name)) for name in "ab"
    ]
    approved, refused = arbitrate(plans, snapshot, limits, ArbiterMemory(), NOW)
    assert len(approved) + len(refused) == len(wishes)
    names = [each.target.name for each in approved]
    assert len(set(names)) == len(names)
    assert not {int(name[1:]) for name in names} & protected
    assert len(approved) <= min(6, allowed)
    evictions = [each for each in approved if isinstance(each, Evict)]
    assert max(Counter(each.node for each in evictions).values(), default=0) <= 3
    assert max(Counter(each.workload for each in evictions).values(), default=0) <= 3


@pytest.mark.parametrize(
    ("extra", "result"),
    [
        pytest.param([pod("p", node="n0")], "Deferred", id="a pod is still there"),
        pytest.param([pod("p", node="n0", phase="Succeeded")], None, id="its pod has ended"),
        pytest.param([pod("agent", node="n0", owner=("DaemonSet", "agent"))], None, id="a DaemonSet's pod"),
        pytest.param([pod("kube-proxy-n0", node="n0", owner=None)], None, id="a static pod"),
        pytest.param([], None, id="nothing"),
    ],
)
def test_a_node_goes_once_only_what_comes_with_it_is_left(extra: list[Any], result: str | None) -> None:
    snapshot = ClusterSnapshot()
    for item in [node("n0"), *extra]:
        snapshot.set(item)
    delete = DeleteNode(policy="a", target=snapshot.node_ref(0), reason=WHY)
    approved, others = arbitrate([Plan("a", (delete,))], snapshot, LOOSE, ArbiterMemory(), NOW)
    assert [each.result for each in others] == ([result] if result else [])
    assert bool(approved) is (result is None)


def test_what_a_policy_wants_beside_the_same_action_that_a_person_approved_only_waits() -> None:
    snapshot = cluster()
    approved, others = arbitrate(
        [Plan(APPROVED, (evict(snapshot, "p0"),)), plan(snapshot, 2), plan(snapshot, 1, "b")],
        snapshot,
        LOOSE,
        ArbiterMemory(),
        NOW,
    )
    assert [each.target.name for each in approved] == ["p0", "p1"]
    assert [(each.result, each.reason.code) for each in others] == [
        ("Deferred", "Approved"),
        ("Refused", "OwnedByOther"),
    ]


def test_what_only_a_spent_budget_forbids_is_deferred_and_not_refused() -> None:
    snapshot = cluster()
    _, others = arbitrate(
        [plan(snapshot)],
        snapshot,
        Budgets(evictions_per_cycle=3, evictions_per_node=100, evictions_per_workload_percent=100),
        ArbiterMemory(),
        NOW,
    )
    assert {(each.result, each.reason.code) for each in others} == {("Deferred", "BudgetOfCycle")}
