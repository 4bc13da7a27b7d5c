"""What a snapshot interns: resources, label sets, annotations, taints, namespaces, shapes and classes of pods."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from neaptide.model import objects
from neaptide.model.columns import ClassColumns, Ints, Longs, ShapeColumns
from neaptide.model.qos import qos_of
from neaptide.model.shapes import Shape, class_parts, encoded, honoured, requirements_of, shape_of
from neaptide.model.tables import Columns, Interner
from neaptide.model.undo import Undo

FIRST_RESOURCES = ("cpu", "memory", "ephemeral-storage", "pods")
CPU, MEMORY, STORAGE, PODS = range(4)
NO_ANNOTATIONS = 0


class Renumbered(NamedTuple):
    """By old number the new one, -1 where it is not in use; the last entry of each, -1, stands for -1."""

    classes: Ints
    labels: Ints
    annotations: Ints
    taints: Ints


class Vocabulary:
    """Values that many nodes and pods share, numbered once; see ClusterSnapshot for what the numbers index."""

    def __init__(self, undo: Undo) -> None:
        self._undo = undo
        self.resources: list[str] = list(FIRST_RESOURCES)
        self.resource_rows = {name: row for row, name in enumerate(self.resources)}
        self.label_sets: Interner[dict[str, str]] = Interner(undo)
        self.annotation_sets: Interner[dict[str, str]] = Interner(undo)
        self.annotation_sets.add((), {})
        self.taint_sets: Interner[tuple[objects.Taint, ...]] = Interner(undo)
        self.namespaces: Interner[str] = Interner(undo)
        self.shapes = ShapeColumns(undo, len(FIRST_RESOURCES))
        self.shape_facts: Interner[Shape] = Interner(undo)
        self.classes = ClassColumns(undo)
        self._class_rows: dict[bytes | tuple[int, int, int], int] = {}
        self._latest: dict[str, tuple[tuple[Any, ...], int]] = {}
        """By owner, the last pod's parts and its class: most pods are like it, and comparing is cheaper than encoding."""
        self.matrices: list[tuple[Columns, str]] = [(self.shapes, "request")]
        """Every matrix with a row per resource, to be widened together."""

    def class_of(self, pod: objects.Pod) -> int:
        """The row of a pod's class. Raises FieldError where its shape cannot be counted."""
        parts = class_parts(pod)
        owners = pod.metadata.owner_references
        owner = owners[0].name if owners else ""
        latest = self._latest.get(owner)
        if latest is not None and latest[0] == parts:
            return latest[1]
        key = encoded(parts)
        row = self._class_rows.get(key)
        if row is None:
            row = self._new_class(pod, key)
        self._undo.put(self._latest, owner, (parts, row))
        return row

    def _new_class(self, pod: objects.Pod, key: bytes) -> int:
        identity, requirements = requirements_of(pod)
        shape = self.shape_facts.get(identity)
        if shape is None:
            facts = shape_of(pod, requirements)
            vector = self.vector(facts.requests)
            shape = self.shapes.allocate()
            self._undo.put(self.shapes.request, (slice(None), shape), vector)
            self._undo.put(self.shapes.scoring, (slice(None), shape), facts.scoring)
            self.shape_facts.add(identity, facts)
        namespace = pod.metadata.namespace or "default"
        space = self.namespaces.get(namespace)
        if space is None:
            space = self.namespaces.add(namespace, namespace)
        labels = self.labels(pod.metadata.labels)
        row = self._class_rows.get((shape, space, labels))
        if row is None:
            row = self.classes.allocate()
            qos = qos_of(pod.metadata.labels, self.shape_facts.values[shape].kubernetes_qos)
            self.classes.fill(row, ("shape", "namespace", "labels", "qos"), (shape, space, labels, qos))
            self._undo.put(self._class_rows, (shape, space, labels), row)
        self._undo.put(self._class_rows, key, row)
        return row

    def take(self, other: "Vocabulary", classes: Ints, labels: Ints, annotations: Ints, taints: Ints) -> "Renumbered":
        """Take over from another vocabulary what is in use there, by its numbers: these and what classes refer to."""
        self.vector(dict.fromkeys(other.resources, 0))
        rows = np.unique(classes[classes >= 0]).astype(np.int64)
        shape, space, label = (
            column[rows] for column in (other.classes.shape, other.classes.namespace, other.classes.labels)
        )
        shapes = self.shape_facts.take(other.shape_facts, shape)
        self.shapes.take(other.shapes, np.flatnonzero(shapes >= 0))
        spaces = self.namespaces.take(other.namespaces, space)
        label_sets = self.label_sets.take(other.label_sets, np.concatenate([labels, label]))
        table = self.classes
        table.take(other.classes, rows)
        columns = (table.shape, table.namespace, table.labels)
        for column, numbers, taken in zip(columns, (shape, space, label), (shapes, spaces, label_sets), strict=True):
            column[: len(rows)] = taken[numbers]
        keys = zip(*(column[: len(rows)].tolist() for column in columns), strict=True)
        self._class_rows = dict(zip(keys, range(len(rows)), strict=True))
        here = np.full(other.classes.rows + 1, -1, dtype=np.int32)
        here[rows] = np.arange(len(rows))
        return Renumbered(
            here,
            label_sets,
            self.annotation_sets.take(other.annotation_sets, annotations),
            self.taint_sets.take(other.taint_sets, taints),
        )

    def labels(self, labels: dict[str, str]) -> int:
        """The number of a label set."""
        return _intern(self.label_sets, labels)

    def annotations(self, annotations: dict[str, str]) -> int:
        """The number of the honoured part of an object's annotations."""
        kept = honoured(annotations) if annotations else annotations
        return _intern(self.annotation_sets, kept) if kept else NO_ANNOTATIONS

    def taints(self, taints: tuple[objects.Taint, ...]) -> int:
        """The number of a list of taints."""
        key = tuple((each.key, each.value, each.effect) for each in taints)
        number = self.taint_sets.get(key)
        return self.taint_sets.add(key, taints) if number is None else number

    def vector(self, amounts: Mapping[str, int]) -> Longs:
        """Amounts as a column of the matrices; a resource that was not seen before widens them all."""
        for resource in amounts:
            if resource not in self.resource_rows:
                width = len(self.resources) + 1
                self._undo.put(self.resource_rows, resource, width - 1)
                self._undo.append(self.resources, resource)
                for table, name in self.matrices:
                    table.widen(name, width)
        vector = np.zeros(len(self.resources), dtype=np.int64)
        for resource, amount in amounts.items():
            vector[self.resource_rows[resource]] = amount
        return vector


def _intern(table: Interner[dict[str, str]], labels: dict[str, str]) -> int:
    key = tuple(sorted(labels.items()))
    number = table.get(key)
    return table.add(key, labels) if number is None else number
