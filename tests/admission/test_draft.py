"""A draft adds, and never overwrites; its operations say exactly what it did."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.admission.json_patch import patched

from neaptide.admission.draft import Draft, Operation

REQUIRED = ("spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
EXPRESSION = {"key": "pool", "operator": "In", "values": ["a"]}
OTHER = {"key": "zone", "operator": "Exists"}

keys = st.sampled_from(["a", "b/c", "d~e", ""])
values = st.sampled_from(["", "x", "y"])
maps = st.none() | st.dictionaries(keys, values, max_size=3)


@st.composite
def pods(draw: st.DrawFn) -> dict[str, Any]:
    metadata = {name: found for name in ("labels", "annotations") if (found := draw(maps)) is not None}
    expressions = st.lists(st.sampled_from([EXPRESSION, OTHER]), max_size=2)
    terms = st.lists(st.fixed_dictionaries({}, optional={"matchExpressions": expressions, "matchFields": expressions}))
    required = st.fixed_dictionaries({}, optional={"nodeSelectorTerms": terms})
    node = st.fixed_dictionaries({}, optional={REQUIRED[3]: required})
    spec = st.fixed_dictionaries(
        {},
        optional={
            "affinity": st.fixed_dictionaries({}, optional={"nodeAffinity": node}),
            "tolerations": st.lists(st.sampled_from([{"operator": "Exists"}, {"key": "a"}])),
            "priorityClassName": values,
            "priority": st.integers(0, 9),
        },
    )
    return {"metadata": metadata, "spec": draw(spec)}


def add_all(draft: Draft) -> None:
    draft.label("a", "new")
    draft.label("b/c", "")
    draft.annotate("d~e", "new")
    draft.tolerate({"key": "a"})
    draft.tolerate({"key": "b"})
    draft.require_node(EXPRESSION)
    draft.prefer_nodes(5, [OTHER])
    draft.give_priority_class("koord-batch")


@given(pods())
def test_the_operations_applied_to_the_pod_give_the_draft(pod: dict[str, Any]) -> None:
    draft = Draft(copy.deepcopy(pod))
    add_all(draft)
    assert patched(pod, draft.operations) == draft.pod


@given(pods())
def test_adding_the_same_again_does_nothing(pod: dict[str, Any]) -> None:
    draft = Draft(pod)
    add_all(draft)
    again = Draft(copy.deepcopy(draft.pod))
    add_all(again)
    assert again.operations == []


@given(pods())
def test_nothing_that_the_user_wrote_is_gone_but_what_the_api_server_computes(pod: dict[str, Any]) -> None:
    draft = Draft(copy.deepcopy(pod))
    add_all(draft)
    before = copy.deepcopy(pod)
    if not before["spec"].get("priorityClassName"):
        before["spec"].pop("priority", None)
    assert contains(draft.pod, before)


@given(pods())
def test_every_term_that_selected_nodes_asks_for_the_new_expression_too(pod: dict[str, Any]) -> None:
    before = Draft(copy.deepcopy(pod)).get(REQUIRED) or []
    draft = Draft(pod)
    draft.require_node(EXPRESSION)
    after = draft.get(REQUIRED)
    assert len(after) == max(len(before), 1)
    for old, new in zip(before or [{"matchFields": [{}]}], after, strict=True):
        empty = not (old.get("matchExpressions") or old.get("matchFields"))
        assert new == old if empty else EXPRESSION in new["matchExpressions"]


@pytest.mark.parametrize(
    ("pod", "operations"),
    [
        pytest.param({}, [Operation("add", "/metadata", {"labels": {"a/b": "x"}})], id="no metadata at all"),
        pytest.param(
            {"metadata": {"labels": None}}, [Operation("add", "/metadata/labels", {"a/b": "x"})], id="labels are null"
        ),
        pytest.param(
            {"metadata": {"labels": {"c": "d"}}}, [Operation("add", "/metadata/labels/a~1b", "x")], id="others"
        ),
        pytest.param({"metadata": {"labels": {"a/b": ""}}}, [], id="the label is there, and empty"),
    ],
)
def test_a_label_is_added_with_what_must_stand_above_it(pod: dict[str, Any], operations: list[Operation]) -> None:
    draft = Draft(pod)
    draft.label("a/b", "x")
    assert draft.operations == operations


def test_a_warning_is_given_once() -> None:
    draft = Draft({})
    draft.warn("hostPath does not run there")
    draft.warn("hostPath does not run there")
    assert draft.warnings == ["hostPath does not run there"]


def contains(value: Any, part: Any) -> bool:
    """Whether everything of `part` still stands in `value`, empty things apart."""
    if isinstance(part, dict):
        return not part or (
            isinstance(value, dict) and all(contains(value.get(name), inner) for name, inner in part.items())
        )
    if isinstance(part, list):
        return not part or (
            len(value) >= len(part) and all(contains(old, new) for old, new in zip(value, part, strict=False))
        )
    return part in ("", None) or bool(value == part)
