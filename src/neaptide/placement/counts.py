"""How many pods of chosen classes stand on every node: what topology constraints are judged by."""

from collections.abc import Callable, Hashable, Iterable
from typing import NamedTuple

import numpy as np

from neaptide.model.columns import Bools, Ints, Longs
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.classes import PodClass, PodClasses

Chooses = Callable[[PodClass], bool]

_FEW = 64
"""Up to so many nodes are counted one by one; more of them, all at once."""


class _Rule(NamedTuple):
    chooses: Chooses
    living: bool


class PodCounts:
    """A row for every set of classes that is counted, kept in step with the snapshot.

    Attributes:
        who: bool[counts, classes]: which classes a count includes. A pod of class `c` that comes to node `n` adds
            `who[:, c]` to `on_node[:, n]`. Only classes that were met count.
        on_node: int32[counts, nodes]: how many such pods stand on each node. Pods that are being deleted are left out
            of a count that asks for living pods.
    """

    def __init__(self, snapshot: ClusterSnapshot, classes: PodClasses) -> None:
        self._snapshot, self._classes = snapshot, classes
        self._numbers: dict[Hashable, int] = {}
        self._rules: list[_Rule] = []
        self._who: Bools = np.zeros((16, 16), dtype=np.bool_)
        self._on_node: Ints = np.zeros((16, 0), dtype=np.int32)
        classes.listeners.append(self._learn)

    def __len__(self) -> int:
        return len(self._rules)

    @property
    def who(self) -> Bools:
        """See the class."""
        return self._who[: len(self)]

    @property
    def on_node(self) -> Ints:
        """See the class."""
        return self._on_node[: len(self)]

    def add(self, name: Hashable, chooses: Chooses, *, living: bool = False) -> int:
        """The row of a count, made where there is none of that name yet."""
        row = self._numbers.get(name)
        if row is None:
            row = self._numbers[name] = len(self._rules)
            self._rules.append(_Rule(chooses, living))
            self._make_room()
            for each in self._classes.known():
                self._who[row, each.number] = chooses(each)
            self._count_all(row)
        return row

    def refresh(self, touched: Iterable[int]) -> None:
        """Count again on the nodes that the snapshot says were touched, having met the classes there."""
        self._make_room()
        snapshot = self._snapshot
        rows = [row for row in set(touched) if row < snapshot.nodes.rows]
        if len(rows) > _FEW:
            bound = snapshot.pods.node[: snapshot.pods.rows] >= 0
            self._classes.meet_all(np.unique(snapshot.pods.cls[: snapshot.pods.rows][bound]).tolist())
            for count in range(len(self)):
                self._count_all(count)
            return
        pods = {node: np.fromiter(snapshot.pods_on(node), dtype=np.int64) for node in rows}
        for each in pods.values():
            self._classes.meet_all(set(snapshot.pods.cls[each].tolist()))
        any_pod = np.array([[not rule.living] for rule in self._rules], dtype=np.bool_).reshape(-1, 1)
        for node, each in pods.items():
            living = np.isnan(snapshot.pods.deleted[each])
            self._on_node[: len(self), node] = (self.who[:, snapshot.pods.cls[each]] & (living | any_pod)).sum(axis=1)

    def _learn(self, new: PodClass) -> None:
        self._make_room()
        for row, rule in enumerate(self._rules):
            self._who[row, new.number] = rule.chooses(new)

    def _count_all(self, count: int) -> None:
        pods = self._snapshot.pods
        bound = np.flatnonzero(pods.node[: pods.rows] >= 0)
        counted = bound[self._who[count, pods.cls[bound]]]
        if self._rules[count].living:
            counted = counted[np.isnan(pods.deleted[counted])]
        self._on_node[count] = np.bincount(pods.node[counted], minlength=self._on_node.shape[1])

    def _make_room(self) -> None:
        """Room for every count and class, doubled when it runs out; exactly as many columns as there are nodes."""
        counts, classes = self._who.shape
        if len(self) > counts or self._snapshot.classes.rows > classes:
            counts = counts if len(self) <= counts else 2 * counts
            classes = classes if self._snapshot.classes.rows <= classes else 2 * self._snapshot.classes.rows
            self._who = _resized(self._who, (counts, classes))
        shape = (len(self._who), self._snapshot.nodes.rows)
        if self._on_node.shape != shape:
            self._on_node = _resized(self._on_node, shape)


def totals(on_node: Ints, domains: Ints, among: Bools, size: int) -> Longs:
    """int64[size]: how many counted pods stand in each domain, on some nodes only, all of which have a domain."""
    return np.bincount(domains[among], weights=on_node[among], minlength=size).astype(np.int64)


def _resized(array: Bools | Ints, shape: tuple[int, int]) -> np.ndarray:
    new = np.zeros(shape, dtype=array.dtype)
    rows, columns = (min(pair) for pair in zip(shape, array.shape, strict=True))
    new[:rows, :columns] = array[:rows, :columns]
    return new
