"""Prefer nodes whose resources the pod makes more evenly used."""

import numpy as np

from neaptide.model.columns import Floats, Longs
from neaptide.placement.scores.resources import CPU_AND_MEMORY, Amounts, ResourceWeight, amounts
from neaptide.placement.scores.score import LARGEST, Score
from neaptide.placement.view import Pod, View

_HALF = LARGEST // 2


class NodeResourcesBalancedAllocation(Score, frozen=True, tag="NodeResourcesBalancedAllocation"):
    """How much the pod evens out a node's used parts: 75 for no change, 100 and 50 at the ends.

    A node's balance is 100 times one less the standard deviation of the used parts of its resources. Pods that request
    none of the resources have no say.
    """

    resources: tuple[ResourceWeight, ...] = CPU_AND_MEMORY

    def scores(self, view: View, pod: Pod, rows: Longs) -> Longs | None:
        found = amounts(view, pod, rows, self.resources, scoring=False)
        if not any(each.wanted for each in found):
            return None
        after = _balance([(each, each.requested) for each in found])
        before = _balance([(each, each.allocated) for each in found])
        return _HALF + (_HALF + after - before) // 2


def _balance(used: list[tuple[Amounts, Longs]]) -> Longs:
    """int64, 50..100. The sums run in the order of the resources, as kube-scheduler's do, so that no bit differs."""
    present = [of.allocatable != 0 for of, _ in used]
    parts = [np.minimum(amount / np.maximum(of.allocatable, 1), 1.0) for of, amount in used]
    parts = [np.where(there, part, 0.0) for there, part in zip(present, parts, strict=True)]
    number = np.sum(present, axis=0)
    mean = _sum(parts) / np.maximum(number, 1)
    squares = [np.where(there, (part - mean) * (part - mean), 0.0) for there, part in zip(present, parts, strict=True)]
    deviation = np.sqrt(_sum(squares) / np.maximum(number, 1))
    deviation = np.where(number == 2, np.abs(_difference(present, parts) / 2), np.where(number > 2, deviation, 0.0))
    return ((1 - deviation) * LARGEST).astype(np.int64)


def _sum(parts: list[Floats]) -> Floats:
    total = np.zeros_like(parts[0])
    for part in parts:
        total = total + part
    return total


def _difference(present: list[np.ndarray], parts: list[Floats]) -> Floats:
    """The first part less the second one, of nodes that have two."""
    difference, seen = np.zeros_like(parts[0]), np.zeros(len(parts[0]), dtype=np.int64)
    for there, part in zip(present, parts, strict=True):
        difference += np.where(there & (seen == 0), part, 0.0) - np.where(there & (seen == 1), part, 0.0)
        seen += there
    return difference
