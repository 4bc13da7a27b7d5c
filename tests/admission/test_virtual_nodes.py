"""The rule virtualNodes: who gets onto virtual nodes, how, and who is told that they cannot."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.admission.json_patch import patched

from neaptide.admission.pipeline import RuleSetting, Verdict, admit
from neaptide.admission.protocols import Namespace
from neaptide.admission.virtual_names import INJECTION, MODE, TAINT
from neaptide.admission.virtual_nodes import VirtualNodes, VirtualNodesSpec, overflowing

OPEN = Namespace("vk", {INJECTION: "enabled"})
CLOSED = Namespace("web", {})
EXISTS = {"key": TAINT, "operator": "Exists"}
IS_VIRTUAL = {"key": "type", "operator": "In", "values": ["virtual-kubelet"]}
ZONE = {"key": "zone", "operator": "In", "values": ["a"]}


def admitted(pod: dict[str, Any], namespace: Namespace = OPEN, **fields: Any) -> tuple[dict[str, Any], Verdict]:
    setting = RuleSetting("burst", VirtualNodes(), VirtualNodesSpec(**fields))
    verdict = admit(copy.deepcopy(pod), namespace, [setting])
    return patched(pod, verdict.patch), verdict


def required(pod: dict[str, Any]) -> Any:
    return pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]


def test_a_pod_of_a_namespace_that_opts_in_may_run_there_and_prefers_real_nodes() -> None:
    pod, _ = admitted({"spec": {"tolerations": [{"key": "mine"}]}})
    assert pod["spec"]["tolerations"] == [{"key": "mine"}, EXISTS]
    (preferred,) = pod["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preferred["preference"]["matchExpressions"][0]["operator"] == "NotIn"


def test_virtual_only_is_asked_for_in_every_term_that_the_user_wrote() -> None:
    terms = [
        {"matchExpressions": [ZONE]},
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]},
    ]
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    pod, _ = admitted({"spec": {"affinity": affinity}}, mode="virtual-only")
    assert [each["matchExpressions"] for each in required(pod)] == [[ZONE, IS_VIRTUAL], [IS_VIRTUAL]]
    assert required(pod)[1]["matchFields"] == terms[1]["matchFields"]


def test_a_provider_is_tolerated_by_its_name_and_effects_do_not_overwrite() -> None:
    given = {"metadata": {"annotations": {"spot": "mine"}}}
    pod, _ = admitted(given, provider="containerd", labels={"burst": "yes"}, annotations={"spot": "theirs"})
    assert pod["spec"]["tolerations"] == [{"key": TAINT, "operator": "Equal", "value": "containerd"}]
    assert pod["metadata"] == {"annotations": {"spot": "mine"}, "labels": {"burst": "yes"}}


def test_the_mode_that_a_pod_names_goes_before_the_policys() -> None:
    pod, _ = admitted({"metadata": {"annotations": {MODE: "virtual-only"}}})
    assert required(pod) == [{"matchExpressions": [IS_VIRTUAL]}]


def test_in_the_mode_overflow_a_pod_is_marked_and_tolerates_nothing_until_a_scheduler_found_no_node() -> None:
    pod, _ = admitted({"spec": {}}, mode="overflow")
    assert pod["metadata"]["annotations"] == {MODE: "overflow"}
    assert "tolerations" not in pod["spec"]
    assert overflowing(pod, OPEN, "containerd") == {"key": TAINT, "operator": "Equal", "value": "containerd"}


@pytest.mark.parametrize(
    ("pod", "namespace"),
    [
        pytest.param({}, CLOSED, id="not opted in"),
        pytest.param({"spec": {"tolerations": [EXISTS]}}, OPEN, id="tolerated already"),
        pytest.param({"spec": {"hostNetwork": True}}, OPEN, id="in need of a machine"),
        pytest.param({"metadata": {"ownerReferences": [{"kind": "DaemonSet"}]}}, OPEN, id="a DaemonSet's"),
    ],
)
def test_who_does_not_overflow(pod: dict[str, Any], namespace: Namespace) -> None:
    assert overflowing(pod, namespace, "containerd") is None


def test_of_two_policies_the_first_counts() -> None:
    settings = [
        RuleSetting("a", VirtualNodes(), VirtualNodesSpec(provider="one", labels={"a": "1"})),
        RuleSetting("b", VirtualNodes(), VirtualNodesSpec(provider="two", labels={"b": "1"})),
    ]
    verdict = admit({}, OPEN, settings)
    assert verdict.policies == ("a",)


@pytest.mark.parametrize(
    ("namespace", "pod", "changed"),
    [
        pytest.param(CLOSED, {}, False, id="a namespace that has not opted in"),
        pytest.param(CLOSED, {"metadata": {"labels": {INJECTION: "enabled"}}}, True, id="a pod that has"),
        pytest.param(OPEN, {"metadata": {"labels": {INJECTION: "disabled"}}}, False, id="a pod that has opted out"),
        pytest.param(Namespace("kube-system", {INJECTION: "enabled"}), {}, False, id="kube-system"),
        pytest.param(OPEN, {"metadata": {"ownerReferences": [{"kind": "DaemonSet"}]}}, False, id="a DaemonSet's pod"),
        pytest.param(OPEN, {"spec": {"tolerations": [EXISTS]}}, False, id="a pod that tolerates it already"),
    ],
)
def test_who_is_let_onto_virtual_nodes(namespace: Namespace, pod: dict[str, Any], changed: bool) -> None:
    _, verdict = admitted(pod, namespace)
    assert bool(verdict.patch) is changed
    assert verdict.warnings == ()


@pytest.mark.parametrize(
    ("spec", "obstacle"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"volumes": [{"name": "logs", "hostPath": {"path": "/var/log"}}]}, "volume logs is a hostPath"),
        ({"containers": [{"name": "c", "securityContext": {"privileged": True}}]}, "container c is privileged"),
        ({"initContainers": [{"name": "i", "ports": [{"hostPort": 80}]}]}, "container i has a hostPort"),
    ],
)
def test_what_only_a_machine_has_keeps_a_pod_off_and_its_user_is_told(spec: dict[str, Any], obstacle: str) -> None:
    _, verdict = admitted({"spec": spec})
    assert verdict.patch == ()
    assert verdict.warnings == (f"this pod cannot run on a virtual node: {obstacle}",)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "tolerations": st.lists(st.sampled_from([EXISTS, {"key": "a"}]), max_size=2),
            "hostPID": st.booleans(),
            "affinity": st.just({"nodeAffinity": {}}),
        },
    ),
    st.sampled_from(["prefer-real", "overflow", "virtual-only"]),
)
def test_admitting_twice_changes_nothing_the_second_time(spec: dict[str, Any], mode: str) -> None:
    once, _ = admitted({"spec": spec}, mode=mode)
    _, again = admitted(once, mode=mode)
    assert again.patch == ()


def tolerating(pod: dict[str, Any]) -> None:
    pod["spec"].setdefault("tolerations", []).append({"key": "gpu", "operator": "Exists"})


def labelling(pod: dict[str, Any]) -> None:
    pod.setdefault("metadata", {}).setdefault("labels", {})["injected"] = "yes"


def requiring(pod: dict[str, Any]) -> None:
    """One more term, as another way to be placed."""
    affinity = pod["spec"].setdefault("affinity", {}).setdefault("nodeAffinity", {})
    place = affinity.setdefault("requiredDuringSchedulingIgnoredDuringExecution", {"nodeSelectorTerms": []})
    place["nodeSelectorTerms"].append({"matchExpressions": [ZONE]})


def preferring(pod: dict[str, Any]) -> None:
    affinity = pod["spec"].setdefault("affinity", {}).setdefault("nodeAffinity", {})
    preferred = {"weight": 5, "preference": {"matchExpressions": [ZONE]}}
    affinity.setdefault("preferredDuringSchedulingIgnoredDuringExecution", []).append(preferred)


def sorted_through(value: Any) -> Any:
    """Without the order of lists, which decides nothing of what is injected."""
    if isinstance(value, dict):
        return {key: sorted_through(each) for key, each in value.items()}
    return sorted(map(sorted_through, value), key=str) if isinstance(value, list) else value


@pytest.mark.parametrize("mode", ["prefer-real", "virtual-only", "overflow"])
@pytest.mark.parametrize("other", [tolerating, labelling, preferring, requiring])
def test_another_webhook_may_come_before_or_after(mode: str, other: Callable[[dict[str, Any]], None]) -> None:
    """After: the API server then asks again, for the pod has changed (`reinvocationPolicy: IfNeeded`). Ways to be placed that came too late are bound, too."""
    plain: dict[str, Any] = {"spec": {"tolerations": [{"key": "mine"}]}}
    before = copy.deepcopy(plain)
    other(before)
    first, _ = admitted(plain, mode=mode)
    other(first)
    came_first, came_last = admitted(before, mode=mode)[0], admitted(first, mode=mode)[0]
    if other is requiring and mode == "virtual-only":  # what was asked for alone is one of two ways now
        assert {"matchExpressions": [ZONE, IS_VIRTUAL]} in required(came_last)
        assert all(IS_VIRTUAL in each["matchExpressions"] for each in required(came_last))
    else:
        assert sorted_through(came_last) == sorted_through(came_first)
