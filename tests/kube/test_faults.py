"""What the watch, the loop and the actions go through when the control plane is slow, forgetful, busy or silent."""

import asyncio
import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.kube import lives
from tests.kube.live import budget, eventually, found, make, pod
from tests.kube.seen import seen
from tests.testbed.asking import deployment, done, items

from neaptide.kube.world import World
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.resources import PODS
from neaptide.model.actions import Evict, Reason, Ref, Suspend
from neaptide.model.workloads import SUSPENDED_REPLICAS
from neaptide.policies.protection import SAFE_TO_EVICT
from neaptide.records.reading import read
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.faults import Fault
from neaptide.testbed.proxy import Proxy

WHY = Reason("Test", "a test wants it")
LONG_AGO = "2026-01-01T00:00:00Z"
REPLICAS = 3


def suspensions(testbed: Testbed, namespace: str, count: int) -> list[Suspend]:
    """Deployments, and that they be suspended."""
    for number in range(count):
        done(testbed, "create", "-n", namespace, "-f", "-", content=deployment(f"web-{number:02d}", REPLICAS))
    listed = items(testbed, "deployments", "-n", namespace)
    refs = [Ref("Deployment", each["metadata"]["name"], namespace, each["metadata"]["uid"]) for each in listed]
    return [Suspend(policy=lives.NAME, target=ref, reason=WHY) for ref in refs]


def suspended(testbed: Testbed, namespace: str) -> int:
    """How many are suspended, each of them once: twice would have kept 0 replicas aside."""
    aside = [
        each["metadata"].get("annotations", {}).get(SUSPENDED_REPLICAS)
        for each in items(testbed, "deployments", "-n", namespace)
    ]
    assert set(aside) <= {None, str(REPLICAS)}
    return sum(each is not None for each in aside)


def done_by(*journals: Path) -> Counter[str]:
    """How often the journals say of each target that something was done."""
    return Counter(
        outcome["action"]["target"]["name"]
        for journal in journals
        if journal.exists()
        for _, cycle in read(journal, "journal")
        for outcome in cycle["outcomes"]
        if outcome["result"] == "Done"
    )


async def churn(testbed: Testbed, namespace: str, rounds: int, name: str = "come") -> None:
    """Pods that come, change and go."""
    async with Client(load(testbed.kubeconfig), qps=500, burst=500) as client:
        for number in range(rounds):
            each = f"{name}-{number}"
            await client.create(PODS, pod(each, node=""), namespace)
            await client.patch(PODS, each, {"metadata": {"labels": {"round": str(number)}}}, namespace)
            if number % 2:
                await client.delete(PODS, each, namespace)


async def agree(world: World, testbed: Testbed, namespace: str) -> None:
    """Wait until a world shows of a namespace what one that begins now shows, all requests of which succeed."""

    def of_namespace(each: World) -> dict[str, Any]:
        pods = seen(each.cache.snapshot)["pods"]
        return {key: value for key, value in pods.items() if key.startswith(f"{namespace}/")}

    async with Client(load(testbed.kubeconfig)) as client, World(client) as fresh:
        await fresh.synced()
        assert of_namespace(fresh)
        async with asyncio.timeout(180):
            while of_namespace(world) != of_namespace(fresh):  # noqa: ASYNC110 - nothing tells when a snapshot has changed
                await asyncio.sleep(0.1)


STORMS = {
    "a watch that is cut at every event": Fault(path="watch=", cut_events=1),
    "a watch that is reset at every third event": Fault(path="watch=", cut_events=3, reset=True),
    "versions that are forgotten again and again": Fault(path="watch=", answer=410, chance=0.7, times=30),
    "a server that is too busy most of the time": Fault(answer=429, retry_after=1, chance=0.6, times=60),
    "a server that fails most of the time": Fault(answer=503, chance=0.6, times=50),
}


RARE = ("a watch that is reset at every third event", "a server that fails most of the time")


@pytest.mark.parametrize(
    "fault",
    [pytest.param(fault, id=name, marks=[pytest.mark.slow] if name in RARE else []) for name, fault in STORMS.items()],
)
def test_a_storm_delays_what_is_known_and_leaves_nothing_out(
    fault: Fault, control_plane: Testbed, namespace: str
) -> None:
    async def story() -> None:
        async with (
            Proxy(control_plane.site) as proxy,
            Client(load(proxy.kubeconfig), qps=500, burst=500) as client,
            World(client) as world,
        ):
            proxy.set(fault)
            async with asyncio.timeout(180):
                await world.synced()
            await churn(control_plane, namespace, 12)
            await agree(world, control_plane, namespace)
            assert proxy.struck

    asyncio.run(story())


@pytest.mark.parametrize("times", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_a_server_that_forgets_every_version_again_and_again_is_listed_anew(
    times: int, own_control_plane: Testbed
) -> None:
    async def story() -> None:
        async with Client(load(own_control_plane.kubeconfig), qps=500, burst=500) as client, World(client) as world:
            await world.synced()
            for number in range(times):
                await churn(own_control_plane, "default", 4, name=f"round-{number}")
                await asyncio.to_thread(own_control_plane.compact)
            await churn(own_control_plane, "default", 4, name="last")
            await agree(world, own_control_plane, "default")

    asyncio.run(story())


@pytest.mark.parametrize("seconds", [6.0, pytest.param(30.0, marks=pytest.mark.slow)])
def test_a_store_that_is_frozen_in_the_middle_of_a_plan_only_delays_it(
    seconds: float, own_control_plane: Testbed, tmp_path: Path
) -> None:
    actions = suspensions(own_control_plane, "default", 12)

    async def story() -> None:
        slowly = Fault(methods=frozenset({"PATCH"}), path="/deployments/", delay=0.3)
        async with Proxy(own_control_plane.site, [slowly]) as proxy:
            controller = lives.begin(proxy.kubeconfig, "default", tmp_path / "journal", actions)
            try:
                await asyncio.to_thread(eventually, lambda: proxy.struck >= len(actions) // 3)
                own_control_plane.freeze("etcd")
                await asyncio.sleep(seconds)
                own_control_plane.thaw("etcd")
                await asyncio.to_thread(
                    eventually, lambda: suspended(own_control_plane, "default") == len(actions), within=90
                )
                assert controller.is_alive()
            finally:
                controller.kill()
                await asyncio.to_thread(controller.join)

    asyncio.run(story())
    assert set(done_by(tmp_path / "journal").values()) <= {1}


def test_a_server_that_is_too_busy_for_most_requests_gets_each_action_done_once(
    control_plane: Testbed, namespace: str, tmp_path: Path
) -> None:
    actions = suspensions(control_plane, namespace, 4)

    async def story() -> None:
        busy = Fault(
            methods=frozenset({"GET", "PUT", "PATCH", "POST"}), answer=429, retry_after=1, chance=0.5, times=60
        )
        async with Proxy(control_plane.site) as proxy:
            controller = lives.begin(proxy.kubeconfig, namespace, tmp_path / "journal", actions)
            try:
                await asyncio.to_thread(eventually, lambda: found(control_plane, "lease", "neaptide", namespace))
                proxy.set(busy)
                await asyncio.to_thread(
                    eventually, lambda: suspended(control_plane, namespace) == len(actions), within=90
                )
                await asyncio.to_thread(
                    eventually, lambda: len(done_by(tmp_path / "journal")) == len(actions), within=60
                )
            finally:
                controller.kill()
                await asyncio.to_thread(controller.join)

    asyncio.run(story())
    assert done_by(tmp_path / "journal") == {action.target.name: 1 for action in actions}


def evictions(testbed: Testbed, namespace: str, count: int, *, staying: int) -> list[Evict]:
    """Pods of which a budget has some stay, and that all of them be evicted."""
    node, labels = f"{namespace}-node", {"app": "guarded"}
    make(testbed, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
    names = [f"guarded-{number}" for number in range(count)]
    pods = [pod(name, node=node, labels=labels, annotations={SAFE_TO_EVICT: "true"}) for name in names]
    make(testbed, budget("guarded", labels, minimum=staying), *pods, namespace=namespace)
    ready = {"phase": "Running", "startTime": LONG_AGO, "conditions": [{"type": "Ready", "status": "True"}]}
    patch = ("--subresource=status", "--type=merge", "--patch", json.dumps({"status": ready}))
    done(testbed, "patch", "pod", *names, "-n", namespace, *patch)
    eventually(
        lambda: (
            found(testbed, "pdb", "guarded", namespace).get("status", {}).get("disruptionsAllowed") == count - staying
        )
    )
    refs = [
        Ref("Pod", each["metadata"]["name"], namespace, each["metadata"]["uid"])
        for each in items(testbed, "pods", "-n", namespace)
    ]
    return [Evict(policy=lives.NAME, target=ref, reason=WHY, node=node, workload=None) for ref in refs]


def test_a_leader_that_is_frozen_while_it_evicts_evicts_nothing_more_when_it_wakes(
    control_plane: Testbed, namespace: str, tmp_path: Path
) -> None:
    actions = evictions(control_plane, namespace, 6, staying=3)
    journals = tmp_path / "first", tmp_path / "second"

    def left() -> int:
        return len(items(control_plane, "pods", "-n", namespace))

    async def story() -> None:
        async with Proxy(control_plane.site, [Fault(path="/eviction", delay=0.5)]) as proxy:
            first = lives.begin(proxy.kubeconfig, namespace, journals[0], actions, "first")
            second = None
            try:
                await asyncio.to_thread(eventually, lambda: proxy.struck)
                os.kill(int(first.pid or 0), signal.SIGSTOP)
                second = lives.begin(control_plane.kubeconfig, namespace, journals[1], actions, "second")
                await asyncio.to_thread(eventually, lambda: left() == 3 and journals[1].exists())
                before = done_by(journals[1])
                os.kill(int(first.pid or 0), signal.SIGCONT)
                await asyncio.sleep(3)
                assert left() == 3
                assert done_by(journals[1]) == before
                assert first.is_alive()
            finally:
                for each in (first, second):
                    if each is not None:
                        each.kill()
                        await asyncio.to_thread(each.join)

    asyncio.run(story())
    assert max(done_by(*journals).values(), default=0) <= 1
    done(control_plane, "delete", "node", f"{namespace}-node", "--wait=false")
