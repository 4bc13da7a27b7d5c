"""The mode spread: units are filled in their order, and admission alone keeps their maxima."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.admission.json_patch import patched

from neaptide.admission.pipeline import RuleSetting, Verdict, admit
from neaptide.admission.protocols import Namespace
from neaptide.admission.virtual_names import INJECTION, MODE, TAINT, UNIT
from neaptide.admission.virtual_nodes import VirtualNodes, VirtualNodesSpec, overflowing
from neaptide.admission.virtual_units import Crowd, Known, Unit
from neaptide.model.problems import FieldError

REAL = Unit("real", node_selector={"pool": "fixed"}, max=2)
BURST = Unit("burst", virtual=True, max=3)
REST = Unit("rest")
HASH = "pod-template-hash"


def admitted(
    pod: dict[str, Any], known: Known | None, units: tuple[Unit, ...] = (REAL, BURST, REST), **fields: Any
) -> tuple[dict[str, Any], Verdict]:
    told = {} if known is None else {VirtualNodes.name: known}
    spec = VirtualNodesSpec(mode="spread", units=units, **fields)
    namespace = Namespace("vk", {INJECTION: "enabled"}, known=told)
    verdict = admit(copy.deepcopy(pod), namespace, [RuleSetting("spread", VirtualNodes(), spec)])
    return patched(pod, verdict.patch), verdict


def labelled(unit: str, **labels: str) -> dict[str, str]:
    return {UNIT: unit, **{key.replace("_", "-"): value for key, value in labels.items()}}


@pytest.mark.parametrize(
    ("known", "unit"),
    [
        pytest.param(Known(), "real", id="nobody is there"),
        pytest.param(Known([Crowd(labelled("real"), old=1)]), "real", id="there is room in the first"),
        pytest.param(Known([Crowd(labelled("real"), old=2)]), "burst", id="the first is full"),
        pytest.param(
            Known([Crowd(labelled("real"), old=1)], [labelled("real")]), "burst", id="one was let in and is not shown"
        ),
        pytest.param(
            Known([Crowd(labelled("real"), new=1)], [labelled("real")]), "real", id="one was let in and is shown"
        ),
        pytest.param(
            Known([Crowd(labelled("real"), old=2), Crowd(labelled("burst"), new=3)]), "rest", id="both are full"
        ),
        pytest.param(
            Known([Crowd(labelled("real", pod_template_hash="old"), old=2)]), "real", id="others of an older template"
        ),
    ],
)
def test_the_first_unit_that_is_not_full_gets_the_pod(known: Known, unit: str) -> None:
    pod, _ = admitted({}, known)
    assert pod["metadata"]["labels"][UNIT] == unit


def test_a_pod_is_kept_in_its_unit() -> None:
    real, _ = admitted({}, Known())
    burst, _ = admitted({}, Known([Crowd(labelled("real"), old=2)]), provider="containerd")
    terms = [
        each["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        for each in (real, burst)
    ]
    not_virtual = {"key": "type", "operator": "NotIn", "values": ["virtual-kubelet"]}
    assert terms[0] == [{"matchExpressions": [not_virtual, {"key": "pool", "operator": "In", "values": ["fixed"]}]}]
    assert terms[1] == [{"matchExpressions": [{**not_virtual, "operator": "In"}]}]
    assert "tolerations" not in real["spec"]
    assert burst["spec"]["tolerations"] == [{"key": TAINT, "operator": "Equal", "value": "containerd"}]
    assert overflowing(real, Namespace("vk", {INJECTION: "enabled"}), "containerd") is None


def test_where_every_unit_is_full_the_pod_is_refused_and_the_numbers_are_said() -> None:
    _, verdict = admitted(
        {}, Known([Crowd(labelled("real"), old=2), Crowd(labelled("burst"), old=4)]), units=(REAL, BURST)
    )
    assert verdict.refusal == "no unit has room for this pod: real has 2 of 2, burst has 4 of 3 (Policy spread)"


def test_before_pods_are_counted_a_pod_is_left_as_it_is_and_its_user_is_told() -> None:
    pod, verdict = admitted({"spec": {}}, None)
    assert pod == {"spec": {}}
    assert verdict.warnings == ("the pods of each unit are not counted yet, so this pod was left as it is",)


def test_a_mode_that_a_pod_names_goes_before_its_unit() -> None:
    pod, _ = admitted({"metadata": {"annotations": {MODE: "prefer-real"}}}, Known())
    assert UNIT not in pod["metadata"].get("labels", {})
    assert pod["spec"]["tolerations"] == [{"key": TAINT, "operator": "Exists"}]


def test_the_unit_that_one_policy_gave_is_left_alone_by_the_next() -> None:
    settings = [
        RuleSetting("a", VirtualNodes(), VirtualNodesSpec(mode="spread", units=(REST,))),
        RuleSetting("b", VirtualNodes(), VirtualNodesSpec()),
    ]
    namespace = Namespace("vk", {INJECTION: "enabled"}, known={VirtualNodes.name: Known()})
    assert admit({}, namespace, settings).policies == ("a",)


@given(st.lists(st.sampled_from([HASH, "app"]), max_size=2, unique=True), st.integers(1, 12))
def test_pods_that_come_one_after_the_other_fill_the_units_in_order_and_none_above_its_maximum(
    keys: list[str], count: int
) -> None:
    let_in: list[dict[str, str]] = []
    for _ in range(count):
        pod, _ = admitted({"metadata": {"labels": {"app": "x"}}}, Known((), let_in), match_label_keys=tuple(keys))
        again, _ = admitted(pod, Known((), [*let_in, pod["metadata"]["labels"]]), match_label_keys=tuple(keys))
        assert again == pod
        let_in.append(pod["metadata"]["labels"])
    assert [each[UNIT] for each in let_in] == (["real"] * 2 + ["burst"] * 3 + ["rest"] * count)[:count]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"mode": "spread"}, "units"),
        ({"units": (REAL,)}, "units"),
        ({"mode": "spread", "units": (REAL, REAL)}, r"units\[1\].name"),
        ({"mode": "spread", "units": (Unit(""),)}, r"units\[0\].name"),
        ({"mode": "spread", "units": (Unit("a", max=-1),)}, r"units\[0\].max"),
        ({"mode": "spread", "units": (Unit("a b"),)}, "labels"),
    ],
)
def test_units_that_cannot_be_are_refused_by_name(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(FieldError, match=field):
        VirtualNodesSpec(**fields)


def test_cel_cannot_count_and_says_nothing() -> None:
    assert VirtualNodes().mutations(VirtualNodesSpec(mode="spread", units=(REST,))) == ()
