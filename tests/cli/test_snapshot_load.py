"""A dump put into a cluster: what stands there then has the same nodes, pods, owners, requests and money."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.testbed.asking import done, items

from neaptide.cli.app import run
from neaptide.cli.dump import read_dump
from neaptide.model.columns import FAILED, SUCCEEDED
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.testbed.cluster import Testbed

Captured = pytest.CaptureFixture[str]
DUMP = Path(__file__).parent / "loaded.yaml"


@pytest.fixture(params=["as it is", "anonymised"])
def dump(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A dump with every kind of owner, also such that no object tells of."""
    if request.param == "as it is":
        return DUMP
    assert run(["snapshot", "anonymise", str(DUMP), str(tmp_path / "shared.json"), "--salt", "a"]) == 0
    return tmp_path / "shared.json"


def test_a_loaded_cluster_is_the_one_that_was_dumped(
    own_control_plane: Testbed, dump: Path, tmp_path: Path, capsys: Captured
) -> None:
    cluster = ["--kubeconfig", str(own_control_plane.kubeconfig)]
    assert run(["snapshot", "load", str(dump), *cluster]) == 0
    said = capsys.readouterr().err
    assert "1 pods that have finished were not loaded" in said
    for wrong in ("adopted", "do not run", "deleted", "besides", "refused"):
        assert wrong not in said
    saved = str(tmp_path / "live.json")
    assert run(["snapshot", "save", saved, *cluster]) == 0
    there, wanted = read_dump(saved).snapshot, read_dump(str(dump)).snapshot
    assert by_node(there) == by_node(wanted)
    assert by_workload(there) == by_workload(wanted)
    assert money(capsys, *cluster) == money(capsys, str(dump))
    jobs = items(own_control_plane, "jobs", "--all-namespaces")
    assert sorted(each["status"].get("active", 0) for each in jobs) == [0, 2]
    budgets = items(own_control_plane, "poddisruptionbudgets", "--all-namespaces")
    assert [each["status"]["expectedPods"] for each in budgets] == [3]
    assert run(["snapshot", "load", str(dump), *cluster]) == 0
    assert "neaptide: 0 objects were created" in capsys.readouterr().err


def by_node(snapshot: ClusterSnapshot) -> dict[str, tuple[int, ...]]:
    """What is requested and allocatable of each node, in CPU, memory and pods."""
    rows = [snapshot.resources.index(name) for name in ("cpu", "memory", "pods")]
    nodes = snapshot.nodes
    return {
        nodes.names[node]: tuple(int(table[row, node]) for table in (nodes.allocatable, nodes.used) for row in rows)
        for node in nodes.indices().tolist()
    }


def by_workload(snapshot: ClusterSnapshot) -> Counter[tuple[str, int, tuple[Any, ...]]]:
    """How many pods of which requests and priority each workload has."""
    pods = [int(pod) for pod in snapshot.pods.indices() if snapshot.pods.phase[pod] not in (SUCCEEDED, FAILED)]
    return Counter(
        (
            str(snapshot.workload_of(pod)),
            int(snapshot.pods.priority[pod]),
            tuple(sorted(snapshot.shape_of_pod(pod).requests.items())),
        )
        for pod in pods
    )


def money(capsys: Captured, *where: str) -> Mapping[str, Any]:
    """What the nodes cost now."""
    capsys.readouterr()
    run(["plan", *where, "--output", "json"])
    document = json.loads(capsys.readouterr().out)
    return {"nodes": document["nodes"]["now"], "money": document["money_per_hour"]["now"]}


def test_a_cluster_with_real_nodes_is_left_alone(own_control_plane: Testbed, capsys: Captured) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "metal-1"}}
    done(own_control_plane, "create", "--filename=-", content=json.dumps(node))
    cluster = ["--kubeconfig", str(own_control_plane.kubeconfig)]
    assert run(["snapshot", "load", str(DUMP), *cluster]) == 2
    assert "metal-1 among them" in capsys.readouterr().err
    assert len(items(own_control_plane, "nodes")) == 1


def test_what_the_api_server_refuses_is_named_and_the_rest_is_loaded(
    own_control_plane: Testbed, tmp_path: Path, capsys: Captured
) -> None:
    dump = tmp_path / "dump.yaml"
    dump.write_text("kind: Namespace\nmetadata: {name: Not_A_Name}\n---\nkind: Namespace\nmetadata: {name: fine}\n")
    assert run(["snapshot", "load", str(dump), "--kubeconfig", str(own_control_plane.kubeconfig)]) == 1
    said = capsys.readouterr().err
    assert "refused: Namespace Not_A_Name: " in said
    assert "neaptide: 1 objects were created" in said
