"""A minimal chooser of nodes for tests of the simulator: the first node by row that fits."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neaptide.model.objects import LabelSelector
from neaptide.model.selectors import labels_match, untolerated
from neaptide.model.snapshot import ClusterSnapshot


class Placed(NamedTuple):
    pod: int
    node: int | None
    reason: str


class FirstFit:
    """Looks at requests, selectors and taints; remembers in `asked` what it was asked."""

    def __init__(self, snapshot: ClusterSnapshot) -> None:
        self._snapshot = snapshot
        self.asked: list[int] = []

    def at(self, now: float) -> None:
        """It looks at nothing that ages."""

    def schedule(self, pods: Sequence[int]) -> list[Placed]:
        return [self._place(pod) for pod in pods]

    def _place(self, pod: int) -> Placed:
        snapshot = self._snapshot
        self.asked.append(pod)
        request, facts = snapshot.pod_requests(pod), snapshot.shape_of_pod(pod).requirements
        fits = np.all(request[:, None] <= snapshot.free(), axis=0).tolist()
        for node in snapshot.nodes.indices().tolist():
            if not fits[node] or not snapshot.nodes.ready[node] or snapshot.nodes.unschedulable[node]:
                continue
            if not labels_match(LabelSelector(facts.node_selector), snapshot.node_labels(node)):
                continue
            if untolerated(snapshot.node_taints(node), facts.tolerations, ("NoSchedule", "NoExecute")) is None:
                snapshot.assign(pod, node)
                return Placed(pod, node, "")
        return Placed(pod, None, "Insufficient room")
