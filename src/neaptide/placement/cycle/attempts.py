"""One pod, or many that nothing but filters and scores have a say about, on the nodes they go to: filter, score, reserve."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neaptide.model.columns import Bools
from neaptide.placement.cycle.plugin import Plugin
from neaptide.placement.cycle.queue import Waiting
from neaptide.placement.place import Placement
from neaptide.placement.verdict import Verdict, judge

FULL = "the room that is kept for the pod does not suffice"


class Attempt(NamedTuple):
    """What came of trying one pod: the row of its node, or None, who refused it, and the message for people.

    `verdict` says what of every node, and is None where a plugin refused the pod beforehand; `owed` is whether others
    may have to go so that it does not.
    """

    node: int | None
    plugins: frozenset[str] = frozenset()
    message: str = ""
    verdict: Verdict | None = None
    owed: bool = False

    @property
    def may_be_helped(self) -> bool:
        """Whether the post-filter is to be asked."""
        return self.verdict is not None or self.owed


class Attempts:
    """Tries pods against the snapshot as it is."""

    def __init__(self, placement: Placement, plugins: Sequence[Plugin]) -> None:
        self._placement, self._view = placement, placement.view
        self.plugins = tuple(plugins)
        self.filters = placement.profile.filters

    def begin(self, now: float) -> None:
        """Tell filters, scores and plugins that a cycle begins."""
        self._placement.at(now)
        for each in self.plugins:
            each.begin()

    def concerned(self, pod: int) -> tuple[Plugin, ...]:
        """The plugins that have a say about a pod."""
        return tuple(each for each in self.plugins if each.concerns(pod))

    def is_plain(self, pod: int) -> bool:
        """Whether only filters and scores have a say about a pod's node, so that it can be one of many; and it has no claims."""
        return not self._view.volumes.claims(self._view.pod(pod).cls) and not any(
            each.chooses_nodes and each.concerns(pod) for each in self.plugins
        )

    def one(self, pod: int, plugins: Sequence[Plugin], now: float, *, nominated: int = -1) -> Attempt:
        """Find a node for a pod; the nominated one is taken where it will do."""
        refused = self.before(pod, plugins, now)
        if refused is not None:
            return refused
        kept = self._on_kept_room(pod, plugins, now)
        if kept is not None:
            return kept
        verdict = self.verdict(pod, plugins, now)
        if not verdict.feasible.any():
            return Attempt(None, refusers(verdict), verdict.message(), verdict)
        if nominated >= 0 and verdict.feasible[nominated]:
            return Attempt(nominated, verdict=verdict)
        return Attempt(self.best(pod, plugins, verdict.feasible, now), verdict=verdict)

    def _on_kept_room(self, pod: int, plugins: Sequence[Plugin], now: float) -> Attempt | None:
        """The attempt on room that a plugin keeps for a pod; None where there is none, and it may go elsewhere."""
        for plugin in plugins:
            with plugin.lifted(pod) as nodes:
                if nodes is None:
                    continue
                verdict = self.verdict(pod, plugins, now)
                feasible = verdict.feasible & nodes
                if feasible.any():
                    return Attempt(self.best(pod, plugins, feasible, now), verdict=verdict)
            if plugin.only_kept(pod):
                return Attempt(None, refusers(verdict) | {plugin.name}, verdict.message() or self._nowhere(FULL))
        return None

    def before(self, pod: int, plugins: Sequence[Plugin], now: float) -> Attempt | None:
        """Pre-filter: the attempt to place a pod that some plugin refuses whatever the nodes; None where none does."""
        refusals = {plugin: reason for plugin in plugins if (reason := plugin.pre_filter(pod, now))}
        if not refusals:
            return None
        first, owed = next(iter(refusals)), all(plugin.has_debtors for plugin in refusals)
        return Attempt(None, frozenset((first.name,)), self._nowhere(refusals[first]), owed=owed)

    def verdict(self, pod: int, plugins: Sequence[Plugin], now: float) -> Verdict:
        """What filters and plugins say of every node."""
        self._view.refresh()
        verdict = judge(self._view, self.filters, self._view.pod(pod))
        for plugin in plugins:
            if verdict.refused is None:
                verdict = narrowed(verdict, plugin.name, plugin.failures(pod, now))
        return verdict

    def many(self, pods: Sequence[Waiting]) -> tuple[list[Waiting], list[int], list[tuple[Waiting, Attempt]]]:
        """Find nodes for pods, each before the next is looked at, and put them there: who went where, and the others."""
        taken: list[Waiting] = []
        nodes: list[int] = []
        left: list[tuple[Waiting, Attempt]] = []
        for pod, placed in zip(pods, self._placement.schedule([each.row for each in pods]), strict=True):
            if placed.node is None:
                left.append((pod, Attempt(None, frozenset(), placed.reason)))
            else:
                taken.append(pod)
                nodes.append(placed.node)
        return taken, nodes, self._explained(left)

    def _explained(self, left: list[tuple[Waiting, Attempt]]) -> list[tuple[Waiting, Attempt]]:
        """With who refused each pod: the same for all of one class."""
        cls = self._view.snapshot.pods.cls
        verdicts: dict[int, Verdict] = {}
        found = []
        for pod, attempt in left:
            number = int(cls[pod.row])
            if number not in verdicts:
                verdicts[number] = self.verdict(pod.row, (), 0.0)
            verdict = verdicts[number]
            found.append((pod, attempt._replace(plugins=refusers(verdict), verdict=verdict)))
        return found

    def best(self, pod: int, plugins: Sequence[Plugin], feasible: Bools, now: float) -> int:
        """The feasible node of the highest score."""
        rows = np.flatnonzero(feasible)
        total = np.zeros(len(rows), dtype=np.int64)
        for each in self._placement.profile.scores:
            scores = each.scores(self._view, self._view.pod(pod), rows)
            if scores is not None:
                total += each.weight * scores
        for plugin in plugins:
            scores = plugin.scores(pod, rows, now)
            if scores is not None:
                total += scores
        return int(rows[total.argmax()])

    def _nowhere(self, reason: str) -> str:
        total = len(self._view.snapshot.nodes.indices())
        return f"0/{total} nodes are available: {reason}."


def narrowed(verdict: Verdict, name: str, failures: dict[str, Bools]) -> Verdict:
    """A verdict after one more filter has spoken."""
    heard = {reason: failed & verdict.feasible for reason, failed in failures.items()}
    heard = {reason: failed for reason, failed in heard.items() if failed.any()}
    if not heard:
        return verdict
    feasible = verdict.feasible & ~np.any([*heard.values()], axis=0)
    return verdict._replace(feasible=feasible, refusals=(*verdict.refusals, (name, heard)))


def refusers(verdict: Verdict) -> frozenset[str]:
    """The filters and plugins that refused a pod, on some node or as such."""
    if verdict.refused is not None:
        return frozenset((verdict.refused[0].name,))
    return frozenset(name for name, _ in verdict.refusals)
