"""The pods of a node, from their control groups and from what the API server told: one list, and the same one until something changes."""

from collections.abc import Sequence

from neaptide.agent.groups import Groups
from neaptide.agent.layout import PodGroup
from neaptide.agent.pods import NodePods
from neaptide.agent.readings import NodePod


class Present:
    """Who is there."""

    def __init__(self, groups: Groups, pods: NodePods) -> None:
        self._groups, self._pods = groups, pods
        self._known: tuple[Sequence[Sequence[str]], int] = ((), -1)
        self._there: tuple[NodePod, ...] = ()

    def pods(self) -> tuple[NodePod, ...]:
        """Those whose groups are there now; the very same tuple as at the last call where nothing has changed."""
        layout, listing = self._groups.layout, self._groups.listing
        known = layout.names(listing), self._pods.changes
        if known != self._known:
            self._known = known
            there = tuple(self._pod(group) for group in layout.pods(listing))
            self._there = self._there if there == self._there else there
        return self._there

    def _pod(self, group: PodGroup) -> NodePod:
        """Before the API server has told anything, the tier is all that is known of a pod."""
        pod = self._pods.by_uid.get(group.uid)
        if pod is None:
            return NodePod(group, group.tier == "besteffort" and not self._pods.synced, known=False)
        return NodePod(group, pod.is_best_effort(group.tier), known=True, qos=pod.qos)
