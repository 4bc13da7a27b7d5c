"""The scheduler beside kube-scheduler: on the same control plane, on the same pods, one after the other.

NODES and PODS set the size (1,000 and 5,000 by default), RUNS how often each is measured, MINUTES how long bindings are made at an even pace.
A scheduler is started when all pods are there, and its time counts from the start of its process until the last pod is bound.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec
import numpy as np

from benchmarks.figure import Figure, Peer
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.components import command_line, component_named
from neaptide.testbed.load import add_nodes
from neaptide.testbed.nodes import fake_node
from neaptide.testbed.server import RefusedError, Server

NODES, PODS = int(os.environ.get("NODES", "1000")), int(os.environ.get("PODS", "5000"))
RUNS = int(os.environ.get("RUNS", "3"))
MINUTES = float(os.environ.get("MINUTES", "10"))
DEPLOYMENTS, SINGLE_PODS, PACE = 100, 100, 30.0
OURS, PEER = "neaptide", "kube-scheduler"
_NAMES = {OURS: "neaptide", PEER: "default-scheduler"}
_TICKS = os.sysconf("SC_CLK_TCK")
_LONGEST = 600.0


class Run(NamedTuple):
    """Seconds until all were bound, and seconds of CPU when the rest (Events) was written too."""

    seconds: float
    cpu: float


class Bed:
    """A control plane with nodes, and one connection to it."""

    def __init__(self, testbed: Testbed, server: Server) -> None:
        self.testbed, self.server = testbed, server
        self._namespaces = 0

    def namespace(self) -> str:
        """A new namespace in which pods can be created."""
        self._namespaces += 1
        name = f"bench-{self._namespaces}"
        self.server.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        _until(lambda: self.server.is_ready(f"/api/v1/namespaces/{name}/serviceaccounts/default"))
        return name

    def fill(self, namespace: str, scheduler: str, pods: int) -> None:
        """Have Deployments make pods, and wait until all are there."""
        for number in range(DEPLOYMENTS):
            replicas = pods // DEPLOYMENTS + (number < pods % DEPLOYMENTS)
            path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
            self.server.call("POST", path, _deployment(number, replicas, scheduler))
        _until(lambda: self.count(namespace) >= pods)

    def count(self, namespace: str) -> int:
        """How many pods a namespace has; the server sends one of them."""
        found = self._one_of(namespace, "")
        return len(found.items) + found.metadata.remaining_item_count

    def is_any_unbound(self, namespace: str) -> bool:
        """Whether a pod waits for a node."""
        return bool(self._one_of(namespace, "&fieldSelector=spec.nodeName%3D").items)

    def empty(self, namespace: str) -> None:
        """Take a namespace's pods away, and wait until they are gone."""
        apps, core = (f"/{group}/namespaces/{namespace}" for group in ("apis/apps/v1", "api/v1"))
        while self.count(namespace):
            for path in (f"{apps}/deployments", f"{apps}/replicasets", f"{core}/pods"):
                with suppress(RefusedError):  # it takes longer than the server gives it; what is left is next
                    self.server.call("DELETE", path, {"gracePeriodSeconds": 0})
            time.sleep(1.0)
        self.server.call("DELETE", core)

    def _one_of(self, namespace: str, query: str) -> "_List":
        answer = self.server.call("GET", f"/api/v1/namespaces/{namespace}/pods?limit=1{query}")
        return msgspec.json.decode(answer, type=_List)


class _ListMeta(msgspec.Struct, rename="camel"):
    remaining_item_count: int = 0


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw]


class _Meta(msgspec.Struct):
    name: str


class _Spec(msgspec.Struct, rename="camel"):
    node_name: str = ""


class _Pod(msgspec.Struct):
    metadata: _Meta
    spec: _Spec


@contextmanager
def bed() -> Iterator[Bed]:
    """A control plane whose own scheduler does not run."""
    with tempfile.TemporaryDirectory() as directory:
        testbed = Testbed(Path(directory) / "bed", leash=os.getpid())
        testbed.up()
        try:
            testbed.kill("kube-scheduler")
            add_nodes(testbed.site, [_node(number) for number in range(NODES)])
            with Server(component_named("kube-apiserver"), testbed.site, timeout=_LONGEST) as server:
                yield Bed(testbed, server)
        finally:
            testbed.down(purge=True)


@contextmanager
def scheduling(scheduler: str, testbed: Testbed) -> Iterator[subprocess.Popen[bytes]]:
    """A scheduler as a process of its own."""
    if scheduler == PEER:
        command = command_line(component_named("kube-scheduler"), testbed.site)
    else:
        options = ("--only", "scheduler", "--scheduler-qps", "5000", "--kubeconfig", str(testbed.kubeconfig))
        command = [sys.executable, "-m", "neaptide", "run", *options]
    with (testbed.directory / f"{scheduler}.bench.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def queue_figures() -> Iterator[Figure]:
    """A full queue: pods a second from the start of the process to the last binding, and CPU per 1,000 bindings."""
    with bed() as found:
        runs: dict[str, list[Run]] = {OURS: [], PEER: []}
        for _ in range(RUNS):
            for scheduler, done in runs.items():
                done.append(_queue(found, scheduler))
    speed = {name: median(PODS / each.seconds for each in done) for name, done in runs.items()}
    cpu = {name: median(1000 * each.cpu / PODS for each in done) for name, done in runs.items()}
    size = f"scheduler.queue.nodes_{NODES}.pods_{PODS}"
    yield Figure(f"{size}.pods_per_second", speed[OURS], "pods/s", Peer(PEER, speed[PEER]))
    yield Figure(f"{size}.cpu_seconds_per_1000_binds", cpu[OURS], "s", Peer(PEER, cpu[PEER]))


def _queue(found: Bed, scheduler: str) -> Run:
    namespace = found.namespace()
    found.fill(namespace, _NAMES[scheduler], PODS)
    began = time.monotonic()
    with scheduling(scheduler, found.testbed) as process:
        _until(lambda: not found.is_any_unbound(namespace), pause=0.2, process=process)
        seconds = time.monotonic() - began
        cpu = _settled_cpu(process)
    print(f"{scheduler}: {PODS} pods in {seconds:.1f} s, {cpu:.1f} s of CPU", file=sys.stderr)
    found.empty(namespace)
    return Run(seconds, cpu)


def latency_figures() -> Iterator[Figure]:
    """One pod on an idle cluster: from its creation's answer until its binding is seen by a watch."""
    with bed() as found:
        taken = {}
        for scheduler in (OURS, PEER):
            with scheduling(scheduler, found.testbed):
                taken[scheduler] = _latencies(found, scheduler)
    for part in (50, 99):
        ours, peer = (1000 * float(np.percentile(taken[each], part)) for each in (OURS, PEER))
        yield Figure(f"scheduler.one_pod.nodes_{NODES}.p{part}.milliseconds", ours, "ms", Peer(PEER, peer))


def _latencies(found: Bed, scheduler: str) -> list[float]:
    namespace = found.namespace()
    path, taken = f"/api/v1/namespaces/{namespace}/pods", []
    for number in range(SINGLE_PODS + 1):
        name = f"single-{number}"
        began = time.monotonic()
        found.server.call("POST", path, _pod(name, scheduler))
        _until(lambda name=name: _bound(found.server.call("GET", f"{path}/{name}")), pause=0.001)  # type: ignore[misc]
        if number:  # the first one waits for the start of the process
            taken.append(time.monotonic() - began)
        time.sleep(0.05)
    found.empty(namespace)
    return taken


def pace_figures() -> Iterator[Figure]:
    """30 pods a second for minutes, each gone 20 s after it was bound: memory, and what became of every pod."""
    with bed() as found, scheduling(OURS, found.testbed) as process:
        namespace = found.namespace()
        path, count = f"/api/v1/namespaces/{namespace}/pods", int(60 * MINUTES * PACE)
        memory, lost = [], 0
        began = time.monotonic()
        for number in range(count):
            found.server.call("POST", path, _pod(f"even-{number}", OURS))
            gone = number - int(20 * PACE)
            if gone >= 0:
                lost += not _bound(found.server.call("GET", f"{path}/even-{gone}"))
                found.server.call("DELETE", f"{path}/even-{gone}", {"gracePeriodSeconds": 0})
            if number % int(10 * PACE) == 0:
                memory.append(_resident(process.pid))
            time.sleep(max(began + (number + 1) / PACE - time.monotonic(), 0))
        _until(lambda: not found.is_any_unbound(namespace))
        log = (found.testbed.directory / "logs" / "audit.log").read_text().splitlines()
    bindings = [line for line in map(_binding, log) if line]
    warm = len(memory) // 3
    size = f"scheduler.pace.minutes_{MINUTES:g}"
    yield Figure(f"{size}.lost_pods", float(lost), "pods")
    yield Figure(f"{size}.pods_bound_twice", float(len(bindings) - len(set(bindings))), "pods")
    yield Figure(f"{size}.memory_growth", memory[-1] / memory[warm], "x", Peer("MiB after a third", memory[warm]))


def _binding(line: str) -> str:
    """The pod that a line of the audit log has bound; empty where it has not."""
    if '"subresource":"binding"' not in line or '"ResponseComplete"' not in line or '"code":201' not in line:
        return ""
    found: str = json.loads(line)["requestURI"].partition("?")[0]
    return found


def _bound(raw: bytes) -> bool:
    return bool(msgspec.json.decode(raw, type=_Pod).spec.node_name)


def _node(number: int) -> dict[str, Any]:
    labels = {"topology.kubernetes.io/zone": f"us-east-1{'abc'[number % 3]}"}
    return fake_node(f"node-{number:05d}", labels, {"cpu": "16", "memory": "64Gi", "pods": "110"})


def _container(number: int) -> dict[str, Any]:
    requests = {"cpu": f"{50 + 10 * (number % 10)}m", "memory": f"{64 + 16 * (number % 7)}Mi"}
    return {"name": "main", "image": "web", "resources": {"requests": requests}}


def _pod(name: str, scheduler: str) -> dict[str, Any]:
    spec = {"schedulerName": _NAMES[scheduler], "containers": [_container(1)], "terminationGracePeriodSeconds": 0}
    return {"metadata": {"name": name}, "spec": spec}


def _deployment(number: int, replicas: int, scheduler: str) -> dict[str, Any]:
    labels = {"app": f"service-{number}"}
    spec = {"schedulerName": scheduler, "containers": [_container(number)], "terminationGracePeriodSeconds": 0}
    template = {"metadata": {"labels": labels}, "spec": spec}
    body = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": f"service-{number}"}, "spec": body}


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _settled_cpu(process: subprocess.Popen[bytes]) -> float:
    """Seconds of CPU once a process does little more than before: what was to be written afterwards is written."""
    before, due = _cpu(process.pid), time.monotonic() + _LONGEST
    while time.monotonic() < due:
        time.sleep(2.0)
        now = _cpu(process.pid)
        if now - before < 0.1:
            break
        before = now
    return now


def _resident(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _until(holds: Callable[[], bool], *, pause: float = 0.1, process: subprocess.Popen[bytes] | None = None) -> None:
    due = time.monotonic() + _LONGEST
    while not holds():
        if time.monotonic() > due or (process is not None and process.poll() is not None):
            raise RuntimeError("it does not come true, or the scheduler has ended")
        time.sleep(pause)


GROUPS: dict[str, Callable[[], Iterator[Figure]]] = {
    "scheduler.queue": queue_figures,
    "scheduler.one_pod": latency_figures,
    "scheduler.pace": pace_figures,
}
