"""Label selectors, node selectors, taints and tolerations, with the API's semantics.

Sources: k8s.io/apimachinery/pkg/labels (selector.go), k8s.io/component-helpers/scheduling/corev1.
"""

import re
from collections.abc import Mapping, Sequence

from neaptide.model.objects import LabelSelector, NodeSelector, NodeSelectorTerm, Requirement, Taint, Toleration

LABEL_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
NODE_OPERATORS = (*LABEL_OPERATORS, "Gt", "Lt")
TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_INTEGER = re.compile(r"[+-]?[0-9]{1,99}")


def requirement_matches(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    """Whether labels meet one expression; an unknown operator, and `Gt`/`Lt` on what is no integer, match nothing."""
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return _compares(requirement, value)
        case _:
            return False


def labels_match(selector: LabelSelector | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects labels: no selector selects nothing, an empty one everything."""
    if selector is None:
        return False
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        requirement_matches(requirement, labels) for requirement in selector.match_expressions
    )


def node_matches(selector: NodeSelector | None, labels: Mapping[str, str], name: str) -> bool:
    """Whether a node meets any term of a node selector: no selector admits every node, no term admits none."""
    return selector is None or any(term_matches(term, labels, name) for term in selector.node_selector_terms)


def term_matches(term: NodeSelectorTerm, labels: Mapping[str, str], name: str) -> bool:
    """Whether a node meets one term: all its expressions and fields; an empty term matches nothing."""
    if not term.match_expressions and not term.match_fields:
        return False
    fields = {"metadata.name": name}
    return all(requirement_matches(each, labels) for each in term.match_expressions) and all(
        requirement_matches(each, fields) for each in term.match_fields
    )


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether one toleration covers one taint: an empty key with `Exists` covers all, an empty effect every effect."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.operator in ("", "Equal") and toleration.value == taint.value


def untolerated(taints: Sequence[Taint], tolerations: Sequence[Toleration], effects: Sequence[str]) -> Taint | None:
    """The first taint with one of `effects` that no toleration covers."""
    for taint in taints:
        if taint.effect in effects and not any(tolerates(each, taint) for each in tolerations):
            return taint
    return None


def _compares(requirement: Requirement, value: str | None) -> bool:
    if value is None or len(requirement.values) != 1:
        return False
    found, bound = _integer(value), _integer(requirement.values[0])
    if found is None or bound is None:
        return False
    return found > bound if requirement.operator == "Gt" else found < bound


def _integer(text: str) -> int | None:
    """A 64-bit integer as Go reads it: unlike Python, no spaces, underscores or other alphabets' digits."""
    if not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None
