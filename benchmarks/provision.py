"""Provisioning the load that Karpenter was measured with, on a real control plane: 2,400 pods, no node at the start."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np

from benchmarks import karpenter_load as load
from benchmarks.figure import Figure, Peer
from neaptide.model import objects as o
from neaptide.model.quantity import for_resource
from neaptide.pricing.bound import lower_bound
from neaptide.pricing.catalogue import Catalogue
from neaptide.pricing.offerings import offerings
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.tools import karpenter

REPLICAS = 24
KARPENTER_SECONDS, KARPENTER_MONEY = 121.0, 63.80
"""One run of Karpenter 1.14.1's own kwok provider on two cores like these."""
_WITHIN = 600.0
_RESOURCES = ("cpu", "memory", "pods")


def figures() -> Iterator[Figure]:
    """Seconds from the first Deployment until every pod is bound, and what the nodes then cost."""
    catalogue = load.catalogue(load.instance_types(karpenter() / load.EXAMPLES))
    with TemporaryDirectory() as directory, _testbed(Path(directory)) as testbed:
        prices = Path(directory) / "prices.csv"
        prices.write_text(load.as_csv(catalogue), encoding="utf-8")
        with _controller(testbed, prices, Path(directory) / "controller.log"):
            seconds = _until_bound(testbed)
        nodes = msgspec.json.decode(_kubectl(testbed, "get", "nodes", "--output=json"), type=_Nodes).items
    money = sum(float(each.metadata.labels["neaptide.io/price-per-hour"]) for each in nodes)
    yield Figure("provision.seconds", seconds, "s", Peer("Karpenter 1.14.1, one recorded run", KARPENTER_SECONDS))
    yield Figure("provision.money", money, "USD/h", Peer("Karpenter 1.14.1, one recorded run", KARPENTER_MONEY))
    yield Figure("provision.money_against_bound", money, "USD/h", Peer("lower bound", bound(catalogue)))
    yield Figure("provision.nodes", len(nodes), "nodes", Peer("Karpenter 1.14.1, one recorded run", 195))


def bound(catalogue: Catalogue) -> float:
    """US dollars per hour below which no nodes host the load."""
    sold = offerings(catalogue)
    manifests = load.deployments(REPLICAS)
    pods = [msgspec.convert(each["spec"]["template"], o.Pod) for each in manifests]
    requests = [[for_resource(each, _asked(pod)[each]) for each in _RESOURCES] for pod in pods]
    eligible = [
        [pod.spec.node_selector.get(load.CAPACITY_TYPE, each.capacity_type) == each.capacity_type for each in sold]
        for pod in pods
    ]
    found = lower_bound(
        np.array(requests, dtype=np.int64),
        np.full(len(pods), REPLICAS, dtype=np.int64),
        np.array(eligible, dtype=np.bool_),
        np.array([[each.allocatable[name] for name in _RESOURCES] for each in sold], dtype=np.int64),
        np.array([each.price_per_hour for each in sold], dtype=np.float64),
    )
    if found is None:
        raise ValueError("the load fits nothing on sale")
    return found


class _Nodes(msgspec.Struct):
    items: list[o.Node]


class _Pods(msgspec.Struct):
    items: list[o.Pod]


def _asked(pod: o.Pod) -> dict[str, str]:
    return {**pod.spec.containers[0].resources.requests, "pods": "1"}


def _until_bound(testbed: Testbed) -> float:
    _kubectl(testbed, "create", "namespace", load.NAMESPACE)
    manifests = {"apiVersion": "v1", "kind": "List", "items": load.deployments(REPLICAS)}
    began = time.perf_counter()
    _kubectl(testbed, "create", "--filename=-", content=json.dumps(manifests))
    while True:
        rows = _kubectl(
            testbed, "get", "pods", f"--namespace={load.NAMESPACE}", "--field-selector=spec.nodeName!=", "--output=name"
        )
        if len(rows.splitlines()) >= 100 * REPLICAS:
            return time.perf_counter() - began
        if time.perf_counter() - began > _WITHIN:
            raise TimeoutError(f"{len(rows.splitlines())} of {100 * REPLICAS} pods are bound after {_WITHIN:.0f} s")
        time.sleep(1.0)


@contextmanager
def _testbed(directory: Path) -> Iterator[Testbed]:
    testbed = Testbed(directory / "testbed")
    try:
        testbed.up()
        yield testbed
    finally:
        testbed.down()


@contextmanager
def _controller(testbed: Testbed, prices: Path, log: Path) -> Iterator[None]:
    command = [
        sys.executable,
        "-m",
        "neaptide",
        "run",
        "--only=loop",
        "--policy=provision",
        "--enforce",
        "--provider=kwok",
    ]
    command += [f"--prices={prices}", f"--kubeconfig={testbed.kubeconfig}", "--interval=10"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=60)


def _kubectl(testbed: Testbed, *arguments: str, content: str | None = None) -> str:
    answer = testbed.kubectl(arguments, content=content, timeout=120.0)
    if answer.returncode:
        raise RuntimeError(answer.stderr)
    return answer.stdout


GROUPS: dict[str, Callable[[], Iterator[Figure]]] = {"provision.": figures}
