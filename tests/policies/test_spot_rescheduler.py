"""The default profile: which nodes are drained, onto which, who stays, how pods come back; and what must hold of any cluster."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.builders import node, pod

from neaptide.loop import LoopMemory, checkpoint, restore
from neaptide.model import objects as o
from neaptide.model.actions import AnyAction, Evict, Plan, Scale, Taint, Untaint
from neaptide.model.columns import RUNNING
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.place import Placement
from neaptide.policies.protection import DO_NOT_DISRUPT, protection
from neaptide.policies.spot_rescheduler import SpotRescheduler
from neaptide.policies.spot_rescheduler_classic import FILTERS_ONLY
from neaptide.policies.spot_rescheduler_default import NEEDED, PREFER_SPOT
from neaptide.policies.spot_rescheduler_nodes import TAINT
from neaptide.policies.spot_rescheduler_rules import INTERRUPTION_RATE, ON_DEMAND_SHARE, SPOT
from neaptide.policies.spot_rescheduler_spec import SpotReschedulerMemory, SpotReschedulerSpec
from neaptide.policies.spot_rescheduler_surge import SURGE

NOW = 1_800_000_000.0
INTERRUPTED = o.Taint("aws-node-termination-handler/spot-itn", "", "NoSchedule")
OURS = o.Taint(TAINT, f"spot-rescheduler.{int(NOW)}", "NoSchedule")


class Cluster:
    """Nodes `od…` are on-demand at a dollar, `spot…` spot at 30 cents; every node is in a pool of its own unless told otherwise."""

    def __init__(self, **nodes: Mapping[str, Any]) -> None:
        self.snapshot = ClusterSnapshot()
        self.nodes: dict[str, o.Node] = {}
        for name, extra in nodes.items():
            self.add(name, **extra)

    def add(self, name: str, *, price: float | None = None, labels: dict[str, str] | None = None, **extra: Any) -> None:
        kind = "spot" if name.startswith("spot") else "on-demand"
        own = {"karpenter.sh/capacity-type": kind, "node.kubernetes.io/instance-type": name}
        self.nodes[name] = node(name, labels=own | (labels or {}), **({"cpu": "4", "memory": "16Gi"} | extra))
        row = self.snapshot.set_node(self.nodes[name])
        self.snapshot.set_price(row, (0.3 if kind == "spot" else 1.0) if price is None else price)

    def pod(self, name: str, on: str = "", *, cpu: str = "1", ready: bool = True, **extra: Any) -> None:
        """A pod of the ReplicaSet that its name begins with."""
        given = {"cpu": cpu, "memory": "1Gi", "owner": ("ReplicaSet", name.partition("-")[0])} | extra
        row = self.snapshot.set_pod(pod(name, node=on, **given))
        if on:
            started = float(self.snapshot.pods.started[row])
            self.snapshot.set_pod_status(row, phase=RUNNING, ready=ready, started=started)

    def taint(self, name: str, *taints: o.Taint) -> None:
        held = self.nodes[name]
        self.nodes[name] = replace(held, spec=replace(held.spec, taints=taints))
        self.snapshot.set_node(self.nodes[name])

    def plan(
        self, memory: SpotReschedulerMemory | None = None, now: float = NOW, **fields: Any
    ) -> tuple[Plan, SpotReschedulerMemory]:
        before = self.snapshot.digest()
        spec = SpotReschedulerSpec(**({"prefer_spot": False} | fields))
        found = SpotRescheduler().plan(self.snapshot, spec, memory or SpotReschedulerMemory(), now)
        assert self.snapshot.digest() == before
        return found

    def carry_out(self, actions: Sequence[AnyAction]) -> None:
        """Step by step, each pod to the node that is said to have room for it."""
        placement = Placement(self.snapshot, FILTERS_ONLY)
        for action in actions:
            if isinstance(action, Taint | Untaint):
                kept = [
                    each
                    for each in self.nodes[action.target.name].spec.taints
                    if each.key != action.key or action.effect not in ("", each.effect)
                ]
                added = [o.Taint(action.key, action.value, action.effect)] if isinstance(action, Taint) else []
                self.taint(action.target.name, *kept, *added)
            elif isinstance(action, Evict):
                row = self.snapshot.pods.by_key[f"default/{action.target.name}"]
                assert protection(self.snapshot, row, NOW) is None
                target = self.snapshot.nodes.by_name[action.reason.message.rpartition("; ")[2].split()[0]]
                assert placement.feasible(row)[target], "a pod is evicted that has no place"
                self.snapshot.unassign(row)
                self.snapshot.assign(row, target)


def kinds(actions: Sequence[AnyAction]) -> list[tuple[str, str]]:
    return [(type(each).__name__, each.target.name) for each in actions]


def reasons(plan: Plan) -> set[str]:
    return {each.reason.code for each in plan.declined}


def service(made: Cluster, name: str, *places: str, **extra: Any) -> None:
    for number, on in enumerate(places):
        made.pod(f"{name}-{number}", on, **extra)


def test_a_node_is_marked_first_and_its_pods_follow() -> None:
    made = Cluster(od1={}, spot1={}, spot2={})
    service(made, "web", "od1", "od1")
    plan, memory = made.plan()
    assert kinds(plan.actions) == [("Taint", "od1")]
    assert plan.actions[0].expected.money_per_hour == -1.0
    assert kinds(plan.later) == [("Evict", "web-0"), ("Evict", "web-1")]
    made.carry_out(plan.actions)
    plan, memory = made.plan(memory, NOW + 60)
    assert kinds(plan.actions) == [("Evict", "web-0"), ("Evict", "web-1")]
    made.carry_out(plan.actions)
    plan, memory = made.plan(memory, NOW + 120)
    assert (plan.actions, reasons(plan)) == ((), {"Held"})
    plan, memory = made.plan(memory, NOW + 120 + 901)
    assert kinds(plan.actions) == [("Untaint", "od1")]
    assert plan.actions[0].reason.code == "Drained"


def test_the_nodes_that_save_most_for_each_eviction_come_first_and_not_more_than_so_many() -> None:
    made = Cluster(od1={"price": 1.0}, od2={"price": 3.0}, od3={"price": 2.0}, spot1={"cpu": "64", "memory": "256Gi"})
    service(made, "a", "od1", "od2", "od2", "od2", "od2", "od3")
    plan, _ = made.plan(nodes_per_pass=2, max_pool_share=1.0)
    assert kinds(plan.actions) == [("Taint", "od3"), ("Taint", "od1")]


def test_no_node_is_drained_for_too_small_a_gain() -> None:
    made = Cluster(od1={"price": 0.001}, spot1={}, spot2={})
    service(made, "web", "od1", "od1")
    plan, _ = made.plan()
    assert (plan.actions, reasons(plan)) == ((), {"SmallGain"})


RESOURCES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "memory": ({}, {"memory": "20Gi"}),
    "GPUs": ({}, {"nvidia.com/gpu": "1"}),
    "extended resources": ({}, {"example.com/licence": "1"}),
    "taints": ({"taints": (o.Taint("own", "", "NoSchedule"),)}, {}),
    "node selectors": ({}, {"spec": {"node_selector": {"disk": "ssd"}}}),
}


@pytest.mark.parametrize(("spot", "asks"), RESOURCES.values(), ids=RESOURCES)
def test_room_is_what_the_filters_say_not_cpu_alone(spot: dict[str, Any], asks: dict[str, Any]) -> None:
    made = Cluster(od1={}, spot1=spot, spot2=spot)
    service(made, "web", "od1", "od1", **asks)
    plan, _ = made.plan()
    assert (plan.actions, reasons(plan)) == ((), {"NoRoom"})


# Who stays: what the pods have, the settings, and the reason; none where they go.
STAYING: dict[str, tuple[dict[str, Any], dict[str, Any], str | None]] = {
    "protected": ({"annotations": {DO_NOT_DISRUPT: "true"}}, {}, "DoNotDisrupt"),
    "bare": ({"owner": None}, {}, "NotReplicated"),
    "kept off spot by annotation": ({"annotations": {SPOT: "never"}}, {}, "NeverSpot"),
    "kept off spot by selector": (
        {"labels": {"tier": "db"}},
        {"never": o.LabelSelector({"tier": "db"})},
        "NeverSpot",
    ),
    "a share stays on demand": ({"annotations": {ON_DEMAND_SHARE: "0.5"}}, {}, "OnDemandShare"),
    "a share that is no number is the whole": ({"annotations": {ON_DEMAND_SHARE: "half"}}, {}, "OnDemandShare"),
    "a share of every workload": ({}, {"minimum_on_demand_share": 0.5}, "OnDemandShare"),
    "just started": ({"started": "2027-01-15T07:55:00Z"}, {}, "JustStarted"),
    "not ready twins": ({"ready": False}, {}, "SingleReplica"),
    "not ready twins, which may go": ({"ready": False}, {"single_replicas": "Move"}, None),
    "a share that is met": ({"annotations": {ON_DEMAND_SHARE: "0"}}, {}, None),
    "nothing": ({}, {}, None),
}


@pytest.mark.parametrize(("extra", "fields", "code"), STAYING.values(), ids=STAYING)
def test_a_node_stays_as_a_whole_for_pods_with(extra: dict[str, Any], fields: dict[str, Any], code: str | None) -> None:
    made = Cluster(od1={}, spot1={}, spot2={})
    service(made, "web", "od1", "od1", **extra)
    plan, _ = made.plan(**fields)
    assert (kinds(plan.actions), reasons(plan)) == (([("Taint", "od1")], set()) if code is None else ([], {code}))


def test_a_single_replica_waits_for_a_twin() -> None:
    made = Cluster(od1={}, spot1={})
    service(made, "web", "od1")
    assert reasons(made.plan()[0]) == {"SingleReplica"}


def lonely() -> tuple[Cluster, o.Workload]:
    """A Deployment of one pod on an on-demand node, and room on spot."""
    made = Cluster(od1={}, spot1={})
    deployment = o.Workload(
        "Deployment",
        o.Metadata(name="web", namespace="default"),
        o.WorkloadSpec(replicas=1, selector=o.LabelSelector()),
    )
    made.snapshot.set(deployment)
    made.pod("web-0", "od1", owner=("Deployment", "web"))
    return made, deployment


def scaled(made: Cluster, deployment: o.Workload, replicas: int) -> None:
    made.snapshot.set(replace(deployment, spec=replace(deployment.spec, replicas=replicas)))


def test_a_twin_of_a_single_replica_is_started_ahead_and_the_workload_is_then_what_it_was() -> None:
    made, deployment = lonely()
    plan, memory = made.plan(single_replicas="Surge")
    assert kinds(plan.actions) == [("Taint", "od1")]
    made.carry_out(plan.actions)
    plan, memory = made.plan(memory, single_replicas="Surge")
    assert [(each.replicas, each.was) for each in plan.actions if isinstance(each, Scale)] == [(2, 1)]
    scaled(made, deployment, 2)
    made.pod("web-1", "spot1", ready=False, owner=("Deployment", "web"))
    plan, memory = made.plan(memory, single_replicas="Surge")
    assert plan.actions == ()
    made.pod("web-1", "spot1", owner=("Deployment", "web"))
    plan, memory = made.plan(memory, single_replicas="Surge")
    assert kinds(plan.actions) == [("Evict", "web-0")]
    made.snapshot.remove_pod("default/web-0")
    plan, memory = made.plan(memory, single_replicas="Surge")
    assert [(each.replicas, each.was) for each in plan.actions if isinstance(each, Scale)] == [(1, 2)]
    scaled(made, deployment, 1)
    _, memory = made.plan(memory, single_replicas="Surge")
    assert memory.surged == {}


def test_where_the_twin_does_not_become_ready_the_drain_ends_and_the_workload_is_scaled_back() -> None:
    made, deployment = lonely()
    plan, memory = made.plan(single_replicas="Surge")
    made.carry_out(plan.actions)
    _, memory = made.plan(memory, single_replicas="Surge")
    scaled(made, deployment, 2)
    plan, memory = made.plan(memory, NOW + 601, single_replicas="Surge")
    made.carry_out([each for each in plan.actions if isinstance(each, Untaint)])
    assert made.nodes["od1"].spec.taints == ()
    plan, _ = made.plan(memory, NOW + 631, single_replicas="Surge")
    assert [(each.replicas, each.was) for each in plan.actions if isinstance(each, Scale)] == [(1, 2)]


def test_a_single_replica_that_wants_no_twin_waits() -> None:
    made, _ = lonely()
    made.pod("web-0", "od1", owner=("Deployment", "web"), annotations={SURGE: "never"})
    assert reasons(made.plan(single_replicas="Surge")[0]) == {"SingleReplica"}


def test_the_annotations_of_a_node_keep_it() -> None:
    made = Cluster(od1={"annotations": {DO_NOT_DISRUPT: "true"}}, spot1={}, spot2={})
    service(made, "web", "od1", "od1")
    assert reasons(made.plan()[0]) == {"NodeProtected"}


def test_a_disruption_budget_that_is_spent_keeps_a_node_and_makes_a_drain_wait() -> None:
    made = Cluster(od1={}, spot1={}, spot2={})
    service(made, "web", "od1", "od1", labels={"app": "web"})
    spec = o.DisruptionBudgetSpec(selector=o.LabelSelector({"app": "web"}))
    made.snapshot.set(o.PodDisruptionBudget(o.Metadata(name="b", namespace="default"), spec))
    assert reasons(made.plan()[0]) == {"DisruptionBudget"}
    made.taint("od1", OURS)
    assert made.plan()[0].actions == ()
    (end,) = made.plan(now=NOW + 3601)[0].actions
    assert (type(end), end.reason.code) == (Untaint, "DrainFailed")


def test_not_all_pods_of_a_service_come_to_one_capacity_pool() -> None:
    zone = {"topology.kubernetes.io/zone": "a", "node.kubernetes.io/instance-type": "m"}
    made = Cluster(od1={}, spot1={"labels": zone}, spot2={"labels": zone})
    service(made, "web", "od1", "od1")
    assert reasons(made.plan()[0]) == {"OnePool"}
    assert kinds(made.plan(max_pool_share=1.0)[0].actions) == [("Taint", "od1")]
    made.add("spot3", labels=zone | {"topology.kubernetes.io/zone": "b"})
    assert kinds(made.plan()[0].actions) == [("Taint", "od1")]


def test_where_spreading_leaves_no_gap_for_all_pods_they_are_packed() -> None:
    """By spread the pod of 2 CPUs takes the node where none of its service is, and none is left for the one of 3."""
    made = Cluster(od1={"cpu": "8"}, spot1={"cpu": "4"}, spot2={"cpu": "3"})
    service(made, "web", "spot1", cpu="2")
    made.pod("web-1", "od1", cpu="2")
    made.pod("api-0", "od1", cpu="2")
    made.pod("api-1", "od1", cpu="1")
    plan, _ = made.plan(max_pool_share=1.0, single_replicas="Move")
    assert kinds(plan.actions) == [("Taint", "od1")]
    places = {each.target.name: each.reason.message.split()[0] for each in plan.later}
    assert places == {"api-0": "spot1", "web-1": "spot2", "api-1": "spot2"}


def test_what_finds_no_room_on_spot_goes_to_on_demand_nodes_in_use_so_that_fewer_of_them_stay() -> None:
    names = ("od1", "od2", "od3")
    made = Cluster(od4={}, spot1={"cpu": "2"}, **{name: {} for name in names})
    for name in names:
        service(made, f"small{name}", name, cpu="500m")
        service(made, f"large{name}", name, cpu="1")
    memory, now = SpotReschedulerMemory(), NOW
    for _ in range(20):
        plan, memory = made.plan(memory, now, max_pool_share=1.0, single_replicas="Move")
        assert "od4" not in {each.reason.message.split()[0] for each in plan.later}, "an empty node is filled"
        made.carry_out(plan.actions)
        now += 1
    assert money_of(made) == 1.0  # of 4.5 CPUs 2 have room on spot


def test_to_be_relieved_a_node_gives_nothing_to_its_like() -> None:
    control = {"node-role.kubernetes.io/control-plane": ""}
    made = Cluster(od1={"labels": control}, od2={"labels": control}, spot1={"cpu": "1"})
    service(made, "web", "od1", "od2", "spot1")
    plan, _ = made.plan(goal="Relieve")
    assert (plan.actions, plan.later) == ((), ())


@pytest.mark.parametrize(
    ("labels", "rates"),
    [({INTERRUPTION_RATE: "0.05"}, {}), ({}, {"spot2": 0.0})],
    ids=["stated by the node", "set for the type"],
)
def test_of_equally_cheap_nodes_the_less_risky_one_is_taken(labels: dict[str, str], rates: dict[str, float]) -> None:
    made = Cluster(od1={}, spot1={}, spot2={"labels": labels})
    service(made, "web", "od1", "od1")
    plan, _ = made.plan(interruption_rates=rates)
    assert [each.reason.message for each in plan.later] == ["spot2 has room for it", "spot1 has room for it"]


def test_pause_pods_are_room_and_do_not_keep_a_node() -> None:
    made = Cluster(od1={}, spot1={"cpu": "2"}, spot2={"cpu": "2"})
    service(made, "web", "od1", "od1")
    service(made, "pause", "spot1", "spot2", "od1", cpu="2", spec={"priority": -10})
    plan, memory = made.plan()
    assert kinds(plan.actions) == [("Taint", "od1")]
    assert kinds(plan.later) == [("Evict", "web-0"), ("Evict", "web-1")]
    made.taint("od1", OURS)
    for name in ("web-0", "web-1"):
        made.snapshot.remove_pod(f"default/{name}")
    assert kinds(made.plan(memory, NOW + 60)[0].actions) == [("Evict", "pause-2")]


def test_nothing_is_begun_while_a_pod_finds_no_node_unless_it_has_waited_for_long() -> None:
    made = Cluster(od1={}, spot1={}, spot2={})
    service(made, "web", "od1", "od1")
    made.pod("large-0", cpu="64")
    plan, _ = made.plan()
    assert (plan.actions, reasons(plan)) == ((), {"Unschedulable"})
    old = replace(
        pod("large-0", cpu="64"), metadata=replace(pod("large-0").metadata, creation_timestamp="2026-01-01T00:00:00Z")
    )
    made.snapshot.set_pod(old)
    assert kinds(made.plan()[0].actions) == [("Taint", "od1")]


def test_a_drained_node_is_given_back_at_once_to_pods_that_find_no_other() -> None:
    made = Cluster(od1={"taints": (OURS,)}, spot1={"cpu": "1"})
    made.pod("web-0", cpu="3")
    (action,) = made.plan()[0].actions
    assert (type(action), action.target.name, action.reason.code) == (Untaint, "od1", NEEDED)


def test_pods_leave_a_spot_node_that_is_about_to_go_and_come_back_later() -> None:
    made = Cluster(od1={}, spot1={"cpu": "8"})
    service(made, "web", "spot1", "spot1")
    made.taint("spot1", INTERRUPTED)
    plan, memory = made.plan()
    assert kinds(plan.actions) == [("Evict", "web-0"), ("Evict", "web-1")]
    assert {each.reason.code for each in plan.actions} == {"Interrupted"}
    made.carry_out(plan.actions)
    made.snapshot.remove_node("spot1")
    made.add("spot2")
    made.add("spot3")
    plan, memory = made.plan(memory, NOW + 60)
    assert (plan.actions, reasons(plan)) == ((), {"FellBack"})
    assert kinds(made.plan(memory, NOW + 60 + 1800)[0].actions) == [("Taint", "od1")]


def test_a_pool_that_was_interrupted_is_avoided_for_a_while() -> None:
    made = Cluster(
        od1={}, spot1={"taints": (INTERRUPTED,)}, spot2={"labels": {"node.kubernetes.io/instance-type": "spot1"}}
    )
    service(made, "web", "od1", "od1")
    _, memory = made.plan(max_pool_share=1.0)
    made.snapshot.remove_node("spot1")
    assert reasons(made.plan(memory, NOW + 60, max_pool_share=1.0)[0]) == {"NoRoom"}
    assert made.plan(memory, NOW + 1861, max_pool_share=1.0)[0].actions


@pytest.mark.parametrize("what", ["protected", "no room", "too late"])
def test_a_drain_that_cannot_be_ended_leaves_no_taint_and_is_not_tried_again_at_once(what: str) -> None:
    made = Cluster(od1={"taints": (OURS,)}, spot1={}, spot2={})
    service(made, "web", "od1", "od1")
    now = NOW
    if what == "protected":
        made.pod("late-0", "od1", annotations={DO_NOT_DISRUPT: "true"})
    elif what == "no room":
        service(made, "full", "spot1", "spot2", cpu="4")
    else:
        now += 3601
    plan, memory = made.plan(now=now)
    assert [(type(each), each.reason.code) for each in plan.actions] == [(Untaint, "DrainFailed")]
    made.taint("od1")
    for name in ("late-0", "full-0", "full-1"):
        made.snapshot.remove_pod(f"default/{name}")
    assert reasons(made.plan(memory, now + 60)[0]) == {"TriedBefore"}
    assert made.plan(memory, now + 601)[0].actions


def test_new_pods_are_made_to_prefer_spot_as_long_as_there_is_any() -> None:
    made = Cluster(od1={}, od2={}, spot1={})
    plan, _ = made.plan(prefer_spot=True)
    assert [(each.target.name, each.key, each.effect) for each in plan.actions if isinstance(each, Taint)] == [
        (name, PREFER_SPOT, "PreferNoSchedule") for name in ("od1", "od2")
    ]
    made.carry_out(plan.actions)
    assert made.plan(prefer_spot=True)[0].actions == ()
    made.snapshot.remove_node("spot1")
    assert kinds(made.plan(prefer_spot=True)[0].actions) == [("Untaint", "od1"), ("Untaint", "od2")]


def test_control_plane_nodes_are_relieved_of_what_fits_elsewhere() -> None:
    made = Cluster(od1={"labels": {"node-role.kubernetes.io/control-plane": ""}}, spot1={"cpu": "2"})
    service(made, "web", "od1", "od1", "od1", "od1")
    plan, _ = made.plan(goal="Relieve", prefer_spot=True)
    assert (kinds(plan.actions), len(plan.later)) == ([("Taint", "od1")], 2)
    made.carry_out(plan.actions)
    plan, _ = made.plan(goal="Relieve", prefer_spot=True)
    assert kinds(plan.actions) == [("Evict", "web-0"), ("Evict", "web-1")]


# -- what must hold of any cluster -------------------------------------------------------------------------------------

pods_of_it = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 7), st.integers(1, 4), st.sampled_from([None, "true", "5m"])),
    max_size=24,
)


def random_cluster(drawn: Sequence[tuple[str, int, int, str | None]], pools: int) -> Cluster:
    """Four nodes of each kind; a pod that does not fit where it was drawn to be is left out."""
    made = Cluster()
    for number in range(4):
        made.add(f"od{number}", price=1.0 + number)
        zone = {"node.kubernetes.io/instance-type": "m", "topology.kubernetes.io/zone": str(number % pools)}
        made.add(f"spot{number}", labels=zone)
    for number, (name, on, cpu, hold) in enumerate(drawn):
        if made.snapshot.free()[0, on] >= cpu * 1000:
            annotations = {} if hold is None else {DO_NOT_DISRUPT: hold}
            made.pod(f"{name}-{number}", made.snapshot.nodes.names[on], cpu=str(cpu), annotations=annotations)
    return made


@settings(max_examples=25, deadline=None)
@given(pods_of_it, st.integers(1, 4), st.sets(st.integers(0, 3)))
def test_every_step_is_feasible_and_planning_ends(
    drawn: Sequence[tuple[str, int, int, str | None]], pools: int, interrupted: set[int]
) -> None:
    """Step by step: what is evicted is not protected and has a place, on spot unless its node is going; then all is at rest."""
    made = random_cluster(drawn, pools)
    for number in interrupted:
        made.taint(f"spot{number}", INTERRUPTED)
    memory, now, kept = SpotReschedulerMemory(), NOW, money_of(made)
    for _ in range(40):
        raw = checkpoint(LoopMemory({"spot-rescheduler": memory}))
        again = restore(raw, {"spot-rescheduler": SpotRescheduler()}).policies["spot-rescheduler"]
        plan, after = made.plan(memory, now)
        assert made.plan(again, now)[0] == plan  # a restart changes nothing
        if not plan.actions:
            break
        made.carry_out(plan.actions)
        memory, now = after, now + 1
    else:
        raise AssertionError("it does not come to rest")
    assert interrupted or money_of(made) <= kept
    plan, _ = made.plan(after, now + 10_000)  # held nodes are given back, and nothing of ours is left on others
    made.carry_out([each for each in plan.actions if isinstance(each, Untaint)])
    left = [name for name, each in made.nodes.items() if OURS.key in {taint.key for taint in each.spec.taints}]
    assert not left


def money_of(made: Cluster) -> float:
    """Of on-demand nodes with pods."""
    nodes = made.snapshot.nodes
    return sum(
        float(nodes.price[row])
        for row in nodes.indices().tolist()
        if nodes.names[row].startswith("od") and any(True for _ in made.snapshot.pods_on(row))
    )
