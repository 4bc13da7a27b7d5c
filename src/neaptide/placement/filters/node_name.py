"""Pods that name their node."""

import numpy as np

from neaptide.model.columns import ORPHAN, Bools
from neaptide.placement.filters.filter import Filter
from neaptide.placement.view import Pod, View

REASON = "node(s) didn't match the requested node name"


class NodeName(Filter, frozen=True, tag="NodeName"):
    """A pod that is bound to a node goes nowhere else. Where the node is known the pod is on it, so only unknown nodes remain."""

    def failures(self, view: View, pod: Pod) -> dict[str, Bools]:
        if pod.row < 0 or view.snapshot.pods.node[pod.row] != ORPHAN:
            return {}
        return {REASON: np.ones(view.nodes.rows, dtype=np.bool_)}
