"""Pods with scheduling gates wait."""

from neaptide.placement.filters.filter import Filter
from neaptide.placement.view import Pod, View

GATED = "Scheduling is blocked due to non-empty scheduling gates"


class SchedulingGates(Filter, frozen=True, tag="SchedulingGates"):
    """No node takes a pod with scheduling gates; the message is that of the pod's SchedulingGated condition."""

    def refusal(self, view: View, pod: Pod) -> str | None:
        return GATED if pod.row >= 0 and view.snapshot.pods.gated[pod.row] else None
