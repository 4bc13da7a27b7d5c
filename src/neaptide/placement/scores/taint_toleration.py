"""PreferNoSchedule taints."""

from neaptide.model.columns import Longs
from neaptide.model.selectors import tolerates
from neaptide.placement.scores.score import Score, normalized
from neaptide.placement.view import Pod, View

EFFECT = "PreferNoSchedule"


class TaintToleration(Score, frozen=True, tag="TaintToleration"):
    """The fewer PreferNoSchedule taints of a node the pod doesn't tolerate, the better."""

    weight: int = 3

    def scores(self, view: View, pod: Pod, rows: Longs) -> Longs:
        return normalized(self.raw(view, pod, rows), reverse=True)

    def raw(self, view: View, pod: Pod, rows: Longs) -> Longs:
        """int64[len(rows)]: how many such taints each node has."""
        tolerations = pod.cls.requirements.tolerations
        return view.nodes.by_taints(
            lambda taints: sum(
                each.effect == EFFECT and not any(tolerates(toleration, each) for toleration in tolerations)
                for each in taints
            ),
            rows,
        )
