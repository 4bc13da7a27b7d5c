"""`neaptide explain`: why here, why not there, what is in use, and every decision with what became of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.builders import node, pod
from tests.cli.clusters import write_list

from neaptide.cli.amounts import readable
from neaptide.cli.app import run
from neaptide.kube.decisions import NAME
from neaptide.loop import Cycle
from neaptide.model import objects as o
from neaptide.model.actions import Declined, Evict, Outcome, Plan, Reason, Ref
from neaptide.records.log import Log

Captured = pytest.CaptureFixture[str]
TAINT = o.Taint("only", "mine", "NoSchedule")
NODES = [
    node("full", cpu="1"),
    node("roomy", cpu="16"),
    node("tainted", cpu="16", taints=(TAINT,)),
    node("cordoned", unschedulable=True),
]
WEB = pod("web-0", node="full", cpu="1", memory="1Gi", limits={"cpu": "2"})


@pytest.fixture
def cluster(tmp_path: Path) -> str:
    usage = {"kind": "NodeMetrics", "metadata": {"name": "full"}, "timestamp": "2026-01-01T01:00:00Z"}
    return write_list(
        tmp_path / "dump.json",
        *NODES,
        WEB,
        pod("huge", cpu="64"),
        pod("twin", namespace="one", node="roomy"),
        pod("twin", namespace="two", node="away"),
        o.PodDisruptionBudget(
            o.Metadata(name="pair", namespace="one"), o.DisruptionBudgetSpec(selector=o.LabelSelector())
        ),
        pod("done", node="roomy", phase="Succeeded"),
        pod("pinned", node="roomy", cpu="1", annotations={"karpenter.sh/do-not-disrupt": "true"}),
        usage | {"usage": {"cpu": "500m", "memory": "512Mi"}},
    )


def explained(capsys: Captured, *arguments: str) -> dict[str, Any]:
    assert run(["explain", *arguments, "--output", "json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_a_pod_is_explained_with_what_decides_its_place(cluster: str, capsys: Captured) -> None:
    found = explained(capsys, "pod", "default/web-0", "--dump", cluster)["pod"]
    assert {name: found[name] for name in ("node", "phase", "workload", "qos", "band", "same_class")} == {
        "node": "full",
        "phase": "Running",
        "workload": "ReplicaSet default/web",
        "qos": "LS",
        "band": "prod",
        "same_class": 1,
    }
    assert found["requests"] == {"cpu": 1000, "memory": 2**30, "pods": 1}
    assert (found["used"], found["protected"]) == ({"cpu": None, "memory": None}, None)


def test_why_here_and_why_not_there_are_told_by_filters_and_scores(cluster: str, capsys: Captured) -> None:
    placement = explained(capsys, "pod", "web-0", "--dump", cluster, "--node", "tainted")["pod"]["placement"]
    assert (placement["nodes"], placement["feasible"], placement["message"]) == (4, 2, "")
    by_node = {each["node"]: each for each in placement["verdicts"]}
    assert (by_node["roomy"]["rank"], by_node["full"]["rank"], by_node["full"]["here"]) == (1, 2, True)
    assert by_node["roomy"]["score"] == sum(by_node["roomy"]["scores"].values())
    assert by_node["tainted"]["filter"] == "TaintToleration"
    assert by_node["tainted"]["reasons"] == ["node(s) had untolerated taint(s)"]
    refused = {(each["filter"], each["reason"]): (each["nodes"], each["such_as"]) for each in placement["refused"]}
    assert refused["NodeUnschedulable", "node(s) were unschedulable"] == (1, ["cordoned"])


def test_a_pod_that_fits_nowhere_is_told_so_in_the_words_of_its_event(cluster: str, capsys: Captured) -> None:
    placement = explained(capsys, "pod", "huge", "--dump", cluster)["pod"]["placement"]
    assert placement["message"].startswith("0/4 nodes are available: ")
    assert "2 Insufficient cpu" in placement["message"]
    assert placement["verdicts"] == []


def test_protection_is_told_and_a_finished_pod_needs_no_place(cluster: str, capsys: Captured) -> None:
    pinned = explained(capsys, "pod", "pinned", "--dump", cluster)["pod"]
    assert pinned["protected"] == "DoNotDisrupt: karpenter.sh/do-not-disrupt: true"
    assert explained(capsys, "pod", "done", "--dump", cluster)["pod"]["placement"] is None
    assert explained(capsys, "pod", "one/twin", "--dump", cluster)["pod"]["disruption_budgets"] == {"pair": 0}
    away = explained(capsys, "pod", "two/twin", "--dump", cluster)["pod"]
    assert (away["node"], away["disruption_budgets"]) == ("away", {})


def test_another_profile_ranks_otherwise(cluster: str, tmp_path: Path, capsys: Captured) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text("scores: [MostAllocated]")
    placement = explained(capsys, "pod", "web-0", "--dump", cluster, "--profile", str(profile))["pod"]["placement"]
    assert [(each["rank"], each["node"]) for each in placement["verdicts"]] == [(1, "full"), (2, "roomy")]


def test_a_node_is_explained_with_its_amounts_and_pods(cluster: str, capsys: Captured) -> None:
    found = explained(capsys, "node", "full", "--dump", cluster)["node"]
    cpu = next(each for each in found["resources"] if each["resource"] == "cpu")
    assert cpu == {"resource": "cpu", "capacity": 1000, "allocatable": 1000, "requested": 1000, "free": 0, "used": 500}
    assert [each["pod"] for each in found["pods"]] == ["default/web-0"]
    assert (found["usage_age_seconds"], found["price_per_hour"], found["ready"]) == (0, None, True)


@pytest.fixture
def journal(tmp_path: Path) -> str:
    target = Ref("Pod", "web-0", "default")
    evict = Evict(
        policy="tidy",
        target=target,
        reason=Reason("Idle", "it is idle"),
        node="full",
        workload=Ref("Deployment", "web"),
    )
    declined = Declined(Ref("Node", "full"), Reason("NoMetric", "the node has no metric"))
    with Log(tmp_path / "journal", NAME) as log:
        log.append(Cycle(0.0, "", (Plan("reclaim", (), (declined,)),), ()))
        log.append(Cycle(60.0, "", (), (Outcome(evict, "Refused", Reason("Budget", "no budget is left")),)))
        log.append(Cycle(120.0, "", (), (Outcome(evict, "Done", Reason("", "")),)))
    return str(tmp_path / "journal")


def test_the_past_is_read_from_the_journal_with_what_became_of_it(journal: str, capsys: Captured) -> None:
    document = explained(capsys, "pod", "default/web-0", "--journal", journal)
    assert document["pod"] is None
    assert [(each["time"], each["action"], each["outcome"]) for each in document["decisions"]] == [
        ("1970-01-01T00:01:00Z", "Evict", "Refused: no budget is left"),
        ("1970-01-01T00:02:00Z", "Evict", "Done"),
    ]
    of_node = explained(capsys, "node", "full", "--journal", journal)["decisions"]
    assert [(each["policy"], each["outcome"]) for each in of_node] == [
        ("reclaim", "left alone"),
        ("tidy", "Refused: no budget is left"),
        ("tidy", "Done"),
    ]
    assert explained(capsys, "pod", "other/web-0", "--journal", journal)["decisions"] == []


def test_a_damaged_record_is_reported_and_the_others_are_read(journal: str, capsys: Captured) -> None:
    (file,) = Path(journal).glob("*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[1][:-20] + b"\n" + lines[2])
    assert run(["explain", "pod", "web-0", "--journal", journal, "--output", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert len(document["decisions"]) == 1
    assert document["left_out"][0]["accepted"] == "a whole record"


def test_a_record_that_is_no_cycle_is_reported(tmp_path: Path, capsys: Captured) -> None:
    with Log(tmp_path, NAME) as log:
        log.append({"time": "noon"})
    assert run(["explain", "node", "n", "--journal", str(tmp_path), "--output", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["left_out"][0]["object"] == "record 1"


def test_tables_are_for_people(cluster: str, journal: str, capsys: Captured) -> None:
    assert run(["explain", "pod", "web-0", "--dump", cluster, "--journal", journal]) == 0
    shown = capsys.readouterr().out
    assert "2 of 4 can take it" in shown
    assert "Refused: no budget is left" in shown
    assert run(["explain", "node", "full", "--dump", cluster]) == 0
    assert "1Gi" in capsys.readouterr().out


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "a pod that is not there": (("pod", "web-1"), "no pod 'web-1' is there; accepted: one of default/web-0"),
    "a name of several pods": (("pod", "twin"), "several pods are named 'twin'; accepted: one of one/twin, two/twin"),
    "a node that is not there": (("node", "roomie"), "no node 'roomie' is there; accepted: one of roomy"),
    "a node asked for that is not there": (("pod", "web-0", "--node", "x"), "no node 'x' is there"),
    "a profile that is not there": (("pod", "web-0", "--profile", "no.yaml"), "no.yaml: "),
}


@pytest.mark.parametrize(("arguments", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named_with_what_is_accepted(
    arguments: tuple[str, ...], sentence: str, cluster: str, capsys: Captured
) -> None:
    assert run(["explain", *arguments, "--dump", cluster]) == 2
    assert sentence in capsys.readouterr().err


AMOUNTS = {
    "part of a core": ("cpu", 250, "250m"),
    "cores": ("cpu", 1500, "1.5"),
    "bytes": ("memory", 3 * 2**29, "1.5Gi"),
    "few bytes": ("memory", 12, "12"),
    "counts": ("pods", 110, "110"),
    "unknown": ("cpu", None, "-"),
    "over-committed": ("memory", -(2**30), "-1Gi"),
}


@pytest.mark.parametrize(("resource", "amount", "text"), AMOUNTS.values(), ids=AMOUNTS.keys())
def test_amounts_are_written_as_people_read_them(resource: str, amount: float | None, text: str) -> None:
    assert readable(resource, amount) == text


@pytest.fixture
def workloads(tmp_path: Path) -> str:
    offline = {"koordinator.sh/qosClass": "BE"}
    consents = {"neaptide.io/suspend-running": "true"}
    job = o.Workload(
        "Job", o.Metadata(name="report", namespace="one", annotations=consents), o.WorkloadSpec(parallelism=2)
    )
    return write_list(
        tmp_path / "workloads.json",
        *NODES,
        job,
        o.Workload("Job", o.Metadata(name="report", namespace="two"), o.WorkloadSpec(suspend=True)),
        *(
            pod(f"report-{number}", namespace="one", node="roomy", owner=("Job", "report"), labels=offline, cpu="2")
            for number in (1, 2)
        ),
        pod("report-huge", namespace="one", owner=("Job", "report"), labels=offline, cpu="64"),
        o.PodDisruptionBudget(
            o.Metadata(name="all", namespace="one"), o.DisruptionBudgetSpec(selector=o.LabelSelector())
        ),
    )


RULE = '[{"name":"rare","windows":[{"schedule":"0 0 29 2 *","durationSeconds":60}],"graceSeconds":0}]'


def test_a_workload_is_explained_with_its_pods_its_windows_and_where_else_they_could_be(
    workloads: str, capsys: Captured
) -> None:
    windows = ("--set", f"time-windows.rules={RULE}")
    document = explained(capsys, "workload", "job/one/report", "--dump", workloads, *windows)
    found = document["workload"]
    assert {name: found[name] for name in ("workload", "state", "wanted", "phases", "qos", "disruption_budgets")} == {
        "workload": "Job one/report",
        "state": "active",
        "wanted": 2,
        "phases": {"Running": 2, "Pending": 1},
        "qos": ["BE"],
        "disruption_budgets": {"all": 0},
    }
    assert found["requests"] == {"cpu": 68000, "pods": 3}
    assert [(each["rule"], each["open"]) for each in found["windows"]] == [("rare", False)]
    assert [(each["pods"], each["feasible"], each["nodes"]) for each in found["elsewhere"]] == [(2, 1, 4), (1, 0, 4)]
    assert [each["pod"] for each in found["pods"]] == ["one/report-1", "one/report-2", "one/report-huge"]
    assert ("Suspend", "Job one/report") in {(each["action"], each["target"]) for each in document["decisions"]}
    assert not any("two" in each["target"] for each in document["decisions"])


WORKLOADS: dict[str, tuple[str, str]] = {
    "a name of several": ("report", "accepted: one of job/one/report, job/two/report"),
    "a kind that does not fit": ("deployment/one/report", "no workload 'deployment/one/report' is there"),
    "a name that is not there": ("one/reports", "accepted: one of job/one/report"),
}


@pytest.mark.parametrize(("name", "sentence"), WORKLOADS.values(), ids=WORKLOADS.keys())
def test_a_workload_is_named_as_far_as_is_needed(name: str, sentence: str, workloads: str, capsys: Captured) -> None:
    assert run(["explain", "workload", name, "--dump", workloads]) == 2
    assert sentence in capsys.readouterr().err
    assert run(["explain", "workload", "two/report", "--dump", workloads]) == 0
    assert "suspended" in capsys.readouterr().out


def test_the_past_of_a_workload_includes_that_of_its_evicted_pods(journal: str, capsys: Captured) -> None:
    document = explained(capsys, "workload", "deployment/web", "--journal", journal)
    assert [(each["action"], each["target"]) for each in document["decisions"]] == [("Evict", "Pod default/web-0")] * 2


def test_what_is_decided_again_and_again_is_one_line_for_people(tmp_path: Path, capsys: Captured) -> None:
    declined = Declined(Ref("Node", "full"), Reason("NoMetric", "the node has no metric"))
    with Log(tmp_path, NAME) as log:
        for minute in range(3):
            log.append(Cycle(60.0 * minute, "", (Plan("reclaim", (), (declined,)),), ()))
    assert run(["explain", "node", "full", "--journal", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "decisions (3)" in shown
    assert shown.count("the node has no metric") == 1


def test_the_cluster_itself_is_explained_and_what_cannot_be_seen_is_said(
    kubeconfig: Path, namespace: str, capsys: Captured
) -> None:
    assert run(["explain", "pod", f"{namespace}/nothing", "--kubeconfig", str(kubeconfig)]) == 2
    said = capsys.readouterr().err
    assert "the cluster: no pod" in said
    assert "the cluster serves no metrics.k8s.io" in said
