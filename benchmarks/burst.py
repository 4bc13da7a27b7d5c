"""What a month would have cost: nodes for the peak, nodes with an autoscaler, virtual nodes, and the policy `burst` with the
cheaper of a fixed number of nodes and an autoscaler.

openb: the pods without GPU that came in the last 30 days of the trace (neither tariff sells GPUs; the others are left out and counted). genai: the
requests a second of a day of a generative-AI service (the most in each ten minutes), as pods of 4 vCPU and 16 GiB of which its peak takes 100, 30 days alike. Nodes
are of the one type of the package's catalogue that makes each set-up cheapest, at on-demand list prices.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.figure import Figure, Peer
from neaptide.pricing.load import shipped as catalogue
from neaptide.pricing.tariff_files import SHIPPED, shipped
from neaptide.simulator.month import (
    NodeType,
    Outcome,
    Work,
    best_burst,
    for_the_peak,
    slices,
    virtual_only,
    with_an_autoscaler,
    with_an_autoscaler_and_burst,
)
from neaptide.simulator.traces.genai import read_metric
from neaptide.simulator.traces.openb import load_openb

_DAY = 86400.0
_DAYS = 30
_GIB = 2**30
_PEAK_PODS = 100
_HOLD = 600.0
_TYPES = tuple(f"m6i.{size}" for size in ("4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge"))


def burst() -> Iterator[Figure]:
    """Dollars of each set-up, and how long pods waited."""
    traces = os.environ.get("NEAPTIDE_TRACES")
    if not traces:
        return
    work, left_out = _openb(Path(traces) / "openb")
    yield Figure("burst.openb.pods_left_out", left_out, "pods with GPU")
    yield from _compared("openb", work)
    yield from _compared("genai", _genai(Path(traces) / "genai"))


def _compared(name: str, work: Sequence[Work]) -> Iterator[Figure]:
    seconds = _DAYS * _DAY
    types = [each for each in _types() if all(one.cpu <= each.cpu and one.memory <= each.memory for one in work)]
    yield Figure(f"burst.{name}.pods", len(work), "pods")
    peak = min((for_the_peak(work, each, seconds) for each in types), key=lambda each: each.dollars)
    yield from _said(f"burst.{name}.peak", peak, None)
    scaled = min((with_an_autoscaler(work, each) for each in types), key=lambda each: each.with_waiting())
    yield from _said(f"burst.{name}.autoscaler", scaled, peak)
    for tariff in SHIPPED:
        prices = shipped(tariff)
        yield from _said(f"burst.{name}.virtual.{tariff}", virtual_only(work, prices), peak)
        fixed = [best_burst(work, each, prices, seconds, most=min(peak.nodes, 12)) for each in types]
        elastic = [with_an_autoscaler_and_burst(work, each, prices) for each in types]
        ours = min([*fixed, *elastic], key=lambda each: (each.unsold, each.with_waiting()))
        yield from _said(f"burst.{name}.ours.{tariff}", ours, scaled)


def _said(name: str, outcome: Outcome, peer: Outcome | None) -> Iterator[Figure]:
    against = None if peer is None else Peer("autoscaler" if ".ours." in name else "nodes for the peak", peer.dollars)
    yield Figure(f"{name}.dollars", outcome.dollars, "US dollars", against)
    yield Figure(f"{name}.with_waiting", outcome.with_waiting(), "US dollars, an hour's wait of a pod at 1")
    yield Figure(f"{name}.nodes", outcome.nodes, "nodes at most")
    yield Figure(f"{name}.wait_p50", outcome.wait_percentile(0.5), "seconds")
    yield Figure(f"{name}.wait_p99", outcome.wait_percentile(0.99), "seconds")
    if outcome.burst:
        yield Figure(f"{name}.pods_on_virtual_nodes", outcome.burst, "pods")
    if outcome.unsold:
        yield Figure(f"{name}.pods_that_never_ran", outcome.unsold, "pods")


def _types() -> list[NodeType]:
    return [
        NodeType(each.instance_type, each.cpu_milli, each.memory_mib * 2**20, each.price_per_hour)
        for each in catalogue().instances
        if each.instance_type in _TYPES and each.cpu_milli is not None and each.memory_mib is not None
    ]


def _openb(directory: Path) -> tuple[list[Work], int]:
    found = load_openb(directory)
    begin = float(np.nanmax(found.created)) - _DAYS * _DAY
    recent = (found.created >= begin) & (found.deleted > found.created)
    plain = recent & (found.pods.num_gpu == 0)
    begun = np.where(np.isnan(found.scheduled), found.created, found.scheduled)
    work = [
        Work(
            float(found.created[row]) - begin,
            float(found.deleted[row] - begun[row]),
            int(found.pods.cpu[row]),
            int(found.pods.memory[row]),
            f"{found.pods.cpu[row]}/{found.pods.memory[row]}/{found.qos[row]}",  # the trace names no owner
        )
        for row in np.flatnonzero(plain).tolist()
        if found.deleted[row] > begun[row]
    ]
    return work, int(np.count_nonzero(recent & ~plain))


def _genai(directory: Path) -> list[Work]:
    kinds, _ = read_metric(next(directory.glob("qps*")))
    series = [each for containers in kinds.values() for each in containers.values()]
    grid = np.arange(0.0, _DAY, 60.0)
    first = min(float(each.times[0]) for each in series)
    demand = sum(np.interp(grid, each.times - first, each.values, left=0.0, right=0.0) for each in series)
    held = np.asarray(demand).reshape(-1, int(_HOLD // 60)).max(axis=1)  # a service keeps its pods for a while
    month = np.tile(np.ceil(held * _PEAK_PODS / held.max()), _DAYS)
    times = np.arange(len(month) + 1) * _HOLD
    return slices(times.tolist(), month.tolist(), cpu=4000, memory=16 * _GIB, owner="service")


GROUPS: dict[str, Callable[[], Iterator[Figure]]] = {"burst": burst}
