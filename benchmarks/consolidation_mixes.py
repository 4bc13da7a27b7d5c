"""Planning at scale: nodes of the shipped price catalogue, pods asking as those of the dlrm and openb traces do, half of them gone.

CPU and memory of the traces' pods, in their proportions and in at most KINDS kinds; scaled so that 20 pods fill a node at first, for the traces' own
pods are so large that few share a node. Nodes are of the catalogue's types with 16 to 64 CPUs, drawn evenly, and filled in the order in
which pods are drawn. The plan stands beside the linear programme over types and kinds, twice: with the room of nodes of each shape as one (what the plan is made from), and with
all room as one, which is a lower bound that no nodes reach where the CPU that some have left would have to serve with the memory of others. And beside a search of MINUTES
(10) minutes, 0 for none. SIZES says for how many nodes (500,5000). Traces are found by NEAPTIDE_TRACES.
"""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.figure import Figure, Peer
from neaptide.model import objects as o
from neaptide.model.actions import Evict
from neaptide.model.build import build
from neaptide.model.manifests import Found
from neaptide.model.offerings import Offering
from neaptide.model.scope import everything
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.packing.relaxation import relaxed
from neaptide.placement.packing.search import search
from neaptide.policies.consolidation import Consolidation, ConsolidationMemory
from neaptide.policies.consolidation_spec import ConsolidationSpec
from neaptide.policies.consolidation_survey import survey
from neaptide.pricing.cluster import money_per_hour
from neaptide.pricing.load import shipped
from neaptide.pricing.nodes import PRICE_LABELS
from neaptide.pricing.offerings import offerings
from neaptide.simulator.traces import dlrm, openb

NODES = tuple(int(each) for each in os.environ.get("SIZES", "500,5000").split(","))
MINUTES = float(os.environ.get("MINUTES", "10"))
KINDS, PER_NODE = 150, 20
NOW = 1.8e9
_STEPS_A_MINUTE = 400_000


class Kind(NamedTuple):
    """Milli-CPU and MiB that pods ask for, and how many of the trace's do."""

    cpu: int
    memory: int
    often: int


def mix(name: str) -> list[Kind]:
    """The kinds of a trace, the most frequent ones."""
    folder = Path(os.environ["NEAPTIDE_TRACES"]) / name
    if name == "dlrm":
        trace = dlrm.load_dlrm(folder)
        cpu, memory = trace.cpu_milli, trace.memory_bytes // 2**20
    else:
        pods = openb.load_openb(folder).pods
        cpu, memory = pods.cpu, pods.memory // 2**20
    pairs, counts = np.unique(np.stack([cpu, memory]), axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:KINDS]
    return [Kind(int(pairs[0, row]), int(pairs[1, row]), int(counts[row])) for row in order if pairs[:, row].all()]


def cluster(name: str, nodes: int, *, seed: int = 0) -> ClusterSnapshot:
    """So many nodes and about ten pods on each."""
    rng = random.Random(seed)
    types = [each for each in offerings(shipped()) if each.price_per_hour and "nvidia.com/gpu" not in each.allocatable]
    sizes = [each for each in types if 15_000 <= each.allocatable["cpu"] <= 64_000]
    kinds = mix(name)
    weights = [each.often for each in kinds]
    cpus, mebibytes = (
        float(np.mean(amounts))
        for amounts in zip(
            *((each.allocatable["cpu"], each.allocatable["memory"] / 2**20) for each in sizes), strict=True
        )
    )
    share = np.average([max(each.cpu / cpus, each.memory / mebibytes) for each in kinds], weights=weights)
    scale = 1 / PER_NODE / float(share)
    scaled = [Kind(max(round(each.cpu * scale), 10), max(round(each.memory * scale), 16), each.often) for each in kinds]
    found: list[o.Node | o.Pod] = []
    drawn = rng.choices(range(len(kinds)), weights, k=60 * nodes)
    for number in range(nodes):
        offering = rng.choice(sizes)
        found.append(_node(number, offering))
        cpu, memory = offering.allocatable["cpu"], offering.allocatable["memory"] // 2**20
        while drawn and scaled[drawn[-1]].cpu <= cpu and scaled[drawn[-1]].memory <= memory:
            kind = drawn.pop()
            cpu, memory = cpu - scaled[kind].cpu, memory - scaled[kind].memory
            if rng.random() < 0.5:
                found.append(_pod(len(found), kind, scaled[kind], number))
        if drawn and (scaled[drawn[-1]].memory > 400_000 or scaled[drawn[-1]].cpu > 15_000):
            drawn.pop()  # no node of these sizes holds it
    snapshot, left_out = build(Found("", each) for each in found)
    if left_out:
        raise ValueError(left_out[0])
    snapshot.offerings = types
    for row in snapshot.nodes.indices().tolist():
        snapshot.set_price(row, float(snapshot.node_labels(row)[PRICE_LABELS[1]]))
    return snapshot


def figures() -> Iterator[Figure]:
    """Money beside both, and time."""
    for name in ("dlrm", "openb"):
        for nodes in NODES:
            yield from _figures(name, nodes)


GROUPS = {"consolidation_mixes": figures}


def _figures(name: str, nodes: int) -> Iterator[Figure]:
    snapshot, spec = cluster(name, nodes), ConsolidationSpec()
    Consolidation().plan(cluster(name, 40), spec, ConsolidationMemory(), NOW)  # machine code is there
    start = f"consolidation_mixes.{name}.nodes_{nodes}.pods_{len(snapshot.pods.indices())}"
    began, cpu = time.perf_counter(), time.process_time()
    plan, _ = Consolidation().plan(snapshot, spec, ConsolidationMemory(), NOW)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    actions = (*plan.actions, *plan.later)
    money = (money_per_hour(snapshot) or 0.0) + sum(each.expected.money_per_hour or 0.0 for each in actions)
    problem = survey(snapshot, spec, NOW, everything).problem
    prices = relaxed(problem, toll=spec.minimum_saving_per_eviction)
    bound, pooled = relaxed(problem), relaxed(problem, pooled=True)
    yield Figure(f"{start}.seconds", seconds, "s")
    yield Figure(f"{start}.cpu_seconds", cpu, "s")
    yield Figure(f"{start}.evictions", float(sum(isinstance(each, Evict) for each in actions)), "pods")
    if prices is None or bound is None or pooled is None:
        return
    yield Figure(f"{start}.money_per_hour", money, "USD/h", Peer("linear programme by shapes of nodes", bound.money))
    aggregate = Peer("linear programme, all room as one", pooled.money)
    yield Figure(f"{start}.against_aggregate.money_per_hour", money, "USD/h", aggregate)
    if MINUTES:
        steps = int(MINUTES * _STEPS_A_MINUTE)
        long = search(problem, prices, evictions=int(problem.pods.sum()), steps=steps, seed=1)
        yield Figure(f"{start}.against_search.money_per_hour", money, "USD/h", Peer(f"{steps} steps", long.money))


def _node(number: int, offering: Offering) -> o.Node:
    amounts = {key: f"{amount}m" if key == "cpu" else str(amount) for key, amount in offering.allocatable.items()}
    labels = {**offering.labels, "kubernetes.io/hostname": f"n{number}", PRICE_LABELS[1]: str(offering.price_per_hour)}
    return o.Node(o.Metadata(name=f"n{number}", labels=labels), status=o.NodeStatus(allocatable=amounts))


def _pod(number: int, kind: int, asks: Kind, node: int) -> o.Pod:
    owner = o.OwnerReference(kind="ReplicaSet", name=f"kind-{kind}", controller=True)
    meta = o.Metadata(
        name=f"pod-{number}",
        namespace="load",
        uid=f"uid-{number}",
        labels={"app": f"kind-{kind}"},
        owner_references=(owner,),
    )
    container = o.Container("c", resources=o.Resources({"cpu": f"{asks.cpu}m", "memory": f"{asks.memory}Mi"}))
    spec = o.PodSpec(containers=(container,), node_name=f"n{node}")
    return o.Pod(meta, spec, o.PodStatus(phase="Running", start_time="2026-01-01T00:00:00Z"))
