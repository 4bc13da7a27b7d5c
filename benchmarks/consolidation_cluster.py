"""A cluster that an autoscaler bought for twice the pods it has now: what consolidation is measured on.

`MARKET` and `deployments` state everything by formula; a seed decides in which order pods came and which of them went. Nodes are
bought as Karpenter buys them: batch by batch, pods in order of CPU, each to the open purchase with the fewest pods whose requests
still fit some instance type, and then the cheapest offering that holds the purchase.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from neaptide.model import objects as o
from neaptide.model.build import build
from neaptide.model.manifests import Found
from neaptide.model.offerings import Offering
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.pricing.nodes import PRICE_LABELS

MIB = 2**20
CPU_PRICE, GIB_PRICE = 0.0245, 0.0029
"""US dollars per hour of the cheapest generation."""
FAMILIES = (("c", 2), ("m", 4), ("r", 8))
"""And GiB for each CPU."""
GENERATIONS = (1.0, 1.04, 1.07, 1.12, 1.13, 1.16, 1.23, 1.3)
SIZES = (("large", 2), ("xlarge", 4), ("2xlarge", 8))
ZONES = ("zone-a", "zone-b", "zone-c", "zone-d")
SPOT = 0.7
BATCH = 220
"""Pods that are bought for at once."""
AT_A_TIME = 70
"""So many Deployments have pods coming at any time."""
OVERHEAD_MILLI, OVERHEAD_MIB = 100, 10
ON_DEMAND, TYPE, CAPACITY_TYPE, ZONE = (
    "on-demand",
    "node.kubernetes.io/instance-type",
    "karpenter.sh/capacity-type",
    "topology.kubernetes.io/zone",
)


class Deployment(NamedTuple):
    """Pods of one kind: milli-CPU, MiB, and whether they must run on demand."""

    name: str
    cpu: int
    memory: int
    on_demand: bool


class Bought(NamedTuple):
    """A node, and the pods on it by the place of their Deployment."""

    offering: Offering
    pods: list[int]


def market() -> list[Offering]:
    """72 instance types in four zones, on demand and as spot."""
    return [_offering(*each, kind, zone) for each in _types() for kind in (ON_DEMAND, "spot") for zone in ZONES]


def deployments(count: int = 100) -> list[Deployment]:
    """CPU from 100 to 1090 milli, 1, 4 or 8 GiB for each CPU, one third of them on demand."""
    return [_deployment(number) for number in range(count)]


def cluster(replicas: int = 24, kept: int = 12, *, count: int = 100, seed: int = 0) -> ClusterSnapshot:
    """What is left of `count` Deployments of `replicas` pods on the nodes bought for them, when `kept` pods of each remain."""
    snapshot, left_out = build(Found("", each) for each in objects(replicas, kept, count=count, seed=seed))
    if left_out:
        raise ValueError(left_out[0])
    snapshot.offerings = market()
    for row in snapshot.nodes.indices().tolist():
        snapshot.set_price(row, float(snapshot.node_labels(row)[PRICE_LABELS[1]]))
    return snapshot


def objects(replicas: int, kept: int, *, count: int = 100, seed: int = 0) -> list[o.Node | o.Pod]:
    """The nodes and pods of `cluster`."""
    rng, kinds = random.Random(seed), deployments(count)
    nodes = _purchases(kinds, replicas, rng)
    places: list[list[int]] = [[] for _ in kinds]
    for row, node in enumerate(nodes):
        for pod in node.pods:
            places[pod].append(row)
    staying = [_scaled_down(rows, kept, rng) for rows in places]
    return [*_nodes(nodes), *(pod for kind, rows in zip(kinds, staying, strict=True) for pod in _pods(kind, rows))]


def dump(found: Iterable[o.Node | o.Pod]) -> bytes:
    """Objects as `kubectl get -o json` prints them."""
    items = [{"apiVersion": "v1", "kind": type(each).__name__, **msgspec.to_builtins(each)} for each in found]
    return msgspec.json.encode({"apiVersion": "v1", "kind": "List", "items": items})


def _types() -> Iterator[tuple[str, float, int, int]]:
    for family, gib in FAMILIES:
        for number, factor in enumerate(GENERATIONS):
            for size, cpus in SIZES:
                yield f"{family}{number}.{size}", factor * cpus * (CPU_PRICE + GIB_PRICE * gib), cpus, cpus * gib


def _offering(name: str, price: float, cpus: int, gib: int, kind: str, zone: str) -> Offering:
    spot = 1.0 if kind == ON_DEMAND else SPOT * (1 + 0.02 * ZONES.index(zone))
    amounts = {
        "cpu": cpus * 1000 - OVERHEAD_MILLI,
        "memory": (gib * 1024 - OVERHEAD_MIB) * MIB,
        "pods": {2: 29, 4: 58}.get(cpus, 58),
    }
    labels = {TYPE: name, CAPACITY_TYPE: kind, ZONE: zone, "kubernetes.io/arch": "amd64"}
    return Offering(name, kind, zone, round(price * spot, 5), amounts, labels)


def _deployment(number: int) -> Deployment:
    cpu = 100 + 10 * (number % 100)
    return Deployment(f"d{number}", cpu, cpu * 1024 * (1, 4, 8)[number % 3] // 1000, number // 3 % 3 == 0)


def _scaled_down(rows: list[int], kept: int, rng: random.Random) -> list[int]:
    """Which pods, by their nodes, a ReplicaSet keeps: those that share their node with the fewest others."""
    together = Counter(rows)
    drawn = sorted(rng.sample(rows, len(rows)), key=lambda row: together[row])
    return sorted(drawn[:kept])


def _purchases(kinds: list[Deployment], replicas: int, rng: random.Random) -> list[Bought]:
    """Nodes for all pods, which arrive in batches, several Deployments at a time."""
    arrivals = [(kind + rng.uniform(0, AT_A_TIME), kind) for kind in range(len(kinds)) for _ in range(replicas)]
    waiting = [kind for _, kind in sorted(arrivals)]
    offers = sorted(market(), key=lambda each: each.price_per_hour or 0.0)
    bought: list[Bought] = []
    for start in range(0, len(waiting), BATCH):
        open_: list[Bought] = []
        for pod in sorted(waiting[start : start + BATCH], key=lambda each: (-kinds[each].cpu, -kinds[each].memory)):
            for each in sorted(open_, key=lambda each: len(each.pods)):
                offer = _cheapest(offers, kinds, [*each.pods, pod])
                if offer is not None:
                    open_[open_.index(each)] = Bought(offer, [*each.pods, pod])
                    break
            else:
                offer = _cheapest(offers, kinds, [pod])
                if offer is None:
                    raise ValueError(kinds[pod])
                open_.append(Bought(offer, [pod]))
        bought += open_
    return bought


def _cheapest(offers: Iterable[Offering], kinds: list[Deployment], pods: list[int]) -> Offering | None:
    cpu, memory = sum(kinds[pod].cpu for pod in pods), sum(kinds[pod].memory for pod in pods) * MIB
    pinned = any(kinds[pod].on_demand for pod in pods)
    for each in offers:
        room = each.allocatable
        enough = room["cpu"] >= cpu and room["memory"] >= memory and room["pods"] >= len(pods)
        if enough and (not pinned or each.capacity_type == ON_DEMAND):
            return each
    return None


def _nodes(nodes: list[Bought]) -> Iterator[o.Node]:
    for row, (offering, _) in enumerate(nodes):
        amounts = {
            name: f"{amount}m" if name == "cpu" else str(amount) for name, amount in offering.allocatable.items()
        }
        labels = {**offering.labels, "kubernetes.io/hostname": f"n{row}", PRICE_LABELS[1]: str(offering.price_per_hour)}
        yield o.Node(o.Metadata(name=f"n{row}", labels=labels), status=o.NodeStatus(allocatable=amounts))


def _pods(kind: Deployment, rows: list[int]) -> Iterator[o.Pod]:
    requests = {"cpu": f"{kind.cpu}m", "memory": f"{kind.memory}Mi"}
    selector = {CAPACITY_TYPE: ON_DEMAND} if kind.on_demand else {}
    container = o.Container("c", resources=o.Resources(requests))
    for number, row in enumerate(rows):
        owner = o.OwnerReference(kind="ReplicaSet", name=kind.name, controller=True)
        meta = o.Metadata(
            name=f"{kind.name}-{number}",
            namespace="load",
            uid=f"uid-{kind.name}-{number}",
            labels={"app": kind.name},
            owner_references=(owner,),
        )
        spec = o.PodSpec(containers=(container,), node_name=f"n{row}", node_selector=selector)
        yield o.Pod(meta, spec, o.PodStatus(phase="Running", start_time="2026-01-01T00:00:00Z"))
