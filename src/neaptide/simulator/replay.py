"""The openb experiment (Weng et al., "Beware of Fragmentation", USENIX ATC 2023, section 6): pods arrive one by one and stay.

Nodes start empty. The workload is shuffled, and pods are drawn from it again until 130 % of the nodes' GPU milli are requested (or dropped
at random where it requests more); a pod that fits nowhere is dropped. Ties between nodes go to the first in an order that the seed shuffles.
All this is drawn as the authors' simulator does, number by number: seeds 1 to 10 are the very runs that they published (its 42 to 51).
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from neaptide.model.columns import Bools
from neaptide.model.problems import LeftOut
from neaptide.placement.gpu.neap_migrations import MIGRATING, MigratingScheduler
from neaptide.placement.gpu.policies import gpu_policy
from neaptide.placement.gpu.scheduler import GpuScheduler
from neaptide.placement.gpu.state import GpuNodes, GpuPods, Ints, classes_of, models_of
from neaptide.placement.kernels.jit import HAVE_NUMBA
from neaptide.simulator.go_random import GoRandom
from neaptide.simulator.traces.openb import DEFAULT_WORKLOAD, load_openb
from neaptide.simulator.traces.packaged import openb
from neaptide.simulator.traces.rows import TraceError

PUBLISHED_SEEDS = range(1, 11)
_FIRST_SEED = 42  # of the authors' simulator; the first is 1 here
REQUESTED = 1.3  # GPU milli that arrive, as a share of the nodes'
_STARTING = 10  # numbers that the authors' scheduler draws for itself between the pods' order and the nodes'


class Workload(NamedTuple):
    """What is replayed: nodes, pods, and rows of the trace that were left out."""

    nodes: GpuNodes
    pods: GpuPods
    left_out: list[LeftOut]


class ReplayResult(msgspec.Struct, frozen=True, gc=False):
    """What came of one run.

    Attributes:
        policy: its name.
        seed: of the orders in which pods and nodes come.
        arrivals: how many pods came.
        unscheduled: how many of them fitted nowhere.
        gpu_milli_total: what all nodes have.
        at_full_percent: allocated of that, when the GPU milli of arrivals first reached it; None where they did not.
        final_percent: allocated of it at the end.
        seconds: for placing all arrivals, kernels being compiled.
        migrations: how many pods were moved.
    """

    policy: str
    seed: int
    arrivals: int
    unscheduled: int
    gpu_milli_total: int
    at_full_percent: float | None
    final_percent: float
    seconds: float
    migrations: int = 0


class Orders(NamedTuple):
    """What a seed decides: the arrivals, as indices of pods, and the order of the nodes."""

    arrivals: Ints
    nodes: Ints


def workload(directory: Path | None, file: str) -> Workload:
    """Read the nodes and a workload of a directory, or of the data that the package ships.

    Raises:
        TraceError: the trace cannot be used.
    """
    if directory is None and file != DEFAULT_WORKLOAD:
        raise TraceError(
            f"{file}: the package ships {DEFAULT_WORKLOAD} only; accepted: this, or a directory with the trace"
        )
    trace = load_openb(directory, file) if directory else openb()
    return Workload(trace.nodes, trace.pods, trace.bad)


def replay(
    nodes: GpuNodes,
    pods: GpuPods,
    policy: str,
    seed: int,
    *,
    arrivals: Ints | None = None,
    history: GpuPods | None = None,
    migrations_per_100: float = 0.0,
    compiled: bool = HAVE_NUMBA,
) -> ReplayResult:
    """Place the arrivals one by one.

    Args:
        nodes: empty.
        pods: the workload.
        policy: name of a GPU placement policy.
        seed: of the orders in which pods and nodes come.
        arrivals: indices of `pods` in exactly this order, instead of the seed's. Where it is that of a published run, the nodes
            come as in that run.
        history: pods from which the policy learns what is typical; by default `pods`.
        migrations_per_100: how many pods may be moved per 100 arrivals, to make room for such as fit nowhere.
        compiled: with numba's kernels; else with their numpy twins.

    Raises:
        ValueError: the policy is not known or cannot migrate, or there is no GPU or nobody who asks for one.
    """
    chosen = gpu_policy(policy)
    if migrations_per_100 > 0 and chosen.name not in MIGRATING:
        raise ValueError(f"policy {chosen.name!r} cannot migrate pods; accepted: {', '.join(MIGRATING)}")
    orders = draw_orders(nodes, pods, seed) if arrivals is None else _orders_with(nodes, pods, seed, arrivals)
    come = orders.arrivals
    in_order = _taken(nodes, orders.nodes)
    classes = classes_of(pods, models_of(nodes))
    class_of = classes.of_pod[come].tolist()

    def start() -> GpuScheduler:
        return GpuScheduler(in_order, classes, chosen, history=history or pods, seed=seed, compiled=compiled)

    def migrating(scheduler: GpuScheduler) -> MigratingScheduler:
        return MigratingScheduler(scheduler, classes, per_100=migrations_per_100, arrivals=len(come), compiled=compiled)

    placed, seconds, migrations = _played(start, migrating, class_of, migrates=migrations_per_100 > 0)
    at_full, final = _allocated(nodes, pods, come, placed)
    return ReplayResult(
        policy=chosen.name,
        seed=seed,
        arrivals=len(come),
        unscheduled=int((~placed).sum()),
        gpu_milli_total=nodes.gpu_milli(),
        at_full_percent=at_full,
        final_percent=final,
        seconds=seconds,
        migrations=migrations,
    )


def _played(
    start: Callable[[], GpuScheduler],
    migrating: Callable[[GpuScheduler], MigratingScheduler],
    arrivals: Sequence[int],
    *,
    migrates: bool,
) -> tuple[Bools, float, int]:
    """Which arrivals (by class) found room, in how many seconds, and how many pods were moved for them."""
    migrating(start()).rehearse()
    rehearsal = start()  # compiles what is not yet
    next((pod for pod in arrivals if rehearsal.place(pod)), None)
    began = time.perf_counter()
    still = start()
    moving = migrating(still)
    scheduler = moving if migrates else still
    placed = np.array([scheduler.place(pod) is not None for pod in arrivals], dtype=np.bool_)
    return placed, time.perf_counter() - began, len(moving.moves)


def _allocated(nodes: GpuNodes, pods: GpuPods, arrivals: Ints, placed: Bools) -> tuple[float | None, float]:
    """Per cent of all GPU that is allocated when arrivals first request all of it (None where they do not), and at the end."""
    percent = 100 * np.cumsum(pods.total_milli()[arrivals] * placed).astype(np.float64) / nodes.gpu_milli()
    full = until_full(nodes, pods, arrivals)
    return float(percent[full - 1]) if full else None, float(percent[-1]) if len(arrivals) else 0.0


def until_full(nodes: GpuNodes, pods: GpuPods, arrivals: Ints) -> int | None:
    """How many arrivals it takes until they request all GPU of the nodes; None where they do not."""
    requested = np.cumsum(pods.total_milli()[arrivals])
    before = int(np.searchsorted(requested, nodes.gpu_milli()))
    return before + 1 if before < len(arrivals) else None


def draw_orders(nodes: GpuNodes, pods: GpuPods, seed: int) -> Orders:
    """The order of arrivals and of nodes, as the authors' simulator draws them.

    Raises:
        ValueError: there is no GPU, or nobody who asks for one.
    """
    asked = pods.total_milli().tolist()
    target = REQUESTED * nodes.gpu_milli()
    if not (target > 0 and sum(asked) > 0):
        raise ValueError("nothing to replay: accepted are nodes with GPUs, and a workload with a pod that asks for one")
    random = GoRandom(seed - 1 + _FIRST_SEED)
    random.int63()  # it writes one number to its log
    by_name = sorted(range(len(asked)), key=pods.names.__getitem__)
    come = list(by_name)
    random.shuffle(come)
    requested = sum(asked)
    if requested > target:
        while requested > target:
            requested -= asked[come.pop(random.below(len(come)))]
    elif requested < target:
        milli = pods.gpu_milli.tolist()  # of one device: so the authors' simulator judges whether another pod may come
        while requested + milli[again := by_name[random.below(len(by_name))]] <= target:
            requested += asked[again]
            come.append(again)
    for _ in range(_STARTING):
        random.int63()
    rank = random.permutation(len(nodes.names))
    by_name = sorted(range(len(nodes.names)), key=nodes.names.__getitem__)
    in_order = [node for _, node in sorted(zip(rank, by_name, strict=True))]
    return Orders(np.array(come, dtype=np.int64), np.array(in_order, dtype=np.int64))


def _orders_with(nodes: GpuNodes, pods: GpuPods, seed: int, arrivals: Ints) -> Orders:
    for published in PUBLISHED_SEEDS:
        orders = draw_orders(nodes, pods, published)
        if np.array_equal(orders.arrivals, arrivals):
            return orders
    return Orders(arrivals, draw_orders(nodes, pods, seed).nodes)


def _taken(nodes: GpuNodes, order: Ints) -> GpuNodes:
    return GpuNodes(
        names=[nodes.names[at] for at in order],
        cpu=nodes.cpu[order],
        memory=nodes.memory[order],
        gpu_count=nodes.gpu_count[order],
        model=[nodes.model[at] for at in order],
    )
