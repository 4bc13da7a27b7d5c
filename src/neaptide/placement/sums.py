"""What the pods of a node come to by some rule: sums (or the largest) by node, kept in step with the snapshot as pods are placed."""

from collections.abc import Callable, Hashable, Iterable
from typing import NamedTuple

import numpy as np

from neaptide.model.columns import Floats, Longs
from neaptide.model.snapshot import ClusterSnapshot

Amounts = Callable[[Longs], Floats]
"""float64[k, pods]: what some pods (rows), all of which are on nodes, come to; 0 or more."""
_FEW = 64
"""Up to so many nodes are summed one by one; more of them, all at once."""


class _Sum(NamedTuple):
    by_node: Floats
    position: int


class PodSums:
    """Sums of a snapshot's pods by node.

    They follow pods that come and go. What else amounts depend on (usage, the time) may change only together with `forget`.
    """

    def __init__(self, snapshot: ClusterSnapshot) -> None:
        self._snapshot = snapshot
        self._known: dict[Hashable, _Sum] = {}
        self._touched: list[int] = []

    def forget(self) -> None:
        """Make every sum anew when it is asked for."""
        self._known.clear()
        self._touched.clear()

    def touch(self, nodes: Iterable[int]) -> None:
        """Pods have come to these nodes (rows), or left them."""
        if self._known:
            self._touched.extend(nodes)

    def of(self, rule: Hashable, amounts: Amounts, reduce: np.ufunc = np.add) -> Floats:
        """float64[k, node rows], to be read only: the sums by a rule, which `amounts` computes and `rule` names; with np.maximum the largest."""
        known = self._known.get(rule)
        if known is not None and known.position == len(self._touched):
            return known.by_node
        rows = self._snapshot.nodes.rows
        stale = set() if known is None else {row for row in self._touched[known.position :] if row < rows}
        if known is None or known.by_node.shape[1] != rows or len(stale) > _FEW:
            by_node = self._all(amounts, reduce)
        else:
            by_node = known.by_node
            for row in stale:
                pods = np.fromiter(self._snapshot.pods_on(row), dtype=np.int64)
                by_node[:, row] = reduce.reduce(amounts(pods), axis=1, initial=0.0)
        self._known[rule] = _Sum(by_node, len(self._touched))
        return by_node

    def _all(self, amounts: Amounts, reduce: np.ufunc) -> Floats:
        table, rows = self._snapshot.pods, self._snapshot.nodes.rows
        pods = np.flatnonzero(table.node[: table.rows] >= 0)
        found = amounts(pods)
        by_node = np.zeros((len(found), rows))
        for each, amount in zip(by_node, found, strict=True):
            reduce.at(each, table.node[pods], amount)
        return by_node
