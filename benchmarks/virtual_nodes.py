"""A thousand pods at once (or PODS, up to 3,000) on one virtual node whose provider simulates them, on a real control plane that shares the machine.

What is measured is ours: how long until all run, how many requests of the API that costs, and what our process holds and uses. The provider takes every
pod at once and starts it at once, so that nothing but the virtual kubelet, the API server and the scheduler is in the way.
"""

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from benchmarks.figure import Figure
from neaptide.kube.logs import quiet
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.resources import JOBS, NODES
from neaptide.testbed.cluster import Testbed
from neaptide.virtualnode.node import NodeSettings
from neaptide.virtualnode.providers.simulated import Simulated, SimulatedSpec
from neaptide.virtualnode.running import run

PODS_AT_ONCE = int(os.environ.get("PODS", "1000"))
NODE = "virtual"
_SPEC = SimulatedSpec(start_seconds=0.0, seconds_per_mb=0.0, rate=5_000.0, burst=2 * PODS_AT_ONCE)


class _Counting(Client):
    """A client that counts its requests."""

    requests = 0

    async def raw(self, method: str, path: str, **options: Any) -> bytes:  # noqa: ANN401 - as Client's
        self.requests += 1
        return await super().raw(method, path, **options)


def figures() -> Iterator[Figure]:
    """On a testbed of their own; the virtual node is a process of its own, which tells what it used at its end."""
    quiet()
    with TemporaryDirectory(prefix="neaptide-") as directory:
        testbed = Testbed(Path(directory))
        testbed.up()
        try:
            command = [sys.executable, "-m", "benchmarks.virtual_nodes", str(testbed.kubeconfig)]
            with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
                seconds = asyncio.run(_storm(testbed))
                told, _ = process.communicate("end\n", timeout=60)
            used = json.loads(told)
        finally:
            testbed.down(purge=True)
    yield Figure("virtual_nodes.storm.seconds", seconds, "s")
    yield Figure("virtual_nodes.storm.pods_per_second", PODS_AT_ONCE / seconds, "1/s")
    yield Figure("virtual_nodes.storm.requests_per_pod", used["requests"] / PODS_AT_ONCE, "requests")
    yield Figure("virtual_nodes.storm.cpu_seconds", used["cpu"], "s")
    yield Figure("virtual_nodes.storm.mebibytes", used["mebibytes"], "MiB")


async def _storm(testbed: Testbed) -> float:
    """Seconds from the creation of a Job with a thousand pods until all of them run."""
    async with Client(load(testbed.kubeconfig), qps=500, burst=1000, timeout=120) as client:
        while not await _ready(client):  # noqa: ASYNC110 - what is waited for is not of this process
            await asyncio.sleep(0.1)
        began = time.perf_counter()
        await client.create(JOBS, _job(), "default")
        while await _running(client) < PODS_AT_ONCE:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.25)
        return time.perf_counter() - began


async def _ready(client: Client) -> bool:
    pages = [page async for page in client.list(NODES)]
    return any(b'"reason":"KubeletReady"' in page for page in pages)


async def _running(client: Client) -> int:
    """The pods that are ready, as the Job's controller counts them: a look that costs the API server little."""
    job = msgspec.json.decode(await client.get(JOBS, "storm", "default", subresource="status"))
    return int(job["status"].get("ready") or 0)


def _job() -> dict[str, Any]:
    container = {"name": "main", "image": "image", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}
    spec = {
        "containers": [container],
        "restartPolicy": "Never",
        "tolerations": [{"key": "virtual-kubelet.io/provider", "operator": "Exists"}],
    }
    job = {"parallelism": PODS_AT_ONCE, "completions": PODS_AT_ONCE, "template": {"spec": spec}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "storm"}, "spec": job}


async def _node(kubeconfig: str) -> int:
    """The virtual node, until something is said to it; the requests it made."""
    async with _Counting(load(Path(kubeconfig)), qps=2000, burst=4000) as client:
        node = NodeSettings(name=NODE, provider="")
        task = asyncio.create_task(run(client, Simulated(_SPEC), [node], overflow=False))
        await asyncio.to_thread(sys.stdin.readline)
        task.cancel()
        await asyncio.wait({task})
        return client.requests


GROUPS = {"virtual_nodes": figures}

if __name__ == "__main__":
    quiet()
    asked = asyncio.run(_node(sys.argv[1]))
    mine = resource.getrusage(resource.RUSAGE_SELF)
    told = {"requests": asked, "cpu": mine.ru_utime + mine.ru_stime, "mebibytes": mine.ru_maxrss / 1024}
    sys.stdout.write(msgspec.json.encode(told).decode())
