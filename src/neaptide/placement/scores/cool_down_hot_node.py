"""Prefer nodes that have not just received pods: what these will use does not show yet, and metrics lag behind.

Without it every scheduler that reads metrics sends a burst of pods to the node that was idle when it was last measured.
"""

import numpy as np

from neaptide.model.columns import Floats, Longs
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.scores.score import LARGEST, Score
from neaptide.placement.sums import Amounts
from neaptide.placement.view import Pod, View


class CoolDownHotNode(Score, frozen=True, tag="CoolDownHotNode"):
    """100 for a node that received no pods within `window_seconds`, down to 0 for one whose heat is `hot_pods` or more.

    A pod gives its node a heat of 1 when it comes, half of that after each `half_life_seconds`, and none beyond the window. A pod came
    when it started, or just now if it has a node and has not started. DaemonSets' pods come with their nodes and heat nothing.
    """

    window_seconds: float = 300.0
    half_life_seconds: float = 60.0
    hot_pods: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.window_seconds > 0 and self.half_life_seconds > 0 and self.hot_pods > 0):
            raise ValueError("windowSeconds, halfLifeSeconds and hotPods must be above 0")

    def scores(self, view: View, pod: Pod, rows: Longs) -> Longs | None:
        del pod
        if np.isnan(view.now):
            return None
        rule = ("CoolDownHotNode", self.window_seconds, self.half_life_seconds)
        heat = view.sums.of(rule, self._heat(view.snapshot, view.now))[0, rows]
        scores: Longs = np.floor(LARGEST * (1 - np.minimum(heat / self.hot_pods, 1))).astype(np.int64)
        return scores

    def _heat(self, snapshot: ClusterSnapshot, now: float) -> Amounts:
        def heat(pods: Longs) -> Floats:
            table = snapshot.pods
            owners, which = np.unique(table.owner[pods], return_inverse=True)
            kinds = [snapshot.workloads.refs[owner].kind if owner >= 0 else "" for owner in owners.tolist()]
            comes_with_node = np.array([kind == "DaemonSet" for kind in kinds], dtype=np.bool_)[which]
            age = np.maximum(np.nan_to_num(now - table.started[pods]), 0)
            heat = np.where(age <= self.window_seconds, 0.5 ** (age / self.half_life_seconds), 0.0)
            return np.where(comes_with_node, 0.0, heat)[None]

        return heat
