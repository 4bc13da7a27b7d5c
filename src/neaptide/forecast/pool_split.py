"""Whether short and long jobs are cheaper apart: their runs are replayed in one pool of nodes and in two, and what the nodes cost is compared.

A node that a single long job holds is paid for whole, however many short ones have ended beside it. In a replay a pod goes to the fullest node
that has room, a node is bought when none has, and is given back when its last pod ends.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neaptide.forecast.survival import Run, kaplan_meier

_SPLITS = 12
"""Splits that are tried, at most."""


class JobRun(NamedTuple):
    """One run of a workload's jobs.

    Attributes:
        workload: whose it is; runs of one workload go to one pool.
        began, seconds: when it began (seconds since the epoch), and how long it took, or has taken so far.
        ended: whether it has ended.
        pods: how many pods it has at once.
        share: float64[resources], what one of its pods takes of a node, 0 to 1.
    """

    workload: str
    began: float
    seconds: float
    ended: bool
    pods: int
    share: tuple[float, ...]


class Split(NamedTuple):
    """Two pools: workloads whose runs are expected to take longer than `seconds`, and the others. Money is in US dollars.

    Attributes:
        seconds: where they part.
        short, long: the names of the workloads.
        together, apart: what the nodes of one pool, and of two, would have cost over all runs.
    """

    seconds: float
    short: tuple[str, ...]
    long: tuple[str, ...]
    together: float
    apart: float

    @property
    def saving(self) -> float:
        """US dollars over all runs; negative where two pools are dearer."""
        return self.together - self.apart


def splits(runs: Sequence[JobRun], price_per_hour: float) -> list[Split]:
    """Every split that was tried, the one that saves most first. Empty where all workloads are expected to take equally long."""
    expected = expected_seconds(runs)
    found = []
    together = node_seconds(runs) / 3600 * price_per_hour
    for limit in _candidates(list(expected.values())):
        long = {name for name, seconds in expected.items() if seconds > limit}
        parts = [[run for run in runs if (run.workload in long) is is_long] for is_long in (False, True)]
        apart = sum(node_seconds(part) for part in parts) / 3600 * price_per_hour
        short = tuple(sorted(expected.keys() - long))
        found.append(Split(limit, short, tuple(sorted(long)), together, apart))
    return sorted(found, key=lambda each: (-each.saving, each.seconds))


def expected_seconds(runs: Iterable[JobRun]) -> dict[str, float]:
    """By workload, the median of how long its runs take; where runs that have not ended leave it open, the longest seen."""
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        by_name.setdefault(run.workload, []).append(Run(run.seconds, run.ended))
    medians = {name: kaplan_meier(each).quantile(0.5) for name, each in by_name.items()}
    return {
        name: max(run.seconds for run in by_name[name]) if median is None else median
        for name, median in medians.items()
    }


def node_seconds(runs: Sequence[JobRun]) -> float:
    """For how long nodes would have been paid for, all together."""
    if not runs:
        return 0.0
    free: NDArray[np.float64] = np.zeros((0, len(runs[0].share)))
    opened: list[float] = []
    pods: list[int] = []
    ends: list[tuple[float, int, int]] = []
    total, order = 0.0, sorted(range(len(runs)), key=lambda row: (runs[row].began, row))

    def end_until(time: float) -> float:
        paid = 0.0
        while ends and ends[0][0] <= time:
            at, node, row = heapq.heappop(ends)
            free[node] += runs[row].share
            pods[node] -= 1
            paid += at - opened[node] if pods[node] == 0 else 0.0
        return paid

    for row in order:
        run = runs[row]
        total += end_until(run.began)
        for _ in range(run.pods):
            room = np.flatnonzero((free >= np.asarray(run.share) - 1e-9).all(axis=1) & (np.array(pods, dtype=int) > 0))
            if len(room):
                node = int(room[np.argmin(free[room].min(axis=1))])
            else:
                node = len(opened)
                free = np.vstack([free, np.ones(len(run.share))])
                opened.append(run.began)
                pods.append(0)
            free[node] -= run.share
            pods[node] += 1
            heapq.heappush(ends, (run.began + run.seconds, node, row))
    return total + end_until(float("inf"))


def _candidates(seconds: Sequence[float]) -> list[float]:
    """Where workloads may be parted: between two that take differently long, at so many places that are spread evenly."""
    steps = sorted(set(seconds))[:-1]
    if len(steps) <= _SPLITS:
        return steps
    return [steps[round(each)] for each in np.linspace(0, len(steps) - 1, _SPLITS)]


def shares(asked: Mapping[str, int], has: Mapping[str, int], resources: Sequence[str]) -> tuple[float, ...] | None:
    """What of a node amounts take, by resource; None where a node has not so much of one."""
    if any(amount > has.get(name, 0) for name, amount in asked.items()):
        return None
    return tuple(asked.get(name, 0) / has[name] for name in resources)
