"""Prefer nodes by a curve over the part that is requested: bin packing for chosen resources."""

from itertools import pairwise

import numpy as np
from msgspec import Struct

from neaptide.model.columns import Longs
from neaptide.placement.scores.resources import CPU_AND_MEMORY, Amounts, ResourceWeight, amounts, percent, weighted
from neaptide.placement.scores.score import LARGEST, Score
from neaptide.placement.view import Pod, View

LARGEST_POINT = 10
"""The most that a point of the curve gives; it is scaled to LARGEST."""


class Point(Struct, frozen=True, forbid_unknown_fields=True):
    """A point of the curve: utilization in percent, score in 0..10."""

    utilization: int
    score: int


class RequestedToCapacityRatio(Score, frozen=True, tag="RequestedToCapacityRatio"):
    """The weighted mean, over resources that get more than 0, of a piecewise linear curve over the part requested."""

    resources: tuple[ResourceWeight, ...] = CPU_AND_MEMORY
    shape: tuple[Point, ...] = (Point(0, 0), Point(100, LARGEST_POINT))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.shape or any(before.utilization >= after.utilization for before, after in pairwise(self.shape)):
            raise ValueError("shape must have points in increasing order of utilization")
        if any(not (0 <= each.utilization <= 100 and 0 <= each.score <= LARGEST_POINT) for each in self.shape):
            raise ValueError("shape must have utilization in 0..100 and score in 0..10")

    def scores(self, view: View, pod: Pod, rows: Longs) -> Longs:
        found = amounts(view, pod, rows, self.resources)
        total, weights = weighted(found, len(rows), self._of, above=0)
        mean = total / np.maximum(weights, 1)
        whole = np.trunc(mean)
        return (whole + (mean - whole >= 0.5)).astype(np.int64)  # away from zero, as Go rounds

    def _of(self, of: Amounts) -> Longs:
        full = of.requested > of.allocatable
        return self.curve(np.where(full, 100, percent(of.requested, of.allocatable)))

    def curve(self, used: Longs) -> Longs:
        """int64: the score of each percentage of use."""
        scale = LARGEST // LARGEST_POINT
        first, last = self.shape[0], self.shape[-1]
        score = np.where(used <= first.utilization, first.score * scale, last.score * scale)
        for before, after in pairwise(self.shape):
            here = (used > before.utilization) & (used <= after.utilization)
            rise, run = (after.score - before.score) * scale, after.utilization - before.utilization
            step = np.sign(rise) * (abs(rise) * (used - before.utilization) // run)  # towards zero, as Go divides
            score = np.where(here, before.score * scale + step, score)
        return score
