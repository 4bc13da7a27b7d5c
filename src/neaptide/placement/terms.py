"""Which pods a topology spread constraint or an inter-pod affinity term speaks of.

Sources: kube-scheduler v1.36, plugins interpodaffinity and podtopologyspread, framework.AffinityTerm; for
(mis)matchLabelKeys the API server's strategy for pods, which merges them into the selector when a pod is created
(merging twice changes nothing).
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from neaptide.model.objects import Affinity, LabelSelector, PodAffinity, PodAffinityTerm, Requirement
from neaptide.model.selectors import labels_match


class Term(NamedTuple):
    """An affinity or anti-affinity term of a pod, with its namespaces and label keys filled in from that pod."""

    key: str
    """The topology key."""
    namespaces: tuple[str, ...]
    namespace_selector: LabelSelector | None
    selector: LabelSelector | None

    def covers(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether the term speaks of pods in a namespace with these labels (of the namespace; none where it is unknown)."""
        return namespace in self.namespaces or labels_match(self.namespace_selector, labels)

    def covers_as_incoming(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """As `covers`, for a term of the pod that is being placed.

        v1.36 looks these namespaces up beforehand but then asks the selector again, about no labels: a selector that is
        met by the absence of labels (NotIn, DoesNotExist) covers every namespace.
        """
        return self.covers(namespace, labels) or labels_match(self.namespace_selector, {})


def term_of(raw: PodAffinityTerm, namespace: str, labels: Mapping[str, str]) -> Term:
    """A term as it stands for a pod with this namespace and these labels."""
    own = (namespace,) if not raw.namespaces and raw.namespace_selector is None else raw.namespaces
    extra = [
        *_by_keys(raw.match_label_keys, "In", labels),
        *_by_keys(raw.mismatch_label_keys, "NotIn", labels),
    ]
    return Term(raw.topology_key, tuple(sorted(own)), raw.namespace_selector, narrowed(raw.label_selector, extra))


def spread_selector(
    selector: LabelSelector | None, match_label_keys: Iterable[str], labels: Mapping[str, str]
) -> LabelSelector | None:
    """A spread constraint's selector as it stands for a pod with these labels."""
    return narrowed(selector, _by_keys(match_label_keys, "In", labels))


def narrowed(selector: LabelSelector | None, extra: Iterable[Requirement]) -> LabelSelector | None:
    """A selector with more expressions; none stays none and selects nothing."""
    added = tuple(extra)
    if selector is None or not added:
        return selector
    return LabelSelector(selector.match_labels, (*selector.match_expressions, *added))


def required(side: PodAffinity | None) -> tuple[PodAffinityTerm, ...]:
    """The required terms of podAffinity or podAntiAffinity."""
    return side.required_during_scheduling_ignored_during_execution if side else ()


def preferred(side: PodAffinity | None) -> tuple[tuple[int, PodAffinityTerm], ...]:
    """The preferred terms of podAffinity or podAntiAffinity with their weights."""
    terms = side.preferred_during_scheduling_ignored_during_execution if side else ()
    return tuple((each.weight, each.pod_affinity_term) for each in terms)


def affinity_sides(affinity: Affinity | None) -> tuple[PodAffinity | None, PodAffinity | None]:
    """A pod's podAffinity and podAntiAffinity."""
    return (affinity.pod_affinity, affinity.pod_anti_affinity) if affinity else (None, None)


def _by_keys(keys: Iterable[str], operator: str, labels: Mapping[str, str]) -> list[Requirement]:
    return [Requirement(key, operator, (labels[key],)) for key in keys if key in labels]
