"""`neaptide advise pools`: whether short and long jobs should have node pools of their own, what that saves, and the objects for it."""

from collections import Counter
from collections.abc import Sequence
from math import isfinite, isnan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from neaptide.cli.dump import Dump, read_dump
from neaptide.cli.exits import OK, UsageError, unacceptable
from neaptide.cli.output import Output, emit
from neaptide.cli.pool_manifests import manifests
from neaptide.forecast.pool_split import JobRun, Split, shares, splits
from neaptide.model.objects import Workload
from neaptide.model.qos import Band, band_of
from neaptide.model.times import seconds
from neaptide.model.workloads import pods_wanted
from neaptide.policies.protected_pods import stem
from neaptide.pricing.cluster import price_nodes
from neaptide.pricing.load import shipped

_COLUMNS = ("split_seconds", "short_workloads", "long_workloads", "one_pool", "two_pools", "saving", "saving_percent")
_INSTANCE_TYPE = "node.kubernetes.io/instance-type"


class _Found(NamedTuple):
    runs: list[JobRun]
    bands: dict[str, Band]
    left_out: list[str]


def pools(
    dump: str,
    *,
    price: float | None = None,
    namespace: str = "",
    node_class: str = "karpenter.k8s.aws/EC2NodeClass/default",
    manifests_to: Path | None = None,
    output: Output = "table",
) -> int:
    """Propose pools for short and long jobs: where to part them, and what the nodes of one pool and of two would have cost over the jobs seen.

    The runs of the dump's jobs are replayed on nodes like its most frequent one. A workload (a CronJob, or Jobs whose names differ in their
    ending) goes to one pool as a whole, by the median of how long its runs take. Jobs that still run count as far as they have run.

    Args:
        dump: the cluster, as `kubectl get nodes,jobs,pods -A -o json` writes it; a file, a directory, or - for standard input.
        price: US dollars per hour of a node; by default that of the dump's most frequent node.
        namespace: only jobs of this namespace.
        node_class: of the NodePools that are written: group/kind/name.
        manifests_to: write NodePools and Policies (rule pools) for the first split to this file; - for standard output, in place of the table.
        output: table, json or yaml.
    """
    if price is not None and not price >= 0:
        raise unacceptable("--price", price, "US dollars per hour, from 0 on")
    if node_class.count("/") != 2:
        raise unacceptable("--node-class", node_class, "group/kind/name")
    read = read_dump("/dev/stdin" if dump == "-" else dump)
    node, has = _usual_node(read)
    costing = _price(read, node) if price is None else price
    if costing is None:
        raise UsageError(
            f"{dump}: the price of node {read.snapshot.nodes.names[node]} is not known; state it with --price"
        )
    found = _runs(read, namespace, has)
    tried = splits(found.runs, costing)
    if not tried:
        raise UsageError(
            f"{dump}: {len(found.runs)} runs of jobs, all expected to take equally long: there is nothing to part"
        )
    best = tried[0]
    if manifests_to is not None:
        if best.saving <= 0:
            raise UsageError(
                f"{dump}: two pools would have cost {-best.saving:.2f} USD more than one; no manifests are proposed"
            )
        text = yaml.safe_dump_all(manifests(best, found.bands, node_class), sort_keys=False, allow_unicode=True)
        if str(manifests_to) == "-":
            print(text, end="")
            return OK
        manifests_to.write_text(text, encoding="utf-8")
    emit([_row(each) for each in tried], output, title=_title(best, found, costing), columns=_COLUMNS)
    return OK


def _row(each: Split) -> dict[str, Any]:
    return {
        "split_seconds": each.seconds,
        "short_workloads": len(each.short),
        "long_workloads": len(each.long),
        "one_pool": round(each.together, 4),
        "two_pools": round(each.apart, 4),
        "saving": round(each.saving, 4),
        "saving_percent": round(100 * each.saving / each.together, 2) if each.together else 0.0,
        "short": each.short,
        "long": each.long,
    }


def _title(best: Split, found: _Found, price: float) -> str:
    said = f"Short and long jobs apart, from {len(found.runs)} runs on nodes of {price:.4f} USD/h; money in USD over all of them"
    if found.left_out:
        said += f"; {len(found.left_out)} jobs are left out, for no pod of theirs is in the dump, or fits such a node ({found.left_out[0]})"
    return said if best.saving > 0 else f"{said}. No split saves money: keep one pool"


def _runs(read: Dump, namespace: str, has: dict[str, int]) -> _Found:
    """The runs that are known, the band of each workload, and the jobs that fit no node or of whose workload no pod is there."""
    found = _Found([], {}, [])
    jobs = [each for each in read.snapshot.workloads.objects if each is not None and each.kind == "Job"]
    begun = [(job, seconds(job.status.start_time)) for job in jobs if namespace in ("", job.metadata.namespace)]
    asked, found_bands = _asked(read)
    for job, began in begun:
        name = _workload(job)
        if isnan(began):
            continue
        share = shares(asked[name], has, sorted(has)) if name in asked else None
        if share is None:
            found.left_out.append(f"{job.metadata.namespace}/{job.metadata.name}")
            continue
        found.bands[name] = found_bands[name]
        ended = seconds(job.status.completion_time)
        took = max((read.now if isnan(ended) else ended) - began, 0.0)
        found.runs.append(JobRun(name, began, took, not isnan(ended), max(pods_wanted(job), 1), share))
    return found


def _asked(read: Dump) -> tuple[dict[str, dict[str, int]], dict[str, Band]]:
    """By workload, what the largest of its pods asks for (those that have ended included), and its band."""
    snapshot = read.snapshot
    asked: dict[str, dict[str, int]] = {}
    bands: dict[str, Band] = {}
    for pod in snapshot.pods.indices().tolist():
        owner = int(snapshot.pods.owner[pod])
        job = snapshot.workloads.objects[owner] if owner >= 0 else None
        if job is None or job.kind != "Job":
            continue
        name = _workload(job)
        amounts = zip(snapshot.resources, snapshot.pod_requests(np.array([pod]))[:, 0].tolist(), strict=False)
        known = asked.setdefault(name, {})
        for resource, amount in amounts:
            if amount:
                known[resource] = max(known.get(resource, 0), int(amount))
        bands[name] = band_of(snapshot.pod_labels(pod), int(snapshot.pods.priority[pod]))
    return asked, bands


def _workload(job: Workload) -> str:
    owner = next((each.name for each in job.metadata.owner_references if each.kind == "CronJob"), "")
    return f"{job.metadata.namespace}/{owner or stem(job.metadata.name)}"


def _usual_node(read: Dump) -> tuple[int, dict[str, int]]:
    """The node (row) whose instance type is the most frequent, and what it has by resource. Raises UsageError."""
    snapshot = read.snapshot
    rows: Sequence[int] = snapshot.nodes.indices().tolist()
    if not rows:
        raise UsageError("there are no nodes in it: how large nodes are is not known")
    kinds = Counter(snapshot.node_labels(row).get(_INSTANCE_TYPE, "") for row in rows)
    usual = max(kinds, key=lambda each: (kinds[each], each))
    row = next(row for row in rows if snapshot.node_labels(row).get(_INSTANCE_TYPE, "") == usual)
    amounts = zip(snapshot.resources, snapshot.nodes.allocatable[:, row].tolist(), strict=False)
    return row, {name: amount for name, amount in amounts if amount > 0}


def _price(read: Dump, node: int) -> float | None:
    price_nodes(read.snapshot, shipped(), [node])
    found = float(read.snapshot.nodes.price[node])
    return found if isfinite(found) else None
