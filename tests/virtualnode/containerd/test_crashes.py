"""Our process is killed before and after each call that it makes, and containerd too: nothing runs twice and nothing is lost."""

import asyncio
from typing import Any

import pytest
from tests.virtualnode.containerd.pods import GivenObjects, alone, ends, pod, running, said, shell, stopped, until

from neaptide.testbed.realnodes.container_host import ContainerHost
from neaptide.virtualnode.cri.client import Cri
from neaptide.virtualnode.provider import ProviderError, VirtualPod
from neaptide.virtualnode.providers.containerd.provider import Containerd

STEPS = (
    "RunPodSandbox",
    "StartContainer",
    *(
        pytest.param(each, marks=pytest.mark.slow)
        for each in ("PodSandboxStatus", "CreateContainer", "ContainerStatus")
    ),
)


def once() -> VirtualPod:
    """A pod whose container writes how often it has been run."""
    container = shell(
        "main", "echo ran >> /data/runs; cat /data/runs", volumeMounts=[{"name": "work", "mountPath": "/data"}]
    )
    return pod(containers=[container], volumes=[{"name": "work", "emptyDir": {}}])


@pytest.mark.parametrize("after", [False, True], ids=["before it", "after it, unheard"])
@pytest.mark.parametrize("step", STEPS)
def test_a_process_that_is_killed_at_a_call_is_followed_by_one_that_goes_on(
    container_host: ContainerHost, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    owner = f"killed-{step.lower()}-{'after' if after else 'before'}"
    it = once()

    async def until_killed() -> None:
        reached = asyncio.Event()
        call = Cri.call

        async def killing(cri: Cri, name: str, **fields: Any) -> Any:
            if name == step and not reached.is_set():
                if after:
                    await call(cri, name, **fields)
                reached.set()
                await asyncio.Event().wait()  # the process has ended: this call never returns to its caller
            return await call(cri, name, **fields)

        monkeypatch.setattr(Cri, "call", killing)
        provider = alone(container_host, owner)
        await provider.create(it)
        await asyncio.wait_for(reached.wait(), 90)
        monkeypatch.setattr(Cri, "call", call)
        await provider.close()

    async def afterwards() -> None:
        provider = alone(container_host, owner)
        await provider.create(it)  # the virtual kubelet may not know that it was taken
        assert ends(await until(provider, it.uid, stopped)) == {"main": 0}
        assert await said(provider, it.uid) == "ran\n"
        (run,) = await provider.runs(0)
        assert run.ended is not None
        await provider.remove(it.uid)
        await provider.close()

    asyncio.run(until_killed())
    asyncio.run(afterwards())


@pytest.mark.slow
def test_a_folder_that_was_half_written_is_nobodys_and_its_pod_is_taken_anew(container_host: ContainerHost) -> None:
    it = once()

    async def scene() -> None:
        folder = container_host.root / "var/lib/half/pods" / it.uid
        folder.mkdir(parents=True)
        (folder / "facts.json").write_text('{"created": 1')
        provider = alone(container_host, "half")
        assert await provider.pods() == []
        await provider.create(it)
        await until(provider, it.uid, stopped)
        await provider.remove(it.uid)
        await provider.close()

    asyncio.run(scene())


def test_a_sandbox_of_which_nothing_is_known_is_removed(container_host: ContainerHost) -> None:
    it = pod("sleep 1000")

    async def scene() -> None:
        first = alone(container_host, "unknown")
        await first.create(it)
        await until(first, it.uid, running)
        await first.close()
        for file in (container_host.root / "var/lib/unknown/pods" / it.uid).glob("*.json"):
            file.unlink()
        second = alone(container_host, "unknown")
        assert await second.pods() == []
        runtime = next(iter(second._runtimes.values()))
        assert await runtime.sandboxes(it.uid) == []
        await second.close()

    asyncio.run(scene())


def test_containers_go_on_while_containerd_is_down_and_are_found_when_it_is_back(container_host: ContainerHost) -> None:
    it = pod("for i in 1 2 3 4 5 6 7 8 9 10; do echo $i; sleep 0.1; done")

    async def scene() -> None:
        provider = alone(container_host, "away")
        await provider.create(it)
        await until(provider, it.uid, running)
        await asyncio.to_thread(container_host.kill_containerd)
        await asyncio.to_thread(container_host.start_containerd)
        assert ends(await until(provider, it.uid, stopped)) == {"main": 0}
        assert (await said(provider, it.uid)).split() == [str(n) for n in range(1, 11)]
        await provider.remove(it.uid)
        await provider.close()

    asyncio.run(scene())


def test_a_pod_that_is_removed_while_it_starts_is_gone(container_host: ContainerHost) -> None:
    async def scene() -> None:
        provider = alone(container_host, "hasty")
        its = [pod("sleep 1000") for _ in range(5)]
        for number, it in enumerate(its):
            await provider.create(it)
            await asyncio.sleep(0.03 * number)
            await provider.stop(it.uid, 0)
            await provider.remove(it.uid)
        assert await provider.pods() == []
        runtime = next(iter(provider._runtimes.values()))
        assert await runtime.sandboxes() == []
        await provider.close()

    asyncio.run(scene())


def test_a_sandbox_that_is_being_made_while_its_pod_is_removed_does_not_stay(
    container_host: ContainerHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runtime may go on with a call that its caller has broken off."""

    async def scene() -> None:
        provider, it = alone(container_host, "late"), pod("sleep 1000")
        assert await provider.pods() == []
        runtime = next(iter(provider._runtimes.values()))
        made, called, call = list[asyncio.Task[Any]](), asyncio.Event(), runtime.cri.call

        async def late(name: str, **fields: Any) -> Any:
            async def later() -> Any:
                await asyncio.sleep(0.2)
                return await call(name, **fields)

            if name != "RunPodSandbox":
                return await call(name, **fields)
            made.append(asyncio.create_task(later()))
            called.set()
            return await asyncio.shield(made[0])

        monkeypatch.setattr(runtime.cri, "call", late)
        await provider.create(it)
        await called.wait()
        await provider.stop(it.uid, 0)
        await provider.remove(it.uid)
        await asyncio.wait(made)
        assert await runtime.sandboxes() == []
        await provider.close()

    asyncio.run(scene())


def test_a_runtime_that_does_not_answer_makes_the_ping_fail_and_takes_nothing(container_host: ContainerHost) -> None:
    async def scene() -> None:
        provider = alone(container_host, "hangs", endpoint=f"unix://{container_host.root}/run/nobody.sock")
        with pytest.raises(ProviderError, match="host-hangs"):
            await provider.ping()
        with pytest.raises(ProviderError, match="host-hangs"):
            await provider.create(once())
        await provider.close()

    asyncio.run(scene())


@pytest.mark.slow
def test_a_clock_that_steps_back_gives_no_negative_time(container_host: ContainerHost) -> None:
    async def scene() -> None:
        shift = [0.0]
        provider: Containerd = alone(container_host, "clock", GivenObjects())
        provider._clock = lambda: 1.8e9 + shift[0]
        it = pod("sleep 0.3")
        await provider.create(it)
        shift[0] = -3600
        await until(provider, it.uid, stopped)
        (run,) = await provider.runs(0)
        assert run.ended is not None
        assert run.ended > run.started
        await provider.remove(it.uid)
        await provider.close()

    asyncio.run(scene())
