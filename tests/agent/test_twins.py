"""What a service's twins wait for, asked for on other nodes: of a made-up API server, and of a real one."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.agent.test_node_metric import INTEROP
from tests.agent.trees import pod, tell
from tests.kube.live import eventually
from tests.testbed.asking import done, items

from neaptide.agent.node_metric import NodeReport, Reporting
from neaptide.agent.pods import NodePods
from neaptide.agent.twins import EVERY, Twins
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.errors import ApiError, NotFound
from neaptide.kubeapi.resources import PODS, Resource
from neaptide.model.node_metric import SIGNALS
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.load import add_nodes
from neaptide.testbed.nodes import fake_node

NOW, STAMP = 1_800_000_000.0, "2027-01-15T08:00:00Z"
LABELS = {"app": "web", "statefulset.kubernetes.io/pod-name": "web-0"}


def twin(uid: str, node: str, owner: str = "set", *, controller: bool = True) -> dict[str, Any]:
    made = pod(uid, labels=LABELS, nodeName=node)
    made["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "uid": owner, "controller": controller}]
    return made


def metric(uid: str, stamp: str = STAMP, **lately: Any) -> dict[str, Any]:
    """A node's, with one pod."""
    told = {"name": f"pod-{uid}", "namespace": "default", "extensions": {SIGNALS: {"lately": lately}}}
    return {"metadata": {"name": "any"}, "status": {"updateTime": stamp, "podsMetric": [told]}}


class Server:
    """Answers what it was given, and counts what it was asked."""

    def __init__(self, pods: list[dict[str, Any]], metrics: dict[str, dict[str, Any]]) -> None:
        self.pods, self.metrics = pods, metrics
        self.selectors: list[str] = []
        self.asked: list[str] = []
        self.away = False

    async def list(
        self, resource: Resource, namespace: str, *, label_selector: str, limit: int
    ) -> AsyncIterator[bytes]:
        assert (resource, namespace) == (PODS, "default")
        if self.away:
            raise ApiError(0, "Away", "it is away")
        self.selectors.append(label_selector)
        yield json.dumps({"items": self.pods[:limit]}).encode()

    async def get(self, resource: Resource, name: str) -> bytes:
        self.asked.append(name)
        if name not in self.metrics:
            raise NotFound(404, "NotFound", f"{resource.plural} {name}")
        return json.dumps(self.metrics[name]).encode()


class Scene:
    """Service a on node n, which suffers, and its twins."""

    def __init__(self, twins: list[dict[str, Any]], metrics: dict[str, dict[str, Any]]) -> None:
        me, self.now, self.said = twin("a", "n"), 0.0, list[str]()
        pods = NodePods()
        tell(pods, [me])
        self.suffering = ["a"]
        self.server = Server([me, *twins], metrics)
        self.twins = Twins("n", pods, lambda: self.suffering, self.said.append, lambda: self.now, lambda: NOW)

    def ask(self, after: float = 0.0) -> dict[str, dict[str, float]]:
        self.now += after
        client: Any = self.server
        asyncio.run(self.twins.ask(client))
        return {uid: dict(medians) for uid, medians in self.twins.now().items()}


THREE = {"n1": metric("b", cpu=4.0, latency=9.0), "n2": metric("c", cpu=8.0), "n3": metric("d", cpu=60.0)}


@pytest.mark.parametrize(
    ("twins", "metrics", "medians"),
    [
        ([twin("b", "n1"), twin("c", "n2"), twin("d", "n3")], THREE, {"cpu": 8.0}),
        ([twin("b", "n1")], THREE, {}),
        ([twin("b", "n1"), twin("c", "n")], THREE | {"n": metric("c", cpu=8.0)}, {}),
        ([twin("b", "n1"), twin("c", "n2", "other set")], THREE, {}),
        ([twin("b", "n1"), twin("c", "n2"), twin("d", "")], THREE, {"cpu": 6.0}),
        ([twin("b", "n1"), twin("c", "n2")], {"n1": THREE["n1"]}, {}),
        ([twin("b", "n1"), twin("c", "n2")], THREE | {"n2": metric("c", "2027-01-15T07:50:00Z", cpu=8.0)}, {}),
        ([twin("b", "n1"), twin("c", "n2")], THREE | {"n2": metric("c", "yesterday", cpu=8.0)}, {}),
        ([twin("b", "n1"), twin("c", "n2")], THREE | {"n2": metric("c", cpu="much")}, {}),
        ([twin("b", "n1"), twin("c", "n2")], THREE | {"n2": {"status": 7}}, {}),
    ],
    ids=[
        "a signal that two have told of",
        "one twin says nothing",
        "one on the same node says nothing",
        "of another owner",
        "not on a node yet",
        "a node that tells nothing",
        "an old metric",
        "a metric without a time",
        "nonsense",
        "more nonsense",
    ],
)
def test_twins_are_those_of_the_same_owner_on_other_nodes_that_told_lately(
    twins: list[dict[str, Any]], metrics: dict[str, dict[str, Any]], medians: dict[str, float]
) -> None:
    scene = Scene(twins, metrics)
    assert scene.ask() == {"a": medians}
    assert scene.server.selectors == ["app=web"]
    assert scene.said == []


def test_a_pod_that_nobody_made_has_no_twins_and_nobody_is_asked() -> None:
    scene = Scene([twin("b", "n1")], THREE)
    tell(scene.twins._pods, [twin("a", "n", controller=False)])
    assert scene.ask() == {"a": {}}
    assert (scene.server.selectors, scene.server.asked) == ([], [])


def test_who_suffers_is_asked_about_now_and_then_and_is_remembered_for_a_minute() -> None:
    scene = Scene([twin("b", "n1"), twin("c", "n2")], THREE)
    known = {"a": {"cpu": 6.0}}
    for after, asked in ((0.0, 1), (EVERY - 1, 1), (1.0, 2)):
        assert scene.ask(after) == known
        assert len(scene.server.selectors) == asked
    scene.suffering = []
    assert scene.ask(59.0) == known
    assert scene.ask(1.0) == {}
    assert len(scene.server.selectors) == 2


def test_a_large_workloads_agents_ask_for_a_few_and_each_for_others() -> None:
    others = [twin(f"a{number:03}", f"n{number}") for number in range(200)]
    scene = Scene(others, {})
    scene.ask()
    assert scene.server.asked == [f"n{number}" for number in range(5)]


def test_an_api_server_that_is_away_is_told_once_and_asked_again() -> None:
    scene = Scene([twin("b", "n1"), twin("c", "n2")], THREE)
    scene.server.away = True
    for _ in range(3):
        assert scene.ask(5.0) == {}
    (line,) = scene.said
    assert line.startswith("the twins of default/pod-a could not be asked for")
    scene.server.away = False
    assert scene.ask(5.0) == {"a": {"cpu": 6.0}}


@pytest.mark.slow
def test_the_twins_of_a_replica_set_are_found_on_a_real_api_server(own_control_plane: Testbed) -> None:
    testbed, said = own_control_plane, list[str]()
    done(testbed, "apply", f"--filename={INTEROP}")
    done(testbed, "wait", "--for=condition=established", "crd/nodemetrics.slo.koordinator.sh", "--timeout=90s")
    nodes = [f"t{number}" for number in range(4)]
    add_nodes(testbed.site, [fake_node(name, {}, {"cpu": "4", "memory": "8Gi", "pods": "9"}) for name in nodes])
    labels, spread = {"app": "web"}, {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname"}
    constraint = spread | {"whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": labels}}
    spec = {
        "containers": [{"name": "main", "image": "none"}],
        "tolerations": [{"operator": "Exists"}],
        "topologySpreadConstraints": [constraint],
    }
    template = {"metadata": {"labels": labels}, "spec": spec}
    made = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "web"},
        "spec": {"replicas": 4, "selector": {"matchLabels": labels}, "template": template},
    }
    done(testbed, "create", "--filename=-", content=json.dumps(made))
    pods: dict[str, Any] = {}

    def all_have_nodes() -> bool:
        pods.update({each["spec"].get("nodeName", ""): each for each in items(testbed, "pods")})
        return set(nodes) <= set(pods)

    eventually(all_have_nodes, "each has a node of its own")

    async def asked() -> dict[str, dict[str, float]]:
        async with Client(load(testbed.kubeconfig)) as client:
            for node, value in zip(nodes[1:], (4.0, 8.0, 60.0), strict=True):
                meta = pods[node]["metadata"]
                told = {
                    "name": meta["name"],
                    "namespace": "default",
                    "extensions": {SIGNALS: {"lately": {"cpu": value}}},
                }
                assert await NodeReport(node, Reporting(), said.append).write(
                    client, {"updateTime": STAMP, "podsMetric": [told]}
                )
            here = NodePods()
            tell(here, [pods[nodes[0]]])
            uid = pods[nodes[0]]["metadata"]["uid"]
            twins = Twins(nodes[0], here, lambda: [uid], said.append, wall=lambda: NOW)
            await twins.ask(client)
            return {each: dict(medians) for each, medians in twins.now().items()}

    assert list(asyncio.run(asked()).values()) == [{"cpu": 8.0}]
    assert said == []
