"""A cluster is read from whatever a user has at hand, and what cannot be read is named."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import yaml
from tests.builders import node, pod
from tests.cli.clusters import manifest, write_list

from neaptide.cli.dump import Dump, newest_time, parse, read_dump
from neaptide.cli.exits import UsageError
from neaptide.model import objects as o
from neaptide.model.any_object import AnyObject
from neaptide.model.times import seconds

ITEMS = [manifest(node("node-a")), manifest(pod("web-0", node="node-a", cpu="1"))]


def contents(dump: Dump) -> tuple[list[str], list[str]]:
    return sorted(dump.snapshot.nodes.by_name), sorted(dump.snapshot.pods.by_key)


WHOLE = (["node-a"], ["default/web-0"])
SPELLINGS: dict[str, dict[str, bytes]] = {
    "a List of everything": {"dump.json": json.dumps({"kind": "List", "items": ITEMS}).encode()},
    "a List without a telling name": {"dump": json.dumps({"kind": "List", "items": ITEMS}).encode()},
    "a stream of YAML documents": {"dump.yaml": yaml.safe_dump_all(ITEMS).encode()},
    "YAML without a telling name": {"dump": yaml.safe_dump_all(ITEMS).encode()},
    "a file to an object": {"a.yaml": yaml.safe_dump(ITEMS[0]).encode(), "b.json": json.dumps(ITEMS[1]).encode()},
    "folders of lists": {
        "nodes/list.json": json.dumps({"kind": "NodeList", "items": [ITEMS[0]]}).encode(),
        "pods/list.yml": yaml.safe_dump({"kind": "PodList", "items": [ITEMS[1]]}).encode(),
        "pods/README.md": b"# not a manifest",
        ".git/config.json": b"not to be read",
    },
    "what PowerShell writes": {"dump.json": json.dumps({"kind": "List", "items": ITEMS}).encode("utf-16")},
    "a byte order mark": {"dump.json": json.dumps({"kind": "List", "items": ITEMS}).encode("utf-8-sig")},
}


@pytest.mark.parametrize("files", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_a_cluster_is_read_from_every_spelling(files: dict[str, bytes], tmp_path: Path) -> None:
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    only = tmp_path / next(iter(files))
    dump = read_dump(str(tmp_path if len(files) > 1 else only))
    assert contents(dump) == WHOLE
    assert dump.left_out == []


UNREADABLE: dict[str, bytes] = {
    "cut off": b'{"kind": "List", "items": [{"kind":',
    "not JSON": b"[[[",
    "neither UTF-8 nor UTF-16": b"kind: \xff\xfe\xfd",
    "a control character": b"kind: \x00",
    "lists without end": b"[" * 100_000,
    "mappings without end": b'{"a": ' * 100_000,
    "items without end": b"- " * 100_000,
    "a scalar": b"1",
    "nothing": b"",
}


@pytest.mark.parametrize("suffix", [".json", ".yaml", ""], ids=["as JSON", "as YAML", "unnamed"])
@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_file_that_is_no_manifest_is_left_out_and_the_others_are_used(
    data: bytes, suffix: str, tmp_path: Path
) -> None:
    found, left_out = parse(data, f"broken{suffix}")
    assert found == []
    assert all(each.file == f"broken{suffix}" and each.accepted for each in left_out)
    assert left_out or not data
    (tmp_path / "broken.json").write_bytes(data)
    write_list(tmp_path / "good.json", *ITEMS)
    assert contents(read_dump(str(tmp_path))) == WHOLE


def test_what_is_not_there_or_holds_no_manifest_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere: No such file"):
        read_dump(str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"no manifest is there; accepted: a directory with \.json, \.yaml, \.yml"):
        read_dump(str(tmp_path))


def metrics(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "timestamp": "2026-11-21T08:00:00Z",
    } | more


def test_metrics_become_the_usage_of_pods_and_nodes_wherever_they_stand(tmp_path: Path) -> None:
    measured = write_list(
        tmp_path / "usage.json",
        metrics("PodMetrics", "web-0", containers=[{"usage": {"cpu": "1500000n", "memory": "1Ki"}}] * 2),
        metrics("NodeMetrics", "node-a", usage={"cpu": "2", "memory": "1Gi"}),
        metrics("PodMetrics", "gone", containers=[]),
        metrics("NodeMetrics", "node-a", usage={"cpu": "9"}),
    )
    dump = read_dump(write_list(tmp_path / "dump.json", *ITEMS), usage=[measured])
    nodes, pods = dump.snapshot.nodes, dump.snapshot.pods
    assert (pods.usage_cpu[0], pods.usage_memory[0]) == (4, 2048)
    assert (nodes.usage_cpu[0], nodes.usage_memory[0]) == (2000, 2**30)
    assert dump.now == nodes.usage_time[0] == seconds("2026-11-21T08:00:00Z")
    assert sorted((each.object, each.field) for each in dump.left_out) == [
        ("NodeMetrics default/node-a", "metadata.name"),
        ("PodMetrics default/gone", "metadata.name"),
    ]


@pytest.mark.parametrize(
    ("time", "node", "cpu"),
    [
        ("2026-11-21T07:50:00Z", 1700, 300),
        ("2026-11-21T08:04:00Z", 1700, 300),
        ("2026-11-21T07:40:00Z", 2000, None),
    ],
    ids=["of a few minutes ago", "the newest of all", "from an agent that died"],
)
def test_what_nodes_agents_tell_counts_while_it_is_recent_and_of_pods_that_are_there(
    tmp_path: Path, time: str, node: float, cpu: float | None
) -> None:
    told = [
        {"namespace": "default", "name": name, "podUsage": {"resources": {"cpu": "300m", "memory": "1Mi"}}}
        for name in ("web-0", "elsewhere", "gone")
    ]
    metric = {
        "apiVersion": "slo.koordinator.sh/v1alpha1",
        "kind": "NodeMetric",
        "metadata": {"name": "node-a"},
        "status": {
            "updateTime": time,
            "nodeMetric": {"nodeUsage": {"resources": {"cpu": "1700m", "memory": "2Gi"}}},
            "podsMetric": told,
        },
    }
    usage = metrics("NodeMetrics", "node-a", usage={"cpu": "2", "memory": "1Gi"})
    waits = manifest(pod("elsewhere"))
    dump = read_dump(write_list(tmp_path / "dump.json", metric, usage, waits, *ITEMS))
    pods = dump.snapshot.pods
    assert dump.snapshot.nodes.usage_cpu[0] == node
    assert pods.usage_cpu[pods.by_key["default/web-0"]] == pytest.approx(cpu or np.nan, nan_ok=True)
    assert np.isnan(pods.usage_cpu[pods.by_key["default/elsewhere"]])
    assert dump.now == max(seconds(time), seconds("2026-11-21T08:00:00Z"))
    assert not dump.left_out


def created(text: str, kind: type[AnyObject] = o.Namespace) -> AnyObject:
    return msgspec.convert({"metadata": {"name": "x", "creationTimestamp": text}}, kind)


TIMES: dict[str, tuple[list[AnyObject], str | None]] = {
    "no time": ([o.Namespace()], None),
    "the newest of several": (
        [created("2026-01-02T00:00:00Z"), created("2026-01-01T00:00:00Z")],
        "2026-01-02T00:00:00Z",
    ),
    "another time zone": ([created("2026-01-01T00:00:00+02:00")], "2025-12-31T22:00:00Z"),
    "a start": ([pod("p", node="n", started="2026-05-01T00:00:00Z")], "2026-05-01T00:00:00Z"),
    "a node's heartbeat": (
        [o.Node(status=o.NodeStatus(conditions=(o.NodeCondition("Ready", "True", "2026-06-01T00:00:00Z"),)))],
        "2026-06-01T00:00:00Z",
    ),
    "not a deletion, which is announced ahead": (
        [o.Pod(o.Metadata(creation_timestamp="2026-01-01T00:00:00Z", deletion_timestamp="2027-01-01T00:00:00Z"))],
        "2026-01-01T00:00:00Z",
    ),
    "not what is no time": ([created("yesterday"), created("2026-01-01T00:00:00Z")], "2026-01-01T00:00:00Z"),
}


@pytest.mark.parametrize(("items", "newest"), TIMES.values(), ids=TIMES.keys())
def test_a_dump_stands_for_the_newest_time_in_it(items: list[AnyObject], newest: str | None) -> None:
    assert newest_time(items) == (0.0 if newest is None else seconds(newest))


def test_the_time_may_be_given(tmp_path: Path) -> None:
    path = write_list(tmp_path / "dump.json", *ITEMS)
    assert read_dump(path, now="2030-01-01T00:00:00Z").now == seconds("2030-01-01T00:00:00Z")
    with pytest.raises(UsageError, match=r"--now: 'noon' is not accepted; accepted: an RFC 3339 time"):
        read_dump(path, now="noon")
