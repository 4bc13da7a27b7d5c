"""Preferred node affinity."""

import numpy as np

from neaptide.model.columns import Longs
from neaptide.placement.scores.score import Score, normalized
from neaptide.placement.view import Pod, View


class NodeAffinity(Score, frozen=True, tag="NodeAffinity"):
    """The sum of the weights of the preferred terms that a node meets, as part of the largest sum."""

    weight: int = 2

    def scores(self, view: View, pod: Pod, rows: Longs) -> Longs | None:
        total = self.raw(view, pod, rows)
        return None if total is None else normalized(total)

    def raw(self, view: View, pod: Pod, rows: Longs) -> Longs | None:
        """int64[len(rows)]: the sum of the weights for each node; None for a pod without such terms."""
        requirements = pod.cls.requirements
        rules = requirements.affinity.node_affinity if requirements.affinity else None
        terms = rules.preferred_during_scheduling_ignored_during_execution if rules else ()
        if not terms:
            return None
        total = np.zeros(len(rows), dtype=np.int64)
        for number, term in enumerate(terms):
            meets = view.nodes.mask(
                f"preferred {number}",
                pod.cls.shape,
                requirements,
                lambda some, preference=term.preference: view.nodes.in_term(preference, some),  # type: ignore[misc] # binds the term
            )
            total += meets[rows] * term.weight
        return total
