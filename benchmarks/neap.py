"""neap beside FGD: what it gains by workload, under hard conditions, with migrations, and how fast it is.

The traces are found by NEAPTIDE_TRACES; without it there are the figures of the workload that the package ships.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean

import numpy as np

from benchmarks.figure import Figure, Peer
from benchmarks.gpu_packing import WORKLOADS
from neaptide.placement.gpu.bound import upper_bound
from neaptide.placement.gpu.policies import gpu_policy
from neaptide.placement.gpu.scheduler import GpuScheduler
from neaptide.placement.gpu.state import GpuPods, classes_of, models_of
from neaptide.simulator.replay import PUBLISHED_SEEDS, ReplayResult, Workload, draw_orders, replay, until_full, workload
from neaptide.simulator.traces.openb import DEFAULT_WORKLOAD

POLICIES = ("neap", "FGD")
CHANGES = (("default", "multigpu30"), ("gpuspec20", "gpushare40"), ("multigpu30", "cpu100"))  # first half, second half
HARD_SEEDS = (1, 2)
MIGRATIONS = (1.0, 5.0)  # per 100 arrivals


def gain_figures() -> Iterator[Figure]:
    """Points by which neap allocates more than FGD on the published runs, paired by seed."""
    gains, at_full = [], []
    for name in _names():
        read = _read(name)
        runs = {
            policy: [replay(read.nodes, read.pods, policy, seed) for seed in PUBLISHED_SEEDS] for policy in POLICIES
        }
        final = {policy: fmean(run.final_percent for run in runs[policy]) for policy in POLICIES}
        full = {policy: fmean(run.at_full_percent or 0.0 for run in runs[policy]) for policy in POLICIES}
        gains.append(final["neap"] - final["FGD"])
        yield Figure(f"neap.gain.{name}.final_percent", final["neap"], "%", Peer("FGD", final["FGD"]))
        yield Figure(f"neap.gain.{name}.at_full_percent", full["neap"], "%", Peer("FGD", full["FGD"]))
        at_full.append(full["neap"] - full["FGD"])
        yield Figure(f"neap.gain.{name}.final_points", gains[-1], "points over FGD")
    yield Figure("neap.gain.mean_points", fmean(gains), "points over FGD")
    yield Figure("neap.gain.least_points", min(*gains, *at_full), "points over FGD")


def hard_figures() -> Iterator[Figure]:
    """The mix changes halfway, the history is of another workload, and half of the nodes are cordoned."""
    if _trace() is None:
        return
    least = math.inf
    for first, second in CHANGES:
        one, other = _read(first), _read(second)
        for condition, run in (("halfway", _halfway), ("wrong_history", _wrong_history), ("cordoned", _cordoned)):
            final = {
                policy: fmean(run(one, other, policy, seed).final_percent for seed in HARD_SEEDS) for policy in POLICIES
            }
            figure = f"neap.hard.{condition}.{first}_{second}.final_percent"
            yield Figure(figure, final["neap"], "%", Peer("FGD", final["FGD"]))
            least = min(least, final["neap"] - final["FGD"])
    yield Figure("neap.hard.least_points", least, "points over FGD")


def migration_figures() -> Iterator[Figure]:
    """What moves add, beside what no placement exceeds; one seed."""
    for name in _names():
        read = _read(name)
        come = draw_orders(read.nodes, read.pods, 1).arrivals
        full = come[: until_full(read.nodes, read.pods, come)]
        bounds = [upper_bound(read.nodes, read.pods, arrivals, choosy=False) for arrivals in (full, come)]
        at_full_bound, final_bound = (Peer("upper bound of a scheduler that moves nobody", bound) for bound in bounds)
        for moves in (0.0, *MIGRATIONS):
            run = replay(read.nodes, read.pods, "neap", 1, migrations_per_100=moves)
            figure = f"neap.migrations.{name}.{moves:.0f}_per_100"
            yield Figure(f"{figure}.at_full_percent", run.at_full_percent, "%", at_full_bound)
            yield Figure(f"{figure}.final_percent", run.final_percent, "%", final_bound)
            yield Figure(f"{figure}.moves", run.migrations, "pods")
            yield Figure(f"{figure}.seconds", run.seconds, "s")


def speed_figures() -> Iterator[Figure]:
    """One run of the default workload, and its single decisions."""
    read = _read("default")
    seconds = {policy: min(replay(read.nodes, read.pods, policy, 1).seconds for _ in range(3)) for policy in POLICIES}
    yield Figure("neap.speed.seconds", seconds["neap"], "s", Peer("FGD", seconds["FGD"]))
    classes = classes_of(read.pods, models_of(read.nodes))
    scheduler = GpuScheduler(read.nodes, classes, gpu_policy("neap"), history=read.pods, seed=1)
    took = []
    for pod_class in classes.of_pod[draw_orders(read.nodes, read.pods, 1).arrivals].tolist():
        began = time.perf_counter()
        scheduler.place(pod_class)
        took.append(time.perf_counter() - began)
    yield Figure("neap.speed.decision_p99_microseconds", float(np.quantile(took, 0.99)) * 1e6, "us")


GROUPS: dict[str, Callable[[], Iterator[Figure]]] = {
    "neap.speed": speed_figures,
    "neap.gain": gain_figures,
    "neap.hard": hard_figures,
    "neap.migrations": migration_figures,
}


def _halfway(one: Workload, other: Workload, policy: str, seed: int) -> ReplayResult:
    first, second = (draw_orders(read.nodes, read.pods, seed).arrivals for read in (one, other))
    later = second[len(second) // 2 :] + len(one.pods.names)
    arrivals = np.concatenate([first[: len(first) // 2], later])
    return replay(one.nodes, _joined(one.pods, other.pods), policy, seed, arrivals=arrivals, history=one.pods)


def _wrong_history(one: Workload, other: Workload, policy: str, seed: int) -> ReplayResult:
    return replay(one.nodes, one.pods, policy, seed, history=other.pods)


def _cordoned(one: Workload, _other: Workload, policy: str, seed: int) -> ReplayResult:
    nodes = one.nodes
    left = np.random.default_rng(seed).permutation(len(nodes.names))[::2]
    half = nodes._replace(
        names=[nodes.names[at] for at in left],
        cpu=nodes.cpu[left],
        memory=nodes.memory[left],
        gpu_count=nodes.gpu_count[left],
        model=[nodes.model[at] for at in left],
    )
    return replay(half, one.pods, policy, seed)


def _joined(one: GpuPods, other: GpuPods) -> GpuPods:
    return GpuPods(
        names=[*one.names, *(f"{name}-later" for name in other.names)],
        cpu=np.concatenate([one.cpu, other.cpu]),
        memory=np.concatenate([one.memory, other.memory]),
        num_gpu=np.concatenate([one.num_gpu, other.num_gpu]),
        gpu_milli=np.concatenate([one.gpu_milli, other.gpu_milli]),
        gpu_spec=[*one.gpu_spec, *other.gpu_spec],
    )


def _names() -> tuple[str, ...]:
    return WORKLOADS if _trace() else WORKLOADS[:1]


def _read(name: str) -> Workload:
    trace = _trace()
    return workload(trace, f"openb_pod_list_{name}.csv" if trace else DEFAULT_WORKLOAD)


def _trace() -> Path | None:
    found = os.environ.get("NEAPTIDE_TRACES")
    return Path(found) / "openb" if found else None
