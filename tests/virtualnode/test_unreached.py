"""Pods that a Service selects are warned of where their network is not the cluster's, once each."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec
from tests.testbed.asking import done
from tests.virtualnode.test_faults import HASTY, phase, until
from tests.virtualnode.virtual import AT_ONCE, on

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.resources import PODS, SERVICES
from neaptide.testbed.cluster import Testbed
from neaptide.virtualnode.events import CORE_EVENTS
from neaptide.virtualnode.node import NodeSettings
from neaptide.virtualnode.providers.simulated import RUN_SECONDS, Simulated
from neaptide.virtualnode.running import run
from neaptide.virtualnode.unreached import REASON, Unreached


def service(name: str, **selector: str) -> dict[str, object]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], "selector": selector}}


async def warned(client: Client, namespace: str) -> Counter[str]:
    found = msgspec.json.decode(await client.raw("GET", CORE_EVENTS.path(namespace)))["items"]
    return Counter(each["involvedObject"]["name"] for each in found if each["reason"] == REASON)


def test_each_pod_that_a_service_selects_is_warned_of_once_also_by_a_process_that_follows(
    control_plane: Testbed, namespace: str
) -> None:
    provider = Simulated(AT_ONCE)

    async def during(client: Client, ask: Callable[[], Awaitable[None]]) -> None:
        node = NodeSettings(name="vk-unreached", provider="simulated")
        task = asyncio.create_task(run(client, provider, [node], timing=HASTY))
        try:
            await ask()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def talk() -> None:
        async with Client(load(control_plane.kubeconfig), qps=500, burst=500) as client:

            async def create(name: str, **labels: str) -> None:
                pod = on("vk-unreached", name, nodeName="vk-unreached", annotations={RUN_SECONDS: "3600"})
                pod["metadata"]["labels"] = labels
                await client.create(PODS, pod, namespace)

            async def are_warned_of(*names: str) -> None:
                async def holds() -> bool:
                    return set(await warned(client, namespace)) == set(names)

                await until(holds, f"{names} are warned of")

            async def first() -> None:
                await client.create(SERVICES, service("web", app="web"), namespace)
                await create("selected", app="web", tier="x")
                await create("alone", app="batch")
                await are_warned_of("selected")
                await create("early", app="db")
                await until(lambda: is_running(client, namespace, "early"), "it runs")
                await client.create(SERVICES, service("db", app="db"), namespace)
                await are_warned_of("selected", "early")

            async def second() -> None:
                await create("late", app="web")
                await are_warned_of("selected", "early", "late")
                assert set((await warned(client, namespace)).values()) == {1}

            await during(client, first)
            await during(client, second)
            found = msgspec.json.decode(await client.raw("GET", CORE_EVENTS.path(namespace)))["items"]
            (said,) = [
                each for each in found if each["reason"] == REASON and each["involvedObject"]["name"] == "selected"
            ]
            assert said["type"] == "Warning"
            assert said["message"] == (
                "selected by the Service web, but pods of this node have no network: they may not be reached"
            )
            await Unreached(client, "cluster").run()  # nothing to warn of: it ends

    asyncio.run(talk())
    done(control_plane, "delete", "node", "vk-unreached", "--wait=false")


async def is_running(client: Client, namespace: str, name: str) -> bool:
    return await phase(client, name, namespace) == "Running"
