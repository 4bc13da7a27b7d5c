"""Selectors, taints and tolerations mean what they mean to the API."""

import pytest

from neaptide.model.objects import LabelSelector, NodeSelector, NodeSelectorTerm, Requirement, Taint, Toleration
from neaptide.model.selectors import labels_match, node_matches, requirement_matches, tolerates, untolerated

LABELS = {"zone": "a", "cores": "16", "empty": ""}


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        (Requirement("zone", "In", ("a", "b")), True),
        (Requirement("zone", "In", ("b",)), False),
        (Requirement("absent", "In", ("a",)), False),
        (Requirement("zone", "NotIn", ("b",)), True),
        (Requirement("absent", "NotIn", ("b",)), True),
        (Requirement("empty", "Exists"), True),
        (Requirement("absent", "Exists"), False),
        (Requirement("absent", "DoesNotExist"), True),
        (Requirement("cores", "Gt", ("8",)), True),
        (Requirement("cores", "Gt", ("16",)), False),
        (Requirement("cores", "Lt", ("17",)), True),
        (Requirement("zone", "Gt", ("8",)), False),
        (Requirement("cores", "Gt", ("8", "9")), False),
        (Requirement("absent", "Lt", ("8",)), False),
        (Requirement("zone", "Near", ("a",)), False),
    ],
)
def test_each_operator_has_its_meaning(requirement: Requirement, *, expected: bool) -> None:
    assert requirement_matches(requirement, LABELS) is expected


def test_no_selector_selects_nothing_and_an_empty_one_everything() -> None:
    assert not labels_match(None, LABELS)
    assert labels_match(LabelSelector(), {})
    assert labels_match(LabelSelector({"zone": "a"}, (Requirement("cores", "Exists"),)), LABELS)
    assert not labels_match(LabelSelector({"zone": "b"}), LABELS)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (None, True),
        (NodeSelector(), False),
        (NodeSelector((NodeSelectorTerm(),)), False),
        (NodeSelector((NodeSelectorTerm(), NodeSelectorTerm((Requirement("zone", "In", ("a",)),)))), True),
        (NodeSelector((NodeSelectorTerm(match_fields=(Requirement("metadata.name", "In", ("n1",)),)),)), True),
        (
            NodeSelector(
                (NodeSelectorTerm((Requirement("zone", "Exists"),), (Requirement("metadata.name", "In", ("n2",)),)),)
            ),
            False,
        ),
    ],
    ids=["no selector", "no terms", "an empty term", "terms are alternatives", "fields", "both must hold"],
)
def test_a_node_selector_is_any_of_its_terms(selector: NodeSelector | None, *, expected: bool) -> None:
    assert node_matches(selector, LABELS, "n1") is expected


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        (Toleration(operator="Exists"), True),
        (Toleration("dedicated", "Equal", "gpu"), True),
        (Toleration("dedicated", "", "gpu", "NoSchedule"), True),
        (Toleration("dedicated", "Equal", "cpu"), False),
        (Toleration("dedicated", "Exists", effect="NoExecute"), False),
        (Toleration("other", "Exists"), False),
        (Toleration("", "Equal", "gpu"), False),
    ],
)
def test_a_toleration_covers_a_taint_by_key_value_and_effect(toleration: Toleration, *, expected: bool) -> None:
    assert tolerates(toleration, Taint("dedicated", "gpu", "NoSchedule")) is expected


def test_only_taints_of_the_asked_effects_count() -> None:
    soft, hard = Taint("a", "", "PreferNoSchedule"), Taint("b", "", "NoExecute")
    assert untolerated((soft, hard), (), ("NoSchedule", "NoExecute")) == hard
    assert untolerated((soft,), (), ("NoSchedule", "NoExecute")) is None
