"""Consolidation carried out on a real control plane, beside Karpenter on the same load in the same run.

The load: 100 Deployments of 24 pods on nodes that Karpenter bought for them, then scaled to 12. Karpenter's own nodes and prices are used for
both (its kwok provider, 72 types of its `aws_instance_types.json`). Karpenter consolidates with `consolidateAfter: 30s` and a budget of 100 %; ours
is `neaptide run --provider kwok`, under kube-scheduler. Every second, what all nodes cost and how many pods run is noted.

SECONDS_EACH is how long each is watched (240), KARPENTER_SECONDS how long Karpenter is (240), LIMITS which limits of evictions are tried (400,796,none),
SAVE=DIRECTORY keeps the cluster as ours finds it, with the prices. START=generated leaves Karpenter out: nodes as `consolidation_cluster` buys them,
filled by kube-scheduler.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import consolidation_market as market
from benchmarks.figure import Figure, Peer
from benchmarks.load_bed import Bed, bed, runs
from benchmarks.running import process

SECONDS = float(os.environ.get("SECONDS_EACH", "240"))
KARPENTER_SECONDS = float(os.environ.get("KARPENTER_SECONDS", "240"))
LIMITS = os.environ.get("LIMITS", "400,796,none").split(",")
SAVE = os.environ.get("SAVE", "")
GENERATED = os.environ.get("START") == "generated"
FULL, KEPT = 22 if GENERATED else 24, 12
"""Replicas before and after. kube-scheduler packs generated nodes less tightly than they were bought for."""
PODS = 100 * KEPT
_CRDS = Path(__file__).parents[1] / "charts" / "neaptide" / "files" / "crds"


class Sample(NamedTuple):
    """Seconds since it began, US dollars per hour of all nodes, how many there are, pods that run, and evictions so far."""

    seconds: float
    money: float
    nodes: int
    running: int
    evicted: int


def filled(found: Bed, *, consolidates: bool) -> None:
    """Nodes for twice the pods, and half of the pods gone; Karpenter goes on only if it `consolidates`."""
    found.deploy(FULL)
    found.until_running(100 * FULL)
    found.scale(KEPT)
    if not consolidates:
        found.until_running(PODS)


def watched(found: Bed, seconds: float, *, settled: float = 45.0) -> list[Sample]:
    """A sample a second, until `seconds` are over or, once something has changed, nothing has for `settled` seconds."""
    samples: list[Sample] = []
    first = {each["metadata"]["uid"] for each in found.pods()}
    seen: set[str] = set(first)
    began = changed = time.monotonic()
    while time.monotonic() - began < seconds and (changed == began or time.monotonic() - changed < settled):
        at = time.monotonic()
        nodes, pods = found.nodes(), found.pods()
        seen |= {each["metadata"]["uid"] for each in pods}
        money = round(sum(market.price(each) for each in nodes), 4)
        sample = Sample(at - began, money, len(nodes), sum(map(runs, pods)), len(seen) - len(first))
        if samples and samples[-1][1:] != sample[1:]:
            changed = at
        samples.append(sample)
        time.sleep(max(0.0, 1.0 - (time.monotonic() - at)))
    return samples


def ours(limit: str) -> list[Sample]:
    """Neaptide with a limit of evictions, under kube-scheduler."""
    with bed() as found:
        testbed, directory = found.testbed, found.directory
        with (
            market.generated(testbed, directory)
            if GENERATED
            else market.karpenters(testbed, directory, "Never") as prices
        ):
            filled(found, consolidates=False)
        if not GENERATED:
            market.let_go(testbed)
        if SAVE:
            _saved(found, prices)
        for arguments in (
            ["apply", "--server-side", "-f", str(_CRDS)],
            ["wait", "--for=condition=established", "crd", "--all", "--timeout=60s"],
            ["apply", "--server-side", "-f", _policy(directory, limit)],
        ):
            done = testbed.kubectl(arguments, timeout=120)
            if done.returncode:
                raise RuntimeError(done.stderr)
        command = [
            *(sys.executable, "-m", "neaptide", "run", "--only", "loop", "--kubeconfig", str(testbed.kubeconfig)),
            *("--provider", "kwok", "--prices", str(prices), "--interval", "1"),
        ]
        log = Path(os.environ.get("KEEP_LOG", directory / "neaptide.log"))
        with process(command, log):
            samples = watched(found, SECONDS)
    _show(f"ours {limit}", samples)
    return samples


def _saved(found: Bed, prices: Path) -> None:
    """The cluster as it is now, and the prices, for `neaptide plan`."""
    place = Path(SAVE)
    place.mkdir(parents=True, exist_ok=True)
    (place / "prices.csv").write_bytes(prices.read_bytes())
    command = ["snapshot", "save", str(place / "cluster.json"), "--kubeconfig", str(found.testbed.kubeconfig)]
    subprocess.run([sys.executable, "-m", "neaptide", *command], check=True)


def _policy(directory: Path, limit: str) -> str:
    """The file of a Policy whose limits are those of the plan alone."""
    spec = {"budgets": [{"nodes": "100%"}]} | ({} if limit == "none" else {"maxEvictions": int(limit)})
    limits = {
        "evictionsPerWorkloadPercent": 100,
        "evictionsPerWorkloadPerHour": 1000,
        "evictionsPerNode": 100,
        "minimumStaySeconds": 0,
    }
    policy = {
        "apiVersion": "neaptide.io/v1alpha1",
        "kind": "Policy",
        "metadata": {"name": "consolidation"},
        "spec": {"policy": "consolidation", "mode": "Enforce", "consolidation": spec, "limits": limits},
    }
    file = directory / "policy.json"
    file.write_text(json.dumps(policy))
    return str(file)


def karpenters() -> list[Sample]:
    """Karpenter by itself."""
    with bed() as found, market.karpenters(found.testbed, found.directory, "30s"):
        filled(found, consolidates=True)
        samples = watched(found, KARPENTER_SECONDS, settled=KARPENTER_SECONDS)
    _show("karpenter", samples)
    return samples


def figures() -> Iterator[Figure]:
    """Both, and ours at each limit."""
    theirs = [] if GENERATED else karpenters()
    for limit in LIMITS:
        samples = ours(limit)
        peer = Peer("Karpenter 1.14.1", theirs[-1].money) if theirs else None
        name = f"consolidation_peer.evictions_{limit}"
        reached = next(each for each in samples if each.money <= samples[-1].money + 1e-9)
        yield Figure(f"{name}.money_per_hour", samples[-1].money, "USD/h", peer)
        yield Figure(
            f"{name}.evictions",
            float(samples[-1].evicted),
            "pods",
            Peer("Karpenter 1.14.1", float(theirs[-1].evicted)) if theirs else None,
        )
        yield Figure(f"{name}.seconds", reached.seconds, "s", Peer("Karpenter 1.14.1, not ended", KARPENTER_SECONDS))
        yield Figure(
            f"{name}.least_running",
            float(min(each.running for each in samples)),
            "pods",
            Peer("Karpenter 1.14.1", float(min(each.running for each in theirs))) if theirs else None,
        )


GROUPS = {"consolidation_peer": figures}


def _show(who: str, samples: list[Sample]) -> None:
    for each in samples[:: max(len(samples) // 12, 1)] + samples[-1:]:
        print(
            f"{who}: {each.seconds:5.0f} s {each.money:7.2f} USD/h {each.nodes} nodes {each.running} running {each.evicted} evicted",
            file=sys.stderr,
        )
