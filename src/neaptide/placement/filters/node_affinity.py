"""Node selector and required node affinity."""

from neaptide.model.columns import Bools
from neaptide.model.objects import NodeSelectorTerm
from neaptide.placement.filters.filter import Filter
from neaptide.placement.nodes import NAME_FIELD
from neaptide.placement.view import Pod, View

REASON = "node(s) didn't match Pod's node affinity/selector"
CONFLICT = "pod affinity terms conflict"


class NodeAffinity(Filter, frozen=True, tag="NodeAffinity"):
    """A node must have the labels of the node selector and meet a term of the required node affinity."""

    def refusal(self, view: View, pod: Pod) -> str | None:
        names = self.named(view, pod)
        return CONFLICT if names is not None and not names else None

    def named(self, view: View, pod: Pod) -> frozenset[str] | None:
        del view
        names: frozenset[str] = frozenset()
        terms = _required(pod)
        for term in terms:
            of_term = _names(term)
            if of_term is None:
                return None
            names |= of_term
        return names if terms else None

    def failures(self, view: View, pod: Pod) -> dict[str, Bools]:
        return {REASON: ~view.nodes.matching(pod.cls.shape, pod.cls.requirements)}


def _required(pod: Pod) -> tuple[NodeSelectorTerm, ...]:
    affinity = pod.cls.requirements.affinity
    rules = affinity.node_affinity if affinity else None
    selector = rules.required_during_scheduling_ignored_during_execution if rules else None
    return selector.node_selector_terms if selector else ()


def _names(term: NodeSelectorTerm) -> frozenset[str] | None:
    """The nodes that a term names, None where it names none."""
    named = [frozenset(each.values) for each in term.match_fields if (each.key, each.operator) == (NAME_FIELD, "In")]
    return frozenset.intersection(*named) if named else None
