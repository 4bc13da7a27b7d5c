"""Prefer nodes where the pod brings requested and expected CPU together, so that request-heavy and usage-heavy pods mix.

Pods that request much and use little fill a node by the book and leave it idle; pods that use all they request, or more, make
one hot that is half empty by the book. Requests alone tell neither; the profile of a workload does.
"""

import numpy as np

from neaptide.model.columns import Floats, Longs
from neaptide.model.vocabulary import CPU
from neaptide.placement.load_aware import ScalingFactors, estimate
from neaptide.placement.scores.score import LARGEST, Score
from neaptide.placement.sums import Amounts
from neaptide.placement.view import Pod, View

_HALF = LARGEST // 2


class NodeBalance(Score, frozen=True, tag="NodeBalance"):
    """How much the pod evens out a node's requested and expected CPU: 75 for no change, 100 and 50 at the ends.

    A node's balance is 100 * (1 - |requested - k * expected| / allocatable), at least 0; k is what all pods on nodes request over
    what they are expected to use, so that a node whose mix is the cluster's is in balance. What a pod is expected to use is what its
    profile says, else what it was measured to use, else what LoadAware would estimate.
    """

    scaling_factors: ScalingFactors = ScalingFactors()

    def scores(self, view: View, pod: Pod, rows: Longs) -> Longs | None:
        amounts = self._amounts(view)
        sums = view.sums.of(("NodeBalance", self.scaling_factors), amounts)
        requested, expected = sums[:, rows]
        more_requested, more_expected = amounts(np.array([pod.row]))[:, 0] if pod.row >= 0 else (0.0, 0.0)
        all_requested, all_expected = sums.sum(axis=1)
        if not (all_requested > 0 and all_expected > 0):
            return None
        ratio = all_requested / all_expected
        allocatable = np.maximum(view.snapshot.nodes.allocatable[CPU, rows], 1)
        before = _balance(requested - ratio * expected, allocatable)
        after = _balance(requested + more_requested - ratio * (expected + more_expected), allocatable)
        return _HALF + (_HALF + after - before) // 2

    def _amounts(self, view: View) -> Amounts:
        snapshot = view.snapshot

        def amounts(pods: Longs) -> Floats:
            shapes, which = np.unique(snapshot.classes.shape[snapshot.pods.cls[pods]], return_inverse=True)
            facts = [snapshot.shape_facts.values[shape] for shape in shapes.tolist()]
            estimates = np.array([estimate(each, self.scaling_factors)[CPU] for each in facts] or [0])
            expected = np.full(len(pods), np.nan) if view.profiled is None else view.profiled(pods)
            expected = np.where(np.isnan(expected), snapshot.pods.usage_cpu[pods], expected)
            expected = np.where(np.isnan(expected), estimates[which], expected)
            return np.array([snapshot.shapes.request[CPU, shapes][which], expected], dtype=np.float64)

        return amounts


def _balance(difference: Floats, allocatable: Longs) -> Longs:
    """int64, 0..100."""
    balance: Longs = np.floor(LARGEST * (1 - np.minimum(np.abs(difference) / allocatable, 1))).astype(np.int64)
    return balance
