"""Preferred pod affinity and anti-affinity, the pod's own and those of the pods that are there."""

import numpy as np

from neaptide.model.columns import Longs
from neaptide.placement.counts import totals
from neaptide.placement.preferences import Pull
from neaptide.placement.scores.score import LARGEST, Score
from neaptide.placement.view import Pod, View


class InterPodAffinity(Score, frozen=True, tag="InterPodAffinity"):
    """The sum of what pulls the pod to a node's domains, between the smallest and the largest sum.

    Fields:
        hard_pod_affinity_weight: what a required affinity term of a pod that is there counts, 0..100.
        ignore_preferred_terms_of_existing_pods: only pods with preferred terms of their own are scored.
    """

    weight: int = 2
    hard_pod_affinity_weight: int = 1
    ignore_preferred_terms_of_existing_pods: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.hard_pod_affinity_weight <= 100:
            raise ValueError("hardPodAffinityWeight must be in 0..100")

    def scores(self, view: View, pod: Pod, rows: Longs) -> Longs | None:
        topology = view.topology
        total = np.zeros(len(rows), dtype=np.int64)
        pulled = False
        for pull in self.pulls(view, pod):
            on_node = topology.counts.on_node[pull.pods]
            if on_node.any():
                pulled = True
                domains = topology.domains(pull.key)
                in_domain = totals(on_node, domains, domains >= 0, topology.domain_count(pull.key))
                total += pull.weight * np.append(in_domain, 0)[domains[rows]]
        if not pulled or not len(rows):
            return None
        least, span = int(total.min()), int(total.max() - total.min())
        return (LARGEST * ((total - least) / span)).astype(np.int64) if span else np.zeros_like(total)

    def pulls(self, view: View, pod: Pod) -> tuple[Pull, ...]:
        """All that pulls a pod somewhere, or pushes it away."""
        own = view.preferences.own(pod.cls)
        if self.ignore_preferred_terms_of_existing_pods and not own:
            return ()
        return own + view.preferences.others(pod.cls, self.hard_pod_affinity_weight)
