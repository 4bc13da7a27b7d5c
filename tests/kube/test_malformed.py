"""A thousand objects that an API server admits and that make no sense: each gets a reason, and the loop goes on for the others."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from tests.kube.live import pod
from tests.testbed.asking import items

from neaptide.kube.world import World
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.resources import NODES, PODS, REPLICA_SETS, Resource
from neaptide.loop import LoopMemory, Mode, Setting, plan_all
from neaptide.model.actions import Plan
from neaptide.policies.reclaim import ReclaimSpec
from neaptide.policies.registry import POLICIES
from neaptide.policies.time_windows_spec import Rule, Selector, TimeWindowsSpec, Valley
from neaptide.testbed.cluster import Testbed

NOW = 1_800_000_000.0
LONGEST = {f"{'a' * 253}/{'x' * 63}": "y" * 63}
STRANGE_LABELS = {"koordinator.sh/qosClass": "WHATEVER", "koordinator.sh/priority-class": "none-such"}
STRANGE_WISHES = {
    "karpenter.sh/do-not-disrupt": "banana",
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "perhaps",
    "neaptide.io/suspended-replicas": "-9e99",
}
ABSURD: dict[str, dict[str, str]] = {
    "cpu": {"cpu": "9223372036854775807"},
    "memory": {"memory": "8E"},
    "sum": {"cpu": "9000000000000000", "memory": "7E"},
    "device": {"example.com/dongle": "9223372036854775807"},
}

Object = dict[str, Any]


def requesting(name: str, requests: dict[str, str], **meta: Any) -> Object:
    made = pod(name, node="", **meta)
    limits = {key: amount for key, amount in requests.items() if "/" in key}
    made["spec"]["containers"][0]["resources"] = {"requests": requests, "limits": limits}
    return made


def strange_pods() -> Iterator[Object]:
    """600 pods: half of them ask for what nobody could count, half are only odd."""
    for number in range(300):
        kind = list(ABSURD)[number % len(ABSURD)]
        yield requesting(f"absurd-{kind}-{number}", ABSURD[kind], labels=LONGEST)
        odd = LONGEST | STRANGE_LABELS
        yield requesting(f"odd-{number}", {"cpu": "1m"}, labels=odd, annotations=STRANGE_WISHES)


def replica_set(name: str) -> Object:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod(name, node="")["spec"] | {"nodeName": ""}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name, "labels": LONGEST}, "spec": spec}


def strange_node(name: str) -> Object:
    wishes = {
        "node.koordinator.sh/colocation-strategy": "{{{",
        "node.koordinator.sh/reservation": '{"resources":{"cpu":"lots"}}',
    }
    labels = {"node.koordinator.sh/cpu-reclaim-ratio": "very", "neaptide.io/price-per-hour": "free", **LONGEST}
    meta = {"name": name, "labels": labels, "annotations": wishes}
    amounts = {"cpu": "8", "memory": "32Gi", "pods": "110"}
    condition = {"type": "Ready", "status": "Perhaps", "reason": "R", "message": "m"}
    status = {"allocatable": amounts, "capacity": amounts, "conditions": [condition]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "status": status}


async def created(client: Client, resource: Resource, objects: Sequence[Object], namespace: str = "") -> None:
    free = asyncio.Semaphore(16)

    async def one(item: Object) -> None:
        async with free:
            await client.create(resource, item, namespace)

    await asyncio.gather(*map(one, objects))


async def owned_in_circles(client: Client, uids: dict[str, str], namespace: str) -> None:
    """Have every two sets own each other."""

    async def one(number: int) -> None:
        other = f"circle-{number ^ 1}"
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": other, "uid": uids[other], "controller": True}
        await client.patch(REPLICA_SETS, f"circle-{number}", {"metadata": {"ownerReferences": [owner]}}, namespace)

    await asyncio.gather(*map(one, range(len(uids))))


def settings(namespace: str) -> list[Setting]:
    """Every policy on."""
    rule = Rule(selector=Selector(kinds=("Deployment",), namespaces=(namespace,)), valley=Valley())
    specs = {policy.name: policy.spec_type() for policy in POLICIES}
    specs |= {"reclaim": ReclaimSpec(cold_start_seconds=0.0), "time-windows": TimeWindowsSpec((rule,))}
    return [Setting(policy, specs[policy.name], Mode.RECOMMEND) for policy in POLICIES]


def test_a_thousand_objects_that_make_no_sense_get_a_reason_each_and_stop_nothing(
    control_plane: Testbed, namespace: str
) -> None:
    nodes = [f"{namespace}-strange-{number}" for number in range(20)]

    async def story() -> tuple[set[str], list[Plan], set[str]]:
        async with Client(load(control_plane.kubeconfig), qps=2000, burst=2000) as client:
            await created(client, PODS, list(strange_pods()), namespace)
            await created(client, REPLICA_SETS, [replica_set(f"circle-{number}") for number in range(380)], namespace)
            listed = await asyncio.to_thread(items, control_plane, "replicasets", "-n", namespace)
            uids = {each["metadata"]["name"]: each["metadata"]["uid"] for each in listed}
            await owned_in_circles(client, uids, namespace)
            await created(client, NODES, [strange_node(name) for name in nodes])
            await created(client, PODS, [requesting("sound", {"cpu": "1"})], namespace)
            try:
                async with World(client, clock=lambda: NOW) as world:
                    await world.synced()
                    with world.cache.held():
                        snapshot = world.observe()
                        plans, _ = plan_all(snapshot, settings(namespace), LoopMemory(), NOW)
                        left_out = {str(each.object) for each in world.left_out()}
                        assert all(each.field and each.accepted for each in world.left_out())
                        return left_out, plans, set(snapshot.pods.by_key)
            finally:
                for name in nodes:
                    await client.delete(NODES, name)

    left_out, plans, pods = asyncio.run(story())
    absurd = {f"Pod {namespace}/absurd-{list(ABSURD)[number % len(ABSURD)]}-{number}" for number in range(300)}
    circles = {each for each in left_out if each.startswith(f"ReplicaSet {namespace}/circle-")}
    assert absurd <= left_out
    assert len(circles) == 190  # one of each two, for the other is then owned by what is not there
    assert {f"{namespace}/sound", *(f"{namespace}/odd-{number}" for number in range(300))} <= pods
    assert {plan.policy for plan in plans} == {policy.name for policy in POLICIES}
    declined = {each.target.name for plan in plans for each in plan.declined if each.reason.code == "NotAccepted"}
    assert set(nodes) <= declined
    assert {f"Node {name}" for name in nodes} <= left_out
