"""Hot nodes are relieved: when, of whom, to where; and what must hold of any cluster."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import node, pod

from neaptide.model import objects as o
from neaptide.model.actions import Evict, Plan
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.protection import DO_NOT_DISRUPT
from neaptide.policies.relieve import Relieve, RelieveMemory, RelieveSpec
from neaptide.policies.relieve_nodes import Percents

NOW = 1_800_000_000.0
AT_ONCE = {"consecutive_abnormalities": 0}
GI = 2**30
BATCH = {"koordinator.sh/priority-class": "koord-batch"}
Pods = dict[str, tuple[str, float]]
"""By pod: its node, and the CPUs that it uses."""


def cluster(pods: Pods, *, nodes: int = 3, age: float = 10.0, extra: dict[str, Any] | None = None) -> ClusterSnapshot:
    """Nodes n0, n1, ... of 10 CPUs and 10 GiB; `extra` goes to the pod `special`."""
    snapshot = ClusterSnapshot()
    for number in range(nodes):
        snapshot.set_node(node(f"n{number}", cpu="10", memory="10Gi"))
    for name, (on, cpu) in pods.items():
        given = {"cpu": "1", "memory": "1Gi"} | ((extra or {}) if name.startswith("special") else {})
        row = snapshot.set_pod(pod(name, node=on, **given))
        snapshot.set_pod_usage(row, cpu * 1000, 0.1 * GI)
    measure(snapshot, NOW - age)
    return snapshot


def measure(snapshot: ClusterSnapshot, time: float) -> None:
    """Nodes use what their pods use."""
    for row in snapshot.nodes.indices().tolist():
        pods = list(snapshot.pods_on(row))
        cpu, memory = (float(each[pods].sum()) for each in (snapshot.pods.usage_cpu, snapshot.pods.usage_memory))
        snapshot.set_node_usage(row, cpu, memory, time)


def decide(snapshot: ClusterSnapshot, **settings: Any) -> Plan:
    return Relieve().plan(snapshot, RelieveSpec(**(AT_ONCE | settings)), RelieveMemory(), NOW)[0]


def names(plan: Plan) -> list[str]:
    assert all(isinstance(action, Evict) for action in plan.actions)
    return [action.target.name for action in plan.actions]


HOT: Pods = {"a": ("n0", 3.0), "b": ("n0", 2.5), "c": ("n0", 1.5), "d": ("n1", 1.0)}
CASES: dict[str, tuple[ClusterSnapshot, dict[str, Any], list[str], set[str]]] = {
    "of equals the pod that uses most, until the node is below its threshold": (cluster(HOT), {}, ["a"], set()),
    "offline work goes first": (
        cluster(HOT | {"special": ("n0", 0.5)}, extra={"labels": BATCH}),
        {},
        ["special", "a"],
        set(),
    ),
    "nothing while no node is hot": (cluster({"a": ("n0", 6.5)}), {}, [], set()),
    "nothing while no node has room": (
        cluster({"a": ("n0", 4.0), "b": ("n0", 3.0), "c": ("n1", 5.0), "d": ("n2", 5.0)}),
        {},
        [],
        {"NoRoom"},
    ),
    "nothing unless enough nodes have room": (cluster(HOT), {"number_of_nodes": 2}, [], {"NoRoom"}),
    "a target stays below its own high threshold, and the smaller pod is moved": (
        cluster({"a": ("n0", 6.0), "b": ("n0", 2.0), "c": ("n1", 2.0)}, nodes=2),
        {},
        ["b"],
        set(),
    ),
    "one that fits nowhere stays": (
        cluster({"special": ("n0", 7.0)}, extra={"spec": {"node_selector": {"kubernetes.io/hostname": "n0"}}}),
        {"high_thresholds": Percents(cpu=65.0, memory=80.0)},
        [],
        {"NothingFits"},
    ),
    "old measurements say nothing": (cluster(HOT, age=181.0), {}, [], set()),
    "not more than so many pods of a node": (
        cluster({f"p{number}": ("n0", 1.0) for number in range(10)}),
        {"max_per_node": 3},
        ["p0", "p1", "p2"],
        set(),
    ),
    "thresholds around the mean": (
        cluster(HOT),
        {
            "use_deviation_thresholds": True,
            "low_thresholds": Percents(cpu=10.0),
            "high_thresholds": Percents(cpu=20.0),
        },
        ["a"],
        set(),
    ),
    "what prod pods use can have thresholds of its own": (
        cluster(HOT | {"special": ("n0", 0.0)}, extra={"labels": BATCH}),
        {
            "low_thresholds": Percents(cpu=80.0),
            "high_thresholds": Percents(cpu=90.0),
            "prod_low_thresholds": Percents(cpu=30.0),
            "prod_high_thresholds": Percents(cpu=50.0),
        },
        ["a"],
        set(),
    ),
}


@pytest.mark.parametrize(("snapshot", "settings", "moved", "codes"), CASES.values(), ids=CASES)
def test_who_leaves(snapshot: ClusterSnapshot, settings: dict[str, Any], moved: list[str], codes: set[str]) -> None:
    plan = decide(snapshot, **settings)
    assert names(plan) == moved
    assert {each.reason.code for each in plan.declined} == codes


def test_what_is_out_of_scope_counts_and_stays() -> None:
    settings, memory = RelieveSpec(consecutive_abnormalities=0), RelieveMemory()
    plan, _ = Relieve().plan(cluster(HOT), settings, memory, NOW, lambda ref: ref.name != "a")
    assert names(plan) == ["b"]


def test_the_reason_names_the_node_its_use_and_where_there_is_room() -> None:
    (action,) = decide(cluster(HOT)).actions
    assert action.reason.message == "node n0: pods use 70 % of its cpu, above 65 %; n2 has room for the pod"


STAYING: dict[str, dict[str, Any]] = {
    "protected": {"annotations": {DO_NOT_DISRUPT: "true"}},
    "of a DaemonSet": {"owner": ("DaemonSet", "agent")},
    "bare": {"owner": None},
    "bare, and safe to evict, for nobody would start it elsewhere": {
        "owner": None,
        "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"},
    },
    "critical to the system": {"spec": {"priority": 2_000_001_000}},
    "held by a disruption budget": {"labels": {"app": "held"}},
}


@pytest.mark.parametrize("extra", STAYING.values(), ids=STAYING)
def test_a_pod_stays_that_is(extra: dict[str, Any]) -> None:
    snapshot = cluster({"special": ("n0", 4.0), "a": ("n0", 3.0)}, extra=extra)
    selector = o.LabelSelector({"app": "held"})
    snapshot.set(
        o.PodDisruptionBudget(o.Metadata(name="b", namespace="default"), o.DisruptionBudgetSpec(selector=selector))
    )
    assert names(decide(snapshot)) == ["a"]


def test_a_node_must_be_hot_in_a_row_and_calm_in_a_row() -> None:
    policy, spec, memory = Relieve(), RelieveSpec(), RelieveMemory()
    snapshot = cluster(HOT)
    seen: list[int] = []
    for look in range(7):
        measure(snapshot, NOW + 60 * look)
        plan, memory = policy.plan(snapshot, spec, memory, NOW + 60 * look)
        seen.append(len(plan.actions))
        again, memory = policy.plan(snapshot, spec, memory, NOW + 60 * look + 1)  # the same measurement counts once
        assert not again.actions
    assert seen == [0, 0, 0, 0, 0, 1, 0]
    assert memory.nodes["n0"].hot == 1
    snapshot.set_pod_usage(snapshot.pods.by_key["default/a"], 0.0, 0.0)
    for look in range(7, 11):
        measure(snapshot, NOW + 60 * look)
        _, memory = policy.plan(snapshot, spec, memory, NOW + 60 * look)
    assert not memory.nodes


@pytest.mark.parametrize(
    "settings",
    [
        {"low_thresholds": Percents(cpu=70.0)},
        {"low_thresholds": Percents(cpu=70.0), "high_thresholds": Percents(cpu=60.0)},
        {"prod_high_thresholds": Percents(cpu=60.0)},
    ],
)
def test_thresholds_come_in_pairs(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="threshold"):
        RelieveSpec(**settings)


uses = st.lists(st.tuples(st.integers(0, 4), st.floats(0.0, 4.0), st.booleans(), st.booleans()), max_size=30)


@given(uses, st.sampled_from([False, True]), st.sampled_from([False, True]))
def test_planning_on_its_own_results_ends(
    uses: list[tuple[int, float, bool, bool]],
    deviation: bool,
    prod: bool,
) -> None:
    """No ping-pong: hot spots only shrink, no target is pushed above its threshold, and nothing protected moves."""
    extra = {"annotations": {DO_NOT_DISRUPT: "true"}, "labels": BATCH}
    pods = {
        f"{'special' if protected else 'p'}{number}": (f"n{on}", use)
        for number, (on, use, protected, _) in enumerate(uses)
    }
    snapshot = cluster(pods, nodes=5, extra=extra)
    pair = (Percents(cpu=10.0), Percents(cpu=10.0)) if deviation else (Percents(cpu=45.0), Percents(cpu=65.0))
    own = (Percents(cpu=40.0), Percents(cpu=50.0)) if prod and not deviation else (Percents(), Percents())
    spec = RelieveSpec(*pair, *own, use_deviation_thresholds=deviation, consecutive_abnormalities=0)
    high = 65.0 if not deviation else min(snapshot.nodes.usage_cpu[:5].sum() / 500 + 10, 100)
    hot, rounds = _excess(snapshot, high), 0
    while actions := Relieve().plan(snapshot, spec, RelieveMemory(), NOW)[0].actions:
        rounds += 1
        assert rounds <= len(uses) * 5
        for action in actions:
            assert isinstance(action, Evict)
            assert action.target.name.startswith("p")
            _carry_out(snapshot, action)
        measure(snapshot, NOW - 10)
        now_hot = _excess(snapshot, high)
        assert (now_hot <= hot + 1e-6).all()
        assert now_hot.sum() < hot.sum() or prod
        hot = now_hot


def _excess(snapshot: ClusterSnapshot, high: float) -> np.ndarray:
    return np.maximum(snapshot.nodes.usage_cpu[:5] - high * 100, 0)


def _carry_out(snapshot: ClusterSnapshot, action: Evict) -> None:
    """The pod comes to the node that the reason says has room."""
    row = snapshot.pods.by_key[f"default/{action.target.name}"]
    assert snapshot.nodes.names[snapshot.pods.node[row]] == action.node
    target = action.reason.message.rpartition("; ")[2].split()[0]
    snapshot.unassign(row)
    snapshot.assign(row, snapshot.nodes.by_name[target])
