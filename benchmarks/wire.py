"""The wire to the API server beside other clients: a list of pods and a watch over TLS, recorded, from another process.

Each client runs in a process of its own: `python -m benchmarks.wire CLIENT KUBECONFIG` prints seconds, seconds of CPU, and the MiB
that its memory grew at its peak.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from benchmarks.figure import Figure, Peer
from benchmarks.recorded_server import PAGE, recorded
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import load
from neaptide.kubeapi.resources import PODS as RESOURCE
from neaptide.kubeapi.watch import Changed, changes
from neaptide.model.manifests import pods_of_list

PODS, EVENTS = 20_000, 30_000
_TIMES = 3
Read = Callable[[], object]
PEER_EVENTS = 3_000
"""Events that the slower clients are given time for; the rate is what counts."""


class Cost(NamedTuple):
    seconds: float
    cpu_seconds: float
    mebibytes: float


def list_figures() -> Iterator[Figure]:
    """A whole list, decoded to what each client gives its users."""
    with recorded(PODS, 0) as kubeconfig:
        ours, plain = _best("ours-list", kubeconfig), _best("bytes-list", kubeconfig)
        yield Figure("wire.list.seconds", ours.seconds, "s", Peer("the same pages, not decoded", plain.seconds))
        for name in ("lightkube", "kubernetes"):
            peer = _measured(f"{name}-list", kubeconfig)
            yield Figure(f"wire.list.against_{name}.seconds", ours.seconds, "s", Peer(name, peer.seconds))
            yield Figure(f"wire.list.against_{name}.mebibytes", ours.mebibytes, "MiB", Peer(name, peer.mebibytes))


def watch_figures() -> Iterator[Figure]:
    """Events a second through `changes`, objects not decoded."""
    with recorded(1000, EVENTS) as kubeconfig:
        ours, plain = _best("ours-watch", kubeconfig), _best("bytes-watch", kubeconfig)
        bound = "the same bytes, not looked at"
        rate = EVENTS / ours.seconds
        yield Figure("wire.watch.events_per_second", rate, "events/s", Peer(bound, EVENTS / plain.seconds))
        figure = "wire.watch.events_per_cpu_second"
        yield Figure(figure, EVENTS / ours.cpu_seconds, "events/s", Peer(bound, EVENTS / plain.cpu_seconds))
        for name in ("lightkube", "kubernetes"):
            peer = PEER_EVENTS / _measured(f"{name}-watch", kubeconfig).seconds
            figure = f"wire.watch.against_{name}.events_per_second"
            yield Figure(figure, rate, "events/s", Peer(f"{name}, objects decoded", peer))


def _best(client: str, kubeconfig: Path) -> Cost:
    return min(_measured(client, kubeconfig) for _ in range(_TIMES))


def _measured(client: str, kubeconfig: Path) -> Cost:
    command = [sys.executable, "-m", "benchmarks.wire", client, str(kubeconfig)]
    return Cost(*json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def _ours_list(kubeconfig: Path) -> Read:
    async def read() -> object:
        async with Client(load(kubeconfig)) as client:
            pages = client.list(RESOURCE, limit=PAGE)
            return [pod async for page in pages for pods in pods_of_list(page) for pod in pods]

    return lambda: uvloop.run(read())


def _bytes_list(kubeconfig: Path) -> Read:
    async def read() -> object:
        async with Client(load(kubeconfig)) as client:
            return sum([len(page) async for page in client.list(RESOURCE, limit=PAGE)])

    return lambda: uvloop.run(read())


def _ours_watch(kubeconfig: Path) -> Read:
    async def read() -> object:
        left = EVENTS
        async with Client(load(kubeconfig)) as client, aclosing(changes(client, RESOURCE)) as events:
            async for event in events:
                if isinstance(event, Changed):
                    left -= 1
                    if not left:
                        break
        return left

    return lambda: uvloop.run(read())


def _bytes_watch(kubeconfig: Path) -> Read:
    async def read() -> object:
        lines = 0
        query = {"watch": "true", "resourceVersion": "1"}
        async with Client(load(kubeconfig)) as client, client.stream(RESOURCE.path(), query) as reader:
            while lines < EVENTS:
                lines += (await reader.readany()).count(b"\n")
        return lines

    return lambda: uvloop.run(read())


def _kubernetes_list(kubeconfig: Path) -> Read:
    kubernetes: Any = import_module("kubernetes")
    kubernetes.config.load_kube_config(str(kubeconfig))
    api = kubernetes.client.CoreV1Api()

    def read() -> object:
        pods, more = [], None
        while True:
            page = api.list_pod_for_all_namespaces(limit=PAGE, _continue=more)
            pods += page.items
            more = page.metadata._continue  # noqa: SLF001 - its name in that client
            if not more:
                return pods

    return read


def _kubernetes_watch(kubeconfig: Path) -> Read:
    kubernetes: Any = import_module("kubernetes")
    kubernetes.config.load_kube_config(str(kubeconfig))
    watched = kubernetes.client.CoreV1Api().list_pod_for_all_namespaces
    return lambda: _first(kubernetes.watch.Watch().stream(watched, resource_version="1"))


def _lightkube_list(kubeconfig: Path) -> Read:
    client, pod = _lightkube(kubeconfig)
    return lambda: list(client.list(pod, namespace="*", chunk_size=PAGE))


def _lightkube_watch(kubeconfig: Path) -> Read:
    client, pod = _lightkube(kubeconfig)
    return lambda: _first(client.watch(pod, namespace="*", resource_version="1"))


def _lightkube(kubeconfig: Path) -> tuple[Any, Any]:
    lightkube: Any = import_module("lightkube")
    pod = import_module("lightkube.resources.core_v1").Pod
    return lightkube.Client(lightkube.KubeConfig.from_file(kubeconfig)), pod


def _first(events: Iterable[object]) -> object:
    return sum(1 for _ in islice(events, PEER_EVENTS))


CLIENTS: dict[str, Callable[[Path], Read]] = {
    "ours-list": _ours_list,
    "bytes-list": _bytes_list,
    "ours-watch": _ours_watch,
    "bytes-watch": _bytes_watch,
    "kubernetes-list": _kubernetes_list,
    "kubernetes-watch": _kubernetes_watch,
    "lightkube-list": _lightkube_list,
    "lightkube-watch": _lightkube_watch,
}

GROUPS: dict[str, Callable[[], Iterator[Figure]]] = {"wire.list": list_figures, "wire.watch": watch_figures}


def _run(client: str, kubeconfig: Path) -> tuple[Cost, object]:
    """The cost, and what was read, so that it is held until memory is looked at. What is imported does not count."""
    read = CLIENTS[client](kubeconfig)
    before, begin, cpu = _peak(), time.perf_counter(), time.process_time()
    held = read()
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    return Cost(seconds, cpu, _peak() - before), held


def _peak() -> float:
    """MiB that this program had resident at most; unlike ru_maxrss, this does not begin with what its parent had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    print(json.dumps(_run(sys.argv[1], Path(sys.argv[2]))[0]))
