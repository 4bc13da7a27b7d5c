"""Prefer nodes with little left: fill one before the next."""

import numpy as np

from neaptide.model.columns import Longs
from neaptide.placement.scores.resources import CPU_AND_MEMORY, Amounts, ResourceWeight, amounts, percent, weighted
from neaptide.placement.scores.score import Score
from neaptide.placement.view import Pod, View


class MostAllocated(Score, frozen=True, tag="MostAllocated"):
    """The weighted mean, over resources, of the part that would be requested."""

    resources: tuple[ResourceWeight, ...] = CPU_AND_MEMORY

    def scores(self, view: View, pod: Pod, rows: Longs) -> Longs:
        total, weights = weighted(amounts(view, pod, rows, self.resources), len(rows), _requested)
        return total // np.maximum(weights, 1)


def _requested(of: Amounts) -> Longs:
    return percent(np.minimum(of.requested, of.allocatable), of.allocatable)
