"""Prefer nodes with much left: kube-scheduler's default."""

import numpy as np

from neaptide.model.columns import Longs
from neaptide.placement.scores.resources import CPU_AND_MEMORY, Amounts, ResourceWeight, amounts, percent, weighted
from neaptide.placement.scores.score import Score
from neaptide.placement.view import Pod, View


class LeastAllocated(Score, frozen=True, tag="LeastAllocated"):
    """The weighted mean, over resources, of the part that would be left."""

    resources: tuple[ResourceWeight, ...] = CPU_AND_MEMORY

    def scores(self, view: View, pod: Pod, rows: Longs) -> Longs:
        total, weights = weighted(amounts(view, pod, rows, self.resources), len(rows), _left)
        return total // np.maximum(weights, 1)


def _left(of: Amounts) -> Longs:
    return percent(np.maximum(of.allocatable - of.requested, 0), of.allocatable)
