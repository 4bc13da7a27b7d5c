"""The tables of a snapshot: which columns nodes, pods, classes, shapes and workloads have.

Times are seconds since the epoch, CPU is in milli, memory in bytes; `nan` is unknown, -1 no row.
"""

import numpy as np
from numpy.typing import NDArray

from neaptide.model.tables import Columns
from neaptide.model.undo import Undo

NO_NODE = -1
ORPHAN = -2
PHASES = ("Pending", "Running", "Succeeded", "Failed", "Unknown")
PENDING, RUNNING, SUCCEEDED, FAILED, UNKNOWN = range(5)

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Bytes = NDArray[np.int8]


class NodeColumns(Columns):
    """One row per node. `allocatable`, `capacity` and `used` (the requests of its pods) are [resources, rows]."""

    ready: Bools
    unschedulable: Bools
    labels: Ints
    annotations: Ints
    taints: Ints
    created: Floats
    first_pod: Ints
    """Head of the list of this node's pods; `pods.next_on_node` goes on from there."""
    price: Floats
    """US dollars per hour."""
    usage_cpu: Floats
    usage_memory: Floats
    usage_time: Floats
    """When the usage was measured."""
    allocatable: Longs
    capacity: Longs
    used: Longs
    scoring: Longs
    """[2, rows]: CPU and memory of its pods as scores count them (100m and 200Mi where a container names none)."""

    def __init__(self, undo: Undo, width: int) -> None:
        nan = (np.float64, np.nan)
        row = (np.int32, -1)
        super().__init__(
            undo,
            {
                "ready": (np.bool_, False),
                "unschedulable": (np.bool_, False),
                "labels": row,
                "annotations": row,
                "taints": row,
                "created": nan,
                "first_pod": row,
                "price": nan,
                "usage_cpu": nan,
                "usage_memory": nan,
                "usage_time": nan,
            },
            {"allocatable": width, "capacity": width, "used": width, "scoring": 2},
        )
        self.names: list[str] = []
        self.uids: list[str] = []
        self.resource_versions: list[str] = []
        self.by_name: dict[str, int] = {}
        self.images: dict[int, dict[str, int]] = {}
        """By row: image name to bytes."""


class PodColumns(Columns):
    """One row per pod, finished ones included; only unfinished pods on a known node count in that node's `used`."""

    node: Ints
    """Row of the node; NO_NODE for a pod without one, ORPHAN for a pod whose node is unknown."""
    cls: Ints
    owner: Ints
    """Row of the workload that controls it, -1 for a bare pod; `workloads.root(owner)` is the top of the chain."""
    priority: Ints
    band: Bytes
    phase: Bytes
    annotations: Ints
    created: Floats
    started: Floats
    deleted: Floats
    """When its deletion was asked for; nan while it wasn't."""
    ready: Bools
    gated: Bools
    grace: Floats
    """Its termination grace period in seconds."""
    usage_cpu: Floats
    usage_memory: Floats
    next_on_node: Ints
    previous_on_node: Ints

    def __init__(self, undo: Undo) -> None:
        nan = (np.float64, np.nan)
        row = (np.int32, -1)
        super().__init__(
            undo,
            {
                "node": row,
                "cls": row,
                "owner": row,
                "priority": (np.int32, 0),
                "band": (np.int8, 0),
                "phase": (np.int8, 0),
                "annotations": row,
                "created": nan,
                "started": nan,
                "deleted": nan,
                "ready": (np.bool_, False),
                "gated": (np.bool_, False),
                "grace": (np.float64, 30.0),
                "usage_cpu": nan,
                "usage_memory": nan,
                "next_on_node": row,
                "previous_on_node": row,
            },
            {},
        )
        self.keys: list[str] = []
        """`namespace/name` by row."""
        self.uids: list[str] = []
        self.resource_versions: list[str] = []
        self.schedulers: list[str] = []
        self.texts = (self.keys, self.uids, self.resource_versions, self.schedulers)
        self.by_key: dict[str, int] = {}
        self.orphans: dict[str, dict[int, None]] = {}
        """By the name of a node that is not known: the rows of the pods bound to it."""
        self.waits: dict[int, str] = {}
        """By row of such a pod, the name of its node."""
        self.nominated: dict[int, str] = {}


class ShapeColumns(Columns):
    """One row per shape: `request` [resources, rows] and `scoring` [2, rows]."""

    request: Longs
    scoring: Longs

    def __init__(self, undo: Undo, width: int) -> None:
        super().__init__(undo, {}, {"request": width, "scoring": 2})


class ClassColumns(Columns):
    """One row per class of pods: those with the same shape, namespace and labels."""

    shape: Ints
    namespace: Ints
    labels: Ints
    qos: Bytes

    def __init__(self, undo: Undo) -> None:
        row = (np.int32, -1)
        super().__init__(undo, {"shape": row, "namespace": row, "labels": row, "qos": (np.int8, 0)}, {})


class WorkloadColumns(Columns):
    """One row per workload that exists or that some object names as its owner."""

    parent: Ints
    """Row of the workload that controls this one, -1 at the top of a chain."""
    known: Bools
    """Whether the object itself was seen, and not only a reference to it."""

    def __init__(self, undo: Undo) -> None:
        super().__init__(undo, {"parent": (np.int32, -1), "known": (np.bool_, False)}, {})
