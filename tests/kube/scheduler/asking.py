"""Pods and nodes for the tests of the scheduler, and what must hold after each of them."""

import json
from collections import Counter
from typing import Any

from tests.kube.live import eventually, make
from tests.testbed.asking import items

from neaptide.model.quantity import milli
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.nodes import fake_node

NODES = 20
OURS, PEER = "neaptide", "default-scheduler"


def node(name: str, *, zone: str = "a", cpu: str = "8") -> dict[str, Any]:
    labels = {"topology.kubernetes.io/zone": f"zone-{zone}"}
    return fake_node(name, labels, {"cpu": cpu, "memory": "32Gi", "pods": "110"})


def pod(name: str, *, cpu: str = "100m", scheduler: str = OURS, **spec: Any) -> dict[str, Any]:
    """A pod that waits for a node; `metadata` is merged into its own."""
    metadata = spec.pop("metadata", {})
    container = {"name": "main", "image": "web", "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}}}
    common = {"schedulerName": scheduler, "containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}, "spec": {**common, **spec}}


def deployment(name: str, replicas: int, *, cpu: str = "100m", scheduler: str = OURS, **spec: Any) -> dict[str, Any]:
    """Pods of one kind, spread over hosts."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod("", cpu=cpu, scheduler=scheduler, **spec)["spec"]}
    del template["spec"]["terminationGracePeriodSeconds"]
    body = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": body}


def custom(group: str, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """An object of another project's kind."""
    return {"apiVersion": f"{group}/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def pods(bed: Testbed, namespace: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in items(bed, "pods", "--namespace", namespace)}


def nodes_of(bed: Testbed, namespace: str) -> dict[str, str]:
    """The node of each pod, empty where it has none."""
    return {name: each["spec"].get("nodeName", "") for name, each in pods(bed, namespace).items()}


def bound(bed: Testbed, namespace: str, wanted: int, *, within: float = 180.0) -> dict[str, str]:
    """Wait until so many pods are bound; all pods with their nodes."""
    eventually(lambda: sum(map(bool, nodes_of(bed, namespace).values())) >= wanted, within=within)
    return nodes_of(bed, namespace)


def refusal(bed: Testbed, namespace: str, name: str) -> tuple[str, str]:
    """Reason and message of a pod's condition PodScheduled while it is False, else empty."""
    for each in pods(bed, namespace)[name]["status"].get("conditions", ()):
        if each["type"] == "PodScheduled" and each["status"] == "False":
            return each.get("reason", ""), each.get("message", "")
    return "", ""


def refused(bed: Testbed, namespace: str, name: str) -> str:
    """Wait until a pod says why it has no node; what it says."""
    eventually(lambda: refusal(bed, namespace, name)[1])
    reason, message = refusal(bed, namespace, name)
    assert reason == "Unschedulable"
    return message


def create(bed: Testbed, namespace: str, *manifests: dict[str, Any]) -> None:
    make(bed, *manifests, namespace=namespace)


def nothing_is_over_committed(bed: Testbed) -> None:
    """On every node, by the API's own view, requests are within what is allocatable."""
    used: dict[str, Counter[str]] = {}
    for each in items(bed, "pods", "--all-namespaces"):
        where = each["spec"].get("nodeName")
        if not where or each["status"].get("phase") in ("Succeeded", "Failed"):
            continue
        count = used.setdefault(where, Counter())
        count["pods"] += 1000
        for container in each["spec"]["containers"]:
            for resource, amount in container["resources"].get("requests", {}).items():
                count[resource] += milli(amount)
    for each in items(bed, "nodes"):
        allocatable = {key: milli(amount) for key, amount in each["status"]["allocatable"].items()}
        over = {
            resource: amount
            for resource, amount in used.get(each["metadata"]["name"], {}).items()
            if amount > allocatable.get(resource, 0)
        }
        assert not over, f"{each['metadata']['name']}: {json.dumps(over)} milli of {allocatable}"
