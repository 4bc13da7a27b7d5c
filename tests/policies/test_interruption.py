"""A node that the cloud takes back is emptied while there is time: services first, replacements before evictions."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.builders import node, pod
from tests.simulator.worlds import START, offering, pool, running, service, template, world

from neaptide.loop import LoopMemory, Mode, Setting, run_once
from neaptide.model import objects as o
from neaptide.model.actions import AnyAction, Checkpoint, CreateNode, DeleteNode, Evict, Plan, Taint, Untaint
from neaptide.model.cloud import Interruption as Told
from neaptide.model.offerings import Offering
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.arbiter import ArbiterMemory, Budgets, arbitrate
from neaptide.policies.checkpoint import COMMAND
from neaptide.policies.interruption import ENDS_AT, TAINT, Interruption, InterruptionMemory, InterruptionSpec
from neaptide.policies.provision_spec import NodePool
from neaptide.policies.repair import Repair, RepairMemory, RepairSpec
from neaptide.simulator.machines import CloudSettings

NOW = 1.8e9
SMALL = Offering(
    "small", "spot", "a", 0.1, {"cpu": 4000, "memory": 16 << 30, "pods": 110}, {"karpenter.sh/capacity-type": "spot"}
)


def cluster(*pods: o.Pod, nodes: tuple[o.Node, ...] = (node("a"), node("b"))) -> ClusterSnapshot:
    snapshot = ClusterSnapshot()
    for each in nodes:
        snapshot.set(each)
    for one in pods:
        snapshot.set(one)
    snapshot.offerings = (SMALL,)
    return snapshot


def told(snapshot: ClusterSnapshot, name: str = "a", left: float | None = 120.0, **fields: Any) -> ClusterSnapshot:
    snapshot.interruptions = [Told(name, ends=None if left is None else NOW + left, **fields)]
    return snapshot


def planned(
    snapshot: ClusterSnapshot, memory: InterruptionMemory | None = None, at: float = NOW, **spec: Any
) -> tuple[Plan, InterruptionMemory]:
    read = msgspec.convert(spec, InterruptionSpec)
    return Interruption().plan(snapshot, read, memory or InterruptionMemory(), at)


def on(name: str, **fields: Any) -> o.Pod:
    return pod(name, **{"node": "a", "cpu": "1", "memory": "1Gi", **fields})


def kinds(plan: Plan) -> list[tuple[str, str]]:
    return [(type(each).__name__, each.target.name) for each in plan.actions]


def test_new_pods_are_kept_off_and_pods_with_room_elsewhere_leave_at_once() -> None:
    plan, _ = planned(told(cluster(on("web"))))
    assert kinds(plan) == [("Taint", "a"), ("Evict", "web")]
    assert isinstance(plan.actions[0], Taint)
    assert plan.actions[0].key == TAINT


def test_a_node_that_ends_belongs_to_nobody_else() -> None:
    snapshot = told(cluster(on("web")))
    plan, _ = planned(snapshot)
    owned = ArbiterMemory(owners={"Node a": ("consolidation", NOW - 10), "Pod default/web": ("relieve", NOW - 10)})
    granted, _ = arbitrate([plan], snapshot, Budgets(), owned, NOW)
    assert tuple(granted) == plan.actions


def test_replacements_come_before_evictions_and_pods_wait_for_them_while_there_is_time() -> None:
    snapshot = told(cluster(on("web", cpu="3"), on("full", node="b", cpu="4")))
    plan, memory = planned(snapshot, pools=[{"name": "spot"}])
    assert [type(each) for each in plan.actions] == [CreateNode, Taint]
    again, memory = planned(snapshot, memory, pools=[{"name": "spot"}])
    assert not [each for each in again.actions if isinstance(each, CreateNode)]
    late, _ = planned(snapshot, memory, NOW + 50, pools=[{"name": "spot"}])
    assert ("Evict", "web") in kinds(late)


def test_services_go_before_batch_work() -> None:
    batch = on("batch", labels={"koordinator.sh/priority-class": "koord-batch"})
    plan, _ = planned(told(cluster(batch, on("web"))))
    assert [name for kind, name in kinds(plan) if kind == "Evict"] == ["web", "batch"]


def test_a_protected_pod_gets_what_time_is_left_and_a_bare_one_stays_to_its_end() -> None:
    kept = on("kept", annotations={"karpenter.sh/do-not-disrupt": "true"})
    snapshot = told(cluster(kept, on("bare", owner=None)), left=30.0)
    plan, _ = planned(snapshot)
    (eviction,) = [each for each in plan.actions if isinstance(each, Evict)]
    assert (eviction.target.name, eviction.forced, eviction.grace_seconds) == ("kept", True, 25.0)
    granted, _ = arbitrate([plan], snapshot, Budgets(), ArbiterMemory(), NOW)
    assert eviction in granted


def test_a_pod_that_names_a_command_has_it_run_first_and_never_for_longer_than_half_its_time() -> None:
    saves = on("saves", annotations={COMMAND: '["save"]'})
    for left, seconds in ((120.0, 30.0), (45.0, 20.0)):
        plan, _ = planned(told(cluster(saves, on("web")), left=left))
        hooks = {each.target.name: each.checkpoint for each in plan.actions if isinstance(each, Evict)}
        assert hooks == {"saves": Checkpoint(("save",), "", seconds), "web": None}


def budget(allowed: int) -> o.PodDisruptionBudget:
    selector = {"matchLabels": {"app": "web"}}
    return msgspec.convert(
        {
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": selector},
            "status": {"disruptionsAllowed": allowed},
        },
        o.PodDisruptionBudget,
    )


@pytest.mark.parametrize(("left", "granted"), [(100.0, 0), (15.0, 1)], ids=["in time", "at the very end"])
def test_disruption_budgets_hold_until_nothing_is_left_to_keep(left: float, granted: int) -> None:
    snapshot = told(cluster(on("web", labels={"app": "web"})), left=left)
    snapshot.set(budget(0))
    plan, _ = planned(snapshot)
    approved, _ = arbitrate([plan], snapshot, Budgets(), ArbiterMemory(), NOW)
    assert sum(isinstance(each, Evict) for each in approved) == granted


SAID: list[tuple[str, dict[str, Any], str]] = [
    ("spot-itn", {"taints": (o.Taint("aws-node-termination-handler/spot-itn", "x", "NoSchedule"),)}, "acts"),
    ("maintenance", {"taints": (o.Taint("aws-node-termination-handler/scheduled-maintenance", "", "NoSchedule"),)}, "acts"),
    ("rebalance", {"taints": (o.Taint("aws-node-termination-handler/rebalance-recommendation", "", "NoSchedule"),)}, "Rebalance"),
    ("annotation", {"annotations": {ENDS_AT: "2027-01-15T08:02:00Z"}}, "acts"),
    ("an annotation that is no time", {"annotations": {ENDS_AT: "soon"}}, "acts"),
    (
        "Karpenter acts",
        {"taints": (o.Taint("karpenter.sh/disrupted", "", "NoSchedule"), o.Taint("aws-node-termination-handler/spot-itn", "", "NoSchedule"))},
        "OwnedByOther",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "expected"), [each[1:] for each in SAID], ids=[each[0] for each in SAID])
def test_who_may_say_that_a_node_ends(fields: dict[str, Any], expected: str) -> None:
    plan, _ = planned(cluster(nodes=(node("a", **fields),)))
    if expected == "acts":
        assert kinds(plan) == [("Taint", "a")]
    else:
        assert ([each.reason.code for each in plan.declined], plan.actions) == ([expected], ())


def test_advice_is_acted_on_where_that_is_asked_for() -> None:
    snapshot = told(cluster(on("web")), notice="Rebalance", left=None)
    assert planned(snapshot)[0].actions == ()
    assert kinds(planned(snapshot, actOn=["Rebalance"])[0])[0] == ("Taint", "a")


def test_a_notice_that_is_withdrawn_leaves_no_taint() -> None:
    snapshot = cluster(nodes=(node("a", taints=(o.Taint(TAINT, "neaptide.1", "NoSchedule"),)),))
    (action,) = planned(snapshot)[0].actions
    assert (type(action), action.reason.code) == (Untaint, "Withdrawn")


def test_a_node_that_vanishes_is_forgotten() -> None:
    snapshot = told(cluster(on("web")))
    _, memory = planned(snapshot)
    snapshot.remove_node("a")
    assert planned(snapshot, memory) == (Plan("interruption"), InterruptionMemory())


def test_in_the_simulated_cloud_no_service_is_short_of_pods_when_its_node_ends() -> None:
    """Replacements take 60 s, the notice is two minutes."""
    spot = pool("spot", offering(capacity_type="spot", pool="spot"))
    cloud = CloudSettings(drain_on_notice=False, provision_seconds=50, provision_spread=0.0)
    made = world(spot, nodes=1, cloud=cloud)
    made.add_service(service(replicas=3, template=template(cpu="1", shutdown_seconds=5.0)))
    made.run_until(START + 400)
    (name,) = made.machines.by_name
    made.machines.interrupt(name)
    made.machines.stock = type(made.machines.stock)()  # the only kind on sale may be bought again
    spec = InterruptionSpec(pools=(NodePool("spot"),))
    memory, fewest = LoopMemory(), 3
    for step in range(1, 13):
        _, memory = run_once(made, [Setting(Interruption(), spec, Mode.ENFORCE)], memory)
        made.run_until(START + 400 + 10 * step)
        fewest = min(fewest, len(running(made)))
    made.run_until(START + 400 + 200)
    assert name not in made.machines.by_name
    assert len(running(made)) == 3
    assert fewest >= 1


# -- repair ------------------------------------------------------------------------------------------------------------


def down(name: str, **fields: Any) -> o.Node:
    made = node(name, **fields)
    status = replace(made.status, conditions=(o.NodeCondition(type="Ready", status="Unknown"),))
    return replace(made, status=status)


def repaired(snapshot: ClusterSnapshot, seconds: float = 700.0, **spec: Any) -> tuple[Plan, RepairMemory]:
    read = msgspec.convert(spec, RepairSpec)
    _, memory = Repair().plan(snapshot, read, RepairMemory(), NOW)
    return Repair().plan(snapshot, read, memory, NOW + seconds)


SPARE = tuple(node(f"spare-{number}") for number in range(8))


def test_a_node_that_is_not_ready_for_long_is_given_back() -> None:
    (action,) = repaired(cluster(nodes=(down("a"), *SPARE)))[0].actions
    assert isinstance(action, DeleteNode)
    assert (action.target.name, action.lost) == ("a", True)
    assert repaired(cluster(nodes=(down("a"), *SPARE)), seconds=500)[0].actions == ()


def test_one_like_it_is_bought_where_its_pods_have_no_room_elsewhere() -> None:
    labels = {"node.kubernetes.io/instance-type": "small", "karpenter.sh/capacity-type": "spot", "team": "tide"}
    full = tuple(on(f"full-{number}", node=f"spare-{number}", cpu="4") for number in range(8))
    snapshot = cluster(on("web"), *full, nodes=(down("a", labels=labels), *SPARE))
    bought, gone = repaired(snapshot)[0].actions
    assert isinstance(bought, CreateNode)
    assert (bought.offering.instance_type, bought.offering.labels["team"]) == ("small", "tide")
    assert isinstance(gone, DeleteNode)


def test_nothing_is_replaced_when_many_nodes_are_not_ready_at_once() -> None:
    plan, _ = repaired(cluster(nodes=(down("a"), down("b"), *SPARE[:3])))
    assert (plan.actions, {each.reason.code for each in plan.declined}) == ((), {"ManyNotReady"})


def test_not_more_than_the_budget_is_replaced() -> None:
    plan, memory = repaired(cluster(nodes=(down("a"), down("b"), *SPARE)), mostUnreadyPercent=50)
    assert len(plan.actions) == 1
    assert [each.reason.code for each in plan.declined] == ["Budget"]
    assert len(memory.replaced) == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"labels": {"node-role.kubernetes.io/control-plane": ""}}, "ControlPlane"),
        ({"annotations": {"karpenter.sh/do-not-disrupt": "true"}}, "DoNotDisrupt"),
    ],
)
def test_what_is_never_replaced(fields: dict[str, Any], reason: str) -> None:
    plan, _ = repaired(cluster(nodes=(down("a", **fields), *SPARE)))
    assert ([each.reason.code for each in plan.declined], plan.actions) == ([reason], ())


def test_a_node_that_answers_again_is_not_given_back() -> None:
    plan, _ = repaired(cluster(nodes=(down("a"), *SPARE)))
    actions: tuple[AnyAction, ...] = plan.actions
    granted, refused = arbitrate(
        [Plan("repair", actions)], cluster(nodes=(node("a"), *SPARE)), Budgets(), ArbiterMemory(), NOW
    )
    assert (granted, [each.reason.code for each in refused]) == ([], ["Ready"])
