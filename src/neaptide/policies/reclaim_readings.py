"""What a snapshot gives the reclaim formulas: capacity, what is reserved, and what pods of each band request and use."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from neaptide.model.columns import PENDING, RUNNING
from neaptide.model.derived import NODES, PODS
from neaptide.model.node_reservation import ANNOTATION, node_reservation
from neaptide.model.problems import FieldError, LeftOut
from neaptide.model.qos import Band, QoS
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.vocabulary import CPU, MEMORY
from neaptide.policies.reclaim_formulas import (
    BoolArray,
    Demand,
    FloatArray,
    IntArray,
    NodeAmounts,
    PodAmounts,
    demand,
    reserved,
    system_usage,
)


class Resource(NamedTuple):
    """One of the two that are reclaimed: its row in the matrices, and what it is called once reclaimed."""

    row: int
    batch: str
    mid: str


RESOURCES = (
    Resource(CPU, "kubernetes.io/batch-cpu", "kubernetes.io/mid-cpu"),
    Resource(MEMORY, "kubernetes.io/batch-memory", "kubernetes.io/mid-memory"),
)
_reservation = lru_cache(maxsize=1 << 12)(node_reservation)


class Pods(NamedTuple):
    """The unfinished pods on nodes, one row a pod.

    Attributes:
        row: of the snapshot's pods.
        node: row of the node.
        shape: row of the shape.
        high: Running or Pending, and neither of band batch nor free.
        prod: of those, the ones of band prod.
        steady: of those, the ones that run and are not terminating.
        lse: of QoS class LSE.
    """

    row: IntArray
    node: IntArray
    shape: IntArray
    high: BoolArray
    prod: BoolArray
    steady: BoolArray
    lse: BoolArray


class Readings(NamedTuple):
    """One resource, for all rows of the snapshot's nodes; pods as in `Pods`.

    Attributes:
        nodes: capacity, reserved, system usage.
        allocatable: of the nodes.
        used: by the nodes, nan where unknown.
        taken: by high-priority pods.
        prod_requested: by prod pods, Running or Pending.
        request, pod_used: of the pods; nan without a metric.
    """

    nodes: NodeAmounts
    allocatable: IntArray
    used: FloatArray
    taken: Demand
    prod_requested: IntArray
    request: IntArray
    pod_used: FloatArray


def pods_on_nodes(snapshot: ClusterSnapshot) -> Pods:
    """The pods that take something from a node; to be read only."""
    return snapshot.derived.of("reclaim pods", (NODES, PODS), lambda: _pods_on_nodes(snapshot))


def _pods_on_nodes(snapshot: ClusterSnapshot) -> Pods:
    table, classes = snapshot.pods, snapshot.classes
    row = np.flatnonzero(table.node[: table.rows] >= 0)
    cls, phase, band = table.cls[row], table.phase[row], table.band[row]
    high = ((phase == RUNNING) | (phase == PENDING)) & (band >= Band.MID)
    prod = high & (band == Band.PROD)
    steady = prod & (phase == RUNNING) & np.isnan(table.deleted[row])
    node = table.node[row].astype(np.int64)
    return Pods(row, node, classes.shape[cls].astype(np.int64), high, prod, steady, classes.qos[cls] == QoS.LSE)


def read(snapshot: ClusterSnapshot, pods: Pods, resource: Resource, annotated: IntArray) -> Readings:
    """What the formulas take. `annotated` is what annotations of nodes reserve, by row."""
    table, rows = snapshot.nodes, snapshot.nodes.rows
    usage = (table.usage_cpu, snapshot.pods.usage_cpu), (table.usage_memory, snapshot.pods.usage_memory)
    node_usage, pod_usage = usage[resource.row == MEMORY]
    used, pod_used = node_usage[:rows], pod_usage[pods.row]
    capacity, allocatable = table.capacity[resource.row, :rows], table.allocatable[resource.row, :rows]
    amounts = snapshot.shapes.request[resource.row]
    mid = snapshot.resource_row(resource.mid)
    # A mid pod asks for mid resources in place of its own; without a metric these stand for its use.
    request = (amounts if mid is None else amounts + snapshot.shapes.request[mid])[pods.shape]
    high, at_request = pods.high, pods.lse & (resource.row == CPU)
    taken = demand(PodAmounts(pods.node[high], request[high], pod_used[high], at_request[high]), rows)
    prod_requested = np.bincount(pods.node[pods.prod], weights=request[pods.prod], minlength=rows).astype(np.int64)
    nodes = NodeAmounts(capacity, reserved(capacity, allocatable, annotated), system_usage(used, pods.node, pod_used))
    return Readings(nodes, allocatable, used, taken, prod_requested, request, pod_used)


def reservations(snapshot: ClusterSnapshot) -> tuple[IntArray, list[LeftOut]]:
    """What annotations `node.koordinator.sh/reservation` keep from pods: int64[2, node rows], CPU and memory.

    An annotation that cannot be read reserves nothing and is reported, `object` naming the node.
    """
    amounts = np.zeros((2, snapshot.nodes.rows), dtype=np.int64)
    left_out: list[LeftOut] = []
    nodes = snapshot.nodes.indices()
    numbers = snapshot.nodes.annotations[nodes]
    for number in np.unique(numbers).tolist():
        text = snapshot.annotation_sets.values[number].get(ANNOTATION)
        if text is None:
            continue
        alike = nodes[numbers == number]
        try:
            amounts[:, alike] = np.array(_reservation(text)[:2])[:, None]
        except FieldError as error:
            left_out += [error.left_out("", snapshot.nodes.names[node]) for node in alike.tolist()]
    return amounts, left_out
