"""The live world on a real control plane: evictions under disruption budgets, none of them broken, the first sync, and lag behind churn.

All share one machine with etcd, the API server, the controller manager and kwok, whose limits these figures show as much as ours.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvloop

from benchmarks.figure import Figure, Peer
from benchmarks.live_churn import lag_figures
from benchmarks.wire import _measured as measured_client
from neaptide.kube.acting.carrying import Api
from neaptide.kube.actuator import Actuator
from neaptide.kube.logs import quiet
from neaptide.kube.world import World
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.resources import DEPLOYMENTS, POD_DISRUPTION_BUDGETS, PODS
from neaptide.model.actions import Evict, Reason
from neaptide.pricing.load import shipped
from neaptide.pricing.offerings import offerings
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.load import add_nodes
from neaptide.testbed.nodes import DEFAULT_TYPES, Mix, draw

NODES, BOUND_PODS = 1_000, 20_000
SERVICES, REPLICAS, EVICTING_SECONDS = 20, 50, 20.0
_AT_ONCE = 32
_PEERS = ("lightkube", "kubernetes")


def figures() -> Iterator[Figure]:
    """All on one testbed: evictions first, while there are few pods; then the first sync, then the churn."""
    quiet()
    with _testbed() as testbed:
        yield from uvloop.run(_evictions(testbed))
        uvloop.run(_fill(testbed))
        command = [sys.executable, "-m", "benchmarks.live_testbed", str(testbed.kubeconfig)]
        told = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds, mebibytes, pods = (float(each) for each in told.stdout.split())
        yield Figure("live_testbed.sync.pods", pods, "pods")
        for name in _PEERS:
            peer = measured_client(f"{name}-list", testbed.kubeconfig)
            yield Figure(
                f"live_testbed.sync.against_{name}.seconds", seconds, "s", Peer(f"{name}, pods only", peer.seconds)
            )
            yield Figure(
                f"live_testbed.sync.against_{name}.mebibytes",
                mebibytes,
                "MiB",
                Peer(f"{name}, pods only", peer.mebibytes),
            )
        yield from lag_figures(testbed.kubeconfig, BOUND_PODS)


async def _evictions(testbed: Testbed) -> list[Figure]:
    """Evict everything again and again for a while, as fast as budgets of 10 % allow."""
    async with Client(load(testbed.kubeconfig), qps=1000, burst=1000) as client:
        for number in range(SERVICES):
            await client.create(DEPLOYMENTS, _deployment(f"service-{number}"), "default")
            await client.create(POD_DISRUPTION_BUDGETS, _budget(f"service-{number}"), "default")
        actuator = Actuator(Api(client, time.time))
        async with World(client, actuator=actuator) as world:
            await world.ready()
            while sum(_healthy(world)) < SERVICES * REPLICAS:  # noqa: ASYNC110 - pods tell nobody here
                await asyncio.sleep(0.2)
            done, began, broken = 0, time.perf_counter(), 0
            while time.perf_counter() - began < EVICTING_SECONDS:
                outcomes = await actuator.carry_out(_round(world))
                done += sum(each.result == "Done" for each in outcomes)
                broken += sum(healthy < REPLICAS - REPLICAS // 10 for healthy in _healthy(world))
            seconds = time.perf_counter() - began
    return [
        Figure("live_testbed.evictions_per_second", done / seconds, "evictions/s"),
        Figure("live_testbed.broken_budgets", broken, "budgets"),
    ]


def _round(world: World) -> list[Evict]:
    """A few running pods of each service."""
    snapshot = world.cache.snapshot
    chosen: dict[str, list[Evict]] = {}
    for pod in snapshot.pods.indices().tolist():
        node, workload = int(snapshot.pods.node[pod]), snapshot.workload_of(pod)
        if node < 0 or workload is None or not snapshot.pods.ready[pod]:
            continue
        some = chosen.setdefault(workload.name, [])
        if len(some) < REPLICAS // 10:
            name, why = snapshot.nodes.names[node], Reason("Benchmark", "as fast as budgets allow")
            some.append(
                Evict(policy="benchmark", target=snapshot.pod_ref(pod), reason=why, node=name, workload=workload)
            )
    return [each for some in chosen.values() for each in some]


def _healthy(world: World) -> list[int]:
    return [each.status.current_healthy for each in world.cache.snapshot.others.get("PodDisruptionBudget", {}).values()]


async def _fill(testbed: Testbed) -> None:
    """Create pods that are bound already, evenly over the nodes."""
    async with Client(load(testbed.kubeconfig), qps=2000, burst=2000, timeout=120) as client:
        free = asyncio.Semaphore(_AT_ONCE)

        async def create(number: int) -> None:
            async with free:
                await client.create(PODS, _pod(number), "default")

        for start in range(0, BOUND_PODS, 1000):
            await asyncio.gather(*(create(number) for number in range(start, min(start + 1000, BOUND_PODS))))


def _pod(number: int) -> dict[str, Any]:
    labels = {"app": f"bound-{number % 200}"}
    spec = {**_template("5m")["spec"], "nodeName": f"node-{1 + number % NODES:05d}"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"bound-{number}", "labels": labels}, "spec": spec}


def _template(cpu: str) -> dict[str, Any]:
    container = {"name": "main", "image": "web", "resources": {"requests": {"cpu": cpu, "memory": "16Mi"}}}
    return {"spec": {"containers": [container], "terminationGracePeriodSeconds": 0}}


def _deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, **_template("50m")}
    spec = {"replicas": REPLICAS, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def _budget(name: str) -> dict[str, Any]:
    spec = {"maxUnavailable": REPLICAS // 10, "selector": {"matchLabels": {"app": name}}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": spec}


@contextmanager
def _testbed() -> Iterator[Testbed]:
    with TemporaryDirectory() as directory:
        testbed = Testbed(Path(directory) / "testbed", leash=os.getpid())
        try:
            testbed.up()
            sold = [each for each in offerings(shipped()) if each.instance_type in DEFAULT_TYPES]
            add_nodes(testbed.site, draw(NODES, Mix(offerings=sold)))
            yield testbed
        finally:
            testbed.down()


async def _sync(kubeconfig: Path) -> None:
    """Seconds, MiB that the memory grew to at its peak, and pods seen."""
    quiet()
    before = _status("VmRSS")
    async with Client(load(kubeconfig), qps=1000, burst=1000) as client:
        began = time.perf_counter()
        async with World(client) as world:
            await world.synced()
            seconds = time.perf_counter() - began
            print(seconds, _status("VmHWM") - before, len(world.cache.snapshot.pods.by_key))


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


GROUPS: dict[str, Callable[[], Iterator[Figure]]] = {"live_testbed.": figures}

if __name__ == "__main__":
    uvloop.run(_sync(Path(sys.argv[1])))
