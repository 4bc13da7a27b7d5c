"""How pods get onto virtual nodes: overflow under a real scheduler, and the rule as a MutatingAdmissionPolicy beside the rule itself."""

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import msgspec
import pytest
from tests.admission.json_patch import patched
from tests.kube.live import eventually, found, make
from tests.kube.test_admission import asked, configuration, failed_open, temporary
from tests.testbed.asking import done
from tests.virtualnode.test_faults import HASTY, until
from tests.virtualnode.virtual import AT_ONCE

from neaptide.admission.cel import objects_of
from neaptide.admission.pipeline import RuleSetting, admit
from neaptide.admission.protocols import Namespace
from neaptide.admission.virtual_names import INJECTION, MODE, TAINT
from neaptide.admission.virtual_nodes import VirtualNodes, VirtualNodesSpec
from neaptide.kube.webhook import PATH
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.resources import MUTATING_WEBHOOKS
from neaptide.model import objects
from neaptide.model.objects import LabelSelector
from neaptide.model.scope import Scope
from neaptide.placement.cycle.actions import Bind
from neaptide.placement.cycle.events import Cycle, Listed
from neaptide.placement.cycle.machine import SchedulingCycle
from neaptide.placement.cycle.profile import CycleProfile
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.load import add_nodes
from neaptide.testbed.nodes import fake_node
from neaptide.virtualnode.node import NodeSettings
from neaptide.virtualnode.providers.simulated import Simulated
from neaptide.virtualnode.running import run

IMAGE = {"name": "main", "image": "local.test/image:1", "resources": {"requests": {"cpu": "1500m"}}}


def with_nodes(testbed: Testbed, name: str, pool: str, ask: Callable[[Client], Awaitable[None]]) -> None:
    """Talk while a virtual node runs."""

    async def talk() -> None:
        async with Client(load(testbed.kubeconfig), qps=500, burst=500) as client:
            node = NodeSettings(name=name, provider="simulated", labels={"pool": pool})
            task = asyncio.create_task(run(client, Simulated(AT_ONCE), [node], timing=HASTY))
            try:
                await ask(client)
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    asyncio.run(talk())
    done(testbed, "delete", "node", name, "--wait=false")


def test_a_pod_overflows_to_a_virtual_node_once_no_real_one_has_room_and_not_before(
    control_plane: Testbed, namespace: str
) -> None:
    add_nodes(
        control_plane.site, [fake_node("vk-real-1", {"pool": namespace}, {"cpu": "2", "memory": "8Gi", "pods": "9"})]
    )
    done(control_plane, "label", "namespace", namespace, f"{INJECTION}=enabled")
    spec = {"containers": [IMAGE], "nodeSelector": {"pool": namespace}}
    spec["tolerations"] = [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}]

    async def ask(client: Client) -> None:
        async def placed(name: str, wanted: str) -> bool:
            return bool(found(control_plane, "pod", name, namespace)["spec"].get("nodeName") == wanted)

        await until(lambda: ready("vk-over"), "the virtual node is there")
        for name, node in (("first", "vk-real-1"), ("second", "vk-over")):
            make(
                control_plane,
                {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec},
                namespace=namespace,
            )
            await until(lambda name=name, node=node: placed(name, node), f"{name} is on {node}")  # type: ignore[misc]
        del client

    async def ready(name: str) -> bool:
        return bool(found(control_plane, "node", name).get("status", {}).get("capacity"))

    with_nodes(control_plane, "vk-over", namespace, ask)
    keys = {each.get("key") for each in found(control_plane, "pod", "first", namespace)["spec"]["tolerations"]}
    assert TAINT not in keys
    done(control_plane, "delete", "node", "vk-real-1", "--wait=false")


PODS: dict[str, dict[str, Any]] = {
    "plain": {},
    "with-a-preference": {
        "affinity": {
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 1, "preference": {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}}
                ]
            }
        }
    },
    "with-an-affinity": {"affinity": {"podAntiAffinity": {}}},
    "with-a-selector": {"nodeSelector": {"zone": "a"}},
    "with-a-toleration": {"tolerations": [{"key": "mine", "operator": "Exists"}]},
    "settled": {"tolerations": [{"key": TAINT, "operator": "Exists"}]},
    "on-the-host": {"hostNetwork": True},
    "with-a-path": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]},
    "privileged": {"containers": [{"name": "c", "image": "i", "securityContext": {"privileged": True}}]},
    "with-a-host-port": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 1, "hostPort": 1}]}]},
}


@pytest.fixture(params=["prefer-real", "overflow", "virtual-only"])
def policy(request: pytest.FixtureRequest, control_plane: Testbed, namespace: str) -> Iterator[VirtualNodesSpec]:
    """A Policy in CEL that has taken hold in the namespace."""
    spec = VirtualNodesSpec(mode=request.param, labels={"burst": "yes"}, annotations={"a/b": "c"})
    scope = Scope(namespace_selector=LabelSelector(match_labels={"kubernetes.io/metadata.name": namespace}))
    objects = objects_of([RuleSetting(f"vk-{request.param}", VirtualNodes(), spec, scope)])
    make(control_plane, *objects)
    done(control_plane, "label", "namespace", namespace, f"{INJECTION}=enabled")
    eventually(
        lambda: "burst" in tried(control_plane, namespace, "probe", {})["metadata"].get("labels", {}), "it holds"
    )
    yield spec
    for each in objects:
        done(control_plane, "delete", each["kind"], each["metadata"]["name"])


def tried(testbed: Testbed, namespace: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """The pod that would be stored."""
    containers = [{"name": "c", "image": "i"}]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": {"containers": containers, **spec},
    }
    answer = done(
        testbed,
        "create",
        "--namespace",
        namespace,
        "--dry-run=server",
        "-o",
        "json",
        "-f",
        "-",
        content=json.dumps(pod),
    )
    stored: dict[str, Any] = json.loads(answer)
    return stored


def shown(pod: dict[str, Any]) -> dict[str, Any]:
    """What the rule may have added; the selector and the expression that say the same count as one."""
    spec, metadata = pod["spec"], pod["metadata"]
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = json.dumps(affinity.get("requiredDuringSchedulingIgnoredDuringExecution"))
    return {
        "virtual only": "virtual-kubelet" in required or "type" in spec.get("nodeSelector", {}),
        "preferred": affinity.get("preferredDuringSchedulingIgnoredDuringExecution"),
        "tolerations": [each for each in spec.get("tolerations", ()) if "node.kubernetes.io" not in each["key"]],
        "labels": metadata.get("labels"),
        "annotations": metadata.get("annotations"),
    }


def test_cel_adds_what_the_rule_adds(control_plane: Testbed, namespace: str, policy: VirtualNodesSpec) -> None:
    annotated = {"annotated": {"annotations": {MODE: "virtual-only"}}, "opted-out": {"labels": {INJECTION: "disabled"}}}
    for name, spec in {**PODS, **{key: {} for key in annotated}}.items():
        metadata = {"labels": {"app": "x"}, "annotations": {"x": "y"}}
        for key, value in annotated.get(name, {}).items():
            metadata[key] = {**metadata[key], **value}
        there = tried(control_plane, namespace, name, spec, **metadata)
        pod = {"metadata": metadata, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}
        verdict = admit(
            copy.deepcopy(pod), Namespace(namespace, {INJECTION: "enabled"}), [RuleSetting("p", VirtualNodes(), policy)]
        )
        assert shown(there) == shown(patched(pod, verdict.patch)), name


def decided(testbed: Testbed, namespace: str, node: str, name: str) -> list[str]:
    """The nodes to which our scheduler binds pods, of these objects as they are."""
    machine = SchedulingCycle(CycleProfile(), protects=lambda *_: None)
    items = (
        msgspec.convert(found(testbed, "namespace", namespace), objects.Namespace),
        msgspec.convert(found(testbed, "node", node), objects.Node),
        msgspec.convert(found(testbed, "pod", name, namespace), objects.Pod),
    )
    machine.step(Listed(items), 0.0)
    return [each.node for each in machine.step(Cycle(), 0.0) if isinstance(each, Bind)]


@pytest.mark.parametrize("webhook", ["none", "down"])
def test_a_pod_that_our_scheduler_binds_runs_there_without_a_toleration(
    control_plane: Testbed, namespace: str, webhook: str
) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bare"},
        "spec": {"containers": [IMAGE], "schedulerName": "neaptide"},
    }

    async def ask(client: Client) -> None:
        async def ready() -> bool:
            return bool(found(control_plane, "node", "vk-bare").get("status", {}).get("capacity"))

        async def runs() -> bool:
            return bool(found(control_plane, "pod", "bare", namespace).get("status", {}).get("phase") == "Running")

        async def bound() -> bool:  # the control plane takes its taint not-ready away a moment later
            nodes = decided(control_plane, namespace, "vk-bare", "bare")
            for each in nodes:
                await client.bind("bare", namespace, each)
            return bool(nodes)

        async with AsyncExitStack() as stack:
            if webhook == "down":
                hooks = configuration(f"down-{namespace}", namespace, f"https://127.0.0.1:1{PATH}")
                await stack.enter_async_context(temporary(client, MUTATING_WEBHOOKS, hooks))
                before = await failed_open(client)

                async def unseen() -> bool:
                    await asked(client, namespace)
                    return await failed_open(client) > before

                await until(unseen, "the API server knows of the webhook, and does without")
            make(control_plane, pod, namespace=namespace)
        await until(ready, "the virtual node is there")
        assert decided(control_plane, namespace, "vk-bare", "bare") == []
        done(control_plane, "label", "namespace", namespace, f"{INJECTION}=enabled")
        await until(bound, "our scheduler lets it onto the virtual node")
        await until(runs, "it runs")

    with_nodes(control_plane, "vk-bare", namespace, ask)
    tolerations = found(control_plane, "pod", "bare", namespace)["spec"]["tolerations"]
    assert TAINT not in {each.get("key") for each in tolerations}
