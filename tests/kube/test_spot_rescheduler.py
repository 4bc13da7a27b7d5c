"""`neaptide spot-rescheduler` on a real control plane: an on-demand node empties onto a spot node, and the old metrics say so."""

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.kube.live import eventually, found
from tests.testbed.asking import deployment, done, items

from neaptide.testbed.cluster import Testbed
from neaptide.testbed.load import add_nodes
from neaptide.testbed.nodes import fake_node
from neaptide.testbed.ports import assign

AMOUNTS = {"cpu": "16", "memory": "64Gi", "pods": "110"}


def machine(name: str, role: str) -> dict[str, Any]:
    return fake_node(name, {"kubernetes.io/role": role}, AMOUNTS)


@contextmanager
def rescheduler(testbed: Testbed, port: int, *flags: str) -> Iterator[None]:
    command = [
        *(sys.executable, "-m", "neaptide", "spot-rescheduler", "--kubeconfig", str(testbed.kubeconfig)),
        *(f"--listen-address=127.0.0.1:{port}", "--namespace=default", "--housekeeping-interval=500ms", *flags),
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603 - the project's own
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(timeout=120) == 0


def figures(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return {
        key: float(value)
        for key, _, value in (line.rpartition(" ") for line in lines if line.startswith("spot_rescheduler_"))
    }


def test_an_on_demand_node_empties_onto_a_spot_node(own_control_plane: Testbed) -> None:
    testbed, port = own_control_plane, assign(["metrics"], {})["metrics"]
    add_nodes(testbed.site, [machine("worker", "worker")])
    done(testbed, "create", "-f", "-", content=deployment("web", 4))
    eventually(lambda: {each["spec"].get("nodeName") for each in items(testbed, "pods")} == {"worker"})
    add_nodes(testbed.site, [machine("spot", "spot-worker")])
    with rescheduler(testbed, port, "--max-graceful-termination=1s"):
        eventually(lambda: [each["spec"].get("nodeName") for each in items(testbed, "pods")] == ["spot"] * 4)
        eventually(lambda: not found(testbed, "node", "worker")["spec"].get("taints"))
        eventually(lambda: any(name.startswith("spot_rescheduler_node_drain_total") for name in figures(port)))
        seen = figures(port)
    assert seen['spot_rescheduler_node_drain_total{drain_state="Success",node="worker"}'] == 1
    assert seen["spot_rescheduler_evicted_pods_total"] == 4
    assert seen['spot_rescheduler_nodes_count{node_type="kubernetes.io/role=worker"}'] == 1
    assert seen['spot_rescheduler_node_pods_count{node="spot",node_type="kubernetes.io/role=spot-worker"}'] == 4
