"""Admission by a real API server: through our webhook, and by what CEL says of the same settings."""

import asyncio
import base64
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from neaptide.admission.draft import Draft
from neaptide.admission.pipeline import RuleSetting
from neaptide.admission.pod_defaults import PodDefaults, PodDefaultsSpec
from neaptide.admission.pools import MARK, Pools, PoolsSpec
from neaptide.admission.protocols import Namespace, RefusedError
from neaptide.kube.admission import Namespaces, Place, serve
from neaptide.kube.rules import say_in_cel, trust
from neaptide.kube.webhook import PATH, Webhook
from neaptide.kubeapi.client import Client, Patch
from neaptide.kubeapi.config import load
from neaptide.kubeapi.errors import Forbidden
from neaptide.kubeapi.keys import Keys, renewed
from neaptide.kubeapi.resources import MUTATING_POLICIES, MUTATING_WEBHOOKS, PODS, PRIORITY_CLASSES, Resource
from neaptide.kubeapi.server import TlsServer
from neaptide.model.scope import Scope

WITHIN = 30.0
DAY = 86400.0


def made_keys(*, ago: float = 0.0) -> Keys:
    """Keys for this host as they were made some seconds ago."""
    keys = renewed(None, ["127.0.0.1"], time.time() - ago)
    assert keys is not None
    return keys


AUTHORITY = made_keys().bundle
_numbers = count(1)
WRITTEN = {"labels": {"app": "web"}, "annotations": {"note": "mine"}}


class Raising(PodDefaults):
    """A rule with a fault."""

    def admit(self, draft: Draft, namespace: Namespace, spec: PodDefaultsSpec) -> None:
        super().admit(draft, namespace, spec)
        raise ZeroDivisionError


class Refusing(PodDefaults):
    """A rule that lets nothing in."""

    def admit(self, draft: Draft, namespace: Namespace, spec: PodDefaultsSpec) -> None:
        super().admit(draft, namespace, spec)
        raise RefusedError(f"nothing runs in {namespace.name}")


def setting(namespace: str, *, rule: PodDefaults | None = None, **fields: Any) -> RuleSetting:
    return RuleSetting("offline", rule or PodDefaults(), PodDefaultsSpec(**fields), Scope(namespaces=(namespace,)))


def asked(client: Client, namespace: str, **fields: Any) -> Any:
    """Create a pod (a dry run) and give it as the API server would store it."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "pod-"} | fields.pop("metadata", {}),
        "spec": {"containers": [{"name": "main", "image": "local.test/none:1"}]} | fields,
    }

    async def create() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await client.create(PODS, pod, namespace, dry_run=True))
        return found

    return create()


async def until(condition: Callable[[], Any]) -> None:
    due = time.monotonic() + WITHIN
    while not await condition():
        assert time.monotonic() < due
        await asyncio.sleep(0.1)


@asynccontextmanager
async def temporary(client: Client, resource: Resource, body: dict[str, Any]) -> AsyncIterator[str]:
    name = body["metadata"]["name"]
    await client.create(resource, body)
    try:
        yield name
    finally:
        await client.delete(resource, name)


def priority_class(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "value": 5500, "preemptionPolicy": "Never"}


def configuration(name: str, namespace: str, url: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": "pods.neaptide.io",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Ignore",
                "reinvocationPolicy": "IfNeeded",
                "timeoutSeconds": 2,
                "clientConfig": {"url": url},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            }
        ],
    }


@asynccontextmanager
async def serving(client: Client, namespace: str, *settings: RuleSetting) -> AsyncIterator[CollectorRegistry]:
    """Our webhook, once the API server asks it about the pods of a namespace."""
    registry, port = CollectorRegistry(), asyncio.get_running_loop().create_future()
    webhook = Webhook(Namespaces(client, dict), registry)
    webhook.settings = settings
    name = f"neaptide-{next(_numbers)}-{namespace}"
    place = Place(namespace=namespace, configuration=name, host="127.0.0.1", port=0, names=("127.0.0.1",))

    async def counted() -> bool:
        await asked(client, namespace)
        return reviews(registry) > 0

    async with asyncio.TaskGroup() as tasks:
        server = tasks.create_task(serve(client, webhook, place, port.set_result))
        url = f"https://127.0.0.1:{await port}{PATH}"
        async with temporary(client, MUTATING_WEBHOOKS, configuration(name, namespace, url)):
            webhook.settings = ()
            await until(counted)
            webhook.settings = settings
            yield registry
        server.cancel()


def reviews(registry: CollectorRegistry, result: str | None = None) -> float:
    results = [result] if result else ["patched", "unchanged", "refused", "failed"]
    found = (registry.get_sample_value("neaptide_admission_reviews_total", {"result": each}) for each in results)
    return sum(each or 0.0 for each in found)


def test_the_webhook_and_cel_give_a_pod_the_same(kubeconfig: Path, namespace: str) -> None:
    async def play() -> None:
        given = priority_class(f"class-{namespace}")
        async with Client(load(kubeconfig)) as client, temporary(client, PRIORITY_CLASSES, given) as name:
            chosen = setting(
                namespace,
                priority_class_name=name,
                labels={"koordinator.sh/qosClass": "BE", "app": "other"},
                annotations={"quote": 'it\'s "so"'},
            )
            pods: list[dict[str, Any]] = [{}, {"metadata": WRITTEN}, {"priorityClassName": "system-node-critical"}]

            async def made() -> list[Any]:
                return [essence(await asked(client, namespace, **pod)) for pod in pods]

            bare = await made()
            async with serving(client, namespace, chosen) as registry:
                by_webhook = await made()
                assert reviews(registry, "patched") >= len(pods)
            await say_in_cel(client, [chosen])

            async def in_force() -> bool:
                return bool((await made())[0] != bare[0])

            await until(in_force)
            assert await made() == by_webhook
            await say_in_cel(client, [])
            assert b'"name":"neaptide-' not in await client.raw("GET", MUTATING_POLICIES.path())
        labels, annotations, spec = by_webhook[1]
        assert labels == {"app": "web", "koordinator.sh/qosClass": "BE"}
        assert annotations == {"note": "mine", "quote": 'it\'s "so"'}
        assert spec == {"priority": 5500, "priorityClassName": name, "preemptionPolicy": "Never"}
        assert by_webhook[2][2] == bare[2][2]

    asyncio.run(play())


def essence(pod: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """What rules give."""
    meta, spec = pod["metadata"], pod["spec"]
    given = {key: spec.get(key) for key in ("priority", "priorityClassName", "preemptionPolicy")}
    return meta.get("labels"), meta.get("annotations"), given


def test_a_rule_with_a_fault_lets_pods_in_as_they_are_and_is_counted(kubeconfig: Path, namespace: str) -> None:
    async def play() -> float:
        raising = setting(namespace, rule=Raising(), labels={"a": "b"})
        async with Client(load(kubeconfig)) as client, serving(client, namespace, raising) as registry:
            assert essence(await asked(client, namespace))[0] is None
            return reviews(registry, "failed")

    assert asyncio.run(play()) == 1


def test_a_pod_is_stored_with_the_pools_of_its_band(kubeconfig: Path, namespace: str) -> None:
    """The API server has put the priority of its class into a pod before the webhook sees it."""

    async def play() -> tuple[Any, Any]:
        spec = PoolsSpec(online=("payments",), offline=("crunch",))
        pools, given = RuleSetting("pools", Pools(), spec, Scope(namespaces=(namespace,))), f"batch-{namespace}"
        async with (
            Client(load(kubeconfig)) as client,
            temporary(client, PRIORITY_CLASSES, priority_class(given)),
            serving(client, namespace, pools),
        ):
            return await asked(client, namespace, priorityClassName=given), await asked(client, namespace)

    for found, side, others in zip(asyncio.run(play()), ("offline", "online"), ("payments", "crunch"), strict=True):
        assert found["metadata"]["annotations"][MARK] == side
        affinity = found["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        (term,) = affinity["nodeSelectorTerms"]
        assert {each["key"]: each["values"] for each in term["matchExpressions"]} == {
            MARK: ["online" if side == "offline" else "offline"],
            "karpenter.sh/nodepool": [others],
        }
        tolerated = {each.get("value") for each in found["spec"]["tolerations"] if each["key"] == MARK}
        assert tolerated == {side, "shared"}


def test_a_refusal_reaches_the_user_with_its_policy(kubeconfig: Path, namespace: str) -> None:
    async def play() -> str:
        refusing = setting(namespace, rule=Refusing())
        async with Client(load(kubeconfig)) as client, serving(client, namespace, refusing):
            with pytest.raises(Forbidden) as error:
                await asked(client, namespace)
            return error.value.message

    assert f"nothing runs in {namespace} (Policy offline)" in asyncio.run(play())


@pytest.mark.parametrize("fault", ["down", "slow", "expired"])
def test_pods_are_admitted_while_the_webhook_is_away_and_the_api_server_counts_them(
    kubeconfig: Path, namespace: str, fault: str
) -> None:
    async def play() -> None:
        async with Client(load(kubeconfig)) as client, answering(fault) as (port, bundle):
            name = f"away-{fault}-{namespace}"
            hooks = configuration(name, namespace, f"https://127.0.0.1:{port}{PATH}")
            async with temporary(client, MUTATING_WEBHOOKS, hooks):
                await trust(client, name, bundle)
                before = await failed_open(client)

                async def counted() -> bool:
                    assert (await asked(client, namespace))["kind"] == "Pod"
                    return await failed_open(client) > before

                await until(counted)

    asyncio.run(play())


async def failed_open(client: Client) -> float:
    """How many pods the API server let in without our say."""
    lines = (await client.raw("GET", "/metrics", accept="*/*")).decode().splitlines()
    ours = (line for line in lines if line.startswith("apiserver_admission_webhook_fail_open_count{"))
    return sum(float(line.rpartition(" ")[2]) for line in ours if 'name="pods.neaptide.io"' in line)


async def unknown(name: str) -> Namespace:
    raise LookupError(name)


@asynccontextmanager
async def answering(fault: str) -> AsyncIterator[tuple[int, bytes]]:
    """A port where a webhook should be, and the authority that the API server is to trust.

    Down: nobody listens. Slow: connections are taken and never answered. Expired: so is the certificate.
    """
    if fault == "expired":
        keys = made_keys(ago=100 * DAY)
        async with TlsServer(Webhook(unknown, CollectorRegistry()).app, keys, host="127.0.0.1", port=0) as server:
            yield server.port, keys.bundle
        return
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        if fault == "down":
            listening.close()
        yield port, AUTHORITY


def test_a_namespace_that_is_not_known_is_asked_for_and_one_that_is_not_there_is_an_error(
    kubeconfig: Path, namespace: str
) -> None:
    async def play() -> None:
        async with Client(load(kubeconfig)) as client:
            find = Namespaces(client, dict)
            assert (await find(namespace)).labels["kubernetes.io/metadata.name"] == namespace
            with pytest.raises(LookupError):
                await find(f"no-{namespace}")

    asyncio.run(play())


def test_trust_that_somebody_took_away_is_put_back(kubeconfig: Path, namespace: str) -> None:
    async def play() -> None:
        async with Client(load(kubeconfig)) as client:
            hooks = configuration(f"trust-{namespace}", namespace, "https://127.0.0.1:1/x")
            async with temporary(client, MUTATING_WEBHOOKS, hooks) as name:
                for _ in range(2):
                    await trust(client, name, AUTHORITY)
                    found = json.loads(await client.get(MUTATING_WEBHOOKS, name))["webhooks"][0]["clientConfig"]
                    assert base64.b64decode(found["caBundle"]) == AUTHORITY
                    gone = [{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]
                    await client.patch(MUTATING_WEBHOOKS, name, gone, kind=Patch.JSON)

    asyncio.run(play())
