"""The snapshot: changes cost what they change, what-if leaves no trace, columns equal a rebuild."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import node, pod

from neaptide.model import derived
from neaptide.model.columns import NO_NODE, ORPHAN, Longs
from neaptide.model.objects import Metadata, Node, OwnerReference, PriorityClass, Taint, Toleration, Workload
from neaptide.model.problems import FieldError
from neaptide.model.qos import Band
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.vocabulary import CPU, PODS

NODES = [f"n{number}" for number in range(4)]
PODS_NAMES = [f"p{number}" for number in range(6)]


def state(snapshot: ClusterSnapshot) -> dict[str, Any]:
    """Every byte that can be read from a snapshot, apart from the log of changed nodes."""
    tables = (snapshot.nodes, snapshot.pods, snapshot.classes, snapshot.shapes, snapshot.workloads.columns)
    plain = [
        {name: part for name, part in vars(table).items() if not isinstance(part, np.ndarray) and name != "_undo"}
        for table in tables
    ]
    interned = [snapshot.label_sets.values, snapshot.annotation_sets.values, snapshot.taint_sets.values]
    return {
        "columns": [table.contents() for table in tables],
        "plain": copy.deepcopy(plain),
        "interned": copy.deepcopy(interned),
        "resources": list(snapshot.resources),
        "refs": list(snapshot.workloads.refs),
        "others": copy.deepcopy(snapshot.others),
    }


def meaning(snapshot: ClusterSnapshot) -> dict[str, Any]:
    """What a snapshot says, whatever the order of its rows."""
    nodes, pods = snapshot.nodes, snapshot.pods
    said: dict[str, Any] = {}
    for row in nodes.indices():
        amounts = {
            name: (int(nodes.allocatable[r, row]), int(nodes.used[r, row])) for r, name in enumerate(snapshot.resources)
        }
        said[nodes.names[row]] = (
            {name: both for name, both in amounts.items() if any(both)},
            nodes.scoring[:, row].tolist(),
            bool(nodes.unschedulable[row]),
            snapshot.node_labels(row),
            snapshot.node_taints(row),
            {pods.keys[each] for each in snapshot.pods_on(row)},
        )
    for row in pods.indices():
        place = int(pods.node[row])
        said[pods.keys[row]] = (
            nodes.names[place] if place >= 0 else place,
            snapshot.pod_labels(row),
            snapshot.shape_of_pod(row).requests,
            int(pods.priority[row]),
            str(snapshot.workload_of(row)),
        )
    return said


some_node = st.builds(
    lambda name, cpu, gpu, taint, off: node(
        name,
        cpu=cpu,
        resources={"nvidia.com/gpu": "2"} if gpu else {},
        taints=(Taint("t", "", "NoSchedule"),) if taint else (),
        unschedulable=off,
    ),
    st.sampled_from(NODES),
    st.sampled_from(["1", "2500m", "8"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
some_pod = st.builds(
    lambda name, where, cpu, label, phase, gpu: pod(
        name,
        node=where,
        labels={"app": label},
        phase=phase,
        cpu=cpu,
        **({"nvidia.com/gpu": "1"} if gpu else {}),  # type: ignore[arg-type] # a resource's name is no identifier
    ),
    st.sampled_from(PODS_NAMES),
    st.sampled_from(["", *NODES]),
    st.sampled_from(["0", "100m", "1"]),
    st.sampled_from("ab"),
    st.sampled_from(["Running", "Succeeded", "Unknown"]),
    st.booleans(),
)
Change = Callable[[ClusterSnapshot], object]
changes: st.SearchStrategy[list[tuple[str, Any]]] = st.lists(
    st.one_of(
        some_node.map(lambda each: ("set", each)),
        some_pod.map(lambda each: ("set", each)),
        st.sampled_from(NODES).map(lambda name: ("remove", ("Node", name, ""))),
        st.sampled_from(PODS_NAMES).map(lambda name: ("remove", ("Pod", name, "default"))),
        st.tuples(st.integers(0, 5), st.integers(0, 3)).map(lambda rows: ("move", rows)),
        st.integers(0, 3).map(lambda row: ("cordon", row)),
        st.integers(0, 3).map(lambda row: ("price", row)),
    ),
    max_size=25,
)


def apply(snapshot: ClusterSnapshot, change: tuple[str, Any]) -> None:
    verb, what = change
    nodes, pods = snapshot.nodes.indices(), snapshot.pods.indices()
    if verb == "set":
        snapshot.set(what)
    elif verb == "remove":
        snapshot.remove(*what)
    elif verb == "move" and len(nodes) and len(pods):
        moved = int(pods[what[0] % len(pods)])
        if snapshot.pods.phase[moved] in (2, 3):
            return
        snapshot.unassign(moved)
        snapshot.assign(moved, int(nodes[what[1] % len(nodes)]))
    elif verb == "cordon" and len(nodes):
        snapshot.set_cordon(int(nodes[what % len(nodes)]), unschedulable=True)
    elif verb == "price" and len(nodes):
        snapshot.set_price(int(nodes[what % len(nodes)]), 0.5)
        snapshot.set_node_usage(int(nodes[what % len(nodes)]), 1.0, 2.0, 3.0)


@given(changes, changes, changes)
def test_what_if_leaves_every_byte_as_it_was(
    before: list[tuple[str, Any]], inside: list[tuple[str, Any]], nested: list[tuple[str, Any]]
) -> None:
    snapshot = ClusterSnapshot()
    for change in before:
        apply(snapshot, change)
    first = state(snapshot)
    with snapshot.what_if():
        for change in inside:
            apply(snapshot, change)
        second = state(snapshot)
        with snapshot.what_if():
            for change in nested:
                apply(snapshot, change)
        assert state(snapshot) == second
    assert state(snapshot) == first


BUILT: dict[str, Callable[[ClusterSnapshot], Any]] = {
    derived.NODES: lambda snapshot: (
        snapshot.nodes.names[:],
        snapshot.nodes.uids[:],
        {
            name: content
            for name, content in snapshot.nodes.contents().items()
            if not name.startswith("usage_") and name not in ("used", "scoring", "first_pod")
        },
    ),
    derived.PODS: lambda snapshot: (
        snapshot.pods.keys[:],
        snapshot.pods.uids[:],
        {name: content for name, content in snapshot.pods.contents().items() if not name.startswith("usage_")},
        [snapshot.nodes.contents()[name] for name in ("used", "scoring", "first_pod")],
    ),
    derived.CLASSES: lambda snapshot: (snapshot.classes.contents(), len(snapshot.shape_facts)),
    derived.USAGE: lambda snapshot: [
        column[: table.rows][table.alive[: table.rows]].tobytes()
        for table in (snapshot.nodes, snapshot.pods)
        for column in (table.usage_cpu, table.usage_memory)
    ],
    derived.OBJECTS: lambda snapshot: (
        {kind: dict(known) for kind, known in snapshot.others.items() if known},
        snapshot.workloads.refs[:],
        snapshot.workloads.columns.contents(),
    ),
}
"""What each table of a snapshot says, as far as it could be derived from."""


@given(changes, changes)
def test_what_was_derived_from_a_table_is_never_that_of_an_earlier_state(
    sequence: list[tuple[str, Any]], tried: list[tuple[str, Any]]
) -> None:
    snapshot = ClusterSnapshot()

    def holds() -> None:
        for table, build in BUILT.items():
            tables = (derived.PODS, table) if table == derived.USAGE else (table,)
            assert snapshot.derived.of(table, tables, partial(build, snapshot)) == build(snapshot)

    for change in sequence:
        holds()
        apply(snapshot, change)
        holds()
        with snapshot.what_if():
            for each in tried[:3]:
                apply(snapshot, each)
                holds()
        holds()


@given(changes)
def test_columns_equal_a_rebuild_after_any_changes(sequence: list[tuple[str, Any]]) -> None:
    snapshot = ClusterSnapshot()
    objects: dict[tuple[str, str], Any] = {}
    for verb, what in sequence:
        if verb == "set":
            snapshot.set(what)
            objects[type(what).__name__, what.metadata.name] = what
        elif verb == "remove":
            snapshot.remove(*what)
            objects.pop(what[:2], None)
    rebuilt = ClusterSnapshot()
    rebuilt.add_pods([each for (kind, _), each in objects.items() if kind == "Pod"])
    for (kind, _), each in objects.items():
        if kind == "Node":
            rebuilt.set(each)
    assert meaning(snapshot) == meaning(rebuilt)
    again = ClusterSnapshot()
    for (kind, _), each in objects.items():
        if kind == "Node":
            again.set(each)
    again.add_pods([each for (kind, _), each in objects.items() if kind == "Pod"])
    assert meaning(snapshot) == meaning(again)


@given(changes)
def test_what_nodes_have_used_is_the_sum_of_their_pods_and_never_negative(sequence: list[tuple[str, Any]]) -> None:
    snapshot = ClusterSnapshot()
    for change in sequence:
        apply(snapshot, change)
        assert (snapshot.nodes.used >= 0).all()
        for row in snapshot.nodes.indices():
            on = list(snapshot.pods_on(row))
            assert snapshot.nodes.used[:, row].tolist() == snapshot.pod_requests(on).sum(axis=1).tolist()
            assert (snapshot.pods.node[on] == row).all()


@given(changes)
def test_a_reader_that_refreshes_only_the_logged_rows_sees_the_present(sequence: list[tuple[str, Any]]) -> None:
    snapshot = ClusterSnapshot()
    seen, position = snapshot.nodes.used.copy(), 0
    for change in sequence:
        with snapshot.what_if():
            apply(snapshot, change)
            seen, position = refreshed(snapshot, seen, position)
            assert (seen == snapshot.nodes.used).all()
        seen, position = refreshed(snapshot, seen, position)
        assert (seen == snapshot.nodes.used).all()
        apply(snapshot, change)


def refreshed(snapshot: ClusterSnapshot, seen: Longs, position: int) -> tuple[Longs, int]:
    """A reader's copy of `used` after it caught up with the log of changed nodes."""
    if seen.shape != snapshot.nodes.used.shape:
        return snapshot.nodes.used.copy(), len(snapshot.changed_nodes)
    rows = snapshot.changed_nodes[position:]
    seen[:, rows] = snapshot.nodes.used[:, rows]
    return seen, len(snapshot.changed_nodes)


def test_a_pod_waits_for_a_node_that_is_not_known_and_counts_when_it_comes() -> None:
    snapshot = ClusterSnapshot()
    row = snapshot.set_pod(pod("p", node="late", cpu="1"))
    assert snapshot.pods.node[row] == ORPHAN
    late = snapshot.set_node(node("late"))
    assert snapshot.pods.node[row] == late
    assert snapshot.nodes.used[CPU, late] == 1000
    assert snapshot.nodes.used[PODS, late] == 1


def test_a_finished_pod_counts_nowhere() -> None:
    snapshot = ClusterSnapshot()
    row = snapshot.set_node(node("n"))
    done = snapshot.set_pod(pod("p", node="n", cpu="1", phase="Succeeded"))
    assert snapshot.pods.node[done] == NO_NODE
    assert snapshot.nodes.used[:, row].sum() == 0


def test_pods_of_one_workload_share_a_class_and_a_toleration_makes_another() -> None:
    snapshot = ClusterSnapshot()
    a, b = (snapshot.set_pod(pod(name, cpu="1", labels={"app": "x"})) for name in "ab")
    c = snapshot.set_pod(pod("c", cpu="1", labels={"app": "x"}, spec={"tolerations": (Toleration("t", "Exists"),)}))
    d = snapshot.set_pod(pod("d", cpu="1", labels={"app": "y"}))
    classes = snapshot.pods.cls
    assert classes[a] == classes[b] != classes[c]
    assert classes[d] != classes[a]
    assert snapshot.classes.shape[classes[d]] == snapshot.classes.shape[classes[a]]


def test_the_owner_chain_leads_to_the_deployment_with_and_without_the_replica_set() -> None:
    snapshot = ClusterSnapshot()
    by_hash = snapshot.set_pod(pod("a", labels={"pod-template-hash": "5d9f"}, owner=("ReplicaSet", "web-5d9f")))
    assert str(snapshot.workload_of(by_hash)) == "Deployment default/web"
    owner = OwnerReference(kind="CloneSet", name="clones", controller=True)
    snapshot.set(Workload("ReplicaSet", Metadata(name="web-5d9f", owner_references=(owner,))))
    assert str(snapshot.workload_of(by_hash)) == "CloneSet default/clones"
    bare = snapshot.set_pod(pod("b", owner=None))
    assert snapshot.workload_of(bare) is None
    assert snapshot.workloads.roots().tolist() == [
        snapshot.workloads.root(row) for row in range(snapshot.workloads.columns.rows)
    ]


def test_owners_in_a_circle_are_refused() -> None:
    snapshot = ClusterSnapshot()
    snapshot.set(
        Workload("Job", Metadata(name="a", owner_references=(OwnerReference("CronJob", "b", controller=True),)))
    )
    with pytest.raises(FieldError, match="ownerReferences"):
        snapshot.set(
            Workload("CronJob", Metadata(name="b", owner_references=(OwnerReference("Job", "a", controller=True),)))
        )


def test_a_priority_comes_from_the_pod_else_its_class_else_the_default_class() -> None:
    snapshot = ClusterSnapshot()
    snapshot.set(PriorityClass(Metadata(name="koord-batch"), value=5500))
    snapshot.set(PriorityClass(Metadata(name="usual"), value=7000, global_default=True))
    named = snapshot.set_pod(pod("a", spec={"priority_class_name": "koord-batch"}))
    default = snapshot.set_pod(pod("b"))
    own = snapshot.set_pod(pod("c", spec={"priority": 9500}))
    assert snapshot.pods.priority[[named, default, own]].tolist() == [5500, 7000, 9500]
    assert snapshot.pods.band[[named, default, own]].tolist() == [Band.BATCH, Band.MID, Band.PROD]


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (Node(Metadata(name="n")), "status.allocatable"),
        (node("n", cpu="-1"), "status.allocatable[cpu]"),
        (node("n", taints=(Taint("t", "", "Never"),)), "spec.taints.effect"),
        (pod("p", cpu="-1"), "[cpu]"),
        (pod("p", cpu="many"), "[cpu]"),
        (pod("p", spec={"tolerations": (Toleration("t", "Maybe"),)}), "tolerations"),
        (pod("p", node="n", started="yesterday"), "timestamp"),
    ],
)
def test_what_cannot_be_used_is_refused_by_field_and_changes_nothing(bad: Any, field: str) -> None:
    snapshot = ClusterSnapshot()
    snapshot.set(node("other"))
    before = meaning(snapshot)
    with pytest.raises(FieldError) as caught:
        snapshot.set(bad)
    assert field in caught.value.field
    assert meaning(snapshot) == before


def test_the_digest_changes_with_what_runs_where() -> None:
    snapshot = ClusterSnapshot()
    snapshot.set(node("n"))
    row = snapshot.set_pod(pod("p", cpu="1"))
    before = snapshot.digest()
    with snapshot.what_if():
        snapshot.assign(row, 0)
        assert snapshot.digest() != before
    assert snapshot.digest() == before
