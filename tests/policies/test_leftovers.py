"""Taints that nobody answers for any more go; those that somebody answers for, a person has approved, or a user has put, stay."""

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import node

import neaptide.policies
from neaptide.loop import Cycle, LoopMemory, Mode, Setting, checkpoint, restore, run_once
from neaptide.model import objects as o
from neaptide.model.actions import AnyAction, Outcome, Reason, Ref, SetNodeResources, Taint, Untaint
from neaptide.model.scope import Scope
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.place import Placement
from neaptide.placement.profile import read_profile
from neaptide.policies.leftovers import MOST, OWNERS, leftovers, name_of
from neaptide.policies.registry import POLICIES
from neaptide.simulator.scenario import parse
from neaptide.simulator.setup import build
from neaptide.simulator.world import World

KNOWN = {policy.name: policy for policy in POLICIES}
USERS = ("neaptide.io/pool", "node.kubernetes.io/unreachable", "neaptide.io/virtual-node")
WEEK = """
name: on-demand nodes empty onto spot nodes
duration: 7200
pools:
  - name: on-demand
    offerings: [{instance_type: m, allocatable: {cpu: "8", memory: 32Gi, pods: "110"}, price_per_hour: 0.4, nodes: 3}]
  - name: spot
    minimum: 2
    offerings: [{instance_type: m, zone: a, capacity_type: spot, allocatable: {cpu: "8", memory: 32Gi, pods: "110"}, price_per_hour: 0.12, nodes: 2}]
services: [{name: web, cpu: 1, memory: 2Gi, replicas: 6}]
"""


def cluster(*nodes: Sequence[str]) -> ClusterSnapshot:
    """A node for each list of keys of taints."""
    snapshot = ClusterSnapshot()
    for number, keys in enumerate(nodes):
        taints = tuple(o.Taint(key, "neaptide.1", "NoSchedule") for key in keys)
        snapshot.set_node(node(f"n{number}", labels={"row": str(number)}, taints=taints))
    return snapshot


def test_every_taint_that_a_policy_puts_on_nodes_has_an_owner_who_is_a_policy() -> None:
    """Read from the policies' own text, so that a new one is not forgotten."""
    found = set()
    for path in Path(neaptide.policies.__path__[0]).glob("*.py"):
        for each in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(each, ast.Call) and getattr(each.func, "id", "") == "Taint":
                (key,) = (word.value for word in each.keywords if word.arg == "key")
                assert isinstance(key, ast.Name), f"{path.name}: the key of a taint is a constant"
                assert key.id in ("TAINT", "PREFER_SPOT", "ROOM"), (
                    f"{path.name}: {key.id} needs a line in leftovers.OWNERS"
                )
                found.add((path.stem.partition("_")[0], key.id))
    assert {owner for owner, _ in found} == {each.partition("-")[0] for each in OWNERS.values()}
    assert set(OWNERS.values()) <= set(KNOWN)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([*OWNERS, *USERS]), unique=True, max_size=4), max_size=5),
    st.sets(st.sampled_from(sorted(set(OWNERS.values())))),
)
def test_what_goes_is_exactly_what_nobody_answers_for_of_each_node_one_after_the_other(
    nodes: list[list[str]], enforced: set[str]
) -> None:
    found = leftovers(cluster(*nodes), lambda policy, _: policy in enforced)
    gone = [(each.target.name, each.key) for each in found]
    orphans = [[key for key in keys if key in OWNERS and OWNERS[key] not in enforced] for keys in nodes]
    assert gone == [(f"n{number}", keys[0]) for number, keys in enumerate(orphans) if keys]


def test_not_more_than_so_many_go_at_once_and_the_others_follow() -> None:
    found = leftovers(cluster(*[["neaptide.io/protected"]] * (MOST + 3)), lambda *_: False)
    assert len(found) == MOST


def test_a_taint_that_a_person_has_approved_stays() -> None:
    snapshot = cluster(["neaptide.io/protected"])
    assert leftovers(snapshot, lambda *_: False, {name_of("n0", "neaptide.io/protected")}) == []


# -- in the loop, in the simulated world -------------------------------------------------------------------------------


def world() -> World:
    made = build(parse(WEEK), lambda snapshot: Placement(snapshot, read_profile("{}")), None)
    made.run_until(made.now() + 1000)
    return made


def setting(name: str, mode: Mode, **fields: Any) -> Setting:
    return Setting(KNOWN[name], KNOWN[name].spec_type(), mode, **fields)


def keys(made: World) -> set[str]:
    snapshot = made.observe()
    return {each.key for row in snapshot.nodes.indices().tolist() for each in snapshot.node_taints(row)} & set(OWNERS)


def go(made: World, memory: LoopMemory, *chosen: Setting, cycles: int = 1, **options: Any) -> tuple[Cycle, LoopMemory]:
    for _ in range(cycles):
        cycle, memory = run_once(made, chosen, restore(checkpoint(memory), KNOWN), **options)
        made.run_until(made.now() + 60)
    return cycle, memory


def taint(made: World, key: str) -> None:
    name = made.observe().nodes.names[0]
    action = Taint(policy=OWNERS[key], target=Ref("Node", name), reason=Reason("Test", "a test"), key=key)
    assert [each.result for each in made.act([action])] == ["Done"]


@pytest.mark.parametrize(
    "then",
    [(), (setting("spot-rescheduler", Mode.OFF),), (setting("spot-rescheduler", Mode.RECOMMEND),)],
    ids=["removed", "off", "recommends"],
)
def test_a_policy_that_ran_leaves_no_taint_when_it_is(then: tuple[Setting, ...]) -> None:
    made = world()
    _, memory = go(made, LoopMemory(), setting("spot-rescheduler", Mode.ENFORCE), cycles=3)
    assert keys(made) == {"neaptide.io/prefer-spot", "neaptide.io/spot-rescheduling"}
    go(made, memory, *then, cycles=3)
    assert not keys(made)


@pytest.mark.parametrize("key", OWNERS)
def test_a_taint_goes_with_its_policy_whichever_it_is(key: str) -> None:
    made = world()
    taint(made, key)
    cycle, _ = go(made, LoopMemory(), setting("reclaim", Mode.ENFORCE))
    assert not keys(made)
    (outcome,) = [each for each in cycle.outcomes if isinstance(each.action, Untaint)]
    assert (outcome.result, outcome.action.policy) == ("Done", OWNERS[key])


def test_taints_of_several_policies_on_one_node_go_one_after_the_other_and_nobody_owns_the_node_for_it() -> None:
    made = world()
    for key in OWNERS:
        taint(made, key)
    _, memory = go(made, LoopMemory(), cycles=len(OWNERS))
    assert (keys(made), memory.arbiter.owners) == (set(), {})


def test_a_taint_outside_of_the_scope_that_was_narrowed_goes() -> None:
    made = world()
    taint(made, "neaptide.io/protected")
    elsewhere = Scope(node_selector=o.LabelSelector({"no": "node"}))
    go(made, LoopMemory(), setting("protected", Mode.ENFORCE, scope=elsewhere))
    assert not keys(made)


def test_where_others_may_act_on_the_same_cluster_nothing_is_tidied() -> None:
    made = world()
    taint(made, "neaptide.io/protected")
    go(made, LoopMemory(), cycles=2, tidy=False)
    assert keys(made) == {"neaptide.io/protected"}


def test_what_a_person_approved_of_a_policy_that_recommends_stays_until_the_policy_is_off() -> None:
    made = world()
    name = made.observe().nodes.names[0]
    key = "neaptide.io/spot-rescheduling"
    wanted: tuple[AnyAction, ...] = (
        Taint(policy="spot-rescheduler", target=Ref("Node", name), reason=Reason("Release", "approved"), key=key),
    )
    _, memory = go(made, LoopMemory(), setting("spot-rescheduler", Mode.RECOMMEND), approved=wanted)
    _, memory = go(made, memory, setting("spot-rescheduler", Mode.RECOMMEND), cycles=3)
    assert (keys(made), memory.by_hand) == ({key}, [name_of(name, key)])
    _, memory = go(made, memory, setting("spot-rescheduler", Mode.OFF), cycles=2)
    assert (keys(made), memory.by_hand) == (set(), [])


LENDING = """
name: a node lends what its services leave
duration: 7200
pools: [{name: general, offerings: [{instance_type: m, allocatable: {cpu: "8", memory: 32Gi, pods: "110"}, price_per_hour: 0.4, nodes: 2}]}]
services: [{name: web, cpu: 1, memory: 2Gi, replicas: 6, usage: {kind: constant, level: 0.2}}]
"""
BATCH = "kubernetes.io/batch-cpu"
LEND = setting("reclaim", Mode.ENFORCE)


def lending() -> World:
    made = build(parse(LENDING), lambda snapshot: Placement(snapshot, read_profile("{}")), None)
    made.run_until(made.now() + 1000)
    return made


def lends(made: World) -> list[int]:
    snapshot = made.observe()
    row = snapshot.resource_row(BATCH)
    return [] if row is None else snapshot.nodes.allocatable[row, snapshot.nodes.indices()].tolist()


@pytest.mark.parametrize(
    "then",
    [(), (setting("reclaim", Mode.OFF),), (setting("reclaim", Mode.RECOMMEND),)],
    ids=["removed", "off", "recommends"],
)
def test_what_was_lent_goes_back_when_the_policy_is(then: tuple[Setting, ...]) -> None:
    made = lending()
    _, memory = go(made, LoopMemory(), LEND, cycles=2)
    assert min(lends(made)) > 0
    assert memory.lent == made.observe().nodes.names
    cycle, memory = go(made, memory, *then)
    assert (lends(made), memory.lent) == ([0, 0], [])
    assert {each.reason.code for each in cycle.outcomes if each.result == "Done"} == {"LeftBehind"}
    cycle, memory = go(made, memory, *then)
    assert not [each for each in cycle.outcomes if each.result == "Done"]
    _, memory = go(made, memory, LEND)
    assert min(lends(made)) > 0


def test_what_was_lent_outside_of_a_scope_that_was_narrowed_goes_back() -> None:
    made = lending()
    _, memory = go(made, LoopMemory(), LEND)
    first = made.observe().nodes.names[0]
    only = Scope(node_selector=o.LabelSelector({"kubernetes.io/hostname": first}))
    _, memory = go(made, memory, setting("reclaim", Mode.ENFORCE, scope=only))
    assert memory.lent == [first]
    assert [amount > 0 for amount in lends(made)] == [True, False]


def test_what_somebody_else_has_written_stays() -> None:
    made = lending()
    ref = made.observe().node_ref(0)
    theirs = SetNodeResources(policy="reclaim", target=ref, reason=Reason("Test", "a test"), resources={BATCH: 500})
    made.act([theirs])
    go(made, LoopMemory(), setting("reclaim", Mode.RECOMMEND), cycles=2)
    assert lends(made)[0] == 500


def test_what_a_person_approved_of_is_lent_until_the_policy_is_off() -> None:
    made, recommends = lending(), setting("reclaim", Mode.RECOMMEND)
    cycle, memory = go(made, LoopMemory(), recommends)
    wanted = cycle.plans[0].actions[:1]
    _, memory = go(made, memory, recommends, approved=wanted)
    _, memory = go(made, memory, recommends, cycles=3)
    assert [amount > 0 for amount in lends(made)] == [True, False]
    _, memory = go(made, memory, cycles=2)
    assert (lends(made), memory.lent, memory.by_hand) == ([0, 0], [], [])


def test_what_was_not_done_was_not_lent_and_what_was_not_taken_back_is_lent_still() -> None:
    class Ending(World):
        """Ends before anything is done."""

        def act(self, actions: Sequence[AnyAction]) -> list[Outcome]:
            return [Outcome(each, "Refused", Reason("ShuttingDown", "this process is ending")) for each in actions]

    made = lending()
    kind = type(made)
    made.__class__ = type("Ending", (Ending, kind), {})
    _, memory = go(made, LoopMemory(), LEND)
    assert memory.lent == []
    made.__class__ = kind
    _, memory = go(made, memory, LEND)
    lent = memory.lent
    made.__class__ = type("Ending", (Ending, kind), {})
    _, memory = go(made, memory)
    assert memory.lent == lent
    made.__class__ = kind
    _, memory = go(made, memory)
    assert (lends(made), memory.lent) == ([0, 0], [])


def test_a_policy_that_only_recommends_something_else_does_not_keep_what_was_lent() -> None:
    made = lending()
    _, memory = go(made, LoopMemory(), LEND)
    _, memory = go(made, memory, setting("spot-rescheduler", Mode.RECOMMEND), setting("reclaim", Mode.RECOMMEND))
    assert (lends(made), memory.lent) == ([0, 0], [])
