"""What another cluster can still take: by the shape of pods, not by the sum of what is free.

A cluster with four nodes, each with 3 CPUs free, has 12 CPUs free and takes no pod of 4. So what a virtual node offers is what so many pods of
the shape that is asked for would take: `sum over nodes of min(free / shape)` of them. Whether a pod fits is decided by kube-scheduler's own
filters on that cluster's objects, before it is sent there.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from neaptide.model.columns import Longs
from neaptide.model.objects import Node, Pod
from neaptide.model.problems import FieldError
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.vocabulary import CPU, MEMORY, PODS
from neaptide.placement.place import Placement
from neaptide.placement.profile import Profile

_FILTERS_ONLY = Profile(scores=())


class Shape(NamedTuple):
    """What one pod asks for: milli-CPU and bytes."""

    cpu: int
    memory: int


USUAL = Shape(1000, 2 * 2**30)
"""Taken where nobody has asked for anything yet."""


class Room(NamedTuple):
    """What can still be taken, in pods of a shape."""

    pods: int
    shape: Shape

    @property
    def cpu(self) -> int:
        return self.pods * self.shape.cpu

    @property
    def memory(self) -> int:
        return self.pods * self.shape.memory


def room(free: Longs, shapes: Sequence[Shape]) -> Room:
    """Room for the largest of the shapes for which there is any; none where there is none for any.

    Args:
        free: int64[nodes, 3]: milli-CPU, bytes and pods that nodes have left.
        shapes: that are asked for.
    """
    for shape in sorted(set(shapes) or {USUAL}, key=lambda each: (-each.cpu, -each.memory)):
        count = fitting(free, shape)
        if count:
            return Room(count, shape)
    return Room(0, USUAL)


def fitting(free: Longs, shape: Shape) -> int:
    """How many pods of a shape fit on the nodes together."""
    if not len(free):
        return 0
    asked = np.array([max(shape.cpu, 1), max(shape.memory, 1), 1], dtype=np.int64)
    return int(np.maximum(free // asked, 0).min(axis=1).sum())


class Remote:
    """The other cluster's nodes and pods."""

    def __init__(self) -> None:
        self.snapshot = ClusterSnapshot()
        self._placement = Placement(self.snapshot, _FILTERS_ONLY)

    def free(self) -> Longs:
        """int64[nodes, 3]: what nodes that take any pod have left. Nodes with a taint, cordoned or not ready are none of them."""
        nodes = self.snapshot.nodes
        open_to_all = [
            row
            for row in nodes.indices().tolist()
            if nodes.ready[row]
            and not nodes.unschedulable[row]
            and not any(taint.effect in ("NoSchedule", "NoExecute") for taint in self.snapshot.node_taints(row))
        ]
        return self.snapshot.free()[[CPU, MEMORY, PODS]][:, open_to_all].T

    def obstacle(self, pod: Pod) -> str:
        """Why no node there can take a pod now; empty where one can. Says it as kube-scheduler does."""
        with self.snapshot.what_if():
            try:
                row = self.snapshot.set_pod(pod)
            except FieldError as error:
                return str(error)
            verdict = self._placement.verdict(row)
            return "" if verdict.feasible.any() else verdict.message()

    def set_node(self, node: Node) -> None:
        """Take a node in; one that cannot be counted is left out."""
        try:
            self.snapshot.set_node(node)
        except FieldError:
            self.snapshot.remove_node(node.metadata.name)

    def set_pod(self, pod: Pod) -> None:
        """Take a pod in; one that cannot be counted is left out, and its node has room for it that it has not."""
        try:
            self.snapshot.set_pod(pod)
        except FieldError:
            self.snapshot.remove_pod(f"{pod.metadata.namespace}/{pod.metadata.name}")

    def keep(self, kind: str, names: set[str]) -> None:
        """Forget the nodes or pods that are not among these: a list was told to its end."""
        if kind == "Node":
            for name in set(self.snapshot.nodes.by_name) - names:
                self.snapshot.remove_node(name)
        else:
            for key in set(self.snapshot.pods.by_key) - names:
                self.snapshot.remove_pod(key)


def shape_of(requests: Mapping[str, int]) -> Shape:
    """The shape of a pod's requests."""
    return Shape(requests.get("cpu", 0), requests.get("memory", 0))
