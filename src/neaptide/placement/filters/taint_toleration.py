"""Taints keep pods away that do not tolerate them."""

from neaptide.model.columns import Bools
from neaptide.placement.filters.filter import Filter
from neaptide.placement.view import Pod, View

REASON = "node(s) had untolerated taint(s)"


class TaintToleration(Filter, frozen=True, tag="TaintToleration"):
    """Every NoSchedule and NoExecute taint of a node must be tolerated."""

    def failures(self, view: View, pod: Pod) -> dict[str, Bools]:
        return {REASON: ~view.nodes.tolerable(pod.cls.shape, pod.cls.requirements)}
