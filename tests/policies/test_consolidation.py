"""Consolidation makes a cluster cheaper step by step, and at no step is a pod without room, a budget broken or protected work touched."""

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest
from benchmarks.consolidation_cluster import cluster as bought_cluster
from tests.builders import node, pod

from neaptide.loop import LoopMemory, checkpoint, restore
from neaptide.model import objects as o
from neaptide.model.actions import FOR_LABEL, AnyAction, CreateNode, DeleteNode, Evict, Plan, Taint, Untaint
from neaptide.model.node_pools import NodePool, NodePoolBudget, NodePoolDisruption, NodePoolSpec
from neaptide.model.offerings import Offering
from neaptide.model.problems import FieldError
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.place import Placement
from neaptide.placement.profile import DEFAULT, Profile
from neaptide.placement.scores.most_allocated import MostAllocated
from neaptide.policies.consolidation import Consolidation, ConsolidationMemory
from neaptide.policies.consolidation_candidates import TAINT
from neaptide.policies.consolidation_spec import Budget, ConsolidationSpec
from neaptide.policies.provision_opening import TAINT as OPENING
from neaptide.pricing.cluster import money_per_hour

NOW = 1.8e9
MOST = Profile(scores=(MostAllocated(),))
ALL_AT_ONCE = (Budget("100%"),)
ON_DEMAND = {"karpenter.sh/capacity-type": "on-demand", "topology.kubernetes.io/zone": "a"}
SMALL = Offering("small", "on-demand", "a", 0.3, {"cpu": 2000, "memory": 8 << 30, "pods": 110}, ON_DEMAND)


class Cluster:
    """A cluster that does what it is told at once, and whose scheduler fills the fullest node first; time passes by 30 s a cycle."""

    def __init__(self, snapshot: ClusterSnapshot, profile: Profile = MOST, **spec: Any) -> None:
        self.snapshot, self.memory, self.policy, self.now = snapshot, ConsolidationMemory(), Consolidation(), NOW
        self.spec = msgspec.convert({"budgets": [{"nodes": "100%"}]} | spec, ConsolidationSpec)
        self.placement = Placement(snapshot, profile)
        self.evicted: list[str] = []
        self.nodes_come = True
        self.order: Random | None = None
        """Draws the order in which pods come to the scheduler; without it, that of their eviction."""
        self.pending: list[int] = []
        """After each cycle, how many pods had no room."""

    def plan(self) -> Plan:
        plan, self.memory = self.policy.plan(self.snapshot, self.spec, self.memory, self.now)
        self.now += 30
        return plan

    def cycle(self, *, evictions: int = 50) -> Plan:
        """Plan, carry out with at most so many evictions, schedule; nothing may be over-committed or without a place after it."""
        plan = self.plan()
        for action in plan.actions:
            if isinstance(action, Evict) and evictions == 0:
                continue
            evictions -= isinstance(action, Evict)
            self.carry_out(action)
        self.schedule()
        return plan

    def schedule(self) -> None:
        snapshot = self.snapshot
        rows = snapshot.pods.indices()
        order = {key: number for number, key in enumerate(self.evicted)}
        waiting = rows[snapshot.pods.node[rows] < 0].tolist()
        waiting.sort(key=lambda row: order.get(snapshot.pods.keys[row], -1))
        if self.order is not None:
            self.order.shuffle(waiting)
        placed = self.placement.schedule(waiting)
        self.pending.append(sum(each.node is None for each in placed))
        assert (snapshot.free()[:, snapshot.nodes.indices()] >= 0).all()

    def carry_out(self, action: AnyAction) -> None:
        snapshot = self.snapshot
        match action:
            case Taint():
                new = o.Taint(key=action.key, value=action.value, effect=action.effect)
                self.set_taints(action.target.name, (*self.taints_without(action.target.name, action.key), new))
            case Untaint():
                self.set_taints(action.target.name, self.taints_without(action.target.name, action.key))
            case CreateNode() if self.nodes_come:
                self.join(action.target.name, action.offering, action.taints)
            case Evict():
                row = snapshot.pods.by_key[f"{action.target.namespace}/{action.target.name}"]
                assert snapshot.nodes.names[snapshot.pods.node[row]] == action.node
                snapshot.unassign(row)
                self.evicted.append(snapshot.pods.keys[row])
            case DeleteNode():
                row = snapshot.nodes.by_name[action.target.name]
                assert not list(snapshot.pods_on(row))
                snapshot.remove_node(action.target.name)

    def join(self, name: str, offering: Offering, taints: tuple[o.Taint, ...] = ()) -> None:
        amounts = {key: f"{amount}m" if key == "cpu" else str(amount) for key, amount in offering.allocatable.items()}
        labels = {**offering.labels, "kubernetes.io/hostname": name, FOR_LABEL: name}
        row = self.snapshot.set_node(
            o.Node(o.Metadata(name=name, labels=labels), o.NodeSpec(taints=taints), o.NodeStatus(allocatable=amounts))
        )
        self.snapshot.set_price(row, offering.price_per_hour or 0.0)

    def taints_without(self, name: str, key: str) -> tuple[o.Taint, ...]:
        taints = self.snapshot.node_taints(self.snapshot.nodes.by_name[name])
        return tuple(each for each in taints if each.key != key)

    def set_taints(self, name: str, taints: tuple[o.Taint, ...]) -> None:
        row = self.snapshot.nodes.by_name[name]
        price = float(self.snapshot.nodes.price[row])
        rebuilt = o.Node(
            o.Metadata(name=name, uid=self.snapshot.nodes.uids[row], labels=self.snapshot.node_labels(row)),
            o.NodeSpec(taints=taints),
            o.NodeStatus(
                allocatable={
                    key: f"{amount}m" if key == "cpu" else str(amount)
                    for key, amount in zip(
                        self.snapshot.resources, self.snapshot.nodes.allocatable[:, row].tolist(), strict=True
                    )
                }
            ),
        )
        self.snapshot.set_node(rebuilt)
        self.snapshot.set_price(row, price)

    def settle(self, cycles: int = 100) -> None:
        """Cycles until there is nothing to do any more."""
        for _ in range(cycles):
            if not self.cycle().actions and not self.memory.sources and not self.memory.orders:
                assert self.pending[-1] == 0
                return
        raise AssertionError(self.memory)

    def finish(self, cycles: int = 100) -> None:
        """Cycles until the first plan is done."""
        for _ in range(cycles):
            self.cycle()
            if not self.memory.sources and not self.memory.orders:
                return
        raise AssertionError(self.memory)

    def money(self) -> float:
        money = money_per_hour(self.snapshot)
        assert money is not None
        return money

    def names(self) -> list[str]:
        return sorted(name for name in self.snapshot.nodes.names if name)


def small_cluster(
    *objects: Any, prices: dict[str, float] | None = None, offerings: tuple[Offering, ...] = ()
) -> ClusterSnapshot:
    """Nodes cost 1 USD/h unless `prices` says otherwise."""
    snapshot = ClusterSnapshot()
    for each in objects:
        snapshot.set(each)
    for row in snapshot.nodes.indices().tolist():
        snapshot.set_price(row, (prices or {}).get(snapshot.nodes.names[row], 1.0))
    snapshot.offerings = offerings
    return snapshot


def two_nodes(*, on_b: o.Pod | None = None, b: o.Node | None = None, extra: tuple[Any, ...] = ()) -> ClusterSnapshot:
    """Karpenter's case: node a with two pods, node b with one, and room for it on a."""
    return small_cluster(
        node("a"),
        node("b") if b is None else b,
        pod("a1", node="a", cpu="1"),
        pod("a2", node="a", cpu="1"),
        pod("b1", node="b", cpu="1") if on_b is None else on_b,
        *extra,
        prices={"a": 1.0, "b": 1.1},
    )


def money_change(plan: Plan) -> float:
    changes = [action.expected.money_per_hour for action in (*plan.actions, *plan.later)]
    return sum(change for change in changes if change is not None)


def test_the_pods_of_one_node_go_to_the_other_and_it_is_given_back() -> None:
    world = Cluster(two_nodes())
    world.settle()
    assert world.names() == ["a"]
    assert world.evicted == ["default/b1"]


def test_a_node_is_tainted_first_and_all_else_follows_in_later_cycles() -> None:
    world = Cluster(two_nodes())
    kinds = [[type(action).__name__ for action in world.cycle().actions] for _ in range(4)]
    assert kinds == [["Taint"], ["Evict"], ["DeleteNode"], []]


def test_the_first_plan_shows_everything_that_is_to_follow_and_its_money() -> None:
    world = Cluster(two_nodes())
    plan = world.plan()
    assert [type(action).__name__ for action in plan.later] == ["Evict", "DeleteNode"]
    assert money_change(plan) == pytest.approx(-1.1)


def test_an_empty_node_is_given_back_without_an_eviction() -> None:
    world = Cluster(small_cluster(node("a"), node("b"), pod("a1", node="a", cpu="3")))
    plan = world.cycle()
    assert [type(action) for action in plan.actions] == [DeleteNode]
    assert world.names() == ["a"]


def test_a_dear_node_is_replaced_by_a_cheaper_one_which_is_awaited_first() -> None:
    world = Cluster(small_cluster(node("a", labels=ON_DEMAND), pod("a1", node="a", cpu="1"), offerings=(SMALL,)))
    world.nodes_come = False
    world.cycle()
    plan = world.cycle()
    assert [type(action) for action in plan.actions] == [CreateNode]
    assert not [action for action in world.cycle().actions if isinstance(action, Evict | CreateNode)]
    world.join(plan.actions[0].target.name, SMALL)
    world.settle()
    assert len(world.names()) == 1
    assert world.money() == pytest.approx(0.3)


def test_a_replacement_that_is_ready_and_still_tainted_for_its_start_is_awaited() -> None:
    world = Cluster(small_cluster(node("a", labels=ON_DEMAND), pod("a1", node="a", cpu="1"), offerings=(SMALL,)))
    world.nodes_come = False
    world.cycle()
    name = world.cycle().actions[0].target.name
    world.join(name, SMALL, (o.Taint(key="node.kubernetes.io/not-ready", effect="NoSchedule"),))
    for _ in range(3):
        assert not world.cycle().actions
    world.set_taints(name, ())
    world.settle()
    assert world.names() == [name]


def test_where_a_replacement_does_not_start_the_node_stays_and_loses_its_taint() -> None:
    snapshot = small_cluster(node("a", labels=ON_DEMAND), pod("a1", node="a", cpu="1"), offerings=(SMALL,))
    world = Cluster(snapshot, startSeconds=100)
    world.nodes_come = False
    world.cycle()
    world.cycle()
    world.snapshot.offerings = ()
    world.now += 100
    world.cycle()
    assert world.snapshot.node_taints(0) == ()
    assert not world.evicted
    assert not world.memory.sources


HELD = {"karpenter.sh/do-not-disrupt": "true"}
BUDGET = o.PodDisruptionBudget(
    o.Metadata(name="b", namespace="default"),
    o.DisruptionBudgetSpec(selector=o.LabelSelector({"app": "b"})),
    o.DisruptionBudgetStatus(disruptions_allowed=0),
)
UNTOUCHED: dict[str, tuple[str, Callable[[], ClusterSnapshot]]] = {
    "a protected pod": ("DoNotDisrupt", lambda: two_nodes(on_b=pod("b1", node="b", cpu="1", annotations=HELD))),
    "a pod that is not safe to evict": (
        "NotSafeToEvict",
        lambda: two_nodes(
            on_b=pod("b1", node="b", cpu="1", annotations={"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"})
        ),
    ),
    "a bare pod": ("NotReplicated", lambda: two_nodes(on_b=pod("b1", node="b", cpu="1", owner=None))),
    "an annotation of the node": ("DoNotDisrupt", lambda: two_nodes(b=node("b", annotations=HELD))),
    "a cordon": ("Cordoned", lambda: two_nodes(b=node("b", unschedulable=True))),
    "a taint of Karpenter's": (
        "OwnedByOther",
        lambda: two_nodes(b=node("b", taints=(o.Taint(key="karpenter.sh/disrupted", effect="NoSchedule"),))),
    ),
    "a taint of provision's": (
        "Opening",
        lambda: two_nodes(b=node("b", taints=(o.Taint(key=OPENING, effect="NoSchedule"),))),
    ),
    "a disruption budget": (
        "DisruptionBudget",
        lambda: two_nodes(on_b=pod("b1", node="b", cpu="1", labels={"app": "b"}), extra=(BUDGET,)),
    ),
    "two disruption budgets": (
        "SeveralBudgets",
        lambda: two_nodes(
            on_b=pod("b1", node="b", cpu="1", labels={"app": "b"}),
            extra=(BUDGET, msgspec.structs.replace(BUDGET, metadata=o.Metadata(name="c", namespace="default"))),
        ),
    ),
}


@pytest.mark.parametrize(("code", "make"), UNTOUCHED.values(), ids=UNTOUCHED.keys())
def test_a_node_is_left_alone_for(code: str, make: Callable[[], ClusterSnapshot]) -> None:
    snapshot = make()
    snapshot.set_price(snapshot.nodes.by_name["a"], 0.0)  # so that nothing is gained by giving a back instead
    plan = Cluster(snapshot).plan()
    assert not plan.actions
    assert [each.reason.code for each in plan.declined if each.target.name == "b"] == [code]


@pytest.mark.parametrize("what", ["price", "readiness"])
def test_a_node_without_a_known_price_or_not_ready_is_left_alone(what: str) -> None:
    snapshot = two_nodes()
    b = snapshot.nodes.by_name["b"]
    if what == "price":
        snapshot.set_price(b, np.nan)
    else:
        down = o.NodeStatus(
            allocatable={"cpu": "4", "memory": "16Gi", "pods": "110"},
            conditions=(o.NodeCondition(type="Ready", status="Unknown"),),
        )
        snapshot.set(o.Node(o.Metadata(name="b"), status=down))
    snapshot.set_price(snapshot.nodes.by_name["a"], 0.0)
    plan = Cluster(snapshot).plan()
    assert not plan.actions


def test_a_pod_that_came_a_moment_ago_keeps_its_node_for_a_while() -> None:
    snapshot = two_nodes()
    b1 = snapshot.pods.by_key["default/b1"]
    snapshot.set_pod_status(b1, phase=1, ready=True, started=NOW - 50)
    snapshot.set_price(snapshot.nodes.by_name["a"], 0.0)
    world = Cluster(snapshot, consolidateAfterSeconds=60)
    assert not world.plan().actions
    world.now = NOW + 400
    assert world.plan().actions


def test_a_protected_pod_that_lands_before_the_eviction_ends_it_and_the_taint_goes() -> None:
    world = Cluster(two_nodes())
    world.cycle()
    world.snapshot.set(pod("late", node="b", cpu="1", annotations=HELD))
    plan = world.cycle()
    assert [type(action) for action in plan.actions] == [Untaint]
    assert not world.evicted
    assert world.snapshot.node_taints(world.snapshot.nodes.by_name["b"]) == ()


def test_a_taint_that_nobody_remembers_is_taken_off() -> None:
    world = Cluster(
        two_nodes(b=node("b", cpu="1", taints=(o.Taint(key=TAINT, effect="NoSchedule"),))), minimumSavingPercent=100
    )
    assert [type(action) for action in world.plan().actions] == [Untaint]


def test_where_the_room_is_taken_meanwhile_the_node_stays() -> None:
    world = Cluster(two_nodes())
    world.cycle()
    world.snapshot.set(pod("new", node="a", cpu="2"))
    world.cycle()
    assert not world.evicted
    assert world.names() == ["a", "b"]
    assert not any(world.snapshot.node_taints(row) for row in world.snapshot.nodes.indices().tolist())


def test_a_node_whose_room_is_taken_takes_no_pods_again_until_those_of_other_nodes_have_moved() -> None:
    nodes = (node("a"), node("b"), node("c"))
    pods = (
        pod("a1", node="a", cpu="1"),
        *(pod(f"b{number}", node="b", cpu="1") for number in (1, 2)),
        pod("c1", node="c", cpu="1"),
    )
    world = Cluster(small_cluster(*nodes, *pods, prices={"a": 0.4, "b": 1.2, "c": 0.5}), movesAtOnce="1")
    world.cycle()
    world.snapshot.set(pod("new", node="a", cpu="1"))
    tainted_while: dict[int, bool] = {}
    while world.memory.sources:
        world.cycle()
        tainted_while[len(world.evicted)] = bool(world.snapshot.node_taints(world.snapshot.nodes.by_name["c"]))
    assert world.names() == ["a", "c"]
    assert tainted_while == {1: True, 2: False}
    assert sorted(world.evicted) == ["default/b1", "default/b2"]


def test_a_pod_that_waits_for_a_node_gets_its_room_first() -> None:
    world = Cluster(two_nodes(extra=(pod("waits", cpu="2"),)))
    assert not world.plan().actions


def test_a_second_plan_for_the_cluster_that_came_of_the_first_is_empty() -> None:
    world = Cluster(bought_cluster(4, 2, count=60), maxEvictions=100)
    world.settle()
    again = Cluster(world.snapshot)
    again.spec = msgspec.structs.replace(world.spec, max_evictions=0)
    assert not again.plan().actions
    assert not world.plan().actions


def test_a_restart_between_any_two_cycles_gives_the_same_next_plan() -> None:
    world = Cluster(bought_cluster(4, 2, count=40))
    for _ in range(8):
        kept = restore(checkpoint(LoopMemory({"consolidation": world.memory})), {"consolidation": world.policy})
        other, _ = world.policy.plan(world.snapshot, world.spec, kept.policies["consolidation"], world.now)
        assert world.cycle(evictions=40) == other


@pytest.mark.parametrize("order", [None, 1, 2], ids=["as evicted", "at random", "at random again"])
@pytest.mark.parametrize("limit", [100, None])
def test_what_is_carried_out_under_kube_schedulers_scores_comes_close_to_what_was_planned(
    limit: int | None, order: int | None
) -> None:
    world = Cluster(bought_cluster(12, 6, count=60), DEFAULT, maxEvictions=limit, movesAtOnce="5%")
    world.order = None if order is None else Random(order)
    before = world.money()
    promised = before + money_change(world.plan())
    world.memory = ConsolidationMemory()
    world.finish()
    assert world.money() - promised <= 0.02 * (before - promised)
    assert len(world.evicted) <= (limit or len(world.snapshot.pods.indices()))
    assert not any(world.snapshot.node_taints(row) for row in world.snapshot.nodes.indices().tolist())


def test_no_more_pods_move_at_once_than_are_allowed() -> None:
    world = Cluster(bought_cluster(12, 6, count=20), movesAtOnce="7")
    for _ in range(30):
        plan = world.cycle()
        assert sum(isinstance(action, Evict) for action in plan.actions) <= 7


def test_a_cluster_bought_for_twice_the_pods_becomes_much_cheaper_and_all_pods_run() -> None:
    world = Cluster(bought_cluster(12, 6, count=60))
    before, pods = world.money(), len(world.snapshot.pods.indices())
    plan = world.plan()
    promised = before + money_change(plan)
    world.memory = ConsolidationMemory()
    world.finish()
    assert promised < 0.5 * before
    assert world.money() <= 0.7 * before
    assert world.pending[-1] == 0
    assert len(world.snapshot.pods.indices()) == pods
    assert max(world.pending) <= 0.02 * pods
    assert len(world.evicted) <= 1.1 * sum(isinstance(action, Evict) for action in (*plan.actions, *plan.later))


@pytest.mark.parametrize("limit", [0, 20, 60])
def test_evictions_stay_below_their_limit_from_beginning_to_end(limit: int) -> None:
    world = Cluster(bought_cluster(8, 4, count=40), maxEvictions=limit)
    for _ in range(20):
        world.cycle(evictions=15)
    assert len(world.evicted) <= limit


def test_a_plan_leaves_a_few_of_the_evictions_to_those_that_mend_it() -> None:
    world = Cluster(bought_cluster(8, 4, count=40), maxEvictions=100)
    plan = world.plan()
    planned = sum(isinstance(each, Evict) for each in (*plan.actions, *plan.later))
    assert 90 < planned <= 98


def test_more_evictions_buy_more_saving() -> None:
    money = []
    for limit in (0, 40, 80, 160):
        world = Cluster(bought_cluster(8, 4, count=40), maxEvictions=limit)
        money.append(world.money() + money_change(world.plan()))
    assert money == sorted(money, reverse=True)
    assert money[-1] < money[0]


def test_the_fewest_evictions_that_reach_a_target_are_chosen() -> None:
    snapshot = bought_cluster(8, 4, count=40)
    cheapest = Cluster(snapshot).plan()
    money = Cluster(snapshot).money()
    target = money + 0.6 * money_change(cheapest)
    plan = Cluster(snapshot, goal="FewestEvictions", targetMoneyPerHour=target).plan()
    assert money + money_change(plan) <= target
    count = [sum(isinstance(each, Evict) for each in (*which.actions, *which.later)) for which in (plan, cheapest)]
    assert count[0] < count[1]


BUDGETS = {
    "none": ((), 10),
    "a percentage rounds up": (({"nodes": "25%"},), 3),
    "the smallest counts": (({"nodes": "25%"}, {"nodes": "1"}), 1),
    "none at all": (({"nodes": "0"},), 0),
    "one for another reason": (({"nodes": "0", "reasons": ["Underutilized"]},), 10),
    "one whose window is closed": (({"nodes": "0", "schedule": "0 0 1 1 *", "durationSeconds": 60},), 10),
}


@pytest.mark.parametrize(("budgets", "expected"), BUDGETS.values(), ids=BUDGETS.keys())
def test_budgets_limit_how_many_nodes_are_on_their_way_out(budgets: tuple[Any, ...], expected: int) -> None:
    snapshot = small_cluster(*(node(f"n{number}") for number in range(10)))
    plan = Cluster(snapshot, budgets=list(budgets)).plan()
    assert sum(isinstance(action, DeleteNode) for action in plan.actions) == expected
    assert sum(isinstance(action, DeleteNode) for action in (*plan.actions, *plan.later)) == 10


def pool_of(*budgets: NodePoolBudget) -> NodePool:
    return NodePool(o.Metadata(name="default"), NodePoolSpec(disruption=NodePoolDisruption(budgets)))


POOL_BUDGETS = {
    "30 % of ten nodes": ((NodePoolBudget("30%"),), 3),
    "a percentage rounds up": ((NodePoolBudget("25%"),), 3),
    "all": ((NodePoolBudget("100%"),), 10),
    "none": ((NodePoolBudget("0"),), 0),
    "the smallest counts": ((NodePoolBudget("5"), NodePoolBudget("2")), 2),
    "one for drift": ((NodePoolBudget("0", reasons=("Drifted",)),), 10),
    "one for empty nodes": ((NodePoolBudget("1", reasons=("Empty",)),), 1),
    "a window that is always open": ((NodePoolBudget("1", schedule="@daily", duration="48h"),), 1),
    "a window that is closed": ((NodePoolBudget("1", schedule="0 3 1 1 *", duration="1h"),), 10),
    "no cron": ((NodePoolBudget("5", schedule="0 0 * * tue-mon", duration="1h"),), 0),
    "a schedule without a duration": ((NodePoolBudget("5", schedule="@daily"),), 0),
    "no number": ((NodePoolBudget("many"),), 0),
    "no budgets": ((), 10),
}


@pytest.mark.parametrize(("budgets", "expected"), POOL_BUDGETS.values(), ids=POOL_BUDGETS)
def test_a_node_pools_budgets_limit_how_many_of_its_nodes_go(
    budgets: tuple[NodePoolBudget, ...], expected: int
) -> None:
    nodes = [node(f"n{number}", labels={"karpenter.sh/nodepool": "default"}) for number in range(10)]
    plan = Cluster(small_cluster(*nodes, pool_of(*budgets))).plan()
    assert sum(isinstance(action, DeleteNode) for action in plan.actions) == expected


def test_what_daemonsets_take_on_a_bought_node_is_counted() -> None:
    daemon = pod("d", node="a", cpu="1500m", owner=("DaemonSet", "d"))
    snapshot = small_cluster(node("a", labels=ON_DEMAND), pod("a1", node="a", cpu="1"), daemon, offerings=(SMALL,))
    assert not Cluster(snapshot).plan().actions


@pytest.mark.parametrize(
    ("labels", "bought"),
    [({"kubernetes.io/arch": "amd64"}, 0), ({"kubernetes.io/arch": "arm64"}, 1)],
    ids=["another architecture", "the same architecture"],
)
def test_a_pool_buys_the_architectures_that_it_has(labels: dict[str, str], bought: int) -> None:
    offering = msgspec.structs.replace(SMALL, labels=ON_DEMAND | {"kubernetes.io/arch": "arm64"})
    snapshot = small_cluster(node("a", labels=ON_DEMAND | labels), pod("a1", node="a", cpu="1"), offerings=(offering,))
    assert sum(isinstance(each, CreateNode) for each in Cluster(snapshot).plan().later) == bought


APART = o.PodAffinity((o.PodAffinityTerm("kubernetes.io/hostname", o.LabelSelector({"app": "x"})),))


def test_pods_that_must_be_apart_stay_apart() -> None:
    spec = {"affinity": o.Affinity(pod_anti_affinity=APART)}
    pods = [pod(f"p{row}", node=f"n{row}", cpu="1", labels={"app": "x"}, spec=spec) for row in range(3)]
    snapshot = small_cluster(*(node(f"n{row}") for row in range(4)), *pods)
    world = Cluster(snapshot)
    world.settle()
    assert len(world.names()) == 3


def test_a_spread_over_zones_is_kept() -> None:
    constraint = o.TopologySpreadConstraint(1, "zone", "DoNotSchedule", o.LabelSelector({"app": "x"}))
    spec = {"topology_spread_constraints": (constraint,)}
    nodes = [node(f"n{row}", labels={"zone": f"z{row % 2}"}) for row in range(4)]
    pods = [pod(f"p{row}", node=f"n{row}", cpu="1", labels={"app": "x"}, spec=spec) for row in range(4)]
    world = Cluster(small_cluster(*nodes, *pods))
    world.settle()
    zones = {world.snapshot.node_labels(row)["zone"] for row in world.snapshot.nodes.indices().tolist()}
    assert len(world.names()) < 4
    assert len(zones) == 2


def test_a_thousand_and_two_hundred_of_two_thousand_almost_empty_nodes_go() -> None:
    """cluster-autoscaler's benchmark of scale-down: 40 pods of 1 % on each node, and room for 100 % of pods."""
    snapshot = small_cluster(*(node(f"n{row}", cpu="1", memory="100Gi") for row in range(200)))
    snapshot.add_pods([pod(f"p{row}-{of}", node=f"n{row}", cpu="10m") for row in range(200) for of in range(40)])
    plan = Cluster(snapshot).plan()
    assert sum(isinstance(each, DeleteNode) for each in (*plan.actions, *plan.later)) == 120


def test_the_autoscalers_efficiency_yardstick_is_bettered() -> None:
    """Nodes 2 x 1000m, 3 x 4000m and 1 x 9000m with a pod of 1000m on each, priced by their size: one node can hold all."""
    sizes = [1, 1, 4, 4, 4, 9]
    nodes = [node(f"n{row}", cpu=str(size)) for row, size in enumerate(sizes)]
    pods = [pod(f"p{row}", node=f"n{row}", cpu="1") for row in range(6)]
    prices = {f"n{row}": size / 10 for row, size in enumerate(sizes)}
    world = Cluster(small_cluster(*nodes, *pods, prices=prices))
    world.settle()
    assert world.money() == pytest.approx(0.6)  # 4000m and 2 x 1000m for 6 pods: nothing is free


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a duration without a schedule": ({"budgets": [{"nodes": "1", "durationSeconds": 5}]}, "durationSeconds"),
    "a schedule that is none": ({"budgets": [{"nodes": "1", "schedule": "0 0 * *", "durationSeconds": 5}]}, "schedule"),
    "a goal without its target": ({"goal": "FewestEvictions"}, "targetMoneyPerHour"),
}


@pytest.mark.parametrize(("fields", "named"), WRONG.values(), ids=WRONG.keys())
def test_a_spec_names_what_it_does_not_accept(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.convert(fields, ConsolidationSpec)
    assert isinstance(error.value.__cause__, FieldError)
    assert error.value.__cause__.field == named
