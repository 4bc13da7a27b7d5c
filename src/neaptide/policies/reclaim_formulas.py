"""Batch and mid resources by Koordinator's formulas: one resource a call, all nodes at once.

Amounts are milli-CPU or bytes, whole numbers in int64; usage is float64 and nan where unknown. Unknown never makes
anything reclaimable. Sources: koordinator pkg/slo-controller/noderesource/plugins/{batchresource,midresource,util}.
Left out: NUMA zones, cpu-normalization amplification and third-party allocations.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# What a high-priority pod takes away from batch: its usage, its request, or the larger of both.
CALCULATE_POLICIES = ("usage", "request", "maxUsageRequest")


class PodAmounts(NamedTuple):
    """High-priority pods (neither batch nor free), Running or Pending, one row a pod.

    A pod that has a metric but no object, or has finished, goes in with a request of 0.

    Attributes:
        node: row of the node.
        request: what it asks for.
        used: what it uses, nan without a metric; then the request stands for it.
        at_request: never counted below its request (CPU of LSE pods).
    """

    node: IntArray
    request: IntArray
    used: FloatArray
    at_request: BoolArray


class Demand(NamedTuple):
    """What high-priority pods take, per node, by each calculate policy."""

    usage: FloatArray
    request: FloatArray
    larger: FloatArray

    def by(self, policy: str) -> FloatArray:
        return {"usage": self.usage, "request": self.request, "maxUsageRequest": self.larger}[policy]


class NodeAmounts(NamedTuple):
    """Nodes, one row each.

    Attributes:
        capacity: `status.capacity`.
        reserved: see `reserved`.
        system: what everything but pods uses (host applications of prod and mid included), nan where unknown.
    """

    capacity: IntArray
    reserved: IntArray
    system: FloatArray


class Batch(NamedTuple):
    """Batch resources and the terms they come from: amount = max(capacity - margin - system - taken, 0), capped."""

    amount: IntArray
    margin: IntArray
    system: FloatArray
    taken: FloatArray


def reserved(capacity: IntArray, allocatable: IntArray, annotated: IntArray) -> IntArray:
    """What is kept from pods: capacity - allocatable or annotation `node.koordinator.sh/reservation`, the larger."""
    kept: IntArray = np.maximum(capacity - allocatable, annotated)
    return kept


def system_usage(node_used: FloatArray, pod_node: IntArray, pod_used: FloatArray) -> FloatArray:
    """What a node uses apart from its pods: never below 0, nan where the node's usage is unknown."""
    pods = np.bincount(pod_node, weights=np.nan_to_num(pod_used, nan=0.0), minlength=len(node_used))
    return np.maximum(node_used - pods, 0.0)


def demand(pods: PodAmounts, nodes: int) -> Demand:
    """What high-priority pods take on each of `nodes` nodes."""
    used = np.where(np.isnan(pods.used), pods.request, pods.used)
    larger = np.maximum(used, pods.request)

    def by_node(amount: FloatArray | IntArray) -> FloatArray:
        return np.bincount(pods.node, weights=amount, minlength=nodes).astype(np.float64)

    usage = np.where(pods.at_request, pods.request, used)
    return Demand(by_node(usage), by_node(pods.request), by_node(larger))


def batch(
    nodes: NodeAmounts,
    pods: Demand,
    *,
    policy: str,
    reclaim_threshold_percent: int,
    limit_percent: int | None,
) -> Batch:
    """Batch resources of each node.

    `usage` and `maxUsageRequest` leave out what the system uses or what is reserved, the larger; `request` leaves out what
    is reserved. A threshold above 100 % makes the margin negative. `limit_percent` of capacity bounds the result.
    """
    margin = np.fix(nodes.capacity * (100 - reclaim_threshold_percent) / 100).astype(np.int64)
    system = nodes.reserved.astype(np.float64) if policy == "request" else np.maximum(nodes.system, nodes.reserved)
    taken = pods.by(policy)
    amount = _whole(nodes.capacity - margin - system - taken)
    if limit_percent is not None:
        amount = np.minimum(amount, nodes.capacity * limit_percent // 100)
    return Batch(amount, margin, system, taken)


def unallocated(nodes: NodeAmounts, prod_request: IntArray) -> IntArray:
    """What is neither used by the system, nor reserved, nor requested by prod pods."""
    kept: FloatArray = np.maximum(nodes.system, nodes.reserved)
    return _whole(nodes.capacity - kept - prod_request)


def mid_dynamic(
    capacity: IntArray,
    node_used: FloatArray,
    prod_reclaimable: IntArray,
    free: IntArray,
    *,
    unallocated_percent: int,
    threshold_percent: int,
) -> IntArray:
    """Mid resources: what prod will not use as far as it is unused now, and a part of what is unallocated (`free`)."""
    lent = np.minimum(prod_reclaimable, _whole(capacity - node_used))
    return np.minimum(lent + free * unallocated_percent // 100, capacity * threshold_percent // 100)


def mid_static(capacity: IntArray, *, reserved_percent: int, threshold_percent: int) -> IntArray:
    """Mid resources as a fixed part of capacity."""
    return capacity * min(reserved_percent, threshold_percent) // 100


def degraded(metric_time: FloatArray, now: float, *, degrade_time_minutes: int) -> BoolArray:
    """Nodes whose metric is missing (nan), too old or as far ahead: their reclaimed resources are taken away, not frozen."""
    return ~(abs(now - metric_time) <= degrade_time_minutes * 60)


def needs_sync(
    old: FloatArray,
    new: FloatArray,
    synced: FloatArray,
    now: float,
    *,
    resource_diff_threshold: float,
    update_time_threshold_seconds: float,
) -> BoolArray:
    """Nodes where a resource is to be written.

    It appeared or went (nan is absent), it changed by more than the threshold, or the last write (`synced`, nan for
    never) is too long ago.
    """
    absent, going = np.isnan(old), np.isnan(new)
    changed = np.abs(new - old) > old * resource_diff_threshold
    stale = ~(now - synced <= update_time_threshold_seconds)
    written: BoolArray = (absent != going) | changed | (stale & ~(absent & going))
    return written


def explain_batch(nodes: NodeAmounts, found: Batch, row: int, *, policy: str, limit_percent: int | None) -> str:
    """One node's amount as a sum that a person can check."""
    bound = "" if limit_percent is None else f", at most {limit_percent} % of capacity"
    system = "reserved" if policy == "request" else "system or reserved"
    return (
        f"{found.amount[row]} = capacity {nodes.capacity[row]} - margin {found.margin[row]}"
        f" - {system} {found.system[row]:.0f} - high-priority pods {found.taken[row]:.0f} (by {policy}), not below 0{bound}"
    )


def explain_degraded(metric_time: float, now: float, *, degrade_time_minutes: int) -> str:
    """Why a node's reclaimed resources are taken away."""
    if np.isnan(metric_time):
        return "removed: the node has no metric"
    return f"removed: the node's metric is {now - metric_time:.0f} s old, more than {degrade_time_minutes} min"


def _whole(amount: FloatArray) -> IntArray:
    """Rounded down, not below 0; 0 where unknown."""
    return np.floor(np.maximum(np.nan_to_num(amount, nan=0.0), 0.0)).astype(np.int64)
