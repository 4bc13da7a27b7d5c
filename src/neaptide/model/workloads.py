"""Workloads and the chains of owners: Pod to ReplicaSet to Deployment, Pod to Job to CronJob."""

import numpy as np

from neaptide.model.actions import Ref
from neaptide.model.columns import Bools, Ints, WorkloadColumns
from neaptide.model.objects import Metadata, OwnerReference, Workload
from neaptide.model.problems import FieldError
from neaptide.model.undo import Undo

HASH_LABEL = "pod-template-hash"
SUSPENDED_REPLICAS = "neaptide.io/suspended-replicas"
"""Annotation of a suspended workload whose kind has no `spec.suspend`: the replicas that it will have again."""
SUSPEND_RUNNING = "neaptide.io/suspend-running"
"""Annotation of a Job that may be suspended while it runs: `true`."""
QUEUE = "kueue.x-k8s.io/queue-name"
"""Label of a Job that Kueue manages."""
_OWN_CONTROLLER = ("", None, "kubernetes.io/job-controller")
"""What `spec.managedBy` says of a Job that its cluster's own controller manages."""


class Workloads:
    """The workloads of a snapshot. A row is named by (kind, namespace, name), whether its object was seen or only named.

    Attributes:
        columns: `parent` and `known` by row.
        refs: the name of every row.
        objects: the object of every row, None where only a reference to it was seen.
    """

    def __init__(self, undo: Undo) -> None:
        self.columns = WorkloadColumns(undo)
        self.refs: list[Ref] = []
        self.objects: list[Workload | None] = []
        self._rows: dict[tuple[str, str, str], int] = {}
        self._undo = undo

    def set(self, workload: Workload) -> int:
        """Add or replace a workload; its row. Raises FieldError where its owners form a cycle."""
        meta = workload.metadata
        parent = self.owner_of(meta)
        row = self._row(workload.kind, meta.namespace or "default", meta.name)
        if self._is_above(row, parent):
            raise FieldError("metadata.ownerReferences", meta.name, "owners that do not lead back to the object itself")
        self._undo.put(self.columns.parent, row, parent)
        self._undo.put(self.columns.known, row, True)
        self._undo.put(self.objects, row, workload)
        return row

    def remove(self, kind: str, namespace: str, name: str) -> None:
        """Forget a workload's object; its row stays, for pods may still name it."""
        row = self._rows.get((kind, namespace, name))
        if row is not None:
            self._undo.put(self.columns.known, row, False)
            self._undo.put(self.objects, row, None)

    def owner_of(self, meta: Metadata) -> int:
        """The row of the workload that controls an object, -1 for none; made on first mention."""
        owner = _controller(meta.owner_references)
        if owner is None or owner.kind == "Node":
            return -1
        namespace = meta.namespace or "default"
        row = self._rows.get((owner.kind, namespace, owner.name))
        if row is None:
            row = self._row(owner.kind, namespace, owner.name)
            suffix = "-" + meta.labels.get(HASH_LABEL, "")
            if owner.kind == "ReplicaSet" and len(suffix) > 1 and owner.name.endswith(suffix):
                # A Deployment names its ReplicaSets so; the ReplicaSet's own object, once seen, has the last word.
                deployment = self._row("Deployment", namespace, owner.name.removesuffix(suffix))
                self._undo.put(self.columns.parent, row, deployment)
        return row

    def find(self, kind: str, namespace: str, name: str) -> int | None:
        """The row of a workload that was seen or named."""
        return self._rows.get((kind, namespace, name))

    def root(self, row: int) -> int:
        """The top of a workload's chain; -1 for -1."""
        while row >= 0 and self.columns.parent[row] >= 0:
            row = int(self.columns.parent[row])
        return row

    def roots(self) -> Ints:
        """int32[rows]: the top of every workload's chain."""
        parent = self.columns.parent[: self.columns.rows]
        top = np.arange(self.columns.rows, dtype=np.int32)
        while True:
            above = parent[top]
            climbing = above >= 0
            if not climbing.any():
                return top
            top = np.where(climbing, above, top).astype(np.int32)

    def below(self, row: int) -> Bools:
        """bool[rows]: whether a workload is `row` or leads up to it."""
        parent = self.columns.parent[: self.columns.rows]
        found: Bools = np.arange(self.columns.rows) == row
        while True:
            more: Bools = found | (found[parent] & (parent >= 0))
            if (more == found).all():
                return found
            found = more

    def take(self, other: "Workloads", owners: Ints) -> Ints:
        """Take over the workloads that are there, that own something (their rows), or that are above one of these.

        Returns:
            int32[rows + 1]: by row there the one here, -1 where there is none; the last entry, -1, stands for -1.
        """
        parent = other.columns.parent[: other.columns.rows]
        kept = other.columns.known[: other.columns.rows].copy()
        kept[owners[owners >= 0]] = True
        while True:
            above = parent[kept]
            above = above[above >= 0]
            if kept[above].all():
                break
            kept[above] = True
        rows = np.flatnonzero(kept)
        here = np.full(len(kept) + 1, -1, dtype=np.int32)
        here[rows] = np.arange(len(rows))
        self.columns.take(other.columns, rows)
        self.columns.parent[: len(rows)] = here[parent[rows]]
        self.refs, self.objects = [other.refs[row] for row in rows], [other.objects[row] for row in rows]
        self._rows = {(ref.kind, ref.namespace, ref.name): row for row, ref in enumerate(self.refs)}
        return here

    def _row(self, kind: str, namespace: str, name: str) -> int:
        key = (kind, namespace, name)
        row = self._rows.get(key)
        if row is None:
            row = self.columns.allocate()
            self._undo.put(self._rows, key, row)
            self._undo.append(self.refs, Ref(kind, name, namespace))
            self._undo.append(self.objects, None)
        return row

    def _is_above(self, row: int, below: int) -> bool:
        while below >= 0:
            if below == row:
                return True
            below = int(self.columns.parent[below])
        return False


def is_suspended(workload: Workload) -> bool:
    """Whether a workload is held back: its `spec.suspend`, or the annotation that stands for it."""
    return workload.spec.suspend or SUSPENDED_REPLICAS in workload.metadata.annotations


def pods_wanted(workload: Workload) -> int:
    """How many pods a workload wants at once: a Job's parallelism, the replicas of others; 1 where it does not say."""
    wanted = workload.spec.parallelism if workload.kind == "Job" else workload.spec.replicas
    return 1 if wanted is None else wanted


def is_anothers(workload: Workload) -> bool:
    """Whether Kueue, or a controller in another cluster, decides when a Job runs: it is left alone."""
    return workload.kind == "Job" and (
        QUEUE in workload.metadata.labels or workload.spec.managed_by not in _OWN_CONTROLLER
    )


def lets_suspend(workload: Workload) -> bool:
    """Whether a workload that runs may be suspended. A Job has to say so, for its pods would be killed."""
    return workload.kind != "Job" or workload.metadata.annotations.get(SUSPEND_RUNNING) == "true"


def is_finished(workload: Workload) -> bool:
    """Whether a Job has succeeded or failed for good."""
    return workload.kind == "Job" and any(
        each.status == "True" and each.type in ("Complete", "Failed") for each in workload.status.conditions
    )


def _controller(owners: tuple[OwnerReference, ...]) -> OwnerReference | None:
    """The owner that controls an object: the one marked so, else the only one."""
    for owner in owners:
        if owner.controller:
            return owner
    return owners[0] if len(owners) == 1 and owners[0].controller is None else None
