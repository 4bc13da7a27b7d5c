"""Prefer nodes whose jobs end when the pod does: a node can go when the last of its jobs has ended, and no sooner."""

from collections.abc import Callable
from math import isnan

import numpy as np

from neaptide.model.columns import FAILED, SUCCEEDED, Floats, Ints, Longs
from neaptide.model.run_times import deadline_seconds, needed_seconds
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.scores.score import LARGEST, Score
from neaptide.placement.view import Pod, View


class LikeEnds(Score, frozen=True, tag="LikeEnds"):
    """100 for a node whose last job ends with the pod, less the later it ends, or the more the pod would outlast it; 0 where no job is left.

    It has no say about pods that do not tell how long they run, by annotation or by their Job's deadline.
    """

    def scores(self, view: View, pod: Pod, rows: Longs) -> Longs | None:
        if pod.row < 0 or isnan(view.now):
            return None
        (seconds,) = _seconds(view.snapshot, np.array([pod.row]))
        if isnan(seconds):
            return None
        longest = view.sums.of(("LikeEnds",), lambda pods: _left(view.snapshot, pods, view.now), np.maximum)[0, rows]
        covered = np.minimum(longest / seconds, 1)
        alike = (1 + seconds / np.maximum(longest, seconds)) / 2
        scores: Longs = np.floor(LARGEST * covered * alike).astype(np.int64)
        return scores


def _left(snapshot: ClusterSnapshot, pods: Longs, now: float) -> Floats:
    """float64[1, pods]: seconds for which pods (rows) on nodes go on; 0 where they do not say, or have ended or should have."""
    table = snapshot.pods
    ran = np.nan_to_num(now - table.started[pods])
    left = np.nan_to_num(np.maximum(_seconds(snapshot, pods) - ran, 0))
    return np.where(np.isin(table.phase[pods], (SUCCEEDED, FAILED)), 0.0, left)[None]


def _seconds(snapshot: ClusterSnapshot, pods: Longs) -> Floats:
    """float64[pods]: from start to end, as pods say, and never beyond their deadline; nan where they say nothing."""
    sets, owners = snapshot.annotation_sets.values, snapshot.pods.owner[pods]
    said = _each(snapshot.pods.annotations[pods], lambda row: needed_seconds(sets[row]))
    return np.fmin(said, _each(owners, lambda row: deadline_seconds(snapshot, row)))


def _each(rows: Ints, seconds: Callable[[int], float | None]) -> Floats:
    """float64[rows]: what some rows come to; each is asked about once."""
    known, which = np.unique(rows, return_inverse=True)
    return np.array([seconds(row) for row in known.tolist()], dtype=np.float64)[which]
