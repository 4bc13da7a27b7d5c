"""The cluster as columns: what every policy reads.

Objects are applied one by one (`set`, `remove`) at a cost that depends on the change and not on the cluster; `what_if`
takes back, byte for byte, everything that was written inside it. Matrices have a row per resource: `resources` names
them; the first four are always cpu (milli), memory, ephemeral-storage (bytes) and pods (count).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from neaptide.model import objects
from neaptide.model.actions import Ref
from neaptide.model.any_object import AnyObject
from neaptide.model.cloud import Coming, Interruption
from neaptide.model.collector import collector_paused
from neaptide.model.columns import (
    FAILED,
    NO_NODE,
    ORPHAN,
    SUCCEEDED,
    Floats,
    Longs,
    NodeColumns,
    PodColumns,
)
from neaptide.model.derived import CLASSES, NODES, OBJECTS, PODS, TABLES, USAGE, Derived
from neaptide.model.digest import digest_of
from neaptide.model.occupancy import Occupancy
from neaptide.model.offerings import Offering
from neaptide.model.pod_row import CLS, DELETED, PHASE, POD_VALUES, pod_key, pod_texts, pod_values
from neaptide.model.problems import FieldError
from neaptide.model.requests import amounts_in
from neaptide.model.selectors import TAINT_EFFECTS
from neaptide.model.shapes import Shape
from neaptide.model.times import seconds
from neaptide.model.undo import Undo
from neaptide.model.vocabulary import Vocabulary
from neaptide.model.workloads import Workloads

Rows = int | Longs
Amount = float | Floats


class ClusterSnapshot:
    """One cluster. Attributes are read freely and changed through the methods only.

    Attributes:
        nodes, pods, classes, shapes: tables, see model/columns.py.
        workloads: the owner chains, see model/workloads.py.
        shape_facts: by row of `shapes`, what was parsed from the pods' specs.
        words: what is interned; label_sets, annotation_sets, taint_sets, namespaces are those of its values that columns number.
        others: every other object, by kind and then by `name` or `namespace/name`.
        offerings: what nodes can be bought now, as far as the world knows; it is not part of the digest, nor are the next two.
        coming: nodes that were ordered and have not joined yet.
        interruptions: what the cloud has said of nodes.
        changed_nodes: rows of `nodes` in the order they changed, undone changes included; readers remember a position.
        derived: what was made of the tables and is kept until they change, see model/derived.py.
    """

    def __init__(self) -> None:
        self._undo = Undo()
        self.words = words = Vocabulary(self._undo)
        self.resources = words.resources
        self.label_sets, self.annotation_sets = words.label_sets, words.annotation_sets
        self.taint_sets, self.namespaces = words.taint_sets, words.namespaces
        self.shapes, self.shape_facts, self.classes = words.shapes, words.shape_facts, words.classes
        self.workloads = Workloads(self._undo)
        self.nodes = NodeColumns(self._undo, len(words.resources))
        words.matrices += [(self.nodes, name) for name in ("allocatable", "capacity", "used")]
        self.pods = PodColumns(self._undo)
        self.others: dict[str, dict[str, Any]] = {}
        self.offerings: Sequence[Offering] = ()
        self.coming: Sequence[Coming] = ()
        self.interruptions: Sequence[Interruption] = ()
        self._occupancy = Occupancy(self._undo, self.nodes, self.pods, words)
        self.changed_nodes = self._occupancy.changed_nodes
        self.derived = Derived()

    # -- changing ------------------------------------------------------------------------------------------------------

    def set(self, item: AnyObject) -> None:
        """Add an object or replace the one of its name. Raises FieldError, having changed nothing."""
        if isinstance(item, objects.Pod):
            self.set_pod(item)
        elif isinstance(item, objects.Node):
            self.set_node(item)
        elif isinstance(item, objects.Workload):
            self.derived.changed(OBJECTS)
            self.workloads.set(item)
        else:
            self.derived.changed(OBJECTS)
            known = self.others.setdefault(type(item).__name__, {})
            self._undo.put(known, object_key(item.metadata), item)

    def remove(self, kind: str, name: str, namespace: str = "") -> None:
        """Forget an object; one that is not known is no error."""
        key = f"{namespace}/{name}" if namespace else name
        if kind == "Pod":
            self.remove_pod(key)
        elif kind == "Node":
            self.remove_node(name)
        elif key in self.others.get(kind, {}):
            self.derived.changed(OBJECTS)
            self._undo.drop(self.others[kind], key)
        else:
            self.derived.changed(OBJECTS)
            self.workloads.remove(kind, namespace, name)

    def set_node(self, node: objects.Node) -> int:
        """Add or replace a node; its row. Raises FieldError for what cannot be counted."""
        allocatable = amounts_in("status.allocatable", node.status.allocatable)
        if not allocatable:
            raise FieldError("status.allocatable", "", "amounts of cpu, memory and pods")
        capacity = amounts_in("status.capacity", node.status.capacity) or allocatable
        for taint in node.spec.taints:
            if taint.effect not in TAINT_EFFECTS:
                raise FieldError("spec.taints.effect", taint.effect, "one of " + ", ".join(TAINT_EFFECTS))
        created = seconds(node.metadata.creation_timestamp)
        self.derived.changed(NODES, PODS, USAGE)
        nodes, put, name = self.nodes, self._undo.put, node.metadata.name
        row = nodes.by_name.get(name)
        if row is None:
            row = nodes.allocate()
            put(nodes.by_name, name, row)
        _place(self._undo, nodes.names, row, name)
        _place(self._undo, nodes.uids, row, node.metadata.uid)
        _place(self._undo, nodes.resource_versions, row, node.metadata.resource_version)
        ready = next((each.status for each in node.status.conditions if each.type == "Ready"), "True")
        put(nodes.ready, row, ready == "True")
        put(nodes.unschedulable, row, node.spec.unschedulable)
        put(nodes.labels, row, self.words.labels(node.metadata.labels))
        put(nodes.annotations, row, self.words.annotations(node.metadata.annotations))
        put(nodes.taints, row, self.words.taints(node.spec.taints))
        put(nodes.created, row, created)
        put(nodes.images, row, {name: each.size_bytes for each in node.status.images for name in each.names})
        resources = len(self.resources)
        vector = self.words.vector(allocatable)
        put(nodes.allocatable, (slice(None), row), vector)
        vector = self.words.vector(capacity)
        put(nodes.capacity, (slice(None), row), vector)
        self._noted(resources)
        for pod in tuple(self.pods.orphans.get(name, ())):
            self._occupancy.adopt(pod)
            self._occupancy.attach(pod, row)
        self.changed_nodes.append(row)
        return row

    def remove_node(self, name: str) -> None:
        """Forget a node; its pods become orphans until they are removed or a node of that name appears."""
        row = self.nodes.by_name.get(name)
        if row is None:
            return
        self.derived.changed(NODES, PODS, USAGE)
        for pod in tuple(self.pods_on(row)):
            self._occupancy.detach(pod)
            self._occupancy.make_orphan(pod, name)
        self._undo.drop(self.nodes.by_name, name)
        self._undo.put(self.nodes.names, row, "")
        self._undo.put(self.nodes.images, row, {})
        self.nodes.release(row)
        self.changed_nodes.append(row)

    def set_pod(self, pod: objects.Pod) -> int:
        """Add or replace a pod; its row. Raises FieldError for what cannot be counted."""
        values = self._pod_values(pod)
        self.derived.changed(PODS, OBJECTS)
        pods, key = self.pods, pod_key(pod.metadata)
        row, stays = pods.by_key.get(key), False
        if row is None:
            row = pods.allocate()
            self._undo.put(pods.by_key, key, row)
        else:
            stays = self._stays(row, pod.spec.node_name, values)
            if not stays:
                self._occupancy.leave(row)
        pods.fill(row, POD_VALUES, values)
        for texts, text in zip(pods.texts, pod_texts(key, pod), strict=True):
            _place(self._undo, texts, row, text)
        self._nominate(row, pod.status.nominated_node_name)
        if pod.spec.node_name and not stays:
            self._occupancy.join(row, pod.spec.node_name)
        return row

    def _stays(self, row: int, node_name: str, values: tuple[Any, ...]) -> bool:
        """Whether a pod's new state counts on the same node as before, by the same amounts: most events are such."""
        node = self.pods.node[row]
        return bool(
            node >= 0
            and self.nodes.names[node] == node_name
            and self.pods.cls[row] == values[CLS]
            and np.isnan(self.pods.deleted[row]) == np.isnan(values[DELETED])
            and values[PHASE] not in (SUCCEEDED, FAILED)
        )

    def add_pods(self, pods: Sequence[objects.Pod]) -> list[tuple[objects.Pod, FieldError]]:
        """Add pods that are not there yet, all at once (a first list); those that cannot be counted, and why."""
        refused: list[tuple[objects.Pod, FieldError]] = []
        rows: list[tuple[objects.Pod, str, tuple[Any, ...]]] = []
        self.derived.changed(PODS, OBJECTS)
        fresh = set(self.pods.by_key)
        with collector_paused():
            for pod in pods:
                key = pod_key(pod.metadata)
                try:
                    values = self._pod_values(pod)
                except FieldError as error:
                    refused.append((pod, error))
                    continue
                if key in fresh:
                    self.set_pod(pod)
                else:
                    fresh.add(key)
                    rows.append((pod, key, values))
            if rows:
                self._add_rows(rows)
        return refused

    def remove_pod(self, key: str) -> None:
        """Forget a pod, by `namespace/name`."""
        row = self.pods.by_key.get(key)
        if row is None:
            return
        self.derived.changed(PODS)
        self._occupancy.leave(row)
        self._undo.drop(self.pods.by_key, key)
        self._undo.put(self.pods.keys, row, "")
        self._nominate(row, "")
        self.pods.release(row)

    def assign(self, pod: int, node: int) -> None:
        """Put an unassigned pod on a node (rows), as a binding does."""
        self.derived.changed(PODS)
        self._occupancy.attach(pod, node)

    def assign_all(self, pods: Longs, nodes: Longs) -> None:
        """Put unassigned pods on nodes (rows), all at once."""
        self.derived.changed(PODS)
        self._occupancy.attach_block(pods, nodes.astype(np.int32))

    def unassign(self, pod: int) -> None:
        """Take a pod off its node (row), as an eviction does; it is pending then."""
        self.derived.changed(PODS)
        self._occupancy.leave(pod)

    def set_price(self, node: int, price_per_hour: float) -> None:
        """What a node costs in US dollars per hour; nan where unknown."""
        self.derived.changed(NODES)
        self._undo.put(self.nodes.price, node, price_per_hour)

    def set_cordon(self, node: int, *, unschedulable: bool) -> None:
        """Cordon or uncordon a node."""
        self.derived.changed(NODES)
        self._undo.put(self.nodes.unschedulable, node, unschedulable)
        self.changed_nodes.append(node)

    def set_node_usage(self, node: Rows, cpu: Amount, memory: Amount, time: Amount) -> None:
        """What a node, or many at once, were measured to use (milli-CPU, bytes), and when; nan where unknown."""
        self.derived.changed(USAGE)
        for column, amount in (
            (self.nodes.usage_cpu, cpu),
            (self.nodes.usage_memory, memory),
            (self.nodes.usage_time, time),
        ):
            self._undo.put(column, node, amount)

    def set_pod_usage(self, pod: Rows, cpu: Amount, memory: Amount) -> None:
        """What a pod, or many at once, were measured to use (milli-CPU, bytes); nan where unknown."""
        self.derived.changed(USAGE)
        self._undo.put(self.pods.usage_cpu, pod, cpu)
        self._undo.put(self.pods.usage_memory, pod, memory)

    def set_pod_status(self, pod: int, *, phase: int, ready: bool, started: float) -> None:
        """What a kubelet reports of an unfinished pod: its phase (a row of PHASES), readiness, and when it started."""
        self.derived.changed(PODS)
        self.pods.fill(pod, ("phase", "ready", "started"), (phase, ready, started))

    def set_pod_deleted(self, pod: int, time: float) -> None:
        """When a pod's deletion was asked for; it stays until it is removed."""
        self.derived.changed(PODS)
        self._undo.put(self.pods.deleted, pod, time)
        if self.pods.node[pod] >= 0:
            self.changed_nodes.append(int(self.pods.node[pod]))

    def nominate(self, pod: int, node: str) -> None:
        """Which node is meant for a pod (row) that waits, by name; empty for none."""
        self._nominate(pod, node)

    def set_node_resources(self, node: int, resources: Mapping[str, int | None]) -> None:
        """Set resources in a node's capacity and allocatable, as a patch of its status does; None removes one."""
        self.derived.changed(NODES)
        known = self.words.resource_rows
        if not known.keys() >= resources.keys():
            self.words.vector(dict.fromkeys(resources, 0))  # rows for those that were not seen before
            self.derived.changed(*TABLES)
        rows = [known[name] for name in resources]
        amounts = [amount or 0 for amount in resources.values()]
        for matrix in (self.nodes.allocatable, self.nodes.capacity):
            self._undo.put(matrix, (rows, node), amounts)
        self.changed_nodes.append(node)

    def what_if(self) -> AbstractContextManager[None]:
        """Every change made inside is taken back at the end, byte for byte, at the cost of the change. Nests."""
        return self._rolled_back()

    # -- reading -------------------------------------------------------------------------------------------------------

    def pods_on(self, node: int) -> Iterator[int]:
        """Rows of the unfinished pods on a node."""
        return self._occupancy.pods_on(node)

    def resource_row(self, resource: str) -> int | None:
        """The row of a resource in the matrices; None where nothing has or asks for it."""
        return self.words.resource_rows.get(resource)

    def free(self) -> Longs:
        """int64[resources, nodes.rows]: allocatable less the requests of the pods there; negative where over-committed."""
        rows = self.nodes.rows
        return self.nodes.allocatable[:, :rows] - self.nodes.used[:, :rows]

    def pod_requests(self, pods: Any) -> Longs:  # noqa: ANN401 - whatever numpy takes as an index
        """int64[resources, len(pods)]: what pods (rows) ask for."""
        return self.shapes.request[:, self.classes.shape[self.pods.cls[pods]]]

    def shape_of_pod(self, pod: int) -> Shape:
        """What was parsed from a pod's spec."""
        return self.shape_facts.values[int(self.classes.shape[self.pods.cls[pod]])]

    def pod_labels(self, pod: int) -> dict[str, str]:
        """A pod's labels."""
        return self.label_sets.values[int(self.classes.labels[self.pods.cls[pod]])]

    def pod_namespace(self, pod: int) -> str:
        """A pod's namespace."""
        return self.namespaces.values[int(self.classes.namespace[self.pods.cls[pod]])]

    def pod_annotations(self, pod: int) -> dict[str, str]:
        """The annotations of a pod that policies honour (see shapes.honoured)."""
        return self.annotation_sets.values[int(self.pods.annotations[pod])]

    def node_labels(self, node: int) -> dict[str, str]:
        """A node's labels."""
        return self.label_sets.values[int(self.nodes.labels[node])]

    def node_annotations(self, node: int) -> dict[str, str]:
        """The annotations of a node that policies honour."""
        return self.annotation_sets.values[int(self.nodes.annotations[node])]

    def node_taints(self, node: int) -> tuple[objects.Taint, ...]:
        """A node's taints."""
        return self.taint_sets.values[int(self.nodes.taints[node])]

    def pod_ref(self, pod: int) -> Ref:
        """A pod's name as actions and reasons give it."""
        namespace, _, name = self.pods.keys[pod].partition("/")
        return Ref("Pod", name, namespace, self.pods.uids[pod])

    def node_ref(self, node: int) -> Ref:
        """A node's name as actions and reasons give it."""
        return Ref("Node", self.nodes.names[node], uid=self.nodes.uids[node])

    def workload_of(self, pod: int) -> Ref | None:
        """The top of a pod's owner chain; None for a bare pod."""
        root = self.workloads.root(int(self.pods.owner[pod]))
        return self.workloads.refs[root] if root >= 0 else None

    def digest(self) -> str:
        """A fingerprint of nodes, pods and what runs where; equal for equal clusters that were built alike."""
        return digest_of(self.nodes, self.pods, self.derived)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _pod_values(self, pod: objects.Pod) -> tuple[Any, ...]:
        """A pod's values in the order of POD_VALUES. Raises FieldError before anything but interned values has changed."""
        classes, resources = self.classes.rows, len(self.resources)
        try:
            return pod_values(pod, self.words, self.workloads, self.others.get("PriorityClass", {}))
        finally:
            if self.classes.rows != classes:
                self.derived.changed(CLASSES)
            self._noted(resources)

    def _noted(self, resources: int) -> None:
        """Where there are more resources than there were, all matrices have grown."""
        if len(self.resources) != resources:
            self.derived.changed(*TABLES)

    def _add_rows(self, rows: list[tuple[objects.Pod, str, tuple[Any, ...]]]) -> None:
        """New pods as one block of rows."""
        pods, start = self.pods, self.pods.rows
        block = pods.extend(len(rows))
        for name, values in zip(POD_VALUES, zip(*(each[2] for each in rows), strict=True), strict=True):
            self._undo.put(vars(pods)[name], block, values)
        for texts, new in zip(
            pods.texts, zip(*(pod_texts(key, pod) for pod, key, _ in rows), strict=True), strict=True
        ):
            self._undo.extend(texts, new)
        self._undo.update(pods.by_key, zip((key for _, key, _ in rows), range(start, pods.rows), strict=True))
        known = self.nodes.by_name
        names = ["" if values[PHASE] in (SUCCEEDED, FAILED) else pod.spec.node_name for pod, _, values in rows]
        node_of = np.array([known.get(name, ORPHAN) if name else NO_NODE for name in names], dtype=np.int32)
        for offset in np.flatnonzero(node_of == ORPHAN).tolist():
            self._occupancy.make_orphan(start + offset, names[offset])
        for offset, (pod, _, _) in enumerate(rows):
            if pod.status.nominated_node_name:
                self._nominate(start + offset, pod.status.nominated_node_name)
        bound = np.flatnonzero(node_of >= 0)
        self._occupancy.attach_block(bound + start, node_of[bound])

    def _nominate(self, pod: int, node: str) -> None:
        if node:
            self._undo.put(self.pods.nominated, pod, node)
        elif pod in self.pods.nominated:
            self._undo.drop(self.pods.nominated, pod)

    @contextmanager
    def _rolled_back(self) -> Iterator[None]:
        start = len(self.changed_nodes)
        try:
            with self._undo.mark(), self.derived.taken_back():
                yield
        finally:
            self.changed_nodes.extend(self.changed_nodes[start:])


def object_key(meta: objects.Metadata) -> str:
    """`namespace/name`, or `name` where there is no namespace: the key in `others`."""
    return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name


def _place(undo: Undo, texts: list[str], row: int, text: str) -> None:
    """Write text at a row that may lie one beyond the end."""
    if row == len(texts):
        undo.append(texts, text)
    else:
        undo.put(texts, row, text)
