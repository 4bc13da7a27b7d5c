"""The profile classic decides as the k8s-spot-rescheduler does; its own cases, and the course of a drain."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from tests.builders import node, pod

from neaptide.model import objects as o
from neaptide.model.actions import Action, Evict, Taint, Untaint
from neaptide.model.problems import FieldError
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.place import Placement
from neaptide.policies.arbiter import ArbiterMemory, Budgets, arbitrate
from neaptide.policies.protection import DO_NOT_DISRUPT
from neaptide.policies.spot_rescheduler import SpotRescheduler
from neaptide.policies.spot_rescheduler_classic import (
    FILTERS_ONLY,
    SpotNodes,
    dearest_first,
    in_order,
    pod_cpu,
    requested_cpu,
)
from neaptide.policies.spot_rescheduler_nodes import TAINT, kind_of, kinds
from neaptide.policies.spot_rescheduler_spec import SpotReschedulerMemory, SpotReschedulerSpec, label_problem

NOW = 1_800_000_000.0
CLASSIC: dict[str, Any] = {"profile": "classic"}
ON_DEMAND = {"kubernetes.io/role": "worker"}
SPOT = {"kubernetes.io/role": "spot-worker"}
GREEDY = Budgets(evictions_per_node=99, evictions_per_workload_percent=100, evictions_per_workload_per_hour=99)


def cluster(
    nodes: Mapping[str, tuple[int, Sequence[int]]], labels: Mapping[str, dict[str, str]] | None = None
) -> ClusterSnapshot:
    """Nodes of so many milli-CPU and 2Gi, with pods that ask for so many; `n1-100` is a pod of 100m on n1."""
    snapshot = ClusterSnapshot()
    for name, (cpu, pods) in nodes.items():
        made = node(name, cpu=f"{cpu}m", memory="2Gi", pods="100", labels=(labels or {}).get(name, SPOT))
        snapshot.set_node(made)
        for number, amount in enumerate(pods):
            snapshot.set_pod(pod(f"{name}-{amount}-{number}", node=name, cpu=f"{amount}m"))
    return snapshot


def waiting(snapshot: ClusterSnapshot, amounts: Sequence[int]) -> list[int]:
    return [snapshot.set_pod(pod(f"w{number}", cpu=f"{each}m")) for number, each in enumerate(amounts)]


def rows(snapshot: ClusterSnapshot, *names: str) -> list[int]:
    return [snapshot.nodes.by_name[name] for name in names]


@pytest.mark.parametrize(("cpu", "found"), [(100, "node1"), (200, "node2"), (700, "node3"), (2200, None)])
def test_a_pod_goes_to_the_first_spot_node_that_can_take_it(cpu: int, found: str | None) -> None:
    snapshot = cluster({"node1": (500, (100, 300)), "node2": (1000, (500, 300)), "node3": (2000, (500, 500, 300))})
    (row,) = waiting(snapshot, [cpu])
    place = SpotNodes(Placement(snapshot, FILTERS_ONLY), rows(snapshot, "node1", "node2", "node3")).find(row)
    assert place == (None if found is None else snapshot.nodes.by_name[found])


FULL = {"node1": (500, (100, 300)), "node2": (1100, (500, 300)), "node3": (2000, (500, 500, 300))}


def test_a_node_can_be_drained_when_its_pods_fill_the_spot_nodes_exactly() -> None:
    snapshot = cluster(FULL)
    order = in_order(snapshot, rows(snapshot, "node1", "node2", "node3"), fullest_first=True)
    assert [snapshot.nodes.names[each] for each in order] == ["node3", "node2", "node1"]
    pods = waiting(snapshot, (500, 300, 100, 100, 100))
    before = snapshot.digest()
    with snapshot.what_if():
        moves = SpotNodes(Placement(snapshot, FILTERS_ONLY), order).take(pods)
        assert not isinstance(moves, int)
        places = [snapshot.nodes.names[move.node] for move in moves]
    assert places == ["node3", "node2", "node3", "node3", "node1"]
    assert snapshot.digest() == before  # planning changes a copy, as it were


def test_a_node_cannot_be_drained_when_one_pod_finds_no_place() -> None:
    snapshot = cluster(FULL)
    order = in_order(snapshot, rows(snapshot, "node1", "node2", "node3"), fullest_first=True)
    pods = waiting(snapshot, (500, 400, 100, 100, 100))
    with snapshot.what_if():
        assert SpotNodes(Placement(snapshot, FILTERS_ONLY), order).take(pods) == pods[1]


def test_on_demand_nodes_come_emptiest_first_spot_nodes_fullest_first_and_pods_dearest_first() -> None:
    pods = {"n1": (100, 300), "n2": (500, 300, 400), "n3": (500, 300), "n4": (500, 200, 400, 100, 300)}
    labels = {"n1": ON_DEMAND, "n2": ON_DEMAND}
    snapshot = cluster({name: (2000, amounts) for name, amounts in pods.items()}, labels)
    found = kinds(snapshot, SpotReschedulerSpec(**CLASSIC))
    on_demand = in_order(snapshot, np.flatnonzero(found.on_demand).tolist(), fullest_first=False)
    spot = in_order(snapshot, np.flatnonzero(found.spot).tolist(), fullest_first=True)
    assert [snapshot.nodes.names[each] for each in [*on_demand, *spot]] == ["n1", "n2", "n4", "n3"]
    for each in [*on_demand, *spot]:
        amounts = [pod_cpu(snapshot, one) for one in dearest_first(snapshot, snapshot.pods_on(each))]
        assert amounts == sorted(pods[snapshot.nodes.names[each]], reverse=True)


@pytest.mark.parametrize(("label", "matches"), [("foo", True), ("foo=bar", True), ("foo=baz", False)])
@pytest.mark.parametrize("kind", ["spot", "on demand"])
@pytest.mark.parametrize("profile", ["classic", "default"])
def test_a_label_names_a_key_or_a_key_and_its_value(label: str, matches: bool, kind: str, profile: Any) -> None:
    spec = SpotReschedulerSpec(
        spot_node_label=label if kind == "spot" else "other",
        on_demand_node_label=label if kind != "spot" else "other",
        profile=profile,
    )
    assert (kind_of({"foo": "bar"}, spec) == kind) is matches


def test_a_node_with_both_labels_is_spot() -> None:
    spec = SpotReschedulerSpec("a", "b", **CLASSIC)
    assert kind_of({"a": "", "b": ""}, spec) == "spot"


@pytest.mark.parametrize(
    ("on_demand", "spot", "problem"),
    [
        ("foo.bar/role=worker", "foo.bar/node-role", None),
        (
            "foo.bar/broken=worker=true",
            "foo.bar/node-role",
            "the on demand node label is not correctly formatted: expected FORM, but got foo.bar/broken=worker=true",
        ),
        (
            "foo.bar/role=worker",
            "foo.bar/node-role=spot=fail",
            "the spot node label is not correctly formatted: expected FORM, but got foo.bar/node-role=spot=fail",
        ),
    ],
)
def test_a_label_has_at_most_one_equals_sign(on_demand: str, spot: str, problem: str | None) -> None:
    said = label_problem("on demand", on_demand) or label_problem("spot", spot)
    assert said == (problem and problem.replace("FORM", "'<label_name>' or '<label_name>=<label_value>'"))
    if problem is None:
        SpotReschedulerSpec(on_demand, spot)
    else:
        with pytest.raises(FieldError, match="'<label_name>' or '<label_name>=<label_value>'"):
            SpotReschedulerSpec(on_demand, spot)


@pytest.mark.parametrize(("pods", "sum_of_them"), [((100, 300), 400), ((500, 300), 800), ((500, 500, 300), 1300)])
def test_the_cpu_of_a_node_is_what_its_pods_ask_for(pods: Sequence[int], sum_of_them: int) -> None:
    snapshot = cluster({"n": (2000, pods)})
    assert requested_cpu(snapshot, 0) == sum_of_them


def test_a_pod_that_takes_a_place_leaves_less_of_it() -> None:
    snapshot = cluster({"n": (2000, ())})
    left = []
    for row in waiting(snapshot, (300, 721)):
        snapshot.assign(row, 0)
        left.append((requested_cpu(snapshot, 0), int(snapshot.free()[0, 0])))
    assert left == [(300, 1700), (1021, 979)]


def test_neither_init_containers_nor_overhead_count_as_requested_cpu() -> None:
    snapshot = cluster({"n": (2000, ())})
    big = o.Container(name="init", resources=o.Resources(requests={"cpu": "900m"}))
    row = snapshot.set_pod(pod("p", node="n", cpu="100m", spec={"init_containers": (big,), "overhead": {"cpu": "50m"}}))
    assert pod_cpu(snapshot, row) == 100


# -- the course of a drain ---------------------------------------------------------------------------------------------

LABELS = {"od1": ON_DEMAND, "od2": ON_DEMAND}
PAIR = {"od1": (2000, (300, 100)), "od2": (2000, (100,)), "spot": (2000, (500,))}


def decide(
    snapshot: ClusterSnapshot, memory: SpotReschedulerMemory | None = None, now: float = NOW, **settings: Any
) -> tuple[list[Action], SpotReschedulerMemory, list[str]]:
    spec = SpotReschedulerSpec(**(CLASSIC | settings))
    plan, after = SpotRescheduler().plan(snapshot, spec, memory or SpotReschedulerMemory(), now)
    return list(plan.actions), after, [each.reason.code for each in plan.declined]


def tainted(snapshot: ClusterSnapshot, name: str, value: str = f"spot-rescheduler.{int(NOW)}") -> None:
    snapshot.set_node(
        node(
            name, cpu="2", memory="2Gi", pods="100", labels=LABELS[name], taints=(o.Taint(TAINT, value, "NoSchedule"),)
        )
    )


def test_the_emptiest_on_demand_node_is_marked_first_and_only_that_one() -> None:
    snapshot = cluster(PAIR, LABELS)
    plan, _ = SpotRescheduler().plan(snapshot, SpotReschedulerSpec(**CLASSIC), SpotReschedulerMemory(), NOW)
    (taint,) = plan.actions
    assert isinstance(taint, Taint)
    assert (taint.target.name, taint.key, taint.effect) == ("od2", "neaptide.io/spot-rescheduling", "NoSchedule")
    assert taint.value == "spot-rescheduler.1800000000"
    (evict,) = plan.later
    assert isinstance(evict, Evict)
    assert (evict.target.name, evict.node, evict.grace_seconds) == ("od2-100-0", "od2", 120.0)


def test_all_pods_of_a_marked_node_are_evicted_at_once_and_again_until_they_have_left() -> None:
    snapshot = cluster(PAIR, LABELS)
    tainted(snapshot, "od1")
    for later in (0, 10, 119):
        actions, *_ = decide(snapshot, now=NOW + later)
        assert [each.target.name for each in actions] == ["od1-300-0", "od1-100-1"]
    assert decide(snapshot, now=NOW + 121)[0] == []  # what was asked for last may still come true


@pytest.mark.parametrize(("left", "after", "code"), [(True, 30.0, "Drained"), (False, 126.0, "DrainFailed")])
def test_the_taint_goes_and_there_is_a_pause_however_a_drain_ends(left: bool, after: float, code: str) -> None:
    snapshot = cluster(PAIR, LABELS)
    tainted(snapshot, "od2")
    if left:
        snapshot.remove_pod("default/od2-100-0")
    (action,), memory, _ = decide(snapshot, now=NOW + after)
    assert isinstance(action, Untaint)
    assert (action.target.name, action.key, action.reason.code) == ("od2", TAINT, code)
    snapshot.set_node(node("od2", cpu="2", memory="2Gi", labels=ON_DEMAND))
    assert decide(snapshot, memory, NOW + after + 599)[0] == []
    assert decide(snapshot, memory, NOW + after + 601)[0] != []


STAYING: dict[str, tuple[dict[str, Any], dict[str, Any], str | None]] = {
    "no controller": ({"owner": None}, {}, "NotReplicated"),
    "no controller, but is safe to evict": (
        {"owner": None, "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}},
        {},
        None,
    ),
    "no controller, and the flag allows it": ({"owner": None}, {"delete_non_replicated_pods": True}, None),
    "protection": ({"annotations": {DO_NOT_DISRUPT: "true"}}, {}, "DoNotDisrupt"),
}


@pytest.mark.parametrize(("extra", "settings", "code"), STAYING.values(), ids=STAYING)
def test_a_node_is_left_alone_as_a_whole_for_a_pod_with(
    extra: dict[str, Any], settings: dict[str, Any], code: str | None
) -> None:
    snapshot = cluster({"od1": (2000, (100,)), "spot": (2000, ())}, LABELS)
    snapshot.set_pod(pod("special", node="od1", cpu="100m", **extra))
    actions, _, declined = decide(snapshot, **settings)
    assert (len(actions), declined) == ((1, []) if code is None else (0, [code]))
    if code is None:
        tainted(snapshot, "od1")
        actions, *_ = decide(snapshot, **settings)
        granted, _ = arbitrate(
            [SpotRescheduler().plan(snapshot, SpotReschedulerSpec(**(CLASSIC | settings)), SpotReschedulerMemory(), NOW)[0]],
            snapshot, GREEDY, ArbiterMemory(), NOW,
        )  # fmt: skip
        assert {each.target.name for each in granted} == {"special", "od1-100-0"}


def test_pods_of_daemon_sets_and_static_pods_are_neither_moved_nor_waited_for() -> None:
    snapshot = cluster({"od1": (2000, ()), "spot": (2000, ())}, LABELS)
    snapshot.set_pod(pod("agent", node="od1", cpu="100m", owner=("DaemonSet", "agent")))
    snapshot.set_pod(pod("proxy-od1", node="od1", cpu="100m", owner=None))
    assert decide(snapshot)[0] == []
    tainted(snapshot, "od1")
    (action,), *_ = decide(snapshot)
    assert action.reason.code == "Drained"


def test_nothing_is_begun_while_any_pod_finds_no_node() -> None:
    snapshot = cluster(PAIR, LABELS)
    snapshot.set_pod(pod("large", cpu="64"))
    actions, _, declined = decide(snapshot)
    assert (actions, declined) == ([], ["Unschedulable"])


@pytest.mark.parametrize("how", ["cordoned", "not ready"])
@pytest.mark.parametrize("which", ["od2", "spot"])
def test_nodes_that_are_cordoned_or_not_ready_are_neither_source_nor_target(how: str, which: str) -> None:
    snapshot = cluster({"od2": (2000, (100,)), "spot": (2000, ())}, LABELS)
    made = node(which, cpu="2", memory="2Gi", labels=LABELS.get(which, SPOT), unschedulable=how == "cordoned")
    if how == "not ready":
        status = o.NodeStatus(made.status.allocatable, made.status.capacity, (o.NodeCondition("Ready", "False"),))
        made = o.Node(made.metadata, made.spec, status)
    snapshot.set_node(made)
    assert decide(snapshot)[0] == []


def test_memory_and_taints_count_as_a_scheduler_counts_them() -> None:
    snapshot = cluster({"od1": (2000, ()), "spot": (2000, ())}, LABELS)
    snapshot.set_pod(pod("p", node="od1", cpu="100m", memory="3Gi"))
    assert decide(snapshot)[2] == ["NoRoom"]


def test_a_protected_pod_that_comes_between_mark_and_eviction_ends_the_drain() -> None:
    snapshot = cluster({"od1": (2000, (100,)), "spot": (2000, ())}, LABELS)
    tainted(snapshot, "od1")
    snapshot.set_pod(pod("late", node="od1", annotations={DO_NOT_DISRUPT: "true"}))
    (action,), *_ = decide(snapshot)
    assert isinstance(action, Untaint)


def test_a_taint_of_unknown_age_is_an_orphan_and_goes() -> None:
    snapshot = cluster({"od1": (2000, (100,)), "spot": (2000, ())}, LABELS)
    tainted(snapshot, "od1", value="whoever")
    (action,), *_ = decide(snapshot)
    assert isinstance(action, Untaint)


def test_a_pass_waits_for_its_interval() -> None:
    snapshot = cluster(PAIR, LABELS)
    _, memory, _ = decide(snapshot, housekeeping_interval_seconds=10.0)
    assert decide(snapshot, memory, NOW + 9, housekeeping_interval_seconds=10.0)[0] == []
    assert decide(snapshot, memory, NOW + 10, housekeeping_interval_seconds=10.0)[0] != []
