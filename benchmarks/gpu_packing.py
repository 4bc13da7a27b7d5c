"""GPU packing on the openb workloads: beside what is published, beside an upper bound, and how fast.

The traces are found by NEAPTIDE_TRACES; without it there are the figures of the workload that the package ships.
"""

import csv
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import NamedTuple

from benchmarks.figure import Figure, Peer
from neaptide.placement.gpu.bound import upper_bound
from neaptide.placement.kernels.jit import HAVE_NUMBA
from neaptide.simulator.replay import PUBLISHED_SEEDS, Workload, draw_orders, replay, until_full, workload
from neaptide.simulator.traces.openb import DEFAULT_WORKLOAD, load_arrivals

WORKLOADS = ("default", "cpu100", "gpushare40", "gpuspec20", "multigpu30")
OTHER_SEEDS = range(11, 21)
LEAST_TOLERANCE = 0.5  # points
TOLERANCE = "of max(0.5 points, 3 combined standard errors)"
ARTIFACT_SECONDS = 600.0  # one run, by its README
ARTIFACT_SEED_42 = 95.29  # FGD on arrivals_default_seed42.csv, measured with the artifact
COLD = "from benchmarks.gpu_packing import one_run; print(one_run())"


class Published(NamedTuple):
    """Mean and population deviation over ten seeds."""

    mean: float
    deviation: float


def published_figures() -> Iterator[Figure]:
    """The published runs: allocation at 100 % of arrivals and at the end, mean of ten; and one run whose arrivals were recorded."""
    trace = _trace()
    if trace is None:
        return
    worst = 0.0
    for name in WORKLOADS:
        for policy, when, values, peer in _measured(trace, name, PUBLISHED_SEEDS):
            worst = max(worst, _part_of_tolerance(values, peer))
            source = Peer("the paper's artifact, published", peer.mean)
            yield Figure(f"gpu_packing.published.{name}.{policy}.{when}_percent", fmean(values), "%", source)
    yield Figure("gpu_packing.published.worst_part_of_tolerance", worst, TOLERANCE)
    read = workload(trace, DEFAULT_WORKLOAD)
    arrivals, _ = load_arrivals(trace / "arrivals_default_seed42.csv", read.pods.names)
    result = replay(read.nodes, read.pods, "FGD", PUBLISHED_SEEDS[0], arrivals=arrivals)
    peer_seed_42 = Peer("the paper's artifact, measured", ARTIFACT_SEED_42)
    yield Figure("gpu_packing.published.arrivals_seed42.FGD.final_percent", result.final_percent, "%", peer_seed_42)


def other_seed_figures() -> Iterator[Figure]:
    """How far off ten runs are that were not published, at worst."""
    trace = _trace()
    if trace is None:
        return
    parts = [
        _part_of_tolerance(values, peer)
        for name in WORKLOADS
        for _, _, values, peer in _measured(trace, name, OTHER_SEEDS)
    ]
    yield Figure("gpu_packing.other_seeds.worst_part_of_tolerance", max(parts), TOLERANCE)


def bound_figures() -> Iterator[Figure]:
    """What no placement exceeds, beside what FGD reaches on the same arrivals."""
    trace = _trace()
    for name in WORKLOADS if trace else ("default",):
        read = workload(trace, _file(name))
        come = draw_orders(read.nodes, read.pods, PUBLISHED_SEEDS[0]).arrivals
        reached = replay(read.nodes, read.pods, "FGD", PUBLISHED_SEEDS[0])
        at_full = upper_bound(read.nodes, read.pods, come[: until_full(read.nodes, read.pods, come)])
        yield Figure(
            f"gpu_packing.bound.{name}.at_full_percent", at_full, "%", Peer("FGD", reached.at_full_percent or 0.0)
        )
        final = upper_bound(read.nodes, read.pods, come)
        yield Figure(f"gpu_packing.bound.{name}.final_percent", final, "%", Peer("FGD", reached.final_percent))


def speed_figures() -> Iterator[Figure]:
    """One FGD run of the default workload, the first published: 10,866 arrivals."""
    read = workload(None, DEFAULT_WORKLOAD)
    peer = Peer("the paper's artifact, by its README", ARTIFACT_SECONDS)
    if HAVE_NUMBA:
        yield Figure("gpu_packing.fgd.seconds", _best(read, compiled=True), "s", peer)
        with tempfile.TemporaryDirectory() as cache:
            environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
            command = [
                sys.executable,
                "-c",
                f"import time; t = time.perf_counter(); {COLD}; print(time.perf_counter() - t)",
            ]
            ran = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        yield Figure(
            "gpu_packing.fgd.cold_seconds", float(ran.stdout.split()[-1]), "s, with imports and compiling", peer
        )
    yield Figure("gpu_packing.fgd.numpy_seconds", _best(read, compiled=False, times=2), "s, without numba", peer)


GROUPS = {
    "gpu_packing.fgd": speed_figures,
    "gpu_packing.bound": bound_figures,
    "gpu_packing.published": published_figures,
    "gpu_packing.other_seeds": other_seed_figures,
}


def one_run() -> float:
    """Seconds of one FGD run, when its kernels are there."""
    read = workload(None, DEFAULT_WORKLOAD)
    return replay(read.nodes, read.pods, "FGD", PUBLISHED_SEEDS[0]).seconds


def _best(read: Workload, *, compiled: bool, times: int = 5) -> float:
    runs = (replay(read.nodes, read.pods, "FGD", PUBLISHED_SEEDS[0], compiled=compiled) for _ in range(times))
    return min(run.seconds for run in runs)


def _measured(trace: Path, name: str, seeds: Sequence[int]) -> Iterator[tuple[str, str, list[float], Published]]:
    """Of each policy of a workload and both times: what each seed gives, and what is published."""
    read = workload(trace, _file(name))
    for policy, published in _published(trace, name).items():
        results = [replay(read.nodes, read.pods, policy, seed) for seed in seeds]
        yield policy, "at_full", [result.at_full_percent or 0.0 for result in results], published["at_full"]
        yield policy, "final", [result.final_percent for result in results], published["final"]


def _part_of_tolerance(values: list[float], peer: Published) -> float:
    error = math.sqrt((pstdev(values) ** 2 + peer.deviation**2) / len(values))
    return abs(fmean(values) - peer.mean) / max(LEAST_TOLERANCE, 3 * error)


def _trace() -> Path | None:
    found = os.environ.get("NEAPTIDE_TRACES")
    return Path(found) / "openb" if found else None


def _file(name: str) -> str:
    return f"openb_pod_list_{name}.csv"


def _published(trace: Path, name: str) -> dict[str, dict[str, Published]]:
    """By policy, what is published for a workload at 100 % of arrivals and at the end."""
    columns = {"at_full": "gpu_alloc_pct_at_100_arrival", "final": "gpu_alloc_pct_final"}
    with (trace / "published.csv").open() as file:
        return {
            row["policy"]: {
                when: Published(float(row[f"{column}_mean"]), float(row[f"{column}_std"]))
                for when, column in columns.items()
            }
            for row in csv.DictReader(file)
            if row["workload"] == name
        }
