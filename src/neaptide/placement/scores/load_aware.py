"""Prefer nodes that are little used, estimates of what measurements cannot show yet included."""

import numpy as np

from neaptide.model.columns import Longs
from neaptide.placement.load_aware import RESOURCES, Aggregated, Estimation, expired, incoming, is_prod, used
from neaptide.placement.scores.resources import CPU_AND_MEMORY, ResourceWeight
from neaptide.placement.scores.score import LARGEST, Score
from neaptide.placement.view import Pod, View


class LoadAware(Score, frozen=True, tag="LoadAware"):
    """The weighted mean, over resources, of the part that would be left unused; 0 for nodes without a fresh measurement.

    `dominant_resource_weight` weighs the least of the parts once more. With `score_according_prod_usage`, only the use by pods of
    band prod counts for such pods.
    """

    resources: tuple[ResourceWeight, ...] = CPU_AND_MEMORY
    dominant_resource_weight: int = 0
    score_according_prod_usage: bool = False
    aggregated: Aggregated | None = None
    estimation: Estimation = Estimation()

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = [each.name for each in self.resources if each.name not in RESOURCES]
        if unknown or not self.resources:
            raise ValueError("resources must be some of cpu and memory")
        if self.dominant_resource_weight < 0:
            raise ValueError("dominantResourceWeight must not be negative")

    def scores(self, view: View, pod: Pod, rows: Longs) -> Longs:
        prod = self.score_according_prod_usage and is_prod(view, pod)
        use = used(view, self.estimation, prod=prod, aggregated=None if prod else self.aggregated)
        use = np.floor(use[:, rows] + incoming(view, pod, self.estimation))
        total, least = np.zeros(len(rows)), np.full(len(rows), float(LARGEST))
        for each in self.resources:
            row = RESOURCES.index(each.name)
            allocatable = view.snapshot.nodes.allocatable[row, rows]
            left = np.floor(np.maximum(allocatable - use[row], 0) * LARGEST / np.maximum(allocatable, 1))
            total += each.weight * left
            least = np.minimum(least, left)
        weights = sum(each.weight for each in self.resources) + self.dominant_resource_weight
        scores = (total + self.dominant_resource_weight * least) // weights
        unknown = np.isnan(use).any(axis=0) | expired(view, self.estimation)[rows]
        return np.where(unknown, 0, np.nan_to_num(scores)).astype(np.int64)
