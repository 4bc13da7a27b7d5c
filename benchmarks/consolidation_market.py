"""What `consolidation_peer` buys nodes from: Karpenter's kwok provider with a part of its AWS types, or a generated market."""

import csv
import json
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.consolidation_cluster import market, objects
from benchmarks.karpenter_load import CAPACITY_TYPE, EXAMPLES, as_csv, catalogue, instance_types
from benchmarks.running import process
from neaptide.model.offerings import Offering
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.load import add_nodes
from neaptide.testbed.ports import assign
from neaptide.testbed.tools import karpenter

_PRICES = ("eks-node-viewer/instance-price", "neaptide.io/price-per-hour")
_MIB = 2**20
_NODES = 189


def price(node: Mapping[str, Any]) -> float:
    """US dollars per hour, as the node's label says."""
    labels = node["metadata"]["labels"]
    return float(next((labels[each] for each in _PRICES if each in labels), 0.0))


@contextmanager
def generated(testbed: Testbed, directory: Path) -> Iterator[Path]:
    """Nodes as `consolidation_cluster` buys them; the prices of its market as a catalogue."""
    nodes = [msgspec.to_builtins(each) for each in objects(24, 12) if type(each).__name__ == "Node"]
    for node in nodes:
        node["metadata"] = {
            "name": node["metadata"]["name"],
            "labels": node["metadata"]["labels"],
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        }
        amounts = node["status"]["allocatable"]
        for each in (node,):
            each |= {
                "apiVersion": "v1",
                "kind": "Node",
                "spec": {},
                "status": {"allocatable": amounts, "capacity": amounts},
            }
    add_nodes(testbed.site, nodes)
    yield price_file(directory / "prices.csv", market())


@contextmanager
def karpenters(testbed: Testbed, directory: Path, consolidate_after: str) -> Iterator[Path]:
    """Karpenter runs, and buys nodes for what waits; the prices of its market as a catalogue."""
    programs = karpenter()
    types = instance_types(programs / EXAMPLES)
    (directory / "types.json").write_text(json.dumps(types))
    for folder in ("pkg/apis/crds", "kwok/apis/crds"):
        _applied(testbed, ["-f", str(programs / folder)])
    ports = assign(("metrics", "health"), {})
    environment = {
        "KUBECONFIG": str(testbed.kubeconfig),
        "SYSTEM_NAMESPACE": "kube-system",
        "KARPENTER_SERVICE": "karpenter",
        "DISABLE_LEADER_ELECTION": "true",
        "METRICS_PORT": str(ports["metrics"]),
        "HEALTH_PROBE_PORT": str(ports["health"]),
        "INSTANCE_TYPES_FILE_PATH": str(directory / "types.json"),
        "FEATURE_GATES": "SpotToSpotConsolidation=true",
    }
    with process([str(programs / "karpenter")], directory / "karpenter.log", environment):
        time.sleep(6.0)  # its caches fill; it answers nothing that would say when
        _applied(
            testbed, ["-f", "-"], json.dumps({"apiVersion": "v1", "kind": "List", "items": _pool(consolidate_after)})
        )
        prices = directory / "prices.csv"
        prices.write_text(as_csv(catalogue(types)), encoding="utf-8")
        yield prices


def let_go(testbed: Testbed) -> None:
    """Karpenter is gone: its nodes are nobody's, or no node could ever be deleted."""
    names = testbed.kubectl(["get", "nodes", "-o", "name"]).stdout.split()
    for name in names:
        testbed.kubectl(
            ["patch", name, "--type=merge", "-p", '{"metadata":{"finalizers":null,"ownerReferences":null}}']
        )


def _pool(consolidate_after: str) -> list[dict[str, Any]]:
    kind = {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"}
    requirements = [
        {"key": CAPACITY_TYPE, "operator": "In", "values": ["spot", "on-demand"]},
        {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
    ]
    template = {"spec": {"expireAfter": "Never", "requirements": requirements, "nodeClassRef": kind}}
    disruption = {
        "consolidationPolicy": "WhenEmptyOrUnderutilized",
        "consolidateAfter": consolidate_after,
        "budgets": [{"nodes": "100%"}],
    }
    return [
        {"apiVersion": "karpenter.kwok.sh/v1alpha1", "kind": "KWOKNodeClass", "metadata": {"name": "default"}},
        {
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodePool",
            "metadata": {"name": "default"},
            "spec": {"disruption": disruption, "template": template},
        },
    ]


def price_file(file: Path, offerings: Iterable[Offering]) -> Path:
    """Offerings as `--prices` reads them, written to a file."""
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(
            ["instance_type", "capacity_type", "zone", "price_per_hour", "cpu_milli", "memory_mib", "pods", "arch"]
        )
        for each in offerings:
            amounts = each.allocatable
            sizes = (amounts["cpu"], amounts["memory"] // _MIB, amounts["pods"])
            arch = each.labels.get("kubernetes.io/arch", "amd64")
            rows.writerow([each.instance_type, each.capacity_type, each.zone, each.price_per_hour, *sizes, arch])
    return file


def _applied(testbed: Testbed, arguments: list[str], content: str | None = None) -> None:
    done = testbed.kubectl(["apply", "--server-side", *arguments], content=content, timeout=120)
    if done.returncode:
        raise subprocess.SubprocessError(done.stderr)
