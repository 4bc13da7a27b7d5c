"""Admission: reviews a second over TLS from keep-alive connections, as an API server has them, and how long each waits.

The server and the generator are processes of their own; where there are two cores, each is pinned to one.
"""

import asyncio
import multiprocessing
import os
import ssl
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp
import msgspec
import numpy as np
import uvloop
from prometheus_client import CollectorRegistry

from benchmarks.figure import Figure
from benchmarks.podlist import podlist
from neaptide.admission.pipeline import RuleSetting
from neaptide.admission.pod_defaults import PodDefaults, PodDefaultsSpec
from neaptide.admission.protocols import Namespace
from neaptide.kube.webhook import PATH, Webhook
from neaptide.kubeapi.keys import renewed
from neaptide.kubeapi.server import TlsServer

REVIEWS, CONNECTIONS = 20_000, 20
POLICIES = 10
PACE = 1_000  # reviews a second, at which latencies are taken


def review_figures() -> Iterator[Figure]:
    """Throughput at full load, latency at a steady pace from the intended time of sending."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    port = ours.recv()
    _pin(0)
    try:
        rate, used, latencies = uvloop.run(_load(port, server.pid or 0))
    finally:
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        server.terminate()
        server.join()
    yield Figure("admission.reviews_per_second", rate, "reviews/s")
    yield Figure("admission.reviews_per_cpu_second", REVIEWS / used, "reviews/s of one core")
    for percent in (50, 99):
        yield Figure(f"admission.p{percent}.milliseconds", float(np.percentile(latencies, percent)) * 1e3, "ms")


def _serve(port: Connection) -> None:
    _pin(-1)
    uvloop.run(_answer(port))


async def _answer(port: Connection) -> None:
    webhook = Webhook(_namespace, CollectorRegistry())
    spec = PodDefaultsSpec("koord-batch", {"koordinator.sh/qosClass": "BE"}, {"neaptide.io/admitted": "yes"})
    webhook.settings = [RuleSetting(f"policy-{number}", PodDefaults(), spec) for number in range(POLICIES)]
    keys = renewed(None, ["127.0.0.1"], time.time())
    if keys is None:
        raise RuntimeError("no keys were made")
    async with TlsServer(webhook.app, keys, host="127.0.0.1", port=0) as server:
        port.send(server.port)
        await server.ended()


async def _namespace(name: str) -> Namespace:
    return Namespace(name, {"kubernetes.io/metadata.name": name})


async def _load(port: int, server: int) -> tuple[float, float, list[float]]:
    """Reviews a second, CPU seconds of the server for them, and latencies in seconds."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the client is not what is measured
    connector = aiohttp.TCPConnector(ssl=context, limit=CONNECTIONS)
    bodies = _reviews()
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask(number: int) -> None:
            async with session.post(f"https://127.0.0.1:{port}{PATH}", data=bodies[number % len(bodies)]) as answer:
                if b'"patch":' not in await answer.read():
                    raise RuntimeError("a pod was not patched")

        async def connection(first: int) -> None:
            for number in range(first, REVIEWS, CONNECTIONS):
                await ask(number)

        await asyncio.gather(*(ask(number) for number in range(CONNECTIONS)))
        began, used = time.perf_counter(), _cpu_seconds(server)
        await asyncio.gather(*(connection(first) for first in range(CONNECTIONS)))
        rate, used = REVIEWS / (time.perf_counter() - began), _cpu_seconds(server) - used

        async def timed(number: int, due: float) -> float:
            await asyncio.sleep(due - time.perf_counter())
            await ask(number)
            return time.perf_counter() - due

        start = time.perf_counter() + 0.1
        tasks = [timed(number, start + number / PACE) for number in range(5 * PACE)]
        return rate, used, list(await asyncio.gather(*tasks))


def _reviews() -> list[bytes]:
    """Reviews of a hundred pods, about 4 KB each, none of which was admitted yet."""
    pods = msgspec.json.decode(podlist(100))["items"]
    head = {"uid": "0", "resource": {"group": "", "version": "v1", "resource": "pods"}, "operation": "CREATE"}
    for pod in pods:
        pod["spec"].pop("priorityClassName", None)
    return [
        msgspec.json.encode(
            {
                "apiVersion": "admission.k8s.io/v1",
                "kind": "AdmissionReview",
                "request": head | {"namespace": "default", "object": pod},
            }
        )
        for pod in pods
    ]


def _cpu_seconds(process: int) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pin(core: int) -> None:
    cores = os.cpu_count() or 1
    if cores > 1:
        os.sched_setaffinity(0, {core % cores})


GROUPS = {"admission": review_figures}
