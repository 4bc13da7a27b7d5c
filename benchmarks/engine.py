"""The placement engine: pods placed per second, by number of nodes and classes, with and without topology constraints.

A figure is the whole of `Engine.place`, from rows of pods to rows of nodes: laying the arrays out, growing the keys, placing.
Machine code and masks are warm, as in a scheduler that runs. Pods come in random order, which suits the engine least.
"""

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.figure import Figure, Peer, best_seconds
from neaptide.model import objects as o
from neaptide.model.columns import Longs
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.engine import Engine
from neaptide.placement.kernels.jit import HAVE_NUMBA
from neaptide.placement.place import Placement
from neaptide.placement.profile import DEFAULT, Profile
from neaptide.placement.scores.least_allocated import LeastAllocated
from neaptide.placement.scores.most_allocated import MostAllocated

PODS = 10_000
SIZES = (1_000, 10_000, 50_000)
MOST, LEAST = Profile(scores=(MostAllocated(),)), Profile(scores=(LeastAllocated(),))
SHAPES = ((4, 16), (8, 32), (16, 64), (32, 128), (64, 256))  # cores, GiB
ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
CPU, MEMORY = (100, 250, 500, 1000, 1500), (100, 256, 512, 1024, 2048, 4096)  # milli, MiB: Karpenter's benchmark
KARPENTER = Peer("Karpenter's own benchmark, the rate it declares (MinPodsPerSec)", 100)
WITH_TOPOLOGY = ("generic", "zonal spread", "hostname spread", "zonal affinity", "hostname anti-affinity")


class Scene(NamedTuple):
    snapshot: ClusterSnapshot
    pods: Longs


def scene(nodes: int, classes: int, kinds: Sequence[str] = ("generic",), pods: int = PODS, seed: int = 1) -> Scene:
    """Nodes of five sizes in three zones, each used in part, and pods of classes that are of each kind in turn."""
    rng = random.Random(seed)
    snapshot = ClusterSnapshot()
    for number in range(nodes):
        snapshot.set(_node(number, rng))
    snapshot.add_pods([_running(number, rng) for number in range(nodes)])
    templates = [_template(number, kinds[number % len(kinds)], rng) for number in range(classes)]
    drawn = [templates[rng.randrange(classes)] for _ in range(pods)]
    snapshot.add_pods(
        [o.Pod(o.Metadata(name=f"p{number}", labels=labels), spec) for number, (labels, spec) in enumerate(drawn)]
    )
    return Scene(snapshot, np.array([snapshot.pods.by_key[f"default/p{number}"] for number in range(pods)]))


def growth_figures() -> Iterator[Figure]:
    """Filters and scores that look at one node each: 100 and 1,000 classes on 1,000 to 50,000 nodes."""
    for nodes in SIZES:
        for classes in (100, 1_000):
            found = scene(nodes, classes)
            for name, profile in (("most_allocated", MOST), ("least_allocated", LEAST)):
                peer = Peer("the obvious numpy loop", _numpy_loop(found, most=profile is MOST))
                yield _figure(f"engine.nodes_{nodes}.classes_{classes}.{name}.pods_per_second", found, profile, peer)
            if nodes == 10_000:
                yield Figure(
                    f"engine.nodes_{nodes}.classes_{classes}.schedule.pods_per_second", _scheduled(found), "pods/s"
                )
                peer = Peer("the same pods one by one", _one_by_one(found, DEFAULT))
                yield _figure(
                    f"engine.nodes_{nodes}.classes_{classes}.default_profile.pods_per_second", found, DEFAULT, peer
                )
                peer = Peer("numba's kernel", PODS / _seconds(found, MOST, compiled=HAVE_NUMBA))
                yield _figure(
                    f"engine.nodes_{nodes}.classes_{classes}.without_numba.pods_per_second",
                    found,
                    MOST,
                    peer,
                    compiled=False,
                )


def topology_figures() -> Iterator[Figure]:
    """A fifth of the classes each generic, spread over zones, over hosts, drawn to a zone, apart by host."""
    for nodes in SIZES:
        found = scene(nodes, 100, WITH_TOPOLOGY)
        for name, profile in (("most_allocated", MOST), ("default_profile", DEFAULT)):
            yield _figure(f"engine.topology.nodes_{nodes}.{name}.pods_per_second", found, profile, KARPENTER)
        if nodes == 10_000:
            peer = Peer("the same pods one by one", _one_by_one(found, MOST))
            yield _figure(f"engine.topology.nodes_{nodes}.against_one_by_one.pods_per_second", found, MOST, peer)
            yield Figure(
                f"engine.topology.nodes_{nodes}.pods_unlike_the_numpy_twin",
                _unlike(found),
                "pods",
                Peer("numpy twin", 0),
            )


def start_figures() -> Iterator[Figure]:
    """What the first batch of a process waits for: machine code that is compiled, or loaded from where it was kept."""
    if HAVE_NUMBA:
        with tempfile.TemporaryDirectory() as cache:
            compiled, loaded = (_start_seconds(cache) for _ in range(2))
        yield Figure("engine.start.compiling.seconds", compiled, "s", Peer("loading what was compiled before", loaded))


GROUPS = {"engine.nodes": growth_figures, "engine.topology": topology_figures, "engine.start": start_figures}


def _figure(name: str, found: Scene, profile: Profile, peer: Peer, *, compiled: bool = HAVE_NUMBA) -> Figure:
    return Figure(name, PODS / _seconds(found, profile, compiled=compiled), "pods/s", peer)


def _seconds(found: Scene, profile: Profile, *, compiled: bool) -> float:
    engine = _engine(found, profile, compiled=compiled)
    return best_seconds(lambda: engine.place(found.pods), times=9 if compiled else 1)


def _engine(found: Scene, profile: Profile, *, compiled: bool) -> Engine:
    view = Placement(found.snapshot, profile).view
    view.topology.classes.meet_all(np.unique(found.snapshot.pods.cls[found.pods]).tolist())
    engine = Engine(view, profile, compiled=compiled)
    engine.place(found.pods[:1])
    return engine


def _scheduled(found: Scene) -> float:
    """Pods per second of `Placement.schedule`: the engine, and writing what it says into the snapshot."""
    placement = Placement(found.snapshot, MOST)
    seconds = []
    for _ in range(5):
        with found.snapshot.what_if():
            seconds.append(best_seconds(lambda: placement.schedule(found.pods.tolist()), times=1))
    return PODS / min(seconds)


def _start_seconds(cache: str) -> float:
    command = "import time; from neaptide.placement import warm; t = time.perf_counter(); warm.engine(); print(time.perf_counter() - t)"
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    return float(
        subprocess.run([sys.executable, "-c", command], env=environment, check=True, capture_output=True).stdout
    )


def _unlike(found: Scene) -> float:
    first, second = (_engine(found, MOST, compiled=compiled).place(found.pods) for compiled in (HAVE_NUMBA, False))
    return float(np.count_nonzero(first != second))


def _one_by_one(found: Scene, profile: Profile, sample: int = 50) -> float:
    """Pods per second of the general path."""
    placement = Placement(found.snapshot, profile)
    with found.snapshot.what_if():
        return sample / best_seconds(
            lambda: [placement.schedule([pod]) for pod in found.pods[:sample].tolist()], times=1
        )


def _numpy_loop(found: Scene, *, most: bool, sample: int = 200) -> float:
    """Pods per second of fit, score and argmax over all nodes, written the obvious way; nothing but resources is looked at."""
    snapshot = found.snapshot
    allocatable = snapshot.nodes.allocatable[:, : snapshot.nodes.rows].T.astype(np.float64)
    requests = snapshot.pod_requests(found.pods[:sample]).T.astype(np.float64)

    def run() -> None:
        used = snapshot.nodes.used[:, : snapshot.nodes.rows].T.astype(np.float64)
        for request in requests:
            after = used + request
            part = np.floor(np.minimum(after[:, :2], allocatable[:, :2]) * 100 / allocatable[:, :2])
            score = np.floor((part if most else 100 - part).mean(axis=1))
            score[(after > allocatable).any(axis=1)] = -1
            best = int(score.argmax())
            if score[best] >= 0:
                used[best] += request

    return sample / best_seconds(run, times=3)


def _node(number: int, rng: random.Random) -> o.Node:
    cores, memory = rng.choice(SHAPES)
    amounts = {"cpu": str(cores), "memory": f"{memory}Gi", "ephemeral-storage": "100Gi", "pods": "110"}
    labels = {ZONE: f"zone-{rng.randrange(3)}", HOST: f"node-{number:05d}"}
    return o.Node(o.Metadata(name=f"node-{number:05d}", labels=labels), status=o.NodeStatus(allocatable=amounts))


def _running(number: int, rng: random.Random) -> o.Pod:
    spec = o.PodSpec(
        containers=(_container(rng.randrange(4000), rng.randrange(16384), 0),), node_name=f"node-{number:05d}"
    )
    return o.Pod(o.Metadata(name=f"running-{number}", namespace="running"), spec)


def _container(cpu: int, memory: int, storage: int) -> o.Container:
    requests = {"cpu": f"{cpu}m", "memory": f"{memory}Mi", "ephemeral-storage": f"{storage}Mi"}
    return o.Container("main", resources=o.Resources(requests))


def _template(number: int, kind: str, rng: random.Random) -> tuple[dict[str, str], o.PodSpec]:
    """The labels and the spec of a class. Constraints select one of seven teams of their kind, as in Karpenter's benchmark."""
    labels = {"app": f"app-{number}", "team": f"{kind.replace(' ', '-')}-{rng.randrange(7)}"}
    selector = o.LabelSelector({"team": labels["team"]})
    spreads = {"zonal spread": ZONE, "hostname spread": HOST}
    spread = (o.TopologySpreadConstraint(1, spreads[kind], "DoNotSchedule", selector),) if kind in spreads else ()
    term = o.PodAffinity((o.PodAffinityTerm(ZONE if kind == "zonal affinity" else HOST, selector),))
    affinity = {
        "zonal affinity": o.Affinity(pod_affinity=term),
        "hostname anti-affinity": o.Affinity(pod_anti_affinity=term),
    }
    container = _container(rng.choice(CPU), rng.choice(MEMORY), rng.randrange(1, 64))
    return labels, o.PodSpec(containers=(container,), affinity=affinity.get(kind), topology_spread_constraints=spread)
