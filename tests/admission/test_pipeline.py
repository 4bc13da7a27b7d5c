"""The pipeline: in order, within scope, to the end, and the same a second time."""

import copy
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.admission.json_patch import patched

from neaptide.admission.draft import Draft
from neaptide.admission.pipeline import RuleSetting, admit
from neaptide.admission.pod_defaults import PodDefaults, PodDefaultsSpec
from neaptide.admission.protocols import Namespace, RefusedError
from neaptide.model.objects import MIRROR, LabelSelector, Requirement
from neaptide.model.scope import Scope

BATCH = Namespace("batch", {"team": "data"})


def defaults(policy: str, scope: Scope = Scope(), **fields: Any) -> RuleSetting:  # noqa: B008 - frozen
    return RuleSetting(policy, PodDefaults(), PodDefaultsSpec(**fields), scope)


def selecting(**labels: str) -> Scope:
    return Scope(pod_selector=LabelSelector(match_labels=labels))


class Refusing:
    name = "refusing"
    spec_type = PodDefaultsSpec

    def admit(self, draft: Draft, namespace: Namespace, spec: Any) -> None:
        del draft, spec
        raise RefusedError(f"nothing may run in {namespace.name}")

    def mutations(self, spec: Any) -> Sequence[str]:
        del spec
        return ()


def test_a_namespaces_pods_get_the_class_and_labels_of_its_policy() -> None:
    pod = {"metadata": {"labels": {"app": "a"}}, "spec": {"priority": 0, "preemptionPolicy": "PreemptLowerPriority"}}
    setting = defaults("offline", priority_class_name="koord-batch", labels={"koordinator.sh/qosClass": "BE"})
    verdict = admit(copy.deepcopy(pod), BATCH, [setting])
    assert patched(pod, verdict.patch) == {
        "metadata": {"labels": {"app": "a", "koordinator.sh/qosClass": "BE"}},
        "spec": {"priorityClassName": "koord-batch"},
    }
    assert verdict.policies == ("offline",)


def test_of_two_policies_the_first_gives_what_both_would() -> None:
    verdict = admit({}, BATCH, [defaults("first", labels={"tier": "1"}), defaults("second", labels={"tier": "2"})])
    assert [operation.value for operation in verdict.patch] == [{"labels": {"tier": "1"}}]
    assert verdict.policies == ("first",)


def test_a_policy_of_other_namespaces_leaves_a_pod_alone() -> None:
    scopes = [
        Scope(namespaces=("web",)),
        Scope(namespace_selector=LabelSelector(match_labels={"team": "shop"})),
        selecting(app="web"),
    ]
    assert admit({}, BATCH, [defaults("p", scope, labels={"a": "b"}) for scope in scopes]).patch == ()


def test_a_label_that_a_later_policy_gives_brings_an_earlier_one_into_play() -> None:
    settings = [
        defaults("class", selecting(kind="job"), priority_class_name="koord-free"),
        defaults("kind", labels={"kind": "job"}),
    ]
    verdict = admit({"metadata": {}, "spec": {}}, BATCH, settings)
    assert verdict.policies == ("kind", "class")


def test_a_mirror_pod_is_left_alone() -> None:
    pod = {"metadata": {"annotations": {MIRROR: "hash"}}}
    assert admit(pod, BATCH, [defaults("p", labels={"a": "b"})]).patch == ()


def test_a_refusal_names_the_policy_and_patches_nothing() -> None:
    settings = [defaults("p", labels={"a": "b"}), RuleSetting("closed", Refusing(), PodDefaultsSpec())]
    verdict = admit({}, BATCH, settings)
    assert (verdict.patch, verdict.refusal) == ((), "nothing may run in batch (Policy closed)")


labels = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), max_size=3)
requirements = st.builds(
    Requirement, st.sampled_from("abc"), st.sampled_from(["Exists", "DoesNotExist", "NotIn"]), st.just(("x",))
)
scopes = st.builds(
    lambda chosen, listed: Scope(pod_selector=LabelSelector(chosen, tuple(listed))),
    labels,
    st.lists(requirements, max_size=2),
)
many = st.lists(
    st.builds(
        lambda scope, given, name: defaults("p", scope, labels=given, priority_class_name=name),
        scopes,
        labels,
        st.sampled_from(["", "koord-free"]),
    ),
    max_size=5,
)


@given(labels, many)
def test_admitting_a_pod_twice_changes_nothing_the_second_time(
    given: dict[str, str], settings: list[RuleSetting]
) -> None:
    pod = {"metadata": {"labels": given}, "spec": {"priority": 0}}
    once = patched(pod, admit(copy.deepcopy(pod), BATCH, settings).patch)
    assert admit(copy.deepcopy(once), BATCH, settings).patch == ()
