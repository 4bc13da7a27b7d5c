"""Another cluster as capacity: a second control plane, with nodes that kwok plays, and with real ones."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.controlplane import create_namespace, running
from tests.kube.live import eventually, found, make
from tests.testbed.asking import done, items
from tests.virtualnode.virtual import Outside, on, outside

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.nodes import fake_node
from neaptide.testbed.realnodes.cluster import RealNodes
from neaptide.testbed.realnodes.images import BUSYBOX
from neaptide.virtualnode.providers.cluster.provider import ClusterProvider
from neaptide.virtualnode.providers.cluster.spec import ClusterSpec
from neaptide.virtualnode.providers.cluster.translate import OWNER, SERVICES, UID

AMOUNTS = {"cpu": "4", "memory": "16Gi", "pods": "110"}


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    """A second control plane, with three nodes of four CPUs that kwok plays."""
    for testbed in running(tmp_path_factory.mktemp("other")):
        make(testbed, *(fake_node(f"there-{number}", {}, AMOUNTS) for number in range(3)))
        eventually(lambda testbed=testbed: _ready(testbed) == 3, "its nodes are ready")  # type: ignore[misc]
        yield testbed


def _ready(testbed: Testbed) -> int:
    conditions = [each["status"].get("conditions") or () for each in items(testbed, "nodes")]
    return sum(any(each["type"] == "Ready" and each["status"] == "True" for each in some) for some in conditions)


@pytest.fixture
def beside(control_plane: Testbed) -> Iterator[Outside]:
    with outside() as made:
        yield made
        done(control_plane, "delete", "node", "--selector=type=virtual-kubelet", "--wait=false")


class _Pair:
    """A provider between two control planes, with its clients."""

    def __init__(self, here: Testbed, there: Testbed, **spec: Any) -> None:
        self._here, self._there, self._spec = here, there, spec

    @asynccontextmanager
    async def provider(self) -> AsyncIterator[ClusterProvider]:
        async with Client(load(self._here.kubeconfig)) as here, Client(load(self._there.kubeconfig)) as there:
            made = ClusterProvider(ClusterSpec(**self._spec), here, there)
            try:
                yield made
            finally:
                await made.close()


@pytest.fixture
def joined(control_plane: Testbed, beside: Outside) -> Any:
    """Makes a provider in the other thread; it goes with the test."""
    left: list[Any] = []

    def make_one(there: Testbed, **spec: Any) -> ClusterProvider:
        context = _Pair(control_plane, there, **spec).provider()
        left.append(context)
        provider: ClusterProvider = beside.do(context.__aenter__())
        return provider

    yield make_one
    for context in left:
        beside.do(context.__aexit__(None, None, None))


def _there(testbed: Testbed, uid: str) -> list[dict[str, Any]]:
    return items(testbed, "pods", "--all-namespaces", f"--selector={UID}={uid}")


def test_a_pod_runs_in_the_other_cluster_with_what_it_refers_to_and_nothing_stays(
    control_plane: Testbed, other: Testbed, namespace: str, beside: Outside, joined: Any
) -> None:
    provider = joined(other, owner=namespace)
    objects: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "v"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "hidden"}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
        },
    ]
    make(control_plane, *objects, namespace=namespace)
    container = {
        "name": "main",
        "image": "web",
        "envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "s"}}],
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
    }
    with beside.kubelet(control_plane, "vk-other", provider):
        it = on("vk-other", "p", containers=[container], serviceAccountName="robot", annotations={SERVICES: "web"})
        make(control_plane, it, namespace=namespace)
        eventually(lambda: found(control_plane, "pod", "p", namespace)["status"].get("phase") == "Running", "it runs")
        uid = found(control_plane, "pod", "p", namespace)["metadata"]["uid"]
        (remote,) = _there(other, uid)
        assert remote["metadata"]["namespace"] == namespace
        assert remote["spec"]["nodeName"].startswith("there-")
        for kind, name in (("configmap", "c"), ("secret", "s"), ("serviceaccount", "robot"), ("service", "web")):
            assert found(other, kind, name, namespace)["metadata"]["labels"][OWNER] == namespace
        status = found(control_plane, "pod", "p", namespace)["status"]
        assert status["podIP"] == remote["status"]["podIP"]
        done(control_plane, "delete", "pod", "p", f"--namespace={namespace}", "--timeout=90s")
        assert _there(other, uid) == []
        eventually(lambda: not found(other, "configmap", "c", namespace), "its ConfigMap there has gone")
    done(other, "delete", "namespace", namespace, "--wait=false")


@pytest.mark.slow
def test_the_node_offers_what_fits_there_by_shape_and_a_pod_that_does_not_fit_waits(
    control_plane: Testbed, other: Testbed, namespace: str, beside: Outside, joined: Any
) -> None:
    provider = joined(other, owner=namespace)
    eventually(lambda: beside.do(provider.capacity()).capacity["cpu"] == "12000m", "three nodes of four CPUs")
    with beside.kubelet(control_plane, "vk-shapes", provider):
        container = {"name": "main", "image": "web", "resources": {"requests": {"cpu": "6", "memory": "1Gi"}}}
        make(control_plane, on("vk-shapes", "large", containers=[container]), namespace=namespace)

        def said() -> bool:
            events = items(control_plane, "events", f"--namespace={namespace}")
            return any("Insufficient cpu" in each["message"] and "OutOfStock" in each["message"] for each in events)

        eventually(said, "the sum would hold it, and no node there does")
        assert items(other, "pods", "--all-namespaces", f"--selector={OWNER}={namespace}") == []
        done(control_plane, "delete", "pod", "large", f"--namespace={namespace}", "--timeout=90s")


@pytest.mark.slow
def test_after_a_restart_pods_are_found_and_none_is_made_twice(
    control_plane: Testbed, other: Testbed, namespace: str, beside: Outside, joined: Any
) -> None:
    with beside.kubelet(control_plane, "vk-restart", joined(other, owner=namespace)):
        make(control_plane, on("vk-restart", "p"), namespace=namespace)
        eventually(lambda: found(control_plane, "pod", "p", namespace)["status"].get("phase") == "Running", "it runs")
    uid = found(control_plane, "pod", "p", namespace)["metadata"]["uid"]
    before = _there(other, uid)[0]["metadata"]["uid"]
    with beside.kubelet(control_plane, "vk-restart", joined(other, owner=namespace)) as kubelet:
        eventually(lambda: uid in kubelet.pods.states, "it is found again")
        assert [each["metadata"]["uid"] for each in _there(other, uid)] == [before]
        done(control_plane, "delete", "pod", "p", f"--namespace={namespace}", "--timeout=90s")
    assert _there(other, uid) == []


@pytest.mark.slow
def test_while_the_other_cluster_is_away_its_pods_go_on_and_none_is_made_twice(
    control_plane: Testbed, own_control_plane: Testbed, namespace: str, beside: Outside, joined: Any
) -> None:
    there = own_control_plane
    make(there, fake_node("there-0", {}, AMOUNTS))
    eventually(lambda: _ready(there) == 1, "its node is ready")
    with beside.kubelet(control_plane, "vk-away", joined(there, owner=namespace)):
        make(control_plane, on("vk-away", "p"), namespace=namespace)
        eventually(lambda: found(control_plane, "pod", "p", namespace)["status"].get("phase") == "Running", "it runs")
        uid = found(control_plane, "pod", "p", namespace)["metadata"]["uid"]
        before = _there(there, uid)[0]["metadata"]["uid"]
        there.freeze("kube-apiserver")
        make(control_plane, on("vk-away", "late"), namespace=namespace)
        eventually(lambda: found(control_plane, "pod", "late", namespace)["spec"].get("nodeName"), "it is bound")
        assert found(control_plane, "pod", "p", namespace)["status"]["phase"] == "Running"
        there.up()
        eventually(
            lambda: found(control_plane, "pod", "late", namespace)["status"].get("phase") == "Running",
            "the late one runs",
            within=240.0,
        )
        assert [each["metadata"]["uid"] for each in _there(there, uid)] == [before]
        late = found(control_plane, "pod", "late", namespace)["metadata"]["uid"]
        assert len(_there(there, late)) == 1
        done(control_plane, "delete", "pods", "--all", f"--namespace={namespace}", "--timeout=90s")


def asked(testbed: Testbed, path: str) -> str:
    """What the virtual node's kubelet answers."""
    return done(testbed, "get", "--raw", f"/api/v1/nodes/vk-real/proxy/{path}")


def _address(testbed: Testbed) -> str:
    """That of a real node, on which this process listens too: the API server passes nothing on to a loopback address."""
    node = items(testbed, "nodes")[0]
    return next(str(each["address"]) for each in node["status"]["addresses"] if each["type"] == "InternalIP")


def used(testbed: Testbed, namespace: str) -> bool:
    """Whether CPU and memory of the pod are known."""
    pods = json.loads(asked(testbed, "stats/summary"))["pods"]
    (mine,) = (each for each in pods if each["podRef"]["namespace"] == namespace)
    return bool(mine.get("cpu", {}).get("usageCoreNanoSeconds") and mine.get("memory", {}).get("workingSetBytes"))


@pytest.mark.slow
def test_logs_and_commands_are_tunnelled_to_real_containers_in_the_other_cluster(
    control_plane: Testbed, real_nodes: RealNodes, namespace: str, beside: Outside, joined: Any
) -> None:
    there = real_nodes.testbed
    create_namespace(there, namespace)
    provider = joined(there, owner=namespace)
    container = {
        "name": "main",
        "image": BUSYBOX.name,
        "command": ["sh", "-c", "echo from $WHO; sleep 1000"],
        "env": [{"name": "WHO", "valueFrom": {"configMapKeyRef": {"name": "who", "key": "name"}}}],
        "resources": {"requests": {"cpu": "100m", "memory": "32Mi"}},
    }
    who = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "who"}, "data": {"name": "afar"}}
    with beside.kubelet(control_plane, "vk-real", provider, address=_address(there)):
        usual: dict[str, Any] = {"dnsPolicy": "Default", "terminationGracePeriodSeconds": 0}
        make(control_plane, who, on("vk-real", "p", containers=[container], **usual), namespace=namespace)
        eventually(lambda: found(control_plane, "pod", "p", namespace)["status"].get("phase") == "Running", "it runs")
        inside = (f"--namespace={namespace}",)
        eventually(lambda: done(control_plane, "logs", "p", *inside) == "from afar\n", "its log is here")
        assert done(control_plane, "exec", "p", *inside, "--", "cat", "/etc/hostname") == "p\n"
        eventually(lambda: used(control_plane, namespace), "its use is told")
        assert f'pod_cpu_usage_seconds_total{{namespace="{namespace}",pod="p"}}' in asked(
            control_plane, "metrics/resource"
        )
        done(control_plane, "delete", "pod", "p", *inside, "--timeout=90s")
    done(there, "delete", "namespace", namespace, "--wait=false")
    assert json.loads(done(there, "get", "pods", f"--namespace={namespace}", "--output=json"))["items"] == []
