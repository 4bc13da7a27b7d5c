"""`neaptide advise pools`: what it proposes, that what it writes is accepted, and that pods then come to their pool."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from neaptide.admission.draft import Draft
from neaptide.admission.pools import Pools
from neaptide.admission.protocols import Namespace
from neaptide.cli.app import run
from neaptide.kube.crds.policy import PolicyObject

NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "n", "labels": {"node.kubernetes.io/instance-type": "m"}},
    "status": {"allocatable": {"cpu": "4", "memory": "16Gi", "pods": "110"}},
}


def job(name: str, hour: int, minutes: int, cpu: str) -> list[dict[str, Any]]:
    """A Job that has ended, and its pod."""
    ends = hour * 60 + minutes
    meta = {"name": name, "namespace": "train", "uid": name}
    status = {
        "startTime": f"2026-11-30T{hour:02}:00:00Z",
        "completionTime": f"2026-11-30T{ends // 60:02}:{ends % 60:02}:00Z",
    }
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": name, "controller": True}
    container = {"name": "main", "resources": {"requests": {"cpu": cpu}}}
    pod_meta = {"name": f"{name}-x1y2z", "namespace": "train", "ownerReferences": [owner]}
    return [
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "status": status},
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": pod_meta,
            "spec": {"nodeName": "n", "containers": [container]},
            "status": {"phase": "Succeeded"},
        },
    ]


def written(directory: Path, *items: dict[str, Any]) -> str:
    file = directory / "jobs.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [NODE, *items]}))
    return str(file)


def mixed() -> list[dict[str, Any]]:
    """Each hour for 8 hours a large job of 10 minutes and a small one of 4 hours, which then holds a node for itself."""
    found = []
    for hour in range(8):
        found += [*job(f"eval-{hour}", hour, 10, "3"), *job(f"train-{hour}", hour, 240, "1")]
    return found


def test_short_and_long_jobs_are_parted_where_that_saves_most(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["advise", "pools", written(tmp_path, *mixed()), "--price", "1.0", "--output", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["short"], row["long"], row["split_seconds"]) == (["train/eval"], ["train/train"], 600.0)
    assert row["saving"] == pytest.approx(row["one_pool"] - row["two_pools"], abs=1e-3)
    # apart: eight evaluations of 10 minutes; and up to four trainings at once, on one node, from hour 0 to 11
    assert row["two_pools"] == pytest.approx(8 / 6 + 11.0, abs=1e-3)
    assert row["saving"] > 0


def test_what_is_written_is_accepted_and_brings_pods_to_their_pool(tmp_path: Path) -> None:
    target = tmp_path / "pools.yaml"
    command = ["advise", "pools", written(tmp_path, *mixed()), "--price", "1", "--manifests-to", str(target)]
    assert run([*command, "--node-class", "karpenter.kwok.sh/KWOKNodeClass/default"]) == 0
    documents = list(yaml.safe_load_all(target.read_text()))
    node_pools = [each for each in documents if each["kind"] == "NodePool"]
    policies = [msgspec.convert(each, PolicyObject) for each in documents if each["kind"] == "Policy"]
    assert [each["metadata"]["name"] for each in node_pools] == ["short-jobs", "long-jobs"]
    assert node_pools[0]["spec"]["template"]["spec"]["nodeClassRef"]["kind"] == "KWOKNodeClass"
    assert [each.spec.scope.pod_selector.match_labels for each in policies] == [
        {"neaptide.io/run": "short"},
        {"neaptide.io/run": "long"},
    ]
    for policy, own, other in zip(policies, ("short-jobs", "long-jobs"), ("long-jobs", "short-jobs"), strict=True):
        draft = Draft({"metadata": {"labels": {}}, "spec": {"containers": []}})
        Pools().admit(draft, Namespace("train", {}), policy.spec.own)
        pod = json.dumps(draft.pod)
        assert json.dumps({"key": "karpenter.sh/nodepool", "operator": "NotIn", "values": [other]}) in pod
        assert json.dumps({"key": "karpenter.sh/nodepool", "operator": "In", "values": [own]}) in pod
        (taint,) = node_pools[0]["spec"]["template"]["spec"]["taints"]
        assert json.dumps({"key": taint["key"], "operator": "Equal", "value": taint["value"]}) in pod


@pytest.mark.parametrize(
    ("items", "flags", "said"),
    [
        ([], ["--price", "1"], "there is nothing to part"),
        (job("a-1", 1, 10, "1") + job("b-1", 5, 20, "1"), ["--price", "1", "--manifests-to", "-"], "no manifests are proposed"),
        (job("a-1", 1, 10, "1"), [], "is not known; state it with --price"),
        (job("a-1", 1, 10, "1"), ["--price", "-1"], "from 0 on"),
        (job("a-1", 1, 10, "1"), ["--price", "1", "--node-class", "default"], "group/kind/name"),
    ],
    ids=["no jobs", "nothing is saved", "no price", "a negative price", "half a node class"],
)  # fmt: skip
def test_what_cannot_be_proposed_is_said_in_a_sentence(
    items: list[dict[str, Any]], flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["advise", "pools", written(tmp_path, *items), *flags]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_jobs_that_no_node_is_large_enough_for_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["advise", "pools", written(tmp_path, *mixed(), *job("huge-1", 1, 30, "64")), "--price", "1"]) == 0
    assert "1 jobs are left out" in " ".join(capsys.readouterr().out.split())
