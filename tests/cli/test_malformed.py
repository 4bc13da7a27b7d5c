"""Ten thousand objects, each broken somewhere, stop nothing: the good ones are still planned for."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import yaml
from tests.builders import node, pod
from tests.cli.clusters import PRICE_LABEL, manifest

from neaptide.cli.costs import set_prices
from neaptide.cli.dump import Dump, newest_time, parse
from neaptide.cli.explain_pod import explanation_of
from neaptide.cli.plan import document_of
from neaptide.cli.preview import planned, preview
from neaptide.cli.settings import settings
from neaptide.model import objects as o
from neaptide.model.any_object import AnyObject
from neaptide.model.build import build
from neaptide.placement.profile import DEFAULT
from neaptide.policies.registry import POLICIES
from neaptide.pricing.load import shipped

META: dict[str, Any] = {"namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"app": "web"}}
TERMS = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
POD_SPEC = {
    "nodeName": "node-a",
    "priority": 5500,
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "only", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 1}],
    "affinity": {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": TERMS}},
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}}}
            ]
        },
    },
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
    "containers": [
        {"name": "main", "ports": [{"hostPort": 80}], "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}
    ],
    "initContainers": [{"name": "init", "restartPolicy": "Always", "resources": {"limits": {"cpu": "2"}}}],
    "overhead": {"cpu": "10m"},
    "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    "terminationGracePeriodSeconds": 30,
}
POD: dict[str, Any] = {
    "kind": "Pod",
    "metadata": META
    | {
        "ownerReferences": [{"kind": "ReplicaSet", "name": "web", "controller": True}],
        "annotations": {"karpenter.sh/do-not-disrupt": "1h"},
    },
    "spec": POD_SPEC,
    "status": {
        "phase": "Running",
        "startTime": "2026-01-01T00:00:00Z",
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}
AMOUNTS = {"cpu": "4", "memory": "16Gi", "pods": "110", "kubernetes.io/batch-cpu": "1000"}
NODE: dict[str, Any] = {
    "kind": "Node",
    "metadata": META | {"labels": {PRICE_LABEL: "1", "zone": "a"}},
    "spec": {"unschedulable": False, "taints": [{"key": "only", "value": "mine", "effect": "NoSchedule"}]},
    "status": {
        "capacity": AMOUNTS,
        "allocatable": AMOUNTS,
        "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}],
        "images": [{"names": ["web:1"], "sizeBytes": 1}],
    },
}
OTHERS: list[dict[str, Any]] = [
    {"kind": "Job", "metadata": META, "spec": {"parallelism": 1, "suspend": False}, "status": {"active": 1}},
    {"kind": "ReplicaSet", "metadata": META | {"ownerReferences": [{"kind": "Deployment", "name": "web"}]}},
    {"kind": "PodDisruptionBudget", "metadata": META, "spec": {"selector": {"matchLabels": {"app": "web"}}}},
    {"kind": "PriorityClass", "metadata": META, "value": 5500, "globalDefault": False},
    {
        "kind": "PersistentVolumeClaim",
        "metadata": META,
        "spec": {"volumeName": "data", "accessModes": ["ReadWriteOnce"]},
    },
    {
        "kind": "PodMetrics",
        "metadata": META,
        "timestamp": "2026-01-01T00:00:00Z",
        "containers": [{"usage": {"cpu": "1"}}],
    },
    {
        "kind": "NodeMetrics",
        "metadata": META,
        "timestamp": "2026-01-01T00:00:00Z",
        "usage": {"cpu": "1", "memory": "1"},
    },
]
WHOLE: list[dict[str, Any]] = [POD, POD, POD, NODE, NODE, *OTHERS]
JUNK: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1.5,
        2**31,
        2**63,
        2**70,
        -(2**63),
        1e308,
        "",
        " ",
        "1",
        "-1",
        "1e99",
        "9E",
        "1.5.5",
        "Ki",
    ),
    *("true", "NaN", "Infinity", "\x00", "\U0001f30a", "x" * 300, "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"),
    *([], {}, [None], {"": None}, [[]], {"key": {"key": "value"}}),
)


def broken(whole: Any, rng: random.Random) -> Any:
    """A copy of a value in which one place, anywhere inside, is junk, gone, or doubled."""
    if not isinstance(whole, dict | list) or not whole or rng.random() < 0.15:
        return rng.choice(JUNK)
    copy = dict(whole) if isinstance(whole, dict) else dict(enumerate(whole))
    place = rng.choice(list(copy))
    fate = rng.random()
    if fate < 0.1:
        del copy[place]
    elif fate < 0.2:
        copy["extra" if isinstance(whole, dict) else len(whole)] = rng.choice(JUNK)
    else:
        copy[place] = broken(copy[place], rng)
    return copy if isinstance(whole, dict) else list(copy.values())


def objects(rng: random.Random, count: int) -> Iterator[Any]:
    for number in range(count):
        item = rng.choice(WHOLE)
        yield broken(item | {"metadata": item["metadata"] | {"name": f"{item['kind'].lower()}-{number // 8}"}}, rng)


def as_json(items: list[Any]) -> tuple[bytes, str]:
    return json.dumps({"kind": "List", "items": items}).encode(), "broken.json"


def as_yaml(items: list[Any]) -> tuple[bytes, str]:
    return yaml.dump_all(items, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)).encode(), "broken.yaml"


GOOD: list[AnyObject] = [node("node-a", labels={PRICE_LABEL: "1"}), pod("web-good", node="node-a", cpu="1")]


@pytest.mark.parametrize("written", [as_json, as_yaml], ids=["JSON", "YAML"])
@pytest.mark.parametrize("seed", range(10))
def test_ten_thousand_broken_objects_stop_nothing(written: Callable[[list[Any]], tuple[bytes, str]], seed: int) -> None:
    rng = random.Random(seed)
    data, file = written([*(manifest(each) for each in GOOD), *objects(rng, 1000)])
    found, left_out = parse(data, file)
    snapshot, unusable = build(found)
    assert {"default/web-good"} <= set(snapshot.pods.by_key)
    assert "node-a" in snapshot.nodes.by_name
    assert all(each.file == file and each.accepted for each in left_out + unusable)
    files = {each.item.metadata.name: each.file for each in found if isinstance(each.item, o.Node)}
    dump = Dump(snapshot, left_out + unusable, len(found), newest_time(each.item for each in found), files)
    set_prices(dump, shipped())
    cycle = preview(dump, settings(POLICIES, (), ()))
    document = document_of(dump, planned(cycle))
    for row in snapshot.pods.indices()[:5].tolist():
        msgspec.json.encode(explanation_of(dump, row, DEFAULT, [0]))
    assert json.loads(msgspec.json.encode(document))["evictions"] == document.evictions
    assert document.nodes.now == len(snapshot.nodes.by_name)
    assert (snapshot.nodes.allocatable >= 0).all()
    assert (snapshot.nodes.used >= 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_file_that_is_damaged_anywhere_stops_nothing(seed: int) -> None:
    rng = random.Random(seed)
    for written in (as_json, as_yaml):
        whole, file = written([manifest(each) for each in GOOD])
        for _ in range(200):
            data = bytearray(whole)
            for _ in range(rng.randrange(1, 4)):
                place = rng.randrange(len(data))
                data[place : place + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
            found, left_out = parse(bytes(data), file)
            _, unusable = build(found)
            assert all(each.accepted for each in left_out + unusable)
