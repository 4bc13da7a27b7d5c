"""Nothing runs twice and nothing is lost: providers that die and hang, processes that are killed, an API server that is away."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest
from tests.virtualnode.failing import Breaking, Counting, Failing, Killing, MortalClient
from tests.virtualnode.virtual import AT_ONCE, on

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.errors import AlreadyExists, NotFound
from neaptide.kubeapi.resources import NODES, PODS
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.faults import Fault
from neaptide.testbed.proxy import Proxy
from neaptide.virtualnode.kubelet import Timing, VirtualKubelet
from neaptide.virtualnode.node import NodeSettings
from neaptide.virtualnode.pods import Patience
from neaptide.virtualnode.provider import PodProvider
from neaptide.virtualnode.providers.simulated import RUN_SECONDS, Simulated
from neaptide.virtualnode.registration import Rhythm
from neaptide.virtualnode.states import Ended

HASTY = Timing(Rhythm(ping=0.2, ping_within=0.2, status=5.0), Patience(call=0.3, look=0.5))


@asynccontextmanager
async def kubelet(client: Client, node: str, provider: PodProvider, **options: Any) -> AsyncIterator[VirtualKubelet]:
    """One that is gone at the end of the block, as after SIGKILL."""
    made = VirtualKubelet(client, provider, NodeSettings(name=node, provider=""), timing=HASTY, **options)
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait({task})


@asynccontextmanager
async def through_proxy(testbed: Testbed) -> AsyncIterator[tuple[Proxy, Client]]:
    async with Proxy(testbed.site) as proxy, Client(load(proxy.kubeconfig), qps=500, burst=500) as client:
        yield proxy, client


async def until(holds: Callable[[], Awaitable[object]], what: str) -> None:
    due = time.monotonic() + 90
    while not await holds():
        assert time.monotonic() < due, f"not within 90 s: {what}"
        await asyncio.sleep(0.02)


async def there(client: Client, name: str, namespace: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = msgspec.json.decode(await client.get(PODS, name, namespace))
    except NotFound:
        return {}
    return found


def bound(node: str, name: str, seconds: str | None = "0.05", **spec: Any) -> dict[str, Any]:
    annotations = {} if seconds is None else {RUN_SECONDS: seconds}
    return on(node, name, annotations=annotations, nodeName=node, **spec)


async def phase(client: Client, name: str, namespace: str) -> str:
    return str((await there(client, name, namespace)).get("status", {}).get("phase", "gone"))


async def ends(client: Client, name: str, namespace: str) -> None:
    async def holds() -> bool:
        return await phase(client, name, namespace) == "Succeeded"

    await until(holds, f"{name} ends well")


async def is_deleted(client: Client, name: str, namespace: str) -> None:
    await client.delete(PODS, name, namespace)

    async def holds() -> bool:
        return not await there(client, name, namespace)

    await until(holds, f"{name} is gone")


def talking(testbed: Testbed, ask: Callable[[Client], Awaitable[None]]) -> None:
    async def talk() -> None:
        async with Client(load(testbed.kubeconfig), qps=1000, burst=1000) as client:
            try:
                await ask(client)
            finally:
                with suppress(NotFound):
                    await client.delete(NODES, "vk-fault")

    asyncio.run(talk())


@pytest.mark.parametrize(
    "hangs", [pytest.param(False, id="dies"), pytest.param(True, id="hangs", marks=pytest.mark.slow)]
)
def test_a_provider_that_fails_at_each_call_before_and_after_it_runs_each_pod_once(
    control_plane: Testbed, namespace: str, hangs: bool
) -> None:
    async def ask(client: Client) -> None:
        behind = Counting()

        async def nothing_left() -> (
            bool
        ):  # an ended pod leaves the API before the provider is told, and that may fail once
            return not await behind.pods()

        async with kubelet(client, "vk-fault", Breaking(behind, Failing(1, hangs=hangs))):
            await client.create(PODS, bound("vk-fault", "p"), namespace)
            await client.create(PODS, bound("vk-fault", "q", None), namespace)
            await ends(client, "p", namespace)
            await until(lambda: is_running(client, namespace), "q runs")
            await is_deleted(client, "p", namespace)
            await is_deleted(client, "q", namespace)
            await until(nothing_left, "nothing is left at the provider")
        assert sorted(behind.begun.values()) == [1, 1]

    async def is_running(client: Client, namespace: str) -> bool:
        return await phase(client, "q", namespace) == "Running"

    talking(control_plane, ask)


def points(*some: int) -> list[Any]:
    """Where the process is killed: some of the writes and calls of a pod's life by default, the others in the slow tests."""
    return [pytest.param(each, marks=() if each in some else pytest.mark.slow) for each in range(1, 15)]


@pytest.mark.parametrize("number", points(2, 4, 9))
def test_a_process_that_is_killed_at_a_step_of_a_pods_life_runs_it_once_and_loses_nothing(
    control_plane: Testbed, namespace: str, number: int
) -> None:
    async def ask(client: Client) -> None:
        behind, killing = Counting(), Killing(number)
        async with MortalClient(load(control_plane.kubeconfig), qps=1000, burst=1000) as mortal:
            mortal.point = killing
            async with kubelet(mortal, "vk-fault", Breaking(behind, killing)):
                await client.create(PODS, bound("vk-fault", "p"), namespace)
                await live(client, killing)
        async with kubelet(client, "vk-fault", behind):
            found = await there(client, "p", namespace)
            if found and not found["metadata"].get("deletionTimestamp"):
                await ends(client, "p", namespace)
                await is_deleted(client, "p", namespace)

            async def gone() -> bool:
                return not await there(client, "p", namespace) and not await behind.pods()

            await until(gone, "it is gone everywhere")
        assert list(behind.begun.values()) == [1]

    async def live(client: Client, killing: Killing) -> None:
        """Until the kill, or until the pod has lived and gone without one."""

        async def whole() -> None:
            await ends(client, "p", namespace)
            await is_deleted(client, "p", namespace)

        tasks = {asyncio.create_task(whole()), asyncio.create_task(killing.reached.wait())}
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    talking(control_plane, ask)


def test_a_provider_that_lost_a_running_pod_fails_it_and_one_that_ended_stays_ended(
    control_plane: Testbed, namespace: str
) -> None:
    async def ask(client: Client) -> None:
        before = Counting()
        async with kubelet(client, "vk-fault", before):
            await client.create(PODS, bound("vk-fault", "ended"), namespace)
            await client.create(PODS, bound("vk-fault", "lost", None), namespace)
            await ends(client, "ended", namespace)
            await until(lambda: is_in(client, "lost", "Running"), "it runs")
        empty = Counting()
        async with kubelet(client, "vk-fault", empty):
            await until(lambda: is_in(client, "lost", "Failed"), "its run is lost")
            await client.create(PODS, bound("vk-fault", "new"), namespace)
            await ends(client, "new", namespace)
        lost = (await there(client, "lost", namespace))["status"]
        assert lost["reason"] == "ProviderLost"
        assert lost["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137
        assert await is_in(client, "ended", "Succeeded")
        assert len(empty.begun) == 1

    async def is_in(client: Client, name: str, wanted: str) -> bool:
        return await phase(client, name, namespace) == wanted

    talking(control_plane, ask)


def test_a_pod_that_is_deleted_while_it_starts_never_runs_and_leaves_nothing(
    control_plane: Testbed, namespace: str
) -> None:
    async def ask(client: Client) -> None:
        behind, called = Counting(), asyncio.Event()

        async def slow(at: str) -> None:
            if at == "after create":
                called.set()
                await asyncio.sleep(60)

        timing = Timing(HASTY.rhythm, Patience(call=120.0, look=0.5))
        made = VirtualKubelet(client, Breaking(behind, slow), NodeSettings(name="vk-fault", provider=""), timing=timing)
        task = asyncio.create_task(made.run())
        try:
            await client.create(PODS, bound("vk-fault", "p", None), namespace)
            async with asyncio.timeout(90):
                await called.wait()
            await is_deleted(client, "p", namespace)
            assert await behind.pods() == []
        finally:
            task.cancel()
            await asyncio.wait({task})

    talking(control_plane, ask)


def test_while_the_api_server_is_away_pods_go_on_and_what_became_of_them_is_told_when_it_returns(
    control_plane: Testbed, namespace: str
) -> None:
    async def ask(client: Client) -> None:
        behind = Counting()
        async with through_proxy(control_plane) as (proxy, wire), kubelet(wire, "vk-fault", behind):
            await client.create(PODS, bound("vk-fault", "p", "1"), namespace)
            await until(lambda: runs(client), "it runs")
            proxy.set(Fault(drop=True))
            proxy.cut()
            await until(lambda: has_ended(behind), "it has ended where it ran")
            await client.create(PODS, bound("vk-fault", "q"), namespace)
            assert await phase(client, "p", namespace) == "Running"
            proxy.set()
            await ends(client, "p", namespace)
            await ends(client, "q", namespace)
        assert sorted(behind.begun.values()) == [1, 1]

    async def runs(client: Client) -> bool:
        return await phase(client, "p", namespace) == "Running"

    async def has_ended(behind: Simulated) -> bool:
        return any(each.stopped for each in await behind.pods())

    talking(control_plane, ask)


@pytest.mark.slow
def test_an_api_server_that_answers_503_for_a_while_delays_pods_and_no_more(
    control_plane: Testbed, namespace: str
) -> None:
    async def ask(client: Client) -> None:
        behind = Counting()
        async with through_proxy(control_plane) as (proxy, wire), kubelet(wire, "vk-fault", behind):
            proxy.set(Fault(answer=503, times=20))
            await client.create(PODS, bound("vk-fault", "p"), namespace)
            await ends(client, "p", namespace)
        assert list(behind.begun.values()) == [1]

    talking(control_plane, ask)


def test_a_clock_that_steps_back_makes_no_container_end_before_it_began(control_plane: Testbed, namespace: str) -> None:
    async def ask(client: Client) -> None:
        now = [1_800_000_000.0]
        behind = Simulated(AT_ONCE, clock=lambda: now[0])
        async with kubelet(client, "vk-fault", behind, clock=lambda: now[0]):
            await client.create(PODS, bound("vk-fault", "p", "0.5"), namespace)

            async def running() -> bool:
                return await phase(client, "p", namespace) == "Running"

            await until(running, "it runs")
            now[0] -= 3600
            await ends(client, "p", namespace)
        (state,) = await behind.pods()
        ended = state.containers[0].state
        assert isinstance(ended, Ended)
        assert ended.started is not None
        assert ended.finished >= ended.started
        (run,) = await behind.runs(0.0)
        assert run.ended is not None
        assert run.ended >= run.started

    talking(control_plane, ask)


def test_a_name_that_a_real_node_has_is_refused(control_plane: Testbed) -> None:
    async def ask(client: Client) -> None:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "vk-fault"}}
        with suppress(AlreadyExists):
            await client.create(NODES, node)
        made = VirtualKubelet(client, Counting(), NodeSettings(name="vk-fault", provider=""), timing=HASTY)
        with pytest.raises(ExceptionGroup) as raised:
            await made.run()
        assert "its label type is not virtual-kubelet" in repr(raised.value)

    talking(control_plane, ask)
