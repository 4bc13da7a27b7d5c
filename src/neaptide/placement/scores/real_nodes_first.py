"""Pods that may overflow to virtual nodes go there only where no real node can take them."""

import numpy as np

from neaptide.model.columns import Longs
from neaptide.placement.overflow import may_overflow, virtual_nodes
from neaptide.placement.scores.score import LARGEST, Score
from neaptide.placement.view import Pod, View


class RealNodesFirst(Score, frozen=True, tag="RealNodesFirst"):
    """Real nodes have all, virtual ones nothing. It is a guarantee as long as its weight exceeds that of all other scores together."""

    weight: int = 100

    def scores(self, view: View, pod: Pod, rows: Longs) -> Longs | None:
        if not may_overflow(view, pod):
            return None
        virtual = virtual_nodes(view)[rows]
        return np.where(virtual, 0, LARGEST).astype(np.int64) if virtual.any() else None
