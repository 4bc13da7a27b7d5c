"""The twin of descheduler's LowNodeUtilization (low_node_utilization.py) held against descheduler v0.36 on the testbed.

CLUSTERS random clusters (5) of TWIN_NODES nodes (30), some crowded and some almost empty, one after the other on one control plane without a scheduler. The
real one looks at requests and evicts by the API; the twin plans on the same objects, with the requests for the usage. Compared is how many pods leave
each node. Which pods of a node go first is not defined among equals, so that pods which differ in size differ in priority too.
"""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import yaml

from benchmarks.figure import Figure, Peer
from benchmarks.low_node_utilization import LowNodeUtilization, LowNodeUtilizationSpec, NoMemory
from benchmarks.scheduler_bed import Bed, bed, until
from neaptide.model.build import build
from neaptide.model.manifests import from_json
from neaptide.testbed.nodes import fake_node
from neaptide.testbed.tools import descheduler

CLUSTERS, TWIN_NODES = int(os.environ.get("CLUSTERS", "5")), int(os.environ.get("TWIN_NODES", "30"))
REAL = "descheduler v0.36"
_CPU, _MEMORY = 16_000, 64 << 30
_SHAPES = ((250, 1), (500, 2), (1000, 2), (1000, 6), (2000, 4))
"""Milli-CPU and GiB that pods ask for."""
_SPEC = LowNodeUtilizationSpec()


class Left(NamedTuple):
    """How many pods left each node: by the twin's plan, and in fact."""

    twin: Counter[str]
    real: Counter[str]


def figures() -> Iterator[Figure]:
    """Evictions of both over all clusters, and the part of the nodes that lost as many pods."""
    program = descheduler()
    nodes = [
        fake_node(f"node-{each:03d}", {}, {"cpu": f"{_CPU}m", "memory": str(_MEMORY), "pods": "110"})
        for each in range(TWIN_NODES)
    ]
    with bed(nodes) as found:
        for each in range(len(_SHAPES)):
            body = {"metadata": {"name": f"rank-{each}"}, "value": each, "preemptionPolicy": "Never"}
            found.server.call("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", body)
        runs = [_run(found, str(program), seed) for seed in range(CLUSTERS)]
    twin, real = (float(sum(sum(counts.values()) for counts in side)) for side in zip(*runs, strict=True))
    alike = sum(
        run.twin[name] == run.real[name] for run in runs for name in (each["metadata"]["name"] for each in nodes)
    )
    yield Figure("descheduler.twin.evictions", twin, "evictions", Peer(REAL, real))
    yield Figure("descheduler.twin.nodes_alike_percent", 100 * alike / (TWIN_NODES * CLUSTERS), "%")


def _run(found: Bed, program: str, seed: int) -> Left:
    namespace = found.namespace()
    _fill(found, namespace, random.Random(seed))
    twin = _planned(found)
    before = _on_nodes(found, namespace)
    _evict(found, program)
    until(lambda: all("deletionTimestamp" not in each["metadata"] for each in found.pods(namespace)))
    real = before - _on_nodes(found, namespace)
    print(
        f"cluster {seed}: {sum(before.values())} pods, twin {sum(twin.values())}, real {sum(real.values())}",
        file=sys.stderr,
    )
    found.empty(namespace)
    return Left(twin, real)


def _fill(found: Bed, namespace: str, rng: random.Random) -> None:
    """ReplicaSets whose pods stand on nodes of very different fill; evicted ones come again without a node."""
    places: dict[int, list[str]] = {each: [] for each in range(len(_SHAPES))}
    for number in range(TWIN_NODES):
        wanted = rng.choice((0.15, 0.3, 0.5, 0.75, 0.9)) * _CPU
        while wanted > 0:
            shape = rng.randrange(len(_SHAPES))
            wanted -= _SHAPES[shape][0]
            places[shape].append(f"node-{number:03d}")
    ranks = rng.sample(range(len(_SHAPES)), len(_SHAPES))
    for shape, names in places.items():
        labels = {"app": f"shape-{shape}"}
        cpu, memory = _SHAPES[shape]
        resources = {"requests": {"cpu": f"{cpu}m", "memory": f"{memory}Gi"}}
        spec = {
            "terminationGracePeriodSeconds": 0,
            "priorityClassName": f"rank-{ranks[shape]}",
            "containers": [{"name": "main", "image": "web", "resources": resources}],
        }
        template = {"metadata": {"labels": labels}, "spec": spec}
        body = {"replicas": len(names), "selector": {"matchLabels": labels}, "template": template}
        path = f"/apis/apps/v1/namespaces/{namespace}/replicasets"
        found.server.call("POST", path, {"metadata": {"name": f"shape-{shape}"}, "spec": body})
    until(lambda: found.count(namespace) >= sum(map(len, places.values())))
    for pod in found.pods(namespace):
        name = pod["metadata"]["name"]
        node = places[int(name.split("-")[1])].pop()
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        body = {"metadata": {"name": name}, "target": target}
        found.server.call("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/binding", body)
    until(lambda: all(each["status"]["phase"] == "Running" for each in found.pods(namespace)))


def _planned(found: Bed) -> Counter[str]:
    """How many pods the twin would take off each node, with what pods ask for as what they use."""
    items = []
    for path in ("/api/v1/nodes", "/api/v1/pods", "/apis/apps/v1/replicasets"):
        items += from_json(found.server.call("GET", path), path)[0]
    snapshot, _ = build(items)
    for pod in snapshot.pods.indices().tolist():
        cpu, memory = snapshot.pod_requests([pod])[:2, 0].tolist()
        snapshot.set_pod_usage(pod, cpu, memory)
    rows = snapshot.nodes.indices()
    cpu_used, memory_used = (snapshot.nodes.used[each, rows].astype(float) for each in (0, 1))
    snapshot.set_node_usage(rows, cpu_used, memory_used, time.time())
    plan, _ = LowNodeUtilization().plan(snapshot, _SPEC, NoMemory(), time.time())
    return Counter(each.node for each in plan.actions if hasattr(each, "node"))


def _on_nodes(found: Bed, namespace: str) -> Counter[str]:
    return Counter(node for each in found.pods(namespace) if (node := each["spec"].get("nodeName")))


def _evict(found: Bed, program: str) -> None:
    """Have descheduler look once."""
    names = ("cpu", "memory")
    thresholds, targets = (dict(zip(names, each, strict=True)) for each in (_SPEC.thresholds, _SPEC.target_thresholds))
    profile: dict[str, Any] = {
        "name": "default",
        "pluginConfig": [
            {"name": "DefaultEvictor", "args": {}},
            {"name": "LowNodeUtilization", "args": {"thresholds": thresholds, "targetThresholds": targets}},
        ],
        "plugins": {"balance": {"enabled": ["LowNodeUtilization"]}},
    }
    body = {"apiVersion": "descheduler/v1alpha2", "kind": "DeschedulerPolicy", "profiles": [profile]}
    file = found.testbed.directory / "descheduler.yaml"
    file.write_text(yaml.safe_dump(body))
    flags = [f"--policy-config-file={file}", f"--kubeconfig={found.testbed.kubeconfig}", "--secure-port=0", "--v=3"]
    done = subprocess.run([program, *flags], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise RuntimeError(f"descheduler ended with {done.returncode}: {done.stderr[-2000:]}")


GROUPS: dict[str, Callable[[], Iterator[Figure]]] = {"descheduler.twin": figures}
