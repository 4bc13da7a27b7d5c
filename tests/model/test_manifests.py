"""Objects are read from what kubectl prints and people write; one bad object leaves the others alone."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neaptide.model.build import add_pod_list, build
from neaptide.model.manifests import KINDS, describe, from_json, from_yaml
from neaptide.model.objects import Node, Pod, Workload
from neaptide.model.snapshot import ClusterSnapshot


def api_pod(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "x", "creationTimestamp": None},
        "spec": {"containers": [], **spec},
    }


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "List", "items": [api_pod("a"), api_pod("b")]},
        {"kind": "PodList", "items": [{**api_pod("a"), "kind": None}, api_pod("b")]},
        {"kind": "PodList", "items": [api_pod("a"), {**api_pod("b"), "spec": {"containers": None}}]},
    ],
    ids=["a List", "a PodList whose items name no kind", "explicit nulls"],
)
def test_lists_of_every_spelling_are_read(document: dict[str, Any]) -> None:
    found, left_out = from_json(json.dumps(document).encode(), "dump.json")
    assert [each.item.metadata.name for each in found] == ["a", "b"]
    assert all(isinstance(each.item, Pod) for each in found)
    assert not left_out


def test_a_pod_list_goes_into_a_snapshot_whatever_is_wrong_with_some_of_it() -> None:
    good = [{**api_pod(f"p{number}"), "kind": None} for number in range(3)]
    for item in good:
        del item["kind"]
    bad = api_pod("bad", nodeName=7)
    negative = api_pod("negative", containers=[{"name": "c", "resources": {"requests": {"cpu": "-1"}}}])
    nameless: dict[str, Any] = {"metadata": {}}
    for items, names in (([*good], []), ([*good, negative], ["spec"]), ([*good, bad, nameless, negative], None)):
        snapshot = ClusterSnapshot()
        data = json.dumps({"kind": "PodList", "items": items}).encode()
        left_out = add_pod_list(snapshot, data, "pods.json")
        assert sorted(snapshot.pods.by_key) == ["x/p0", "x/p1", "x/p2"]
        assert len(left_out) == len(items) - 3
        assert names is None or len(left_out) == len(names)


def test_a_single_object_and_yaml_documents_are_read() -> None:
    found, left_out = from_json(json.dumps(api_pod("a")).encode(), "pod.json")
    assert [type(each.item) for each in found] == [Pod]
    text = """
kind: Deployment
metadata: {name: web, namespace: x, creationTimestamp: 2026-01-01T00:00:00Z}
spec: {replicas: 3}
---
kind: Node
metadata: {name: n1}
status: {allocatable: {cpu: 4, memory: 16Gi, pods: 110}}
---
kind: ConfigMap
metadata: {name: skipped}
"""
    found, more = from_yaml(text, "m.yaml")
    assert [type(each.item) for each in found] == [Workload, Node]
    snapshot, refused = build(found)
    assert snapshot.nodes.allocatable[:2, 0].tolist() == [4000, 16 * 2**30]
    assert not left_out + more + refused


@pytest.mark.parametrize(
    ("item", "field", "value"),
    [
        (api_pod("a", nodeName=7), "spec.nodeName", "7"),
        (api_pod("a", containers="none"), "spec.containers", "none"),
        ({"kind": "Pod", "metadata": {}}, "metadata.name", ""),
        (api_pod("a", tolerations=[{"key": 1}]), "spec.tolerations[0].key", "1"),
        ("text", "", "text"),
    ],
)
def test_an_object_that_does_not_fit_is_left_out_by_field_and_the_rest_is_used(
    item: Any, field: str, value: str
) -> None:
    found, left_out = from_json(json.dumps({"kind": "List", "items": [api_pod("good"), item]}).encode(), "dump.json")
    assert [each.item.metadata.name for each in found] == ["good"]
    assert [(each.file, each.field, each.value) for each in left_out] == [("dump.json", field, value)]
    assert left_out[0].accepted


def test_of_two_objects_with_one_name_the_first_counts() -> None:
    found, _ = from_json(
        json.dumps({"kind": "List", "items": [api_pod("a"), api_pod("a", nodeName="n")]}).encode(), "f"
    )
    snapshot, left_out = build(found)
    assert len(snapshot.pods.indices()) == 1
    assert [(each.object, each.field) for each in left_out] == [("Pod x/a", "metadata.name")]


@pytest.mark.parametrize("data", [b"", b"{", b"[1,2]", b"\xff\xfe", b"null", b'{"kind":"PodList","items":{}}'])
def test_what_is_no_document_is_reported_and_not_raised(data: bytes) -> None:
    found, left_out = from_json(data, "broken.json")
    assert not found
    assert left_out[0].file == "broken.json"


FIELDS = [
    *(
        "metadata",
        "name",
        "namespace",
        "labels",
        "ownerReferences",
        "kind",
        "spec",
        "containers",
        "resources",
        "requests",
    ),
    *(
        "cpu",
        "memory",
        "affinity",
        "nodeAffinity",
        "tolerations",
        "operator",
        "status",
        "allocatable",
        "taints",
        "phase",
    ),
    *("requiredDuringSchedulingIgnoredDuringExecution", "topologySpreadConstraints", "maxSkew", "creationTimestamp"),
]
LEAVES: tuple[Any, ...] = (None, True, 0, -1, 2**70, 1.5, "", "100m", "-1", "\ud7ff", "Running", [], {})


def junk(rng: random.Random, depth: int = 0) -> Any:
    """A JSON value of familiar names and unfamiliar contents."""
    if depth > 4 or rng.random() < 0.3:
        return rng.choice(LEAVES)
    if rng.random() < 0.3:
        return [junk(rng, depth + 1) for _ in range(rng.randrange(3))]
    return {rng.choice(FIELDS): junk(rng, depth + 1) for _ in range(rng.randrange(5))}


@settings(max_examples=100)
@given(st.integers(0, 2**32))
def test_ten_thousand_malformed_objects_stop_nothing(seed: int) -> None:
    rng = random.Random(seed)
    items = []
    for number in range(100):
        meta = {"name": f"o{number}", rng.choice(FIELDS): junk(rng)} if rng.random() < 0.7 else junk(rng)
        kind = rng.choice([*KINDS, "Widget"])
        items.append({"kind": kind, "metadata": meta, "spec": junk(rng), "status": junk(rng)})
    good = {"kind": "Node", "metadata": {"name": "good-node"}, "status": {"allocatable": {"cpu": "1"}}}
    found, left_out = from_json(json.dumps({"kind": "List", "items": [*items, good]}).encode(), "junk.json")
    snapshot, refused = build(found)
    assert "good-node" in snapshot.nodes.by_name
    for each in left_out + refused:
        assert each.file == "junk.json"
        assert each.accepted


def test_the_items_of_a_list_have_its_kind() -> None:
    items = [{"metadata": {"name": "web", "namespace": "default"}}]
    found, _ = from_json(json.dumps({"kind": "DeploymentList", "apiVersion": "apps/v1", "items": items}).encode(), "f")
    assert [describe(each.item) for each in found] == ["Deployment default/web"]
