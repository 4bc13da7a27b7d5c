"""Whatever goes wrong while nodes are emptied: nothing protected is evicted, no budget broken, no taint left behind, no pod left without a node."""

from collections.abc import Callable

import pytest
from benchmarks.consolidation_cluster import cluster as bought_cluster
from msgspec.structs import replace
from tests.builders import node, pod
from tests.policies.test_consolidation import BUDGET, HELD, ON_DEMAND, SMALL, Cluster, small_cluster, two_nodes

from neaptide.loop import LoopMemory, checkpoint, restore
from neaptide.model import objects as o
from neaptide.model.actions import CreateNode, DeleteNode, Evict
from neaptide.placement.profile import DEFAULT

HOUR = 3600.0


def untainted(world: Cluster) -> bool:
    return not any(world.snapshot.node_taints(row) for row in world.snapshot.nodes.indices().tolist())


def all_placed(world: Cluster) -> bool:
    pods = world.snapshot.pods
    return bool((pods.node[pods.indices()] >= 0).all())


def test_a_controller_that_is_killed_after_each_step_of_a_drain_finishes_it() -> None:
    """A step is an action: whoever comes next has the memory of before the cycle, and sees what was done."""
    world = Cluster(bought_cluster(4, 2, count=10), DEFAULT)
    before = len(world.snapshot.pods.indices())
    for step in range(400):
        kept = checkpoint(LoopMemory({"consolidation": world.memory}))
        world.now -= 25.0  # cycles of five seconds
        plan = world.plan()
        if not plan.actions and not world.memory.sources and not world.memory.orders:
            break
        done = plan.actions[: 1 + step % 3]
        for action in done:
            world.carry_out(action)
        world.schedule()
        if len(done) < len(plan.actions):
            memory = restore(kept, {"consolidation": world.policy}).policies["consolidation"]
            orders = {
                name: replace(order, since=world.now) if any(_is_order(each, name) for each in done) else order
                for name, order in memory.orders.items()
            }
            world.memory = replace(memory, orders=orders)
    assert world.pending[-1] == 0
    assert len(world.snapshot.pods.indices()) == before
    assert untainted(world)


def _is_order(action: object, name: str) -> bool:
    return isinstance(action, CreateNode) and action.target.name == name


def test_a_budget_that_allows_nothing_for_an_hour_is_waited_for_and_then_the_node_stays() -> None:
    world = Cluster(two_nodes(on_b=pod("b1", node="b", cpu="1", labels={"app": "b"})), timeoutSeconds=HOUR)
    world.cycle()
    world.snapshot.set(BUDGET)
    began = world.now
    while world.now - began < HOUR + 60:
        world.cycle()
    assert "default/b1" not in world.evicted
    assert world.snapshot.node_taints(world.snapshot.nodes.by_name["b"]) == ()


def test_a_budget_that_opens_again_lets_the_drain_go_on() -> None:
    world = Cluster(two_nodes(on_b=pod("b1", node="b", cpu="1", labels={"app": "b"})))
    world.cycle()
    world.snapshot.set(BUDGET)
    for _ in range(20):
        world.cycle()
    world.snapshot.set(replace(BUDGET, status=o.DisruptionBudgetStatus(disruptions_allowed=1)))
    world.settle()
    assert world.names() == ["a"]


def test_a_pod_that_never_terminates_keeps_its_node_which_is_given_back_to_all_in_the_end() -> None:
    world = Cluster(two_nodes(extra=(pod("held", node="a", cpu="10m", annotations=HELD),)), timeoutSeconds=600)
    world.cycle()
    plan = world.plan()
    assert [type(action) for action in plan.actions] == [Evict]
    b1 = world.snapshot.pods.by_key["default/b1"]
    world.snapshot.set_pod_deleted(b1, world.now)
    world.snapshot.set(pod("b1-new", node="a", cpu="1"))
    kinds = set()
    for _ in range(30):
        kinds |= {type(action) for action in world.cycle().actions}
    assert DeleteNode not in kinds
    assert untainted(world)
    assert "StuckPod" in {each.reason.code for each in world.plan().declined} or not world.plan().actions
    assert world.names() == ["a", "b"]


def test_a_node_that_vanishes_while_it_is_emptied_is_forgotten() -> None:
    world = Cluster(bought_cluster(6, 3, count=20), DEFAULT)
    for _ in range(3):
        world.cycle(evictions=3)
    gone = next(name for name in world.memory.sources if name in world.snapshot.nodes.by_name)
    for row in list(world.snapshot.pods_on(world.snapshot.nodes.by_name[gone])):
        world.snapshot.unassign(row)
    world.snapshot.remove_node(gone)
    world.schedule()
    world.settle()
    assert gone not in world.names()
    assert untainted(world)


def test_a_node_that_pods_were_promised_vanishes_and_they_go_elsewhere_or_stay() -> None:
    world = Cluster(bought_cluster(6, 3, count=20), DEFAULT, movesAtOnce="5")
    for _ in range(4):
        world.cycle()
    places = {place for source in world.memory.sources.values() for place in source.places.values()}
    gone = next(name for name in world.names() if name in places)
    for row in list(world.snapshot.pods_on(world.snapshot.nodes.by_name[gone])):
        world.snapshot.unassign(row)
    world.snapshot.remove_node(gone)
    world.schedule()
    world.finish(200)
    assert all_placed(world)
    assert untainted(world)


@pytest.mark.parametrize("key", ["karpenter.sh/disrupted", "ToBeDeletedByClusterAutoscaler"])
def test_a_node_that_another_controller_takes_is_left_to_it(key: str) -> None:
    world = Cluster(two_nodes())
    world.cycle()
    row = world.snapshot.nodes.by_name["b"]
    world.set_taints("b", (*world.snapshot.node_taints(row), o.Taint(key=key, effect="NoSchedule")))
    world.cycle()
    assert not world.evicted
    assert [each.key for each in world.snapshot.node_taints(world.snapshot.nodes.by_name["b"])] == [key]


def test_a_protected_pod_on_a_node_of_many_ends_only_that_nodes_drain() -> None:
    world = Cluster(bought_cluster(6, 3, count=20), DEFAULT)
    world.cycle()
    chosen = next(name for name, source in world.memory.sources.items() if source.places)
    world.snapshot.set(pod("late", node=chosen, cpu="10m", annotations=HELD))
    there = {world.snapshot.pods.keys[row] for row in world.snapshot.pods_on(world.snapshot.nodes.by_name[chosen])}
    world.finish(200)
    assert chosen in world.names()
    assert not there & set(world.evicted)
    assert untainted(world)


def test_a_replacement_that_joins_and_never_gets_ready_is_given_up_and_the_node_stays() -> None:
    snapshot = small_cluster(node("a", labels=ON_DEMAND), pod("a1", node="a", cpu="1"), offerings=(SMALL,))
    world = Cluster(snapshot, startSeconds=100)
    world.cycle()
    world.cycle()
    (bought,) = (name for name in world.names() if name != "a")
    snapshot.offerings = ()
    for _ in range(6):
        snapshot.nodes.ready[snapshot.nodes.by_name[bought]] = False
        world.cycle()
    assert not world.evicted
    assert untainted(world)
    assert not world.memory.sources


def _gone(world: Cluster) -> None:
    for row in world.snapshot.nodes.indices().tolist():
        world.snapshot.set_price(row, float("nan"))


def _hundredfold(world: Cluster) -> None:
    for row in world.snapshot.nodes.indices().tolist():
        world.snapshot.set_price(row, 100 * float(world.snapshot.nodes.price[row]))


@pytest.mark.parametrize("change", [_gone, _hundredfold])
def test_prices_that_go_or_jump_while_nodes_are_emptied_leave_no_taint_and_no_pod_behind(
    change: Callable[[Cluster], None],
) -> None:
    world = Cluster(bought_cluster(6, 3, count=20), DEFAULT)
    for _ in range(3):
        world.cycle(evictions=5)
    change(world)
    for _ in range(120):
        world.cycle()
        if not world.memory.sources and not world.memory.orders:
            break
    assert all_placed(world)
    assert untainted(world)


def test_a_cluster_whose_prices_are_unknown_is_left_alone() -> None:
    world = Cluster(bought_cluster(6, 3, count=20))
    _gone(world)
    assert not world.plan().actions


def test_a_node_that_stops_answering_while_it_is_emptied_is_left_as_it_is() -> None:
    world = Cluster(two_nodes())
    world.cycle()
    row = world.snapshot.nodes.by_name["b"]
    world.snapshot.nodes.ready[row] = False
    world.cycle()
    assert not world.evicted
    assert "b" in world.names()
