"""Placing pods: which nodes can take a pod, which one should, and why not the others."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from neaptide.model.columns import FAILED, NO_NODE, SUCCEEDED, Bools, Longs
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.engine import Engine
from neaptide.placement.profile import DEFAULT, Profile
from neaptide.placement.verdict import Refusal, Verdict, judge
from neaptide.placement.view import Pod, View

INFEASIBLE = -1
WORTH_A_BATCH = 8
"""Fewer pods than that are placed one by one, for laying a batch out costs as much as placing a few."""


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
        self._engine = Engine(self.view, profile)

    def at(self, now: float) -> None:
        """Tell the time, for filters and scores that ask how old things are; whenever it has passed, or usage was measured."""
        self.view.at(now)

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
        self.view.refresh()
        self.view.topology.classes.meet_all(set(self.snapshot.pods.cls[np.asarray(pods, dtype=np.int64)].tolist()))
        alone = {pod: reason for pod in pods if (reason := self._left_alone(pod))}
        rest = [pod for pod in pods if pod not in alone]
        if len(set(rest)) < len(rest):  # a pod is left alone when it comes the second time
            return [self._place(pod) for pod in pods]
        placed = {pod: Placed(pod, None, reason) for pod, reason in alone.items()}
        batched = self._engine.takes(np.array(rest, dtype=np.int64))
        for is_batch, run in groupby(zip(batched, rest, strict=True), key=itemgetter(0)):
            found = [pod for _, pod in run]
            placed |= {each.pod: each for each in (self._place_all(found) if is_batch else map(self._place, found))}
        return [placed[pod] for pod in pods]

    def _place_all(self, pods: Sequence[int]) -> list[Placed]:
        """As `_place`, for many pods that the engine takes."""
        self.view.refresh()
        rows = np.array(pods, dtype=np.int64)
        nodes = self._engine.place(rows) if len(pods) >= WORTH_A_BATCH else None
        if nodes is None:
            return [self._place(pod) for pod in pods]
        placed: list[Placed] = []
        said: dict[int, str] = {}
        for number in [*np.flatnonzero(nodes == NO_NODE).tolist(), len(pods)]:
            block = slice(len(placed), number)
            if len(placed) < number:
                self.snapshot.assign_all(rows[block], nodes[block])
                placed += map(Placed, pods[block], nodes[block].tolist())
                said.clear()
            if number < len(pods):
                placed.append(Placed(pods[number], None, self._refusal(pods[number], said)))
        return placed

    def _refusal(self, row: int, said: dict[int, str]) -> str:
        """Why no node can take a pod. Until the next pod is placed the same is said of all pods of its class."""
        number = int(self.snapshot.pods.cls[row])
        if number not in said:
            self.view.refresh()
            said[number] = judge(self.view, self.profile.filters, self.view.pod(row)).message()
        return said[number]

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
