"""Pods that may overflow to virtual nodes go there only where no real node can take them."""

import numpy as np

from neaptide.model.columns import Bools, Longs
from neaptide.model.objects import Requirement
from neaptide.model.virtual_names import TYPE, VIRTUAL
from neaptide.placement.overflow import may_overflow
from neaptide.placement.scores.score import LARGEST, Score
from neaptide.placement.view import Pod, View

_IS_VIRTUAL = (Requirement(TYPE, "In", (VIRTUAL,)),)


class RealNodesFirst(Score, frozen=True, tag="RealNodesFirst"):
    """Real nodes have all, virtual ones nothing. It is a guarantee as long as its weight exceeds that of all other scores together."""

    weight: int = 100

    def scores(self, view: View, pod: Pod, rows: Longs) -> Longs | None:
        if not may_overflow(view, pod):
            return None
        virtual = view.nodes.mask("virtual", 0, None, lambda rows: _virtual(view, rows))[rows]
        return np.where(virtual, 0, LARGEST).astype(np.int64) if virtual.any() else None


def _virtual(view: View, rows: Longs) -> Bools:
    return view.nodes.labels.meets_all(_IS_VIRTUAL, rows)
