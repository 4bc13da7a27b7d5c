"""The policy `burst` from end to end on a real control plane: real nodes are full, a Job bursts and is billed, a budget holds another back, both come home."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.kube.live import eventually, make, running
from tests.kube.test_policies import policy
from tests.testbed.asking import deployment, done, items
from tests.virtualnode.test_faults import HASTY
from tests.virtualnode.virtual import AT_ONCE

from neaptide.kube.decisions import about, decisions
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.model.actions import Ref
from neaptide.policies.burst_rooms import KEY
from neaptide.pricing.tariff_files import shipped
from neaptide.records.ledger import leases_of
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.load import add_nodes
from neaptide.testbed.nodes import fake_node
from neaptide.virtualnode.node import NodeSettings
from neaptide.virtualnode.providers.simulated import Simulated
from neaptide.virtualnode.running import Accounts, run

REAL, VIRTUAL = "real-1", "vk-burst"
BURST: dict[str, Any] = {
    "waitingCostPerHour": 0.01,
    "nodeStartSeconds": None,
    "graceSeconds": 1,
    "homeStableSeconds": 2,
    "budgets": [{"namespaces": ["ci"], "concurrent": 1, "whenSpent": "Queue"}],
}
MINIMUM_STAY = {"minimumStaySeconds": 1}


def job(name: str) -> dict[str, Any]:
    """A Job of a pod of 1 CPU and 2 GiB, which runs for as long as a virtual node lets it and which kwok ends at once."""
    container = {"name": "main", "image": "work", "resources": {"requests": {"cpu": "1", "memory": "2Gi"}}}
    template = {"spec": {"containers": [container], "restartPolicy": "Never"}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": template},
    }


async def beside(testbed: Testbed, directory: Path, check: Callable[[], None]) -> None:
    """Run a virtual node with its ledger, and the controller, while a check runs."""
    async with Client(load(testbed.kubeconfig), qps=500, burst=500) as client:
        node, accounts = NodeSettings(name=VIRTUAL, provider=""), Accounts(directory / "ledger", shipped("eci"))
        keeping = run(client, Simulated(AT_ONCE), [node], accounts=accounts, overflow=False, timing=HASTY)
        task = asyncio.create_task(keeping)
        try:
            await running(testbed, directory / "journal", check)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def test_a_pod_bursts_is_billed_and_comes_home_and_a_budget_holds_another_back(
    installed: Testbed, tmp_path: Path
) -> None:
    add_nodes(installed.site, [fake_node(REAL, {}, {"cpu": "2", "memory": "8Gi", "pods": "20"})])
    done(installed, "create", "-f", "-", content=deployment("fill", 4))
    eventually(lambda: {each["spec"].get("nodeName") for each in items(installed, "pods")} == {REAL}, "it is full")
    done(installed, "create", "namespace", "ci")
    done(installed, "label", "namespace", "ci", "burst=true")
    scope = {"namespaceSelector": {"matchLabels": {"burst": "true"}}}
    spec: dict[str, Any] = {
        "policy": "burst",
        "mode": "Enforce",
        "scope": scope,
        "burst": BURST,
        "limits": MINIMUM_STAY,
    }
    done(installed, "create", "-f", "-", content=json.dumps(policy("burst", **spec)))

    def pods(name: str) -> list[dict[str, Any]]:
        return [
            each for each in items(installed, "pods", "-n", "ci") if each["metadata"]["labels"].get("job-name") == name
        ]

    def on(name: str, node: str, phase: str) -> bool:
        return any(each["spec"].get("nodeName") == node and each["status"]["phase"] == phase for each in pods(name))

    def tolerates(name: str) -> bool:
        return all(KEY in {each["key"] for each in pod["spec"]["tolerations"]} for pod in pods(name))

    def held_back(name: str) -> bool:
        about_it = about([Ref("Pod", each["metadata"]["name"], "ci") for each in pods(name)])
        past = decisions(tmp_path / "journal", about_it)
        return past is not None and any("as are allowed" in each.reason for each in past.decisions)

    def check() -> None:
        make(installed, job("first"), namespace="ci")
        eventually(lambda: on("first", VIRTUAL, "Running"), "the first runs on the virtual node")
        assert tolerates("first")
        make(installed, job("second"), namespace="ci")
        eventually(lambda: held_back("second"), "the second is left waiting, for the budget")
        assert not tolerates("second")
        eventually(lambda: leases_of(tmp_path / "ledger"), "a lease is open")
        done(installed, "delete", "deployment", "fill")
        eventually(lambda: on("second", REAL, "Succeeded"), "the second needs no virtual node any more")
        eventually(lambda: on("first", REAL, "Succeeded"), "the first has come home")

    asyncio.run(beside(installed, tmp_path, check))
    [lease] = leases_of(tmp_path / "ledger").values()
    assert (lease.opened.namespace, lease.opened.workload, lease.opened.node) == ("ci", "Job/first", VIRTUAL)
    assert (lease.opened.cpu_milli, lease.opened.memory_mib) == (1000, 2048)
    assert lease.opened.price_per_hour
    assert lease.ended is not None
    assert lease.ended > lease.opened.started
