"""What the filters say of a pod: which nodes can take it, and why the others cannot, in kube-scheduler's words.

Source of the wording: kube-scheduler v1.36, framework.FitError and findNodesThatFitPod.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from neaptide.model.columns import Bools
from neaptide.placement.filters.filter import Filter
from neaptide.placement.filters.scheduling_gates import SchedulingGates
from neaptide.placement.view import Pod, View

NO_NODES = "no nodes available to schedule pods"


class Refusal(NamedTuple):
    """Why a node cannot take a pod: the first filter that it fails, and that filter's reasons."""

    filter: str
    reasons: tuple[str, ...]


class Verdict(NamedTuple):
    """What all filters say of a pod.

    Attributes:
        nodes: bool[nodes]: those that exist.
        feasible: bool[nodes]: those that can take the pod.
        refusals: each filter that fails nodes which all filters before it pass; by reason, bool[nodes].
        refused: the filter that refuses the pod as such, whatever the node, and its reason.
    """

    nodes: Bools
    feasible: Bools
    refusals: tuple[tuple[str, dict[str, Bools]], ...] = ()
    refused: tuple[Filter, str] | None = None

    def why_not(self, node: int) -> Refusal | None:
        """Why a node, given by its row, cannot take the pod; None where it can."""
        if self.refused is not None:
            return Refusal(self.refused[0].name, (self.refused[1],))
        for name, reasons in self.refusals:
            found = tuple(reason for reason, failed in reasons.items() if failed[node])
            if found:
                return Refusal(name, found)
        return None

    def by_filter(self) -> dict[str, int]:
        """How many nodes each filter refuses first."""
        if self.refused is not None:
            return {self.refused[0].name: int(np.count_nonzero(self.nodes))}
        refused = {name: np.any([*reasons.values()], axis=0) for name, reasons in self.refusals}
        return {name: int(np.count_nonzero(failed)) for name, failed in refused.items()}

    def by_reason(self) -> dict[str, int]:
        """How many nodes are refused for each reason; a node may have several."""
        counts: Counter[str] = Counter()
        for _, reasons in self.refusals:
            for reason, failed in reasons.items():
                counts[reason] += int(np.count_nonzero(failed))
        return dict(counts)

    def message(self) -> str:
        """What the pod's FailedScheduling event says; empty where a node can take it."""
        if self.feasible.any():
            return ""
        total = int(np.count_nonzero(self.nodes))
        if self.refused is not None and isinstance(self.refused[0], SchedulingGates):
            return self.refused[1]
        if not total:
            return NO_NODES
        reasons = [f"{count} {reason}" for reason, count in self.by_reason().items()]
        said = self.refused[1] if self.refused is not None else ", ".join(sorted(reasons))
        return f"0/{total} nodes are available: {said}."


def judge(view: View, filters: Iterable[Filter], pod: Pod) -> Verdict:
    """Ask filters in order; a later one is heard only on nodes that pass all before it."""
    filters = tuple(filters)
    nodes = view.snapshot.nodes.alive[: view.nodes.rows].copy()
    for each in filters:
        reason = each.refusal(view, pod)
        if reason is not None:
            return Verdict(nodes, np.zeros_like(nodes), refused=(each, reason))
    feasible = nodes.copy()
    refusals: list[tuple[str, dict[str, Bools]]] = []
    rules = [(each.name, _unnamed(view, each.named(view, pod), each.name)) for each in filters]
    for name, failures in (*rules, *((each.name, each.failures(view, pod)) for each in filters)):
        heard = {reason: failed & feasible for reason, failed in failures.items()}
        heard = {reason: failed for reason, failed in heard.items() if failed.any()}
        if heard:
            refusals.append((name, heard))
            for failed in heard.values():
                feasible &= ~failed
    return Verdict(nodes, feasible, tuple(refusals))


def _unnamed(view: View, names: frozenset[str] | None, by: str) -> dict[str, Bools]:
    """The nodes that a filter does not even look at."""
    if names is None:
        return {}
    outside = np.ones(view.nodes.rows, dtype=np.bool_)
    for name in names:
        row = view.snapshot.nodes.by_name.get(name)
        if row is not None:
            outside[row] = False
    return {f"node(s) didn't satisfy plugin(s) [{by}]": outside}
