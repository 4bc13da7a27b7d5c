"""The rule `colocation` by a real API server: profiles as it stores them, pods as it would store them."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from tests.kube.test_admission import asked, configuration, priority_class, reviews, temporary, until

from neaptide.admission.colocation import Colocation, ColocationSpec
from neaptide.admission.pipeline import RuleSetting
from neaptide.kube.admission import Namespaces, Place, known_of, serve
from neaptide.kube.webhook import PATH, Webhook
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.errors import Forbidden
from neaptide.kubeapi.resources import MUTATING_WEBHOOKS, PRIORITY_CLASSES
from neaptide.model.colocation_profile import EPHEMERAL, ClusterColocationProfile
from neaptide.model.objects import PriorityClass
from neaptide.model.scope import Scope

QOS = "koordinator.sh/qosClass"
RESOURCES = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "2"}}


def profile(namespace: str, given: str) -> ClusterColocationProfile:
    spec = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "selector": {"matchLabels": {"app": "spark"}},
        "qosClass": "BE",
        "priorityClassName": given,
        "koordinatorPriority": 7,
        "schedulerName": "neaptide",
    }
    meta = {"name": f"spark-{namespace}", "annotations": {EPHEMERAL: "offline"}}
    return msgspec.convert({"metadata": meta, "spec": spec}, ClusterColocationProfile)


def container(resources: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": "main", "image": "local.test/none:1", "resources": resources}]


def test_a_matched_pod_is_stored_as_offline_work_and_a_contradiction_is_refused(
    kubeconfig: Path, namespace: str
) -> None:
    async def play() -> None:
        name = f"koord-batch-{namespace}"
        async with Client(load(kubeconfig)) as client, temporary(client, PRIORITY_CLASSES, priority_class(name)):
            others: dict[str, dict[str, Any]] = {
                "ClusterColocationProfile": {"spark": profile(namespace, name)},
                "PriorityClass": {name: PriorityClass(value=5500)},
            }
            registry, port = CollectorRegistry(), asyncio.get_running_loop().create_future()
            webhook = Webhook(Namespaces(client, dict, lambda _: known_of(lambda kind: others.get(kind, {}))), registry)
            webhook.settings = [RuleSetting("offline", Colocation(), ColocationSpec(), Scope(namespaces=(namespace,)))]
            hook = f"colocation-{namespace}"
            place = Place(namespace=namespace, configuration=hook, host="127.0.0.1", port=0, names=("127.0.0.1",))

            async def counted() -> bool:
                await asked(client, namespace)
                return reviews(registry) > 0

            async with asyncio.TaskGroup() as tasks:
                server = tasks.create_task(serve(client, webhook, place, port.set_result))
                url = f"https://127.0.0.1:{await port}{PATH}"
                async with temporary(client, MUTATING_WEBHOOKS, configuration(hook, namespace, url)):
                    await until(counted)
                    await matched(client, namespace, name)
                    await refused(client, namespace)
                server.cancel()

    asyncio.run(play())


async def matched(client: Client, namespace: str, name: str) -> None:
    volumes = [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}]
    found = await asked(
        client, namespace, metadata={"labels": {"app": "spark"}}, containers=container(RESOURCES), volumes=volumes
    )
    spec = found["spec"]
    assert found["metadata"]["labels"] == {"app": "spark", QOS: "BE", "koordinator.sh/priority": "7"}
    assert (spec["priorityClassName"], spec["priority"], spec["schedulerName"]) == (name, 5500, "neaptide")
    assert spec["containers"][0]["resources"] == {
        "requests": {"kubernetes.io/batch-cpu": "500", "kubernetes.io/batch-memory": "1073741824"},
        "limits": {"kubernetes.io/batch-cpu": "2k", "kubernetes.io/batch-memory": "1073741824"},
    }
    claim = spec["volumes"][0]["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert claim["storageClassName"] == "offline"


async def refused(client: Client, namespace: str) -> None:
    other = await asked(client, namespace, containers=container(RESOURCES))
    assert other["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "500m"
    with pytest.raises(Forbidden, match="must request whole ones, and requests 500m"):
        await asked(client, namespace, metadata={"labels": {QOS: "LSE"}}, containers=container(RESOURCES))
