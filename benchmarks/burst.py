"""What a month would have cost: nodes for the peak, nodes with an autoscaler, virtual nodes, and the policy `burst` with the
cheaper of a fixed number of nodes and an autoscaler.

openb: the pods that came in the last 30 days of the trace. Neither tariff sells GPUs: pods with GPU are in every bill on nodes of a GPU type of their own
(their models do not count), bought by an autoscaler where anything is, and those that no type holds are left out and counted. genai: the
requests a second of a day of a generative-AI service (the most in each ten minutes), as pods of 4 vCPU and 16 GiB of which its peak takes 100, 30 days alike. Nodes
are of the one type of the package's catalogue that makes each set-up cheapest, at on-demand list prices.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from benchmarks.figure import Figure, Peer
from neaptide.pricing.load import shipped as catalogue
from neaptide.pricing.tariff_files import SHIPPED, shipped
from neaptide.simulator.month import (
    best_burst,
    for_the_peak,
    slices,
    virtual_only,
    with_an_autoscaler,
    with_an_autoscaler_and_burst,
)
from neaptide.simulator.month_parts import WHOLE, NodeType, Outcome, Work
from neaptide.simulator.traces.genai import read_metric
from neaptide.simulator.traces.openb import load_openb

_DAY = 86400.0
_DAYS = 30
_GIB = 2**30
_PEAK_PODS = 100
_HOLD = 600.0
_TYPES = tuple(f"m6i.{size}" for size in ("4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge"))
_GPU_TYPES = ("g5.12xlarge", "g5.48xlarge", "p2.8xlarge", "p3.16xlarge")


def burst() -> Iterator[Figure]:
    """Dollars of each set-up, and how long pods waited."""
    traces = os.environ.get("NEAPTIDE_TRACES")
    if not traces:
        return
    work = _openb(Path(traces) / "openb")
    yield from _compared("openb", work)
    yield from _compared("genai", _genai(Path(traces) / "genai"))


def _compared(name: str, work: Sequence[Work]) -> Iterator[Figure]:
    seconds = _DAYS * _DAY
    plain, devices = ([each for each in work if bool(each.gpus) is has] for has in (False, True))
    types = [each for each in _types(_TYPES) if all(each.holds(one) for one in plain)]
    yield Figure(f"burst.{name}.pods", len(work), "pods")
    gpu_peak, gpu_scaled = _NOTHING, _NOTHING
    if devices:
        held = [each for each in devices if any(kind.holds(each) for kind in _types(_GPU_TYPES))]
        yield Figure(f"burst.{name}.pods_with_gpu", len(devices), "pods")
        yield Figure(f"burst.{name}.pods_left_out", len(devices) - len(held), "pods that no type with GPUs holds")
        kinds = [each for each in _types(_GPU_TYPES) if all(each.holds(one) for one in held)]
        gpu_peak = min((for_the_peak(held, each, seconds) for each in kinds), key=lambda each: each.dollars)
        gpu_scaled = min((with_an_autoscaler(held, each) for each in kinds), key=lambda each: each.with_waiting())
    peak = min((for_the_peak(plain, each, seconds) for each in types), key=lambda each: each.dollars)
    yield from _said(f"burst.{name}.peak", peak, gpu_peak, None)
    scaled = min((with_an_autoscaler(plain, each) for each in types), key=lambda each: each.with_waiting())
    yield from _said(f"burst.{name}.autoscaler", scaled, gpu_scaled, _whole(peak, gpu_peak))
    for tariff in SHIPPED:
        prices = shipped(tariff)
        virtual = virtual_only(plain, prices)
        yield from _said(f"burst.{name}.virtual.{tariff}", virtual, gpu_scaled, _whole(peak, gpu_peak))
        fixed = [best_burst(plain, each, prices, seconds, most=min(peak.nodes, 12)) for each in types]
        elastic = [with_an_autoscaler_and_burst(plain, each, prices) for each in types]
        ours = min([*fixed, *elastic], key=lambda each: (each.unsold, each.with_waiting()))
        yield from _said(f"burst.{name}.ours.{tariff}", ours, gpu_scaled, _whole(scaled, gpu_scaled))


_NOTHING = Outcome(0.0, 0.0, 0, 0, ())


def _whole(plain: Outcome, gpu: Outcome) -> Outcome:
    """Both kinds of pods in one bill."""
    return Outcome(
        nodes_dollars=plain.nodes_dollars + gpu.nodes_dollars,
        virtual_dollars=plain.virtual_dollars,
        nodes=plain.nodes + gpu.nodes,
        burst=plain.burst,
        waits=tuple(chain(plain.waits, gpu.waits)),
        unsold=plain.unsold + gpu.unsold,
        homes=plain.homes,
        redone=plain.redone,
    )


def _said(name: str, plain: Outcome, gpu: Outcome, peer: Outcome | None) -> Iterator[Figure]:
    outcome = _whole(plain, gpu)
    against = None if peer is None else Peer("autoscaler" if ".ours." in name else "nodes for the peak", peer.dollars)
    yield Figure(f"{name}.dollars", outcome.dollars, "US dollars", against)
    if gpu.dollars:
        yield Figure(f"{name}.dollars_of_pods_without_gpu", plain.dollars, "US dollars")
    yield Figure(f"{name}.with_waiting", outcome.with_waiting(), "US dollars, an hour's wait of a pod at 1")
    yield Figure(f"{name}.nodes", outcome.nodes, "nodes at most")
    yield Figure(f"{name}.wait_p50", outcome.wait_percentile(0.5), "seconds")
    yield Figure(f"{name}.wait_p99", outcome.wait_percentile(0.99), "seconds")
    if outcome.burst:
        yield Figure(f"{name}.pods_on_virtual_nodes", outcome.burst, "pods")
    if outcome.homes:
        yield Figure(f"{name}.moves_home", outcome.homes, "pods that came home")
    if outcome.unsold:
        yield Figure(f"{name}.pods_that_never_ran", outcome.unsold, "pods")


def _types(names: Sequence[str]) -> list[NodeType]:
    return [
        NodeType(each.instance_type, each.cpu_milli, each.memory_mib * 2**20, each.price_per_hour, each.gpu)
        for each in catalogue().instances
        if each.instance_type in names and each.cpu_milli is not None and each.memory_mib is not None
    ]


def _openb(directory: Path) -> list[Work]:
    found = load_openb(directory)
    begin = float(np.nanmax(found.created)) - _DAYS * _DAY
    recent = (found.created >= begin) & (found.deleted > found.created)
    begun = np.where(np.isnan(found.scheduled), found.created, found.scheduled)
    pods = found.pods
    return [
        Work(
            float(found.created[row]) - begin,
            float(found.deleted[row] - begun[row]),
            int(pods.cpu[row]),
            int(pods.memory[row]),
            f"{pods.cpu[row]}/{pods.memory[row]}/{pods.num_gpu[row]}/{found.qos[row]}",  # the trace names no owner
            int(pods.num_gpu[row]),
            int(pods.gpu_milli[row]) or WHOLE,
            service=found.qos[row] in ("LS", "Guaranteed"),
        )
        for row in np.flatnonzero(recent).tolist()
        if found.deleted[row] > begun[row]
    ]


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
