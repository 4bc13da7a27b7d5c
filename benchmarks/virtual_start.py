"""From `kubectl apply` to a running container on a virtual node with the provider containerd: a real control plane, containerd and runc, on one machine.

Fifty pods, one after the other, the image there already. A watch beside them and the provider's own states tell the parts apart; all
clocks are this machine's. Wants root and the packages of `make system-deps`.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np

from benchmarks.figure import Figure, Peer
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.resources import PODS
from neaptide.kubeapi.watch import Changed, changes
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.realnodes.container_host import ContainerHost
from neaptide.testbed.realnodes.images import BUSYBOX
from neaptide.virtualnode.node import NodeSettings
from neaptide.virtualnode.providers.containerd.hosts import HostSpec
from neaptide.virtualnode.providers.containerd.objects import ApiObjects
from neaptide.virtualnode.providers.containerd.provider import Containerd, ContainerdSpec
from neaptide.virtualnode.running import run
from neaptide.virtualnode.states import Running

PODS_STARTED = 50
_KUBELET = 0.7
"""A real kubelet took 0.6 to 0.8 s from the pod's creation to Running here."""
_WITHIN = 120.0
_NODE = "virtual-start"


def starts() -> Iterator[Figure]:
    """p50 and p99 in seconds, of the whole and of each part."""
    with TemporaryDirectory() as directory:
        testbed = Testbed(Path(directory) / "control-plane", leash=os.getpid())
        try:
            testbed.up()
            with ContainerHost(Path(directory) / "host") as host:
                rows = asyncio.run(_measured(testbed, host))
        finally:
            testbed.down(purge=True)
    for part in rows[0]:
        seconds = [row[part] for row in rows]
        peer = Peer("a real kubelet here, from the pod's creation", _KUBELET) if part == "from_creation" else None
        yield Figure(f"virtual_start.{part}.p50", float(np.percentile(seconds, 50)), "s", peer)
        yield Figure(f"virtual_start.{part}.p99", float(np.percentile(seconds, 99)), "s")


async def _measured(testbed: Testbed, host: ContainerHost) -> list[dict[str, float]]:
    spec = HostSpec(
        name="host",
        endpoint=host.endpoint,
        root=str(host.root),
        cpu="64",
        memory="256Gi",
        cgroup_parent=host.cgroup_parent,
    )
    async with Client(load(testbed.kubeconfig), qps=500, burst=1000) as client:
        provider = Containerd(ContainerdSpec(hosts=(spec,)), ApiObjects(client))
        seen = _Seen()
        node = NodeSettings(name=_NODE, provider="containerd", address="127.0.0.1", port=0)
        tasks = [
            asyncio.create_task(run(client, provider, [node], host="127.0.0.1")),
            asyncio.create_task(seen.follow_api(client)),
            asyncio.create_task(seen.follow_provider(provider)),
        ]
        try:
            return [await _one(testbed, seen, number) for number in range(PODS_STARTED)]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class _Seen:
    """When what was first seen of a pod, by its name."""

    def __init__(self) -> None:
        self._at: dict[tuple[str, str], float] = {}
        self._changed = asyncio.Condition()

    async def note(self, pod: str, what: str) -> None:
        async with self._changed:
            self._at.setdefault((pod, what), time.time())
            self._changed.notify_all()

    async def when(self, pod: str, what: str) -> float:
        async with asyncio.timeout(_WITHIN), self._changed:
            await self._changed.wait_for(lambda: (pod, what) in self._at)
            return self._at[pod, what]

    async def follow_api(self, client: Client) -> None:
        async with aclosing(changes(client, PODS)) as found:
            async for event in found:
                if isinstance(event, Changed):
                    pod: dict[str, Any] = msgspec.json.decode(event.raw)
                    name = pod["metadata"]["name"]
                    await self.note(name, "created")
                    if pod["spec"].get("nodeName"):
                        await self.note(name, "bound")
                    if pod["status"].get("phase") == "Running":
                        await self.note(name, "told")

    async def follow_provider(self, provider: Containerd) -> None:
        async for state in provider.changes():
            if state.ip:
                await self.note(state.name, "sandbox")
            if any(isinstance(each.state, Running) for each in state.containers):
                await self.note(state.name, "container")


async def _one(testbed: Testbed, seen: _Seen, number: int) -> dict[str, float]:
    name = f"start-{number}"
    begun = time.time()
    applied = await asyncio.to_thread(testbed.kubectl, ["apply", "--filename=-"], content=json.dumps(_manifest(name)))
    if applied.returncode:
        raise RuntimeError(applied.stderr)
    at = {what: await seen.when(name, what) for what in ("created", "bound", "sandbox", "container", "told")}
    await asyncio.to_thread(testbed.kubectl, ["delete", "pod", name, "--wait=false"])
    return {
        "whole": at["container"] - begun,
        "from_creation": at["told"] - at["created"],
        "admission": at["created"] - begun,
        "scheduling": at["bound"] - at["created"],
        "sandbox": at["sandbox"] - at["bound"],
        "container": at["container"] - at["sandbox"],
        "status": at["told"] - at["container"],
    }


def _manifest(name: str) -> dict[str, Any]:
    container = {"name": "main", "image": BUSYBOX.name, "imagePullPolicy": "Never", "command": ["sleep", "1000"]}
    tolerations = [{"key": "virtual-kubelet.io/provider", "operator": "Exists"}]
    spec = {"containers": [container], "tolerations": tolerations, "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


GROUPS: dict[str, Callable[[], Iterator[Figure]]] = {"virtual_start": starts}
