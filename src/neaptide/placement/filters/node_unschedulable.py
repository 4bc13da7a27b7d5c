"""Cordoned nodes take no pods."""

from neaptide.model.columns import Bools
from neaptide.model.objects import Taint
from neaptide.model.selectors import tolerates
from neaptide.placement.filters.filter import Filter
from neaptide.placement.view import Pod, View

REASON = "node(s) were unschedulable"
CORDON = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")


class NodeUnschedulable(Filter, frozen=True, tag="NodeUnschedulable"):
    """A cordoned node takes only pods that tolerate the taint of that meaning, whether the node carries it or not."""

    def failures(self, view: View, pod: Pod) -> dict[str, Bools]:
        cordoned = view.snapshot.nodes.unschedulable[: view.nodes.rows]
        if not cordoned.any() or any(tolerates(each, CORDON) for each in pod.cls.requirements.tolerations):
            return {}
        return {REASON: cordoned.copy()}
