"""A runtime that dies or hangs at each of its calls, before it has done it or after: a pod runs once, and nothing of it stays."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.virtualnode.containerd.faulty import Failure, Faulty, faulty
from tests.virtualnode.containerd.pods import alone, ends, pod, running, said, stopped, until
from tests.virtualnode.containerd.test_crashes import once

from neaptide.testbed.realnodes.container_host import ContainerHost
from neaptide.virtualnode.cri.client import Cri
from neaptide.virtualnode.provider import ExecOptions, ProviderError, StreamTarget
from neaptide.virtualnode.providers.containerd import runner
from neaptide.virtualnode.providers.containerd.provider import Containerd
from neaptide.virtualnode.states import PodState

T = TypeVar("T")
PATIENCE = 1.0
"""Seconds that a call waits for its answer here, in place of up to two minutes: the deadline that a hanging runtime runs into."""
LIFE = (
    "Status",
    "ListContainers",
    "ListPodSandbox",
    "RunPodSandbox",
    "PodSandboxStatus",
    "ImageStatus",
    "CreateContainer",
    "StartContainer",
    "ContainerStatus",
    "ListContainerStats",
    "StopPodSandbox",
    "RemovePodSandbox",
)
"""The calls of a pod's life."""
WAYS = {
    "dies before": Failure(hangs=False, after=False),
    "dies after": Failure(hangs=False, after=True),
    "hangs before": Failure(hangs=True, after=False),
    "hangs after": Failure(hangs=True, after=True),
}


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param(LIFE, id="each call"),
        *(pytest.param((each,), id=each, marks=pytest.mark.slow) for each in LIFE),
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_a_pod_runs_once_and_nothing_of_it_stays_where_the_runtime_fails(
    container_host: ContainerHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str, calls: tuple[str, ...]
) -> None:
    it, failure = once(), WAYS[way]._replace(calls=calls)

    async def scene() -> None:
        owner = f"failing-{way.replace(' ', '-')}-{calls[0].lower()}-{len(calls)}"
        async with faulty(container_host.endpoint, tmp_path / "cri.sock", failure) as runtime:
            impatient(monkeypatch, runtime)
            provider = alone(container_host, owner, endpoint=f"unix://{tmp_path / 'cri.sock'}")
            await insisting(lambda: provider.create(it))
            assert ends(await has_ended(provider, it.uid)) == {"main": 0}
            assert await said(provider, it.uid) == "ran\n"
            await insisting(provider.stats)
            [run] = await insisting(lambda: provider.runs(0))
            assert run.ended is not None
            await insisting(lambda: provider.remove(it.uid))
            assert await insisting(provider.pods) == []
            assert await next(iter(provider._runtimes.values())).sandboxes() == []
            assert [each.ended for each in await insisting(lambda: provider.runs(0))] == [run.ended]
            await provider.close()
            assert set(calls) <= runtime.seen.keys()

    asyncio.run(scene())


def impatient(monkeypatch: pytest.MonkeyPatch, runtime: Faulty) -> None:
    """Wait shortly for the calls that hang, and before what failed is tried again."""
    monkeypatch.setattr(runner, "_RETRY_FIRST", 0.1)
    call = Cri.call

    async def wait_less(cri: Cri, name: str, *, within: float = 30.0, **fields: Any) -> Any:
        return await call(cri, name, within=PATIENCE if runtime.hangs_next(name) else within, **fields)

    monkeypatch.setattr(Cri, "call", wait_less)


async def insisting(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again and again, as the virtual kubelet does."""
    async with asyncio.timeout(90):
        while True:
            try:
                return await ask()
            except ProviderError:
                await asyncio.sleep(0.05)


async def has_ended(provider: Containerd, uid: str) -> PodState:
    async with asyncio.timeout(90):
        while True:
            for each in await insisting(provider.pods):
                if each.uid == uid and stopped(each):
                    return each
            await asyncio.sleep(0.02)


def test_a_pod_that_was_in_trouble_is_looked_at_no_more_often_afterwards(
    container_host: ContainerHost, tmp_path: Path
) -> None:
    async def scene() -> None:
        failure = Failure(hangs=False, after=False, calls=("RunPodSandbox",))
        async with faulty(container_host.endpoint, tmp_path / "cri.sock", failure) as runtime:
            provider = alone(container_host, "calm", endpoint=f"unix://{tmp_path / 'cri.sock'}")
            it = pod("sleep 1000")
            await provider.create(it)
            await until(provider, it.uid, running)

            def looks() -> int:
                """At all containers of the host; each at this pod also asks for the status of its one container."""
                return runtime.seen["ListContainers"] - runtime.seen["ContainerStatus"]

            began, asked = looks(), runtime.seen["ContainerStatus"]
            async with asyncio.timeout(90):
                while looks() < began + 4:  # noqa: ASYNC110 - what is waited for is not of this process
                    await asyncio.sleep(0.05)
            assert runtime.seen["ContainerStatus"] - asked <= 4
            await provider.stop(it.uid, 0)
            await provider.remove(it.uid)
            await provider.close()

    asyncio.run(scene())


@pytest.mark.parametrize("way", WAYS)
def test_what_people_ask_for_fails_with_a_sentence_and_works_the_next_time(
    container_host: ContainerHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    failure = WAYS[way]._replace(calls=("Exec", "Attach", "PortForward"))

    async def scene() -> None:
        async with faulty(container_host.endpoint, tmp_path / "cri.sock", failure) as runtime:
            impatient(monkeypatch, runtime)
            endpoint = f"unix://{tmp_path / 'cri.sock'}"
            provider = alone(container_host, f"asked-{way.replace(' ', '-')}", endpoint=endpoint)
            it = pod("sleep 1000")
            await provider.create(it)
            await until(provider, it.uid, running)
            options = ExecOptions(command=("true",))
            asked: tuple[tuple[str, Callable[[], Awaitable[StreamTarget]]], ...] = (
                ("Exec", lambda: provider.exec(it.uid, "main", options)),
                ("Attach", lambda: provider.attach(it.uid, "main", options)),
                ("PortForward", lambda: provider.port_forward(it.uid, (80,))),
            )
            for name, ask in asked:
                with pytest.raises(ProviderError, match=name):
                    await ask()
                assert (await ask()).url
            await provider.stop(it.uid, 0)
            await provider.remove(it.uid)
            await provider.close()

    asyncio.run(scene())
