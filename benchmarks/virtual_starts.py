"""From the creation of a pod to its container running, on a virtual node whose provider is containerd, one pod after the other; the image is there.

Times are a client's, who sees each step on its watch: created, scheduled, sandbox (PodReadyToStartContainers), running. Wants root and containerd.
"""

import asyncio
import statistics
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from benchmarks.figure import Figure
from neaptide.kube.logs import quiet
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.resources import PODS
from neaptide.kubeapi.watch import Changed, changes
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.realnodes.container_host import ContainerHost
from neaptide.testbed.realnodes.images import BUSYBOX
from neaptide.virtualnode.node import NodeSettings
from neaptide.virtualnode.providers.registry import make
from neaptide.virtualnode.running import run

COUNT = 50
STEPS = ("admission", "scheduling", "sandbox", "container")


def figures() -> Iterator[Figure]:
    """On a testbed and a host of their own."""
    quiet()
    with TemporaryDirectory(prefix="neaptide-") as directory:
        testbed = Testbed(Path(directory) / "cluster")
        testbed.up()
        try:
            with ContainerHost(Path(directory) / "host") as host:
                taken = asyncio.run(_all(testbed, host))
        finally:
            testbed.down(purge=True)
    whole = sorted(each[-1] - each[0] for each in taken)
    yield Figure("virtual_starts.p50.seconds", statistics.median(whole), "s")
    yield Figure("virtual_starts.p99.seconds", whole[int(0.99 * (len(whole) - 1))], "s")
    for number, step in enumerate(STEPS):
        middle = statistics.median(each[number + 1] - each[number] for each in taken)
        yield Figure(f"virtual_starts.{step}.p50.seconds", middle, "s")


async def _all(testbed: Testbed, host: ContainerHost) -> list[list[float]]:
    """For each pod the moments before its creation and after each step."""
    pool = {"name": "host-1", "endpoint": host.endpoint, "root": str(host.root), "cgroupParent": host.cgroup_parent}
    async with Client(load(testbed.kubeconfig), qps=500, burst=1000) as client:
        provider = make("containerd", {"hosts": [{**pool, "cpu": "64", "memory": "256Gi"}]}, client)
        task = asyncio.create_task(run(client, provider, [NodeSettings(name="virtual", provider="")], overflow=False))
        try:
            return [await _one(client, f"pod-{number}") for number in range(-1, COUNT)][1:]
        finally:
            task.cancel()
            await asyncio.wait({task})


async def _one(client: Client, name: str) -> list[float]:
    container = {"name": "main", "image": BUSYBOX.name, "command": ["sleep", "1000"]}
    spec = {
        "containers": [container],
        "tolerations": [{"key": "virtual-kubelet.io/provider", "operator": "Exists"}],
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    moments: list[float] = []
    async with aclosing(changes(client, PODS, namespace="default", field_selector=f"metadata.name={name}")) as said:
        began = time.perf_counter()
        await client.create(PODS, pod, "default")
        moments = [began, time.perf_counter()]
        async for event in said:
            if isinstance(event, Changed):
                reached = _step(msgspec.json.decode(event.raw))
                moments += [time.perf_counter()] * (reached + 2 - len(moments))
                if reached == len(STEPS) - 1:
                    break
    await client.delete(PODS, name, "default", grace_seconds=0)
    return moments


def _step(pod: dict[str, Any]) -> int:
    """The last of the steps that a pod has behind it."""
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions") or ()}
    if pod["status"].get("phase") == "Running":
        return 3
    if conditions.get("PodReadyToStartContainers") == "True":
        return 2
    return 1 if pod["spec"].get("nodeName") else 0


GROUPS = {"virtual_starts": figures}
