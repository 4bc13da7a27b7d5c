"""Taints keep pods away that do not tolerate them."""

from neaptide.model.columns import Bools
from neaptide.placement.filters.filter import Filter
from neaptide.placement.overflow import may_overflow
from neaptide.placement.view import Pod, View

REASON = "node(s) had untolerated taint(s)"


class TaintToleration(Filter, frozen=True, tag="TaintToleration"):
    """Every NoSchedule and NoExecute taint of a node must be tolerated.

    Attributes:
        virtual_nodes: whether pods that have opted in (placement/overflow.py) are taken to tolerate the taint of virtual nodes.
    """

    virtual_nodes: bool = False

    def failures(self, view: View, pod: Pod) -> dict[str, Bools]:
        overflows = self.virtual_nodes and may_overflow(view, pod)
        return {REASON: ~view.nodes.tolerable(pod.cls.shape, pod.cls.requirements, overflows=overflows)}
