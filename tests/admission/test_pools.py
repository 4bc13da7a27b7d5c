"""The rule pools: who is kept off which pools, and who is left to the author of the pod."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.admission.json_patch import patched

from neaptide.admission.pipeline import RuleSetting, Verdict, admit
from neaptide.admission.pod_defaults import PodDefaults, PodDefaultsSpec
from neaptide.admission.pools import MARK, Pools, PoolsSpec
from neaptide.admission.protocols import Namespace
from neaptide.model.problems import FieldError
from neaptide.model.qos import PRIORITY_CLASS_LABEL

HERE = Namespace("web", {})
POOL = "karpenter.sh/nodepool"
SPEC = PoolsSpec(online=("payments",), offline=("crunch",), shared=("general",))


def admitted(pod: dict[str, Any], spec: PoolsSpec = SPEC) -> tuple[dict[str, Any], Verdict]:
    verdict = admit(copy.deepcopy(pod), HERE, [RuleSetting("pools", Pools(), spec)])
    return patched(pod, verdict.patch), verdict


def kept_off(pod: dict[str, Any]) -> dict[str, list[str]]:
    (term,) = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert {each["operator"] for each in term["matchExpressions"]} == {"NotIn"}
    return {each["key"]: each["values"] for each in term["matchExpressions"]}


OFFLINE_PODS: dict[str, dict[str, Any]] = {
    "by its label": {"metadata": {"labels": {PRIORITY_CLASS_LABEL: "koord-batch"}}},
    "by its class": {"spec": {"priorityClassName": "koord-free"}},
    "by its priority": {"spec": {"priorityClassName": "nightly", "priority": 5100}},
}
ONLINE_PODS: dict[str, dict[str, Any]] = {
    "that says nothing": {},
    "of band mid": {"spec": {"priority": 7500}},
    "whose label goes before its priority": {
        "metadata": {"labels": {PRIORITY_CLASS_LABEL: "koord-prod"}},
        "spec": {"priority": 5100},
    },
}


@pytest.mark.parametrize("pod", OFFLINE_PODS.values(), ids=OFFLINE_PODS)
def test_offline_work_keeps_off_online_pools(pod: dict[str, Any]) -> None:
    found, _ = admitted(pod)
    assert kept_off(found) == {MARK: ["online"], POOL: ["payments"]}
    assert [each["value"] for each in found["spec"]["tolerations"]] == ["offline", "shared"]
    assert found["metadata"]["annotations"] == {MARK: "offline"}
    (preferred,) = found["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preferred["preference"]["matchExpressions"] == [{"key": POOL, "operator": "In", "values": ["crunch"]}]


@pytest.mark.parametrize("pod", ONLINE_PODS.values(), ids=ONLINE_PODS)
def test_a_service_keeps_off_offline_pools(pod: dict[str, Any]) -> None:
    found, _ = admitted(pod)
    assert kept_off(found) == {MARK: ["offline"], POOL: ["crunch"]}
    assert found["metadata"]["annotations"] == {MARK: "online"}


def test_nodes_can_be_marked_by_their_labels_alone() -> None:
    found, _ = admitted({}, PoolsSpec())
    assert kept_off(found) == {MARK: ["offline"]}


def test_the_class_that_another_rule_gives_counts() -> None:
    settings = [
        RuleSetting("class", PodDefaults(), PodDefaultsSpec("koord-batch")),
        RuleSetting("pools", Pools(), SPEC),
    ]
    verdict = admit({"spec": {"priority": 0}}, HERE, settings)
    assert patched({"spec": {"priority": 0}}, verdict.patch)["metadata"]["annotations"] == {MARK: "offline"}


LEFT: dict[str, dict[str, Any]] = {
    "a pod that says so itself": {"metadata": {"annotations": {MARK: "any"}}},
    "a DaemonSet's pod": {"metadata": {"ownerReferences": [{"kind": "DaemonSet", "name": "agent"}]}},
    "a pod with a node": {"spec": {"nodeName": "n"}},
    "a pod that asks for a pool": {"spec": {"nodeSelector": {POOL: "general"}}},
}


@pytest.mark.parametrize("pod", LEFT.values(), ids=LEFT)
def test_left_alone_is(pod: dict[str, Any]) -> None:
    assert admitted(pod) == (pod, Verdict())


@pytest.mark.parametrize("by", ["nodeSelector", "affinity"])
def test_who_asks_for_a_pool_that_is_not_for_it_is_warned(by: str) -> None:
    expressions = [{"key": POOL, "operator": "In", "values": ["crunch"]}]
    terms = {"nodeSelectorTerms": [{"matchExpressions": expressions}]}
    asked = {
        "nodeSelector": {POOL: "crunch"},
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}},
    }
    pod = {"spec": {by: asked[by]}}
    found, verdict = admitted(pod)
    assert found == pod
    assert verdict.warnings == ("this pod asks for the offline pool crunch, and is online by its priority",)


@pytest.mark.parametrize("fields", [{"online": ("a",), "shared": ("a",)}, {"offline": ("",)}, {"online": ("a", "a")}])
def test_a_pool_is_of_one_kind(fields: dict[str, Any]) -> None:
    with pytest.raises(FieldError):
        PoolsSpec(**fields)


labels = st.dictionaries(st.just(PRIORITY_CLASS_LABEL), st.sampled_from(["koord-batch", "koord-mid", "x"]))
expressions = st.lists(st.just({"key": "zone", "operator": "Exists"}), max_size=2)
pods = st.fixed_dictionaries(
    {"metadata": st.fixed_dictionaries({"labels": labels})},
    optional={
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "priority": st.sampled_from([0, 5500]),
                "tolerations": st.just([{"operator": "Exists"}]),
                "affinity": st.builds(
                    lambda terms: {
                        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
                    },
                    st.lists(st.builds(lambda found: {"matchExpressions": found}, expressions), max_size=2),
                ),
            },
        )
    },
)


@given(pods)
def test_admitting_twice_changes_nothing(pod: dict[str, Any]) -> None:
    once, _ = admitted(pod)
    assert admitted(once) == (once, Verdict())
