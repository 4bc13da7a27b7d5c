"""Placing pods: which nodes can take a pod, which one should, and why not the others."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from neaptide.model.columns import FAILED, SUCCEEDED, Bools, Longs
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.profile import DEFAULT, Profile
from neaptide.placement.verdict import Refusal, Verdict, judge
from neaptide.placement.view import Pod, View

INFEASIBLE = -1


class Placed(NamedTuple):
    """What became of a pod (row): the row of its node, or None and the reason."""

    pod: int
    node: int | None
    reason: str = ""


class Placement:
    """Places the pods of a snapshot by a profile. Pods and nodes are given by their rows.

    The snapshot may be changed between calls. A pod that has a node is judged as if it had none: where it is counts as
    one more node that may take it.
    """

    def __init__(self, snapshot: ClusterSnapshot, profile: Profile = DEFAULT) -> None:
        self.snapshot, self.profile = snapshot, profile
        self.view = View(snapshot)

    def feasible(self, pod: int) -> Bools:
        """bool[nodes]: the nodes that can take a pod."""
        return self.verdict(pod).feasible

    def scores(self, pod: int) -> Longs:
        """int64[nodes]: the weighted sum of the scores of each node that can take a pod, INFEASIBLE for the others."""
        with self._pending(pod) as pending:
            return self._scores(pending, judge(self.view, self.profile.filters, pending).feasible)

    def choose(self, pod: int) -> int | None:
        """The best node for a pod; of equals the first. None where no node can take it."""
        return _best(self.scores(pod))

    def verdict(self, pod: int) -> Verdict:
        """What every filter says of every node: the counts and the message for people stand in it."""
        with self._pending(pod) as pending:
            return judge(self.view, self.profile.filters, pending)

    def verdicts(self, pod: int) -> dict[int, Refusal]:
        """By node: why it cannot take a pod."""
        verdict = self.verdict(pod)
        refused = np.flatnonzero(verdict.nodes & ~verdict.feasible).tolist()
        return {node: refusal for node in refused if (refusal := verdict.why_not(node)) is not None}

    def why_not(self, pod: int, node: int) -> Refusal | None:
        """Why a node cannot take a pod; None where it can."""
        return self.verdict(pod).why_not(node)

    def schedule(self, pods: Sequence[int]) -> list[Placed]:
        """Place pods in the order given, each before the next is looked at, and assign them in the snapshot."""
        self.view.topology.classes.meet_all(set(self.snapshot.pods.cls[np.asarray(pods, dtype=np.int64)].tolist()))
        return [self._place(pod) for pod in pods]

    def _place(self, row: int) -> Placed:
        refused = self._left_alone(row)
        if refused:
            return Placed(row, None, refused)
        self.view.refresh()
        pod = self.view.pod(row)
        verdict = judge(self.view, self.profile.filters, pod)
        node = _best(self._scores(pod, verdict.feasible))
        if node is None:
            return Placed(row, None, verdict.message())
        self.view.volumes.reserve(pod.cls, node)
        self.snapshot.assign(row, node)
        return Placed(row, node)

    def _left_alone(self, row: int) -> str:
        """Why a pod is none that a scheduler looks at; empty for one that is."""
        pods = self.snapshot.pods
        if pods.node[row] >= 0:
            return "pod is bound already"
        if pods.phase[row] in (SUCCEEDED, FAILED):
            return "pod has finished"
        return "" if np.isnan(pods.deleted[row]) else "pod is being deleted"

    def _scores(self, pod: Pod, feasible: Bools) -> Longs:
        rows = np.flatnonzero(feasible)
        total = np.full(len(feasible), INFEASIBLE, dtype=np.int64)
        total[rows] = 0
        for each in self.profile.scores if len(rows) else ():
            scores = each.scores(self.view, pod, rows)
            if scores is not None:
                total[rows] += each.weight * scores
        return total

    @contextmanager
    def _pending(self, row: int) -> Iterator[Pod]:
        """A pod as it would be judged if it had no node yet."""
        with self.snapshot.what_if():
            if self.snapshot.pods.node[row] >= 0:
                self.snapshot.unassign(row)
            self.view.refresh()
            yield self.view.pod(row)


def _best(scores: Longs) -> int | None:
    """The first of the highest scores."""
    if not len(scores):
        return None
    node = int(scores.argmax())
    return node if scores[node] > INFEASIBLE else None
