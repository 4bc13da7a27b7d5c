"""`neaptide plan`: its stable form, unknown values as null, and what it says of a dump that lacks something."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.builders import node, pod
from tests.cli.clusters import PRICE_LABEL, small_cluster, write_list

from neaptide.cli.app import run
from neaptide.cli.dump import read_dump
from neaptide.cli.plan import document_of
from neaptide.model.actions import DeleteNode, Effect, Evict, Reason, Ref, Suspend, Taint

Captured = pytest.CaptureFixture[str]


def planned(capsys: Captured, path: str, *arguments: str) -> tuple[int, dict[str, Any], str]:
    code = run(["plan", path, "--output", "json", *arguments])
    said = capsys.readouterr()
    return code, json.loads(said.out), said.err


def test_the_form_of_a_plan_is_stable(tmp_path: Path, capsys: Captured) -> None:
    code, document, said = planned(capsys, small_cluster(tmp_path / "dump.json"), "--policy", "reclaim")
    assert (code, said) == (0, "")
    assert document == {
        "money_per_hour": {"now": 2.0, "planned": 2.0, "lower_bound": pytest.approx(1.0)},
        "nodes": {"now": 2, "planned": 2},
        "evictions": 0,
        "actions": [],
        "left_out": [],
    }


def test_what_two_policies_want_of_one_object_is_counted_once(tmp_path: Path) -> None:
    cluster = read_dump(small_cluster(tmp_path / "dump.json"))
    snapshot, why = cluster.snapshot, Reason("Example", "an example")
    for row in snapshot.nodes.indices().tolist():
        snapshot.set_price(row, 1.0)
    target = snapshot.node_ref(snapshot.nodes.by_name["node-a"])
    web = snapshot.pod_ref(snapshot.pods.by_key["default/web-0"])
    gone = Effect(-1.0)
    document = document_of(
        cluster,
        [
            Taint(policy="one", target=target, reason=why, expected=gone, key="drained"),
            *(Evict(policy=name, target=web, reason=why, node="node-a", workload=None) for name in ("one", "two")),
            *(DeleteNode(policy=name, target=target, reason=why, expected=gone) for name in ("two", "three")),
        ],
    )
    assert (document.money_per_hour.now, document.money_per_hour.planned) == (2.0, 1.0)
    assert (document.nodes.planned, document.evictions, len(document.actions)) == (1, 1, 5)


def test_actions_are_rows_and_money_adds_up_unless_one_effect_is_unknown(tmp_path: Path) -> None:
    cluster = read_dump(small_cluster(tmp_path / "dump.json"))
    for row in cluster.snapshot.nodes.indices().tolist():
        cluster.snapshot.set_price(row, 1.0)
    why = Reason("Example", "an example")
    evict = Evict(
        policy="one",
        target=Ref("Pod", "web-0", "default"),
        reason=why,
        expected=Effect(-0.5, 0.25),
        node="a",
        workload=None,
    )
    suspend = Suspend(policy="two", target=Ref("Job", "batch", "default"), reason=why, expected=Effect(None), pods=3)
    document = document_of(cluster, [evict])
    assert (document.money_per_hour.planned, document.evictions) == (1.5, 1)
    assert document.actions[0].kind == "Evict"
    assert document.actions[0].target == "Pod default/web-0"
    assert (document.actions[0].reason, document.actions[0].risk) == ("an example", 0.25)
    unknown = document_of(cluster, [evict, suspend])
    assert (unknown.money_per_hour.now, unknown.money_per_hour.planned) == (2.0, None)
    assert (unknown.evictions, unknown.actions[1].money_per_hour) == (1, None)


def test_yaml_holds_the_same_as_json(tmp_path: Path, capsys: Captured) -> None:
    path = small_cluster(tmp_path / "dump.json")
    _, document, _ = planned(capsys, path)
    assert run(["plan", path, "--output", "yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == document


def test_a_table_is_for_people(tmp_path: Path, capsys: Captured) -> None:
    assert run(["plan", small_cluster(tmp_path / "dump.json")]) == 0
    assert "US dollars per hour" in capsys.readouterr().out


def test_an_unknown_price_makes_the_money_unknown_and_not_zero(tmp_path: Path, capsys: Captured) -> None:
    code, document, _ = planned(capsys, small_cluster(tmp_path / "dump.json", node("unpriced")))
    assert code == 0
    assert document["money_per_hour"] == {"now": None, "planned": None, "lower_bound": pytest.approx(1.0)}


def test_prices_come_from_the_file_that_is_given(tmp_path: Path, capsys: Captured) -> None:
    labels = {"node.kubernetes.io/instance-type": "x1", "karpenter.sh/capacity-type": "spot"}
    path = write_list(tmp_path / "dump.json", node("a", labels=labels))
    prices = tmp_path / "prices.csv"
    prices.write_text("instance_type,capacity_type,zone,price_per_hour\nx1,spot,,0.5\nx1,spot,,nan\n")
    code, document, _ = planned(capsys, path, "--prices", str(prices))
    assert code == 1
    assert document["money_per_hour"]["now"] == 0.5
    assert document["left_out"][0]["file"] == str(prices)
    assert document["left_out"][0]["field"] == "price_per_hour"


def test_a_bad_object_is_named_and_the_others_are_planned_for(tmp_path: Path, capsys: Captured) -> None:
    bad = pod("bad", node="node-a", cpu="1.5.5")
    path = small_cluster(tmp_path / "dump.json", bad, node("odd", labels={PRICE_LABEL: "free"}))
    code, document, said = planned(capsys, path)
    assert code == 1
    assert document["nodes"]["now"] == 3
    assert [(each["object"], each["value"]) for each in document["left_out"]] == [
        ("Pod default/bad", "1.5.5"),
        ("Node odd", "free"),
    ]
    assert all(set(each) == {"file", "object", "field", "value", "accepted"} for each in document["left_out"])
    assert "2 left out, the first:" in said


def owned(name: str, by: str) -> dict[str, Any]:
    owners = [{"kind": "ReplicaSet", "name": by, "controller": True}]
    return {"kind": "ReplicaSet", "metadata": {"name": name, "namespace": "default", "ownerReferences": owners}}


def choosy(operator: str) -> dict[str, Any]:
    terms = [{"matchExpressions": [{"key": "disk", "operator": operator, "values": ["ssd"]}]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"kind": "Pod", "metadata": {"name": "choosy"}, "spec": {"affinity": {"nodeAffinity": required}}}


# By case: the objects; of what is left out the object, a part of the field, and the value; a part of what is accepted.
BAD: dict[str, tuple[list[Any], tuple[str, str, str], str]] = {
    "a malformed quantity": (
        [pod("p", cpu="1.5.5")],
        ("Pod default/p", "[cpu]", "1.5.5"),
        "a Kubernetes quantity",
    ),
    "a negative request": ([pod("p", cpu="-1")], ("Pod default/p", "[cpu]", "-1"), "not negative"),
    "an unknown operator": (
        [choosy("Near")],
        ("Pod choosy", "spec.affinity.nodeAffinity.operator", "Near"),
        "one of In, NotIn, Exists, DoesNotExist, Gt, Lt",
    ),
    "a cycle of owners": (
        [owned("a", by="b"), owned("b", by="a")],
        ("ReplicaSet default/b", "metadata.ownerReferences", "b"),
        "owners that do not lead back",
    ),
    "a name twice": ([node("node-a")], ("Node node-a", "metadata.name", "node-a"), "a name that no other object has"),
    "a node without allocatable": (
        [{"kind": "Node", "metadata": {"name": "bare"}}],
        ("Node bare", "status.allocatable", ""),
        "amounts of cpu, memory and pods",
    ),
    "a price of NaN": (
        [node("odd", labels={PRICE_LABEL: "NaN"})],
        ("Node odd", f"metadata.labels[{PRICE_LABEL}]", "NaN"),
        "a number of US dollars per hour",
    ),
    "an object without a name": ([{"kind": "Pod"}], ("Pod (item 3)", "metadata.name", ""), "the object's name"),
    "a field of another type": (
        [{"kind": "Node", "metadata": {"name": "n"}, "spec": {"unschedulable": "yes"}}],
        ("Node n", "spec.unschedulable", "yes"),
        "bool",
    ),
    "what is no object": ([7], ("item 3", "", "7"), "an object with a kind"),
}


@pytest.mark.parametrize(("items", "named", "accepted"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_named_by_object_field_and_value_with_what_is_accepted(
    items: list[Any], named: tuple[str, str, str], accepted: str, tmp_path: Path, capsys: Captured
) -> None:
    path = small_cluster(tmp_path / "dump.json", *items)
    code, document, _ = planned(capsys, path)
    (problem,) = document["left_out"]
    assert code == 1
    name, field, value = named
    assert (problem["file"], problem["object"], problem["value"]) == (path, name, value)
    assert field in problem["field"]
    assert accepted in problem["accepted"]
    assert document["nodes"]["now"] >= 2


def test_an_annotation_that_a_policy_cannot_use_is_named(tmp_path: Path, capsys: Captured) -> None:
    annotation = "node.koordinator.sh/colocation-strategy"
    path = small_cluster(tmp_path / "dump.json", node("odd", annotations={annotation: "{not JSON"}))
    code, document, _ = planned(capsys, path)
    (problem,) = document["left_out"]
    assert code == 1
    assert (problem["file"], problem["object"], problem["value"]) == (path, "Node odd", "{not JSON")
    assert problem["field"] == f"metadata.annotations[{annotation}]"


def test_workloads_without_pods_count_and_are_said_to_have_none(tmp_path: Path, capsys: Captured) -> None:
    deployment = {"kind": "Deployment", "metadata": {"name": "idle", "namespace": "default"}, "spec": {"replicas": 2}}
    replica_set = {"kind": "ReplicaSet", "metadata": {"name": "web", "namespace": "default"}}
    code, _, said = planned(capsys, small_cluster(tmp_path / "dump.json", deployment, replica_set))
    assert code == 0
    assert "1 of 2 workloads have no pods in it" in said


def test_without_a_node_there_is_nothing_to_plan_and_money_is_unknown(tmp_path: Path, capsys: Captured) -> None:
    deployment = {"kind": "Deployment", "metadata": {"name": "idle", "namespace": "default"}}
    code, document, said = planned(capsys, write_list(tmp_path / "dump.json", deployment))
    assert code == 1
    assert document["money_per_hour"] == {"now": None, "planned": None, "lower_bound": None}
    assert "it holds no node that can be used (0 pods, 1 workloads), so nothing can be planned" in said


def test_a_dump_gives_the_same_plan_every_time(tmp_path: Path, capsys: Captured) -> None:
    path = small_cluster(tmp_path / "dump.json")
    assert planned(capsys, path) == planned(capsys, path)
