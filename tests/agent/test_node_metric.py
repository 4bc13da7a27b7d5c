"""The agent's NodeMetric: what it says of node and pods, on trees of both versions, and who may write it."""

import asyncio
import json
from math import isnan
from pathlib import Path
from typing import Any

import pytest
from tests.agent.trees import Node, Shape
from tests.kube.live import eventually, found
from tests.testbed.asking import done

from neaptide.agent import node_metric
from neaptide.agent.node_metric import OWNED, NodeReport, Reporting
from neaptide.agent.own_node import NodeFacts
from neaptide.agent.settings import Settings
from neaptide.agent.usage_window import Round, UsageWindow
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.errors import NotFound
from neaptide.kubeapi.resources import NODE_METRIC
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.load import add_nodes
from neaptide.testbed.nodes import fake_node

NOW = 1_800_000_000.0
NOTHING = Settings(cpu_suppress=None, group_priority=None)
both_versions = pytest.mark.parametrize("shape", [Shape(1, systemd=False), Shape(2, systemd=True)], ids=["v1", "v2"])


def reporting(node: Node, **options: Any) -> tuple[Any, NodeReport]:
    agent, report = node.agent(NOTHING), NodeReport("n", Reporting(), node.said.append, clock=lambda: NOW, **options)
    agent.watchers.append(report.see)
    return agent, report


@both_versions
def test_it_says_what_node_and_pods_used_on_average_and_what_is_the_systems(tmp_path: Path, shape: Shape) -> None:
    node = Node(tmp_path, shape)
    web = node.pod("web", "burstable", labels={"koordinator.sh/qosClass": "LS"})
    job = node.pod("job", labels={"koordinator.sh/qosClass": "BE"}, priority=5500)
    node.memory(used=400, pods={web: 200, job: 100})
    agent, report = reporting(node, extensions=lambda uid: {"neaptide.io/x": 1} if uid == "web" else {})
    node.use(agent)
    assert report.status() is None
    node.use(agent, node=2000, web=1000, job=500)
    node.use(agent, node=3000, web=1500, job=500)
    status = report.status()
    assert status is not None
    assert status["updateTime"] == "2027-01-15T08:00:00Z"
    metric = status["nodeMetric"]
    assert metric["nodeUsage"] == {"resources": {"cpu": "2500m", "memory": str(400 << 20)}}
    assert metric["systemUsage"] == {"resources": {"cpu": "750m", "memory": str(100 << 20)}}
    assert metric["aggregatedNodeUsages"][0]["usage"]["p99"]["resources"]["cpu"] == "3000m"
    assert status["podsMetric"] == [
        {
            "name": "pod-job",
            "namespace": "default",
            "priority": "koord-batch",
            "podUsage": {"resources": {"cpu": "500m", "memory": str(100 << 20)}},
            "qos": "BE",
        },
        {
            "name": "pod-web",
            "namespace": "default",
            "priority": "koord-prod",
            "podUsage": {"resources": {"cpu": "1250m", "memory": str(200 << 20)}},
            "qos": "LS",
            "extensions": {"neaptide.io/x": 1},
        },
    ]
    agent.close()


def test_what_was_not_measured_is_not_named() -> None:
    window = UsageWindow(300)
    window.add(Round(0.0, 1.0, float("nan"), {"a": 100.0}))
    assert window.cpu_percentiles() == {}
    assert isnan(window.node_cpu())
    assert window.pod_cpu("a") == 100.0
    assert isnan(window.pod_memory("a"))


def test_a_round_counts_by_its_length_and_goes_after_the_window() -> None:
    window = UsageWindow(10)
    window.add(Round(0.0, 1.0, 9000.0, {}))
    window.add(Round(8.0, 1.0, 1000.0, {"late": 10.0}))
    window.add(Round(10.0, 3.0, 2000.0, {"late": 30.0}))
    assert window.node_cpu() == 1750.0
    assert window.pod_cpu("late") == 25.0


def test_news_are_told_before_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_metric, "_LOOK", 0.01)
    news = iter([0, 0, 0, 1])
    report = NodeReport("n", Reporting(), lambda _: None, news=lambda: next(news))
    asyncio.run(asyncio.wait_for(report._pause(60.0, early=True), timeout=30.0))
    assert list(news) == []


INTEROP = (
    Path(__file__).parents[2] / "charts/neaptide-interop-crds/files/koordinator/nodemetrics.slo.koordinator.sh.yaml"
)
STATUS = {"updateTime": "2027-01-15T08:00:00Z", "nodeMetric": {"nodeUsage": {"resources": {"cpu": "1", "memory": "1"}}}}


@pytest.mark.slow
def test_it_makes_its_own_object_which_goes_with_the_node_and_leaves_another_agents_alone(
    own_control_plane: Testbed,
) -> None:
    add_nodes(own_control_plane.site, [fake_node("n", {}, {"cpu": "4", "memory": "8Gi", "pods": "9"})])
    own = NodeFacts(json.loads(done(own_control_plane, "get", "node", "n", "--output=json"))["metadata"]["uid"])

    async def write(node: str) -> bool:
        async with Client(load(own_control_plane.kubeconfig)) as client:
            return await NodeReport(node, Reporting(), lambda _: None, facts=lambda: own).write(client, STATUS)

    with pytest.raises(NotFound):
        asyncio.run(write("n"))
    done(own_control_plane, "apply", f"--filename={INTEROP}")
    done(
        own_control_plane, "wait", "--for=condition=established", "crd/nodemetrics.slo.koordinator.sh", "--timeout=90s"
    )
    for _ in range(2):  # made, and written again
        assert asyncio.run(write("n"))
    stored = json.loads(done(own_control_plane, "get", NODE_METRIC.plural, "n", "--output=json"))
    assert stored["status"] == STATUS
    assert OWNED.items() <= stored["metadata"]["labels"].items()
    assert [(each["kind"], each["uid"]) for each in stored["metadata"]["ownerReferences"]] == [("Node", own.uid)]
    theirs = {"apiVersion": NODE_METRIC.api_version, "kind": "NodeMetric", "metadata": {"name": "m"}}
    done(own_control_plane, "create", "--filename=-", content=json.dumps(theirs))
    assert not asyncio.run(write("m"))
    assert "status" not in json.loads(done(own_control_plane, "get", NODE_METRIC.plural, "m", "--output=json"))
    done(own_control_plane, "delete", "node", "n")
    eventually(lambda: not found(own_control_plane, NODE_METRIC.plural, "n"), "it goes with its node")
