"""What filters and scores know of nodes that the pods on them do not change: labels, names, taints, images, cordons."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from neaptide.model.columns import Bools, Ints, Longs
from neaptide.model.objects import NodeSelector, NodeSelectorTerm, Requirement, Taint, Toleration
from neaptide.model.selectors import untolerated
from neaptide.model.shapes import Requirements
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.virtual_names import TAINT
from neaptide.placement.labels import LabelColumns

NAME_FIELD = "metadata.name"
FORBIDDING = ("NoSchedule", "NoExecute")
VIRTUAL_TAINT = Toleration(key=TAINT, operator="Exists")
"""What a pod that may overflow to virtual nodes is taken to tolerate (placement/overflow.py)."""


class _Kind(NamedTuple):
    """What was read of a node; compared by identity, for the snapshot interns it."""

    labels: dict[str, str]
    taints: tuple[Taint, ...]
    images: dict[str, int]
    name: str
    unschedulable: bool


class _Mask(NamedTuple):
    basis: object
    passes: Bools
    position: int


class Nodes:
    """A snapshot's nodes as columns, and masks over them that are refreshed for changed nodes only.

    Attributes:
        rows: how many rows the snapshot's nodes have; a row that is not alive has no labels, and every mask is false there.
        labels: the nodes' labels.
        changed: rows in the order in which what is read here changed; assigning pods to a node changes nothing here.
    """

    def __init__(self, snapshot: ClusterSnapshot) -> None:
        self._snapshot = snapshot
        self.rows = 0
        self.changed: list[int] = []
        self.labels = LabelColumns(lambda row: self._known[row].labels if row in self._known else {})
        self._fields = LabelColumns(lambda row: {NAME_FIELD: self._known[row].name} if row in self._known else {})
        self._known: dict[int, _Kind] = {}
        self._taints: Ints = np.zeros(0, dtype=np.int32)
        self._taint_lists: dict[tuple[Taint, ...], int] = {}
        self._masks: dict[tuple[str, int], _Mask] = {}

    def refresh(self, touched: Iterable[int]) -> None:
        """Read the nodes that the snapshot says were touched."""
        size = self._snapshot.nodes.rows
        changed = [row for row in range(size, self.rows) if self._known.pop(row, None)]
        if size != self.rows:
            spare = np.zeros(max(size - self.rows, 0), dtype=np.int32)
            self._taints, self.rows = np.concatenate([self._taints[:size], spare]), size
        changed += [row for row in touched if row < size and self._read(row)]
        present = [row for row in changed if row < size]
        self.labels.refresh(present, size)
        self._fields.refresh(present, size)
        self.changed += changed

    def mask(self, what: str, number: int, basis: object, evaluate: Callable[[Longs], Bools]) -> Bools:
        """bool[rows], to be read only: a mask that depends on nodes and one interned value alone.

        Args:
            what: the rule, which names the mask together with `number`.
            number: the interned value's number, which a rolled back what-if may give to another value.
            basis: the interned value; where it is not the one of last time the mask is made anew.
            evaluate: the rule for some rows.
        """
        old = self._masks.get((what, number))
        if old is None or old.basis is not basis:
            stale, passes = np.arange(self.rows), np.zeros(self.rows, dtype=np.bool_)
        else:
            if old.position == len(self.changed) and len(old.passes) == self.rows:
                return old.passes
            stale = np.unique(np.array(self.changed[old.position :], dtype=np.int64))
            stale = stale[stale < self.rows]
            passes = np.zeros(self.rows, dtype=np.bool_)
            kept = min(self.rows, len(old.passes))
            passes[:kept] = old.passes[:kept]
        passes[stale] = evaluate(stale) & self._snapshot.nodes.alive[stale]
        self._masks[what, number] = _Mask(basis, passes, len(self.changed))
        return passes

    def matching(self, shape: int, requirements: Requirements) -> Bools:
        """bool[rows]: nodes that meet a pod's node selector and required node affinity."""
        return self.mask("matching", shape, requirements, lambda rows: self._matches(requirements, rows))

    def tolerable(self, shape: int, requirements: Requirements, *, overflows: bool = False) -> Bools:
        """bool[rows]: nodes whose NoSchedule and NoExecute taints a pod tolerates, that of virtual nodes among them where it overflows."""
        what, tolerations = "tolerable", requirements.tolerations
        if overflows:
            what, tolerations = "tolerable, overflowing", (*tolerations, VIRTUAL_TAINT)
        return self.mask(what, shape, requirements, lambda rows: self._tolerates(tolerations, rows))

    def selected(self, selector: NodeSelector, rows: Longs) -> Bools:
        """bool[len(rows)]: nodes that meet any term of a node selector."""
        met = np.zeros(len(rows), dtype=np.bool_)
        for term in selector.node_selector_terms:
            met |= self.in_term(term, rows)
        return met

    def in_term(self, term: NodeSelectorTerm, rows: Longs) -> Bools:
        """bool[len(rows)]: nodes that meet one term of a node selector; an empty term matches nothing."""
        if not term.match_expressions and not term.match_fields:
            return np.zeros(len(rows), dtype=np.bool_)
        fields = self._fields.meets_all(term.match_fields, rows)
        return self.labels.meets_all(term.match_expressions, rows) & fields

    def by_taints(self, value_of: Callable[[tuple[Taint, ...]], int], rows: Longs) -> Longs:
        """int64[len(rows)]: what a function says of each node's taints, asked once for each distinct list of them."""
        values = np.array([value_of(taints) for taints in self._taint_lists] or [0], dtype=np.int64)
        return values[self._taints[rows]]

    def _matches(self, requirements: Requirements, rows: Longs) -> Bools:
        exact = [Requirement(key, "In", (value,)) for key, value in requirements.node_selector.items()]
        met = self.labels.meets_all(exact, rows)
        rules = requirements.affinity.node_affinity if requirements.affinity else None
        required = rules.required_during_scheduling_ignored_during_execution if rules else None
        return met if required is None else met & self.selected(required, rows)

    def _tolerates(self, tolerations: Sequence[Toleration], rows: Longs) -> Bools:
        return self.by_taints(lambda taints: untolerated(taints, tolerations, FORBIDDING) is None, rows).astype(
            np.bool_
        )

    def _read(self, row: int) -> bool:
        """Read one node; whether it is another than before."""
        nodes, old = self._snapshot.nodes, self._known.get(row)
        if not nodes.alive[row]:
            self._known.pop(row, None)
            return old is not None
        new = _Kind(
            self._snapshot.node_labels(row),
            self._snapshot.node_taints(row),
            nodes.images[row],
            nodes.names[row],
            bool(nodes.unschedulable[row]),
        )
        if old and all(one is other for one, other in zip(old, new, strict=True)):
            return False
        self._known[row] = new
        self._taints[row] = self._taint_lists.setdefault(new.taints, len(self._taint_lists))
        return True
