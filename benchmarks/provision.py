"""Provisioning the load that Karpenter was measured with, beside Karpenter in the same run: 2,400 pods, no node at the start.

Each on a real control plane of its own, under kube-scheduler, with the types and prices of Karpenter's kwok provider. Time begins with the first
Deployment, when whoever buys is ready, and ends when every pod has its node. PEER=none leaves Karpenter out; LOG=FILE keeps what ours says.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from benchmarks import karpenter_load as load
from benchmarks.consolidation_market import karpenters, price
from benchmarks.figure import Figure, Peer
from benchmarks.load_bed import Bed, bed
from benchmarks.running import process
from neaptide.model import objects as o
from neaptide.model.quantity import for_resource
from neaptide.pricing.bound import lower_bound
from neaptide.pricing.catalogue import Catalogue
from neaptide.pricing.offerings import offerings
from neaptide.testbed.tools import karpenter

REPLICAS = 24
_WITHIN = 900.0
_CHECKPOINT = "/api/v1/namespaces/default/configmaps/neaptide-memory"
"""What is there when the first cycle has ended."""
_RESOURCES = ("cpu", "memory", "pods")


class Bought(NamedTuple):
    """Seconds until every pod had its node, what all nodes then cost in US dollars per hour, and how many there are."""

    seconds: float
    money: float
    nodes: int


def figures() -> Iterator[Figure]:
    """Ours beside Karpenter's, and beside the bound."""
    theirs = None if os.environ.get("PEER") == "none" else karpenter_buys()
    mine = we_buy()
    for name, unit in (("seconds", "s"), ("money", "USD/h"), ("nodes", "nodes")):
        peer = Peer("Karpenter 1.14.1", float(getattr(theirs, name))) if theirs else None
        yield Figure(f"provision.{name}", float(getattr(mine, name)), unit, peer)
    catalogue = load.catalogue(load.instance_types(karpenter() / load.EXAMPLES))
    yield Figure("provision.money_against_bound", mine.money, "USD/h", Peer("lower bound", bound(catalogue)))


def karpenter_buys() -> Bought:
    """Karpenter with its defaults."""
    with bed() as found, karpenters(found.testbed, found.directory, "Never"):
        return _bought(found)


def we_buy() -> Bought:
    """The policy with its defaults."""
    catalogue = load.catalogue(load.instance_types(karpenter() / load.EXAMPLES))
    with bed() as found:
        prices = found.directory / "prices.csv"
        prices.write_text(load.as_csv(catalogue), encoding="utf-8")
        command = [
            *(sys.executable, "-m", "neaptide", "run", "--only=loop", "--policy=provision", "--enforce"),
            *("--provider=kwok", f"--prices={prices}", f"--kubeconfig={found.testbed.kubeconfig}"),
        ]
        with process(command, Path(os.environ.get("LOG", found.directory / "neaptide.log"))):
            while not found.server.is_ready(_CHECKPOINT):
                time.sleep(0.2)
            return _bought(found)


def _bought(found: Bed) -> Bought:
    began = time.perf_counter()
    found.deploy(REPLICAS)
    while found.waits() or len(found.pods()) < 100 * REPLICAS:
        if time.perf_counter() - began > _WITHIN:
            raise TimeoutError(f"pods have no node after {_WITHIN:.0f} s")
        time.sleep(0.5)
    seconds = time.perf_counter() - began
    nodes = found.nodes()
    return Bought(seconds, sum(map(price, nodes)), len(nodes))


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


def _asked(pod: o.Pod) -> dict[str, str]:
    return {**pod.spec.containers[0].resources.requests, "pods": "1"}


GROUPS: dict[str, Callable[[], Iterator[Figure]]] = {"provision.": figures}
