"""Why a pod fits where it fits: what the filters say of every node, and how the scores rank those that pass."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from neaptide.cli.output import emit
from neaptide.model.columns import Longs
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.profile import Profile
from neaptide.placement.verdict import Verdict, judge
from neaptide.placement.view import Pod, View

BEST = 5
"""How many of the best nodes are shown."""
_EXAMPLES = 3


class Refused(msgspec.Struct, frozen=True):
    """How many nodes a filter refuses for a reason in kube-scheduler's words, and some of them."""

    filter: str
    reason: str
    nodes: int
    such_as: list[str]


class NodeVerdict(msgspec.Struct, frozen=True):
    """One node: its rank among those that pass (1 is the best) and its weighted scores, or the filter that refuses it and why."""

    node: str
    here: bool
    rank: int | None = None
    score: int | None = None
    scores: dict[str, int] = {}
    filter: str | None = None
    reasons: tuple[str, ...] = ()


class PlacementExplanation(msgspec.Struct, frozen=True):
    """Where a pod can go, judged as if it were not placed yet.

    `message` is what its FailedScheduling event would say, empty where some node passes; `verdicts` are those of its own
    node, of the nodes asked for and of the best ones.
    """

    nodes: int
    feasible: int
    message: str
    refused: list[Refused]
    verdicts: list[NodeVerdict]

    def summary(self) -> str:
        """One sentence."""
        return self.message or f"{self.feasible} of {self.nodes} can take it"

    def print_tables(self) -> None:
        """The ranked nodes with their scores, then those that were asked for and refused, then the refusals by filter."""
        ranked: list[dict[str, Any]] = [
            {"rank": each.rank, "node": each.node, "here": each.here, "score": each.score} | each.scores
            for each in self.verdicts
            if each.rank is not None
        ]
        not_there = [
            {"node": each.node, "here": each.here, "filter": each.filter, "reason": "; ".join(each.reasons)}
            for each in self.verdicts
            if each.rank is None
        ]
        for title, rows in (("why there", ranked), ("why not there", not_there), ("refused", self.refused)):
            if rows:
                emit(rows, "table", title=title)


def explain_placement(
    snapshot: ClusterSnapshot, pod: int, profile: Profile, asked: Sequence[int] = ()
) -> PlacementExplanation:
    """What filters and scores say of a pod (its row), as if it were on no node; `asked` are rows of nodes to speak of."""
    own = int(snapshot.pods.node[pod])
    with snapshot.what_if():
        if own >= 0:
            snapshot.unassign(pod)
        view = View(snapshot)
        who = view.pod(pod)
        verdict = judge(view, profile.filters, who)
        rows = np.flatnonzero(verdict.feasible)
        scores = _scores(view, who, profile, rows)
    total: Longs = sum(scores.values(), np.zeros(len(rows), dtype=np.int64))
    order = np.lexsort((rows, -total)).tolist()
    rank_of = {int(rows[place]): rank for rank, place in enumerate(order, start=1)}
    shown = dict.fromkeys([*([own] if own >= 0 else []), *asked, *(int(rows[place]) for place in order[:BEST])])
    verdicts = []
    for node in sorted(shown, key=lambda node: rank_of.get(node, len(rows) + 1)):
        name, here = snapshot.nodes.names[node], node == own
        if node in rank_of:
            place = order[rank_of[node] - 1]
            parts = {score: int(values[place]) for score, values in scores.items()}
            verdicts.append(NodeVerdict(name, here, rank_of[node], int(total[place]), parts))
        else:
            refusal = verdict.why_not(node)
            verdicts.append(
                NodeVerdict(name, here, filter=refusal and refusal.filter, reasons=refusal.reasons if refusal else ())
            )
    return PlacementExplanation(
        nodes=int(verdict.nodes.sum()),
        feasible=len(rows),
        message=verdict.message(),
        refused=_refused(snapshot, verdict),
        verdicts=verdicts,
    )


def _scores(view: View, who: Pod, profile: Profile, rows: Longs) -> dict[str, Longs]:
    """By name, the weighted scores of the feasible nodes; a score without a say is not there."""
    if not len(rows):
        return {}
    found = ((each, each.scores(view, who, rows)) for each in profile.scores)
    return {each.name: values * each.weight for each, values in found if values is not None}


def _refused(snapshot: ClusterSnapshot, verdict: Verdict) -> list[Refused]:
    """By filter and reason, in the order of the filters."""
    names = snapshot.nodes.names
    if verdict.refused is not None:
        by_filter, reason = verdict.refused
        return [_counted(names, by_filter.name, reason, verdict.nodes)]
    return [
        _counted(names, name, reason, failed)
        for name, reasons in verdict.refusals
        for reason, failed in reasons.items()
    ]


def _counted(names: Sequence[str], name: str, reason: str, failed: Any) -> Refused:  # noqa: ANN401 - bool[nodes]
    rows = np.flatnonzero(failed)
    return Refused(name, reason, len(rows), [names[row] for row in rows[:_EXAMPLES]])
