"""The policy `relieve` on a real control plane: what agents measure makes pods leave a hot node, and no more than their budget allows."""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.agent.test_node_metric import INTEROP
from tests.kube.live import budget, eventually, found, make, running
from tests.kube.test_offline_live import policy
from tests.testbed.asking import done, items

from neaptide.kube import world
from neaptide.kube.usage.meter import Meter
from neaptide.kubeapi.resources import NODE_METRIC
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.load import add_nodes
from neaptide.testbed.nodes import fake_node

CPUS, EACH = 10, 1.5
WEB = {"app": "web"}


def test_pods_leave_a_hot_node_as_far_as_their_budget_allows_and_one_measurement_counts_once(
    installed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six pods use 9 of 10 CPUs. At two moves a round the node would be below 65 %; the budget lets one go at a time."""
    monkeypatch.setattr(world, "Meter", partial(Meter, period=0.5))
    done(installed, "apply", f"--filename={INTEROP}")
    done(installed, "wait", "--for=condition=Established", f"crd/{NODE_METRIC.plural}.{NODE_METRIC.group}")
    add(installed, "hot")
    make(installed, web(), budget("web", WEB, minimum=5), namespace="default")
    eventually(lambda: places(installed) == {"hot": 6})
    add(installed, "cool")
    settings = {"consecutiveAbnormalities": 0, "maxPerNode": 2}
    limits = {"minimumStaySeconds": 0, "evictionsPerWorkloadPercent": 100, "evictionsPerWorkloadPerHour": 100}
    make(installed, policy("relieve", policy="relieve", relieve=settings, limits=limits))
    clock = Clock()

    def check() -> None:
        for there in range(1, 3):
            measure(installed, clock.tick())
            eventually(lambda there=there: places(installed) == {"hot": 6 - there, "cool": there})  # type: ignore[misc]
            eventually(lambda: allowed(installed) == 1)
        measure(installed, clock.tick())
        change = json.dumps({"spec": {"relieve": {"maxPerNode": 3}}})
        done(installed, "patch", "policies.neaptide.io", "relieve", "--type=merge", f"--patch={change}")
        eventually(lambda: observed(installed) == 2, "it has looked again, at a node that is no longer hot")
        assert places(installed) == {"hot": 4, "cool": 2}
        evicted = [
            each for each in items(installed, "events.events.k8s.io", "-n", "default") if each["reason"] == "Evicted"
        ]
        assert len({each["regarding"]["name"] for each in evicted}) == 2

    asyncio.run(running(installed, tmp_path, check))


class Clock:
    """Times of measurements, each later than the one before."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC) - timedelta(seconds=60)

    def tick(self) -> datetime:
        self.time += timedelta(seconds=5)
        return self.time


def add(bed: Testbed, name: str) -> None:
    add_nodes(bed.site, [fake_node(name, {}, {"cpu": str(CPUS), "memory": "64Gi", "pods": "110"})])


def web() -> dict[str, Any]:
    requests = {"cpu": "1", "memory": "64Mi"}
    containers = [{"name": "main", "image": "web", "resources": {"requests": requests}}]
    template = {"metadata": {"labels": WEB}, "spec": {"containers": containers, "terminationGracePeriodSeconds": 0}}
    spec = {"replicas": 6, "selector": {"matchLabels": WEB}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def running_pods(bed: Testbed) -> list[dict[str, Any]]:
    pods = items(bed, "pods", "--namespace=default")
    return [
        each for each in pods if each["status"]["phase"] == "Running" and "deletionTimestamp" not in each["metadata"]
    ]


def places(bed: Testbed) -> Counter[str]:
    """How many pods run on each node."""
    return Counter(each["spec"]["nodeName"] for each in running_pods(bed))


def measure(bed: Testbed, time: datetime) -> None:
    """Write what agents would say of all nodes: each pod uses EACH CPUs."""
    pods = running_pods(bed)
    for node in ("hot", "cool"):
        mine = [each["metadata"]["name"] for each in pods if each["spec"]["nodeName"] == node]
        status = {
            "updateTime": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "nodeMetric": {"nodeUsage": usage(EACH * len(mine))},
            "podsMetric": [{"namespace": "default", "name": each, "podUsage": usage(EACH)} for each in mine],
        }
        item = {
            "apiVersion": NODE_METRIC.api_version,
            "kind": "NodeMetric",
            "metadata": {"name": node},
            "status": status,
        }
        content = json.dumps(item)
        done(bed, "apply", "--server-side", "--filename=-", content=content)
        done(bed, "apply", "--server-side", "--subresource=status", "--filename=-", content=content)


def usage(cpus: float) -> dict[str, Any]:
    return {"resources": {"cpu": f"{cpus * 1000:.0f}m", "memory": "1Gi"}}


def allowed(bed: Testbed) -> int:
    """How many pods the budget lets go."""
    count: int = found(bed, "poddisruptionbudget", "web", "default")["status"]["disruptionsAllowed"]
    return count


def observed(bed: Testbed) -> int:
    """Which generation of the Policy was looked at last."""
    generation: int = found(bed, "policies.neaptide.io", "relieve")["status"].get("observedGeneration", 0)
    return generation
