"""Taints keep pods away that do not tolerate them."""

from neaptide.model.columns import Bools
from neaptide.placement.filters.filter import Filter
from neaptide.placement.overflow import may_overflow, only_virtual, virtual_nodes
from neaptide.placement.view import Pod, View

REASON = "node(s) had untolerated taint(s)"
NOT_VIRTUAL = "node(s) were no virtual nodes"


class TaintToleration(Filter, frozen=True, tag="TaintToleration"):
    """Every NoSchedule and NoExecute taint of a node must be tolerated.

    Attributes:
        virtual_nodes: whether pods that have opted in (placement/overflow.py) are taken to tolerate the taint of virtual nodes,
            and to need it where they want nothing else.
    """

    virtual_nodes: bool = False

    def failures(self, view: View, pod: Pod) -> dict[str, Bools]:
        overflows = self.virtual_nodes and may_overflow(view, pod)
        failures = {REASON: ~view.nodes.tolerable(pod.cls.shape, pod.cls.requirements, overflows=overflows)}
        if self.virtual_nodes and only_virtual(view, pod):
            failures[NOT_VIRTUAL] = ~virtual_nodes(view)
        return failures
