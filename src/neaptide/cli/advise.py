"""`neaptide advise grace`: how long nodes should wait for protected work, from how long the jobs of a cluster really take."""

from math import isnan
from typing import Any

import numpy as np

from neaptide.cli.dump import read_dump
from neaptide.cli.exits import OK, UsageError, unacceptable
from neaptide.cli.output import Output, emit
from neaptide.forecast.grace import choices
from neaptide.forecast.survival import Run
from neaptide.model.objects import Workload
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import seconds
from neaptide.pricing.cluster import price_nodes
from neaptide.pricing.load import shipped

_COLUMNS = ("share", "seconds", "killed", "wait_seconds", "lost_seconds", "money")


def grace(dump: str, *, price: float | None = None, namespace: str = "", output: Output = "table") -> int:
    """Propose a termination grace: for each quantile of how long jobs take, what it kills and what waiting costs.

    Jobs that still run count for at least as long as they have run. The cheapest choice is the one to take where a job may be killed at all.

    Args:
        dump: the cluster, as `kubectl get nodes,jobs -A -o json` writes it; a file, a directory, or - for standard input.
        price: US dollars per hour of a node that waits; by default the mean of the dump's nodes.
        namespace: only jobs of this namespace.
        output: table, json or yaml.
    """
    if price is not None and price < 0:
        raise unacceptable("--price", price, "US dollars per hour, from 0 on")
    found = read_dump("/dev/stdin" if dump == "-" else dump)
    runs = runs_of(found.snapshot, found.now, namespace)
    if not any(run.ended for run in runs):
        raise UsageError(
            f"{dump}: none of {len(runs)} jobs with a start time has ended; how long they take is not known"
        )
    costing = _mean_price(found.snapshot) if price is None else price
    rows: list[dict[str, Any]] = [each._asdict() for each in choices(runs, costing)]
    emit(
        rows,
        output,
        title=f"Graces, from {len(runs)} jobs of which {sum(not each.ended for each in runs)} still run",
        columns=_COLUMNS,
    )
    return OK


def runs_of(snapshot: ClusterSnapshot, now: float, namespace: str = "") -> list[Run]:
    """How long the jobs of a cluster took, or have taken so far."""
    jobs = [
        each
        for each in snapshot.workloads.objects
        if each is not None and each.kind == "Job" and _is_in(each, namespace)
    ]
    found = []
    for job in jobs:
        began, ended = seconds(job.status.start_time), seconds(job.status.completion_time)
        if not isnan(began):
            is_over = not isnan(ended)
            found.append(Run(max((ended if is_over else now) - began, 0.0), is_over))
    return found


def _is_in(job: Workload, namespace: str) -> bool:
    return namespace in ("", job.metadata.namespace)


def _mean_price(snapshot: ClusterSnapshot) -> float | None:
    rows = snapshot.nodes.indices()
    price_nodes(snapshot, shipped(), rows.tolist())
    prices = snapshot.nodes.price[rows]
    known = prices[np.isfinite(prices)]
    return float(known.mean()) if len(known) else None
