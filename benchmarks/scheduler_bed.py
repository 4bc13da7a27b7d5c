"""What the figures beside kube-scheduler share: a control plane without a scheduler, its load, a scheduler as a process, and its CPU."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import yaml

from neaptide.placement import warm
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.components import command_line, component_named
from neaptide.testbed.errors import TestbedError
from neaptide.testbed.load import add_nodes
from neaptide.testbed.nodes import fake_node
from neaptide.testbed.server import Server

DEPLOYMENTS = 100
OURS, PEER, PEER_ALL, PEER_MOST = "neaptide", "kube-scheduler", "kube-scheduler-100", "kube-scheduler-MostAllocated"
"""Schedulers by name: ours; kube-scheduler as it is; with percentageOfNodesToScore 100; with MostAllocated in the place of LeastAllocated."""
SCHEDULER_NAMES = {
    OURS: "neaptide",
    PEER: "default-scheduler",
    PEER_ALL: "default-scheduler",
    PEER_MOST: "default-scheduler",
}
_PACKED = ("cpu", "memory", "koordinator.sh/gpu-core")
_TICKS = os.sysconf("SC_CLK_TCK")
_LONGEST = 1800.0


class _ListMeta(msgspec.Struct, rename="camel"):
    remaining_item_count: int = 0


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw]


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
        until(lambda: self.server.is_ready(f"/api/v1/namespaces/{name}/serviceaccounts/default"))
        return name

    def fill(self, namespace: str, scheduler: str, pods: int) -> None:
        """Have Deployments make pods, and wait until all are there."""
        for number in range(DEPLOYMENTS):
            replicas = pods // DEPLOYMENTS + (number < pods % DEPLOYMENTS)
            path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
            self.server.call("POST", path, deployment(number, replicas, scheduler))
        until(lambda: self.count(namespace) >= pods)

    def count(self, namespace: str) -> int:
        """How many pods a namespace has; the server sends one of them."""
        found = self._one_of(namespace, "")
        return len(found.items) + found.metadata.remaining_item_count

    def is_any_unbound(self, namespace: str) -> bool:
        """Whether a pod waits for a node."""
        return bool(self._one_of(namespace, "&fieldSelector=spec.nodeName%3D").items)

    def pods(self, namespace: str) -> list[dict[str, Any]]:
        """All pods of a namespace."""
        found: list[dict[str, Any]] = json.loads(self.server.call("GET", f"/api/v1/namespaces/{namespace}/pods"))[
            "items"
        ]
        return found

    def empty(self, namespace: str) -> None:
        """Take a namespace's pods away, and wait until they are gone."""
        apps, core = (f"/{group}/namespaces/{namespace}" for group in ("apis/apps/v1", "api/v1"))
        while self.count(namespace):
            for path in (f"{apps}/deployments", f"{apps}/replicasets", f"{core}/pods"):
                with suppress(TestbedError):  # it takes longer than the server gives it; what is left is next
                    self.server.call("DELETE", path, {"gracePeriodSeconds": 0})
            time.sleep(1.0)
        self.server.call("DELETE", core)

    def _one_of(self, namespace: str, query: str) -> _List:
        answer = self.server.call("GET", f"/api/v1/namespaces/{namespace}/pods?limit=1{query}")
        return msgspec.json.decode(answer, type=_List)


@contextmanager
def bed(nodes: Sequence[dict[str, Any]]) -> Iterator[Bed]:
    """A control plane whose own scheduler does not run, with nodes that kwok plays."""
    warm.scheduling()  # as an installation does: whoever starts first must not compile
    with tempfile.TemporaryDirectory() as directory:
        testbed = Testbed(Path(directory) / "bed", leash=os.getpid())
        testbed.up()
        try:
            testbed.kill("kube-scheduler")
            add_nodes(testbed.site, list(nodes))
            with connection(testbed) as server:
                yield Bed(testbed, server)
        finally:
            testbed.down(purge=True)


def connection(testbed: Testbed) -> Server:
    """One to the API server, for one thread at a time."""
    return Server(component_named("kube-apiserver"), testbed.site, timeout=_LONGEST)


@contextmanager
def scheduling(scheduler: str, testbed: Testbed, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A scheduler as a process of its own; `options` are our own flags."""
    if scheduler == OURS:
        ours = ("--only", "scheduler", "--scheduler-qps", "5000", "--kubeconfig", str(testbed.kubeconfig), *options)
        command = [sys.executable, "-m", "neaptide", "run", *ours]
    else:
        command = command_line(component_named("kube-scheduler"), testbed.site)
        if scheduler != PEER:
            command.append(f"--config={_configuration(scheduler, testbed)}")
    with log_of(scheduler, testbed).open("wb") as log:
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


def log_of(scheduler: str, testbed: Testbed) -> Path:
    """Where a scheduler's log is."""
    return testbed.directory / f"{scheduler}.bench.log"


def _configuration(scheduler: str, testbed: Testbed) -> Path:
    """A file of kube-scheduler's with what the flags of the testbed say otherwise."""
    profile: dict[str, Any] = {"schedulerName": "default-scheduler"}
    if scheduler == PEER_MOST:
        strategy = {
            "type": "MostAllocated",
            "resources": [{"name": name, "weight": 1} for name in _PACKED],
        }
        profile["pluginConfig"] = [{"name": "NodeResourcesFit", "args": {"scoringStrategy": strategy}}]
    body: dict[str, Any] = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": testbed.site.kubeconfig("scheduler"), "qps": 5000, "burst": 5000},
        "leaderElection": {"leaderElect": False},
        "profiles": [profile],
    }
    if scheduler == PEER_ALL:
        body["percentageOfNodesToScore"] = 100
    file = testbed.directory / f"{scheduler}.yaml"
    file.write_text(yaml.safe_dump(body))
    return file


def nodes(count: int) -> list[dict[str, Any]]:
    """Nodes of 16 CPUs in three zones."""
    return [
        fake_node(
            f"node-{number:05d}",
            {"topology.kubernetes.io/zone": f"us-east-1{'abc'[number % 3]}"},
            {"cpu": "16", "memory": "64Gi", "pods": "110"},
        )
        for number in range(count)
    ]


def pod(name: str, scheduler: str, **labels: str) -> dict[str, Any]:
    """A bare pod."""
    spec = {
        "schedulerName": SCHEDULER_NAMES[scheduler],
        "containers": [_container(1)],
        "terminationGracePeriodSeconds": 0,
    }
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


def deployment(number: int, replicas: int, scheduler: str) -> dict[str, Any]:
    """One of the Deployments; what its pods ask for depends on its number."""
    labels = {"app": f"service-{number}"}
    spec = {
        "schedulerName": SCHEDULER_NAMES[scheduler],
        "containers": [_container(number)],
        "terminationGracePeriodSeconds": 0,
    }
    template = {"metadata": {"labels": labels}, "spec": spec}
    body = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": f"service-{number}"}, "spec": body}


def _container(number: int) -> dict[str, Any]:
    requests = {"cpu": f"{50 + 10 * (number % 10)}m", "memory": f"{64 + 16 * (number % 7)}Mi"}
    return {"name": "main", "image": "web", "resources": {"requests": requests}}


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used, in user mode and in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def settled_cpu(process: subprocess.Popen[bytes]) -> float:
    """Seconds of CPU once a process does little more than before: what was to be written afterwards is written."""
    before, due = cpu_of(process.pid), time.monotonic() + _LONGEST
    while time.monotonic() < due:
        time.sleep(2.0)
        now = cpu_of(process.pid)
        if now - before < 0.1:
            break
        before = now
    return now


def resident(pid: int) -> float:
    """MiB of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def until(holds: Callable[[], bool], *, pause: float = 0.1, process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until something holds. Raises RuntimeError where it does not come true, or the process ends before."""
    due = time.monotonic() + _LONGEST
    while not holds():
        if time.monotonic() > due or (process is not None and process.poll() is not None):
            raise RuntimeError("it does not come true, or the scheduler has ended")
        time.sleep(pause)
