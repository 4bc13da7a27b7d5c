"""Faults of a real control plane and of replicas, and what the wire makes of them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import msgspec
from tests.kubeapi.recorded import until

from neaptide.kubeapi import errors
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.resources import CONFIG_MAPS, LEASES
from neaptide.kubeapi.watch import Changed, Event, Interrupted, Patience, Relisted, Removed, Synced, changes
from neaptide.testbed.cluster import Testbed


def named(name: str) -> dict[str, dict[str, str]]:
    return {"metadata": {"name": name}}


class Cache:
    """Names and versions, as `changes` tells them."""

    def __init__(self) -> None:
        self.objects: dict[str, str] = {}
        self.relisted, self.interrupted = 0, 0
        self._told: dict[str, str] | None = None

    async def follow(self, client: Client, namespace: str) -> None:
        patience = Patience(first_pause=0.05, longest_pause=0.5)
        async with aclosing(changes(client, CONFIG_MAPS, namespace=namespace, patience=patience)) as events:
            async for event in events:
                self._take(event)

    def _take(self, event: Event) -> None:
        into = self.objects if self._told is None else self._told
        match event:
            case Relisted():
                self._told, self.relisted = {}, self.relisted + 1
            case Changed(raw) | Removed(raw):
                metadata = msgspec.json.decode(raw)["metadata"]
                into.pop(metadata["name"], None)
                if isinstance(event, Changed):
                    into[metadata["name"]] = metadata["resourceVersion"]
            case Synced():
                assert self._told is not None
                self.objects, self._told = self._told, None
            case Interrupted():
                self.interrupted += 1


async def held(client: Client, namespace: str) -> dict[str, str]:
    found = [each async for page in client.list(CONFIG_MAPS, namespace) for each in json.loads(page)["items"]]
    return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in found}


def test_a_watch_outlives_an_api_server_that_is_killed_and_started_again(own_control_plane: Testbed) -> None:
    async def scenario() -> None:
        cache = Cache()
        async with Client(load(own_control_plane.kubeconfig)) as client:
            following = asyncio.create_task(cache.follow(client, "default"))
            await client.create(CONFIG_MAPS, named("before"), "default")
            await until(lambda: "before" in cache.objects)
            own_control_plane.kill("kube-apiserver")
            await until(lambda: cache.interrupted > 2)
            await asyncio.to_thread(own_control_plane.restart, "kube-apiserver")
            await client.create(CONFIG_MAPS, named("after"), "default")
            await client.delete(CONFIG_MAPS, "before", "default")
            await until(lambda: "after" in cache.objects and "before" not in cache.objects)
            assert cache.objects == await held(client, "default")
            own_control_plane.freeze("kube-apiserver")
            try:
                await client.raw("GET", "/readyz", timeout=1)
            except errors.DeadlineExceeded:
                pass
            else:
                raise AssertionError("a frozen server answers")
            finally:
                own_control_plane.thaw("kube-apiserver")
            await client.create(CONFIG_MAPS, named("thawed"), "default")
            await until(lambda: "thawed" in cache.objects)
            following.cancel()

    asyncio.run(scenario())


@contextmanager
def candidate(kubeconfig: Path, namespace: str, identity: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.kubeapi.candidate", str(kubeconfig), namespace, identity]
    with subprocess.Popen(command) as process:  # noqa: S603 - this test's own program
        try:
            yield process
        finally:
            process.kill()


def test_a_replica_that_is_frozen_past_its_lease_and_woken_changes_nothing_more(
    kubeconfig: Path, namespace: str
) -> None:
    async def holder(client: Client) -> str:
        try:
            lease = json.loads(await client.get(LEASES, "leader", namespace))
        except errors.NotFound:
            return ""
        return str(lease["spec"].get("holderIdentity"))

    async def made_by(client: Client, identity: str) -> list[str]:
        return [each for each in await held(client, namespace) if each.startswith(identity)]

    async def scenario() -> None:
        async with Client(load(kubeconfig), qps=1000) as client:

            async def leads(identity: str) -> bool:
                return await holder(client) == identity and bool(await made_by(client, identity))

            with candidate(kubeconfig, namespace, "a") as first:
                await until(lambda: leads("a"))
                with candidate(kubeconfig, namespace, "b"):
                    await asyncio.sleep(1)
                    assert not await made_by(client, "b")
                    os.kill(first.pid, signal.SIGSTOP)
                    await until(lambda: leads("b"))
                    frozen = await made_by(client, "a")
                    os.kill(first.pid, signal.SIGCONT)
                    await asyncio.sleep(3)
                    assert await made_by(client, "a") == frozen
                    assert await holder(client) == "b"

    asyncio.run(scenario())
