"""What a real API server makes of Policies, PriceCatalogues and Plans: defaults, and refusals with sentences that help."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.kube.crds.conftest import Create

from neaptide.kube.crds.plan import PlanObject
from neaptide.kube.crds.policy import KINDS, PolicyObject
from neaptide.model.problems import FieldError
from neaptide.testbed.server import RefusedError, Server

Refusal = Callable[[str, object], str]

NIGHT = {"schedule": "0 22 * * MON-FRI", "durationSeconds": 28_800, "timeZone": "Europe/Berlin"}


def windows(**fields: object) -> dict[str, Any]:
    """A Policy of time windows whose one rule has one window, with fields of it as given."""
    return {"policy": "timeWindows", "timeWindows": {"rules": [{"windows": [NIGHT | fields]}]}}


def rule(**fields: object) -> dict[str, Any]:
    return {"policy": "timeWindows", "timeWindows": {"rules": [{"windows": [NIGHT]} | fields]}}


def selecting(**requirement: object) -> dict[str, Any]:
    return {"policy": "reclaim", "scope": {"nodeSelector": {"matchExpressions": [requirement]}}}


WRONG_POLICIES: dict[str, tuple[object, str]] = {
    "no policy is named": ({}, "spec.policy: Required value"),
    "a policy that there is none of": ({"policy": "reclame"}, 'supported values: "reclaim"'),
    "a mode that there is none of": (
        {"policy": "reclaim", "mode": "On"},
        'supported values: "Off", "Recommend", "Enforce"',
    ),
    "the settings of another policy": (
        {"policy": "reclaim", "timeWindows": {}},
        "the field timeWindows is for `policy: timeWindows`: name that policy, or take the field away",
    ),
    "a field that is misspelt": (
        {"policy": "reclaim", "reclaim": {"enabled": True}},
        'unknown field "spec.reclaim.enabled"',
    ),
    "a ratio above its range": (
        {"policy": "reclaim", "reclaim": {"cpuReclaimThresholdPercent": 1001}},
        "spec.reclaim.cpuReclaimThresholdPercent: Invalid value: 1001: spec.reclaim.cpuReclaimThresholdPercent in body should be less than or equal to 1000",
    ),
    "a percentile of zero": (
        {"policy": "reclaim", "reclaim": {"cpuPercentile": 0}},
        "spec.reclaim.cpuPercentile in body should be greater than 0",
    ),
    "a wrong value in an exception for nodes": (
        {"policy": "reclaim", "reclaim": {"nodeConfigs": [{"cpuCalculatePolicy": "use"}]}},
        'spec.reclaim.nodeConfigs[0].cpuCalculatePolicy: Unsupported value: "use": supported values',
    ),
    "a text for a number": ({"policy": "reclaim", "reclaim": {"degradeTimeMinutes": "15"}}, "must be of type integer"),
    "a cron expression of four fields": (
        windows(schedule="0 22 * *"),
        'spec.timeWindows.rules[0].windows[0].schedule: Invalid value: "0 22 * *": a cron expression of five fields such as `0 22 * * MON-FRI`',
    ),
    "a time zone that there is none of": (windows(timeZone="Europe/Bärlin"), "Europe/Bärlin"),
    "an offset for a time zone": (windows(timeZone="+02:00"), "timeZone in body should match '^[A-Za-z]'"),
    "a window that is never open": (windows(durationSeconds=0), "durationSeconds in body should be greater than 0"),
    "a window longer than a year": (windows(durationSeconds=40_000_000), "should be less than or equal to 31622400"),
    "a rule without a window or a valley": (rule(windows=[]), "a rule needs at least one window, or a valley"),
    "two rules of one name": (
        {"policy": "timeWindows", "timeWindows": {"rules": [{"name": "a", "windows": [NIGHT]}] * 2}},
        "every rule needs a name that no other rule has",
    ),
    "a watermark above one": (rule(valley={"watermark": 1.5}), "watermark in body should be less than or equal to 1"),
    "a kind that cannot be suspended": (
        rule(selector={"kinds": ["Pod"]}),
        'kinds[0]: Unsupported value: "Pod": supported values',
    ),
    "a schedule with a wrong window": (
        {"policy": "reclaim", "schedule": {"windows": [{"schedule": "soon", "durationSeconds": 1}]}},
        'spec.schedule.windows[0].schedule: Invalid value: "soon": a cron expression',
    ),
    "limits below zero": (
        {"policy": "reclaim", "limits": {"evictionsPerCycle": -1}},
        "spec.limits.evictionsPerCycle in body should be greater than or equal to 0",
    ),
    "a selector with a node's operator": (
        selecting(key="a", operator="Gt", values=["1"]),
        'supported values: "In", "NotIn", "Exists", "DoesNotExist"',
    ),
    "In without values": (selecting(key="a", operator="In"), "In and NotIn need values"),
    "Exists with values": (
        selecting(key="a", operator="Exists", values=["b"]),
        "Exists and DoesNotExist must have none",
    ),
    "a namespace that cannot be": ({"policy": "reclaim", "scope": {"namespaces": ["No"]}}, "spec.scope.namespaces[0]"),
    "defaults for pods that give nothing": (
        {"policy": "podDefaults", "podDefaults": {}},
        "at least one of priorityClassName, labels",
    ),
    "a label's key that cannot be": (
        {"policy": "podDefaults", "podDefaults": {"labels": {"a b": "c"}}},
        "every key must be that of a label",
    ),
    "a label's value that cannot be": (
        {"policy": "podDefaults", "podDefaults": {"labels": {"a": "b c"}}},
        "spec.podDefaults.labels.a in body should match",
    ),
    "limits for a rule of admission": (
        {"policy": "podDefaults", "podDefaults": {"labels": {"a": "b"}}, "limits": {}},
        "podDefaults acts on pods before they are created: limits, schedule and scope.nodeSelector are not for it",
    ),
}


@pytest.mark.parametrize(("spec", "sentence"), WRONG_POLICIES.values(), ids=WRONG_POLICIES)
def test_a_wrong_policy_is_refused_with_a_sentence_that_helps(refusal: Refusal, spec: object, sentence: str) -> None:
    assert sentence in refusal("Policy", spec)


RIGHT_POLICIES: dict[str, dict[str, Any]] = {
    **{f"{name} with defaults": {"policy": name} for name in KINDS},
    "a night in Berlin": windows(),
    "windows by cron's shorter forms": windows(schedule="*/15 0,12 1-7 JAN-MAR,6 MON#1"),
    "a valley": rule(windows=[], valley={"watermark": 0.4}),
    "no deadline": rule(deadlineSeconds=None),
    "an exception for nodes": {
        "policy": "reclaim",
        "reclaim": {
            "nodeConfigs": [{"nodeSelector": {"matchLabels": {"pool": "a"}}, "cpuReclaimThresholdPercent": 70}]
        },
    },
    "labels for pods": {
        "policy": "podDefaults",
        "scope": {
            "namespaces": ["jobs"],
            "namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]},
        },
        "podDefaults": {"priorityClassName": "koord-batch", "labels": {"koordinator.sh/qosClass": "BE", "a": ""}},
    },
    "limits": {"policy": "reclaim", "mode": "Enforce", "limits": {"evictionsPerCycle": 5}},
}


@pytest.mark.parametrize("spec", RIGHT_POLICIES.values(), ids=RIGHT_POLICIES)
def test_what_the_api_server_stores_is_what_the_struct_reads(create: Create, spec: dict[str, Any]) -> None:
    stored = create("Policy", spec)
    assert msgspec.convert(stored, PolicyObject).spec == msgspec.convert({"spec": spec}, PolicyObject).spec


def test_the_mode_is_recommend_unless_it_is_said(create: Create) -> None:
    assert create("Policy", {"policy": "reclaim"})["spec"]["mode"] == "Recommend"


STRUCTS_REFUSE = [
    "the settings of another policy",
    "a wrong value in an exception for nodes",
    "a cron expression of four fields",
    "a time zone that there is none of",
    "a window that is never open",
    "a window longer than a year",
    "a rule without a window or a valley",
    "two rules of one name",
]


@pytest.mark.parametrize("case", STRUCTS_REFUSE)
def test_what_a_struct_checks_beyond_types_the_api_server_checks_too(case: str) -> None:
    with pytest.raises(msgspec.ValidationError) as found:
        msgspec.convert({"spec": WRONG_POLICIES[case][0]}, PolicyObject)
    assert isinstance(found.value.__cause__, FieldError)


M5 = {"instance_type": "m5.large", "price_per_hour": 0.096}

WRONG_CATALOGUES: dict[str, tuple[object, str]] = {
    "no prices": ({"source": "us"}, "at least one of the lists instance_types, units and gpus"),
    "a row without a capacity type": ({"instance_types": [M5]}, "every row of instance_types needs a capacity_type"),
    "a negative price": (
        {"capacity_type": "spot", "instance_types": [M5 | {"price_per_hour": -1}]},
        "price_per_hour in body should be greater than or equal to 0",
    ),
    "a price as text": (
        {"capacity_type": "spot", "instance_types": [M5 | {"price_per_hour": "1"}]},
        "must be of type number",
    ),
    "a zone that is misspelt": (
        {"capacity_type": "spot", "instance_types": [M5 | {"zon": "a"}]},
        'unknown field "spec.instance_types[0].zon"',
    ),
    "a day that is no date": ({"capacity_type": "spot", "date": "today", "instance_types": [M5]}, "spec.date"),
    "an empty GPU": ({"gpus": [{"capacity_type": "spot", "gpu_model": "", "price_per_gpu_hour": 1}]}, "gpu_model"),
    "a unit price of one part only": (
        {"units": [{"family": "m5", "capacity_type": "spot", "price_per_vcpu_hour": 1}]},
        "spec.units[0].price_per_gib_hour: Required value",
    ),
}


@pytest.mark.parametrize(("spec", "sentence"), WRONG_CATALOGUES.values(), ids=WRONG_CATALOGUES)
def test_a_wrong_catalogue_is_refused_with_a_sentence_that_helps(refusal: Refusal, spec: object, sentence: str) -> None:
    assert sentence in refusal("PriceCatalogue", spec)


EVICTION = {
    "kind": "Evict",
    "policy": "reclaim",
    "target": {"kind": "Pod", "namespace": "a", "name": "b"},
    "reason": {"code": "Hot", "message": "the node is hot"},
    "expected": {"moneyPerHour": -0.1, "risk": 0.1},
    "node": "n",
    "workload": None,
}
PLAN = {"created": "2026-11-22T05:00:00Z", "expires": "2026-11-22T06:00:00Z", "actions": [EVICTION], "evictions": 1}

WRONG_PLANS: dict[str, tuple[object, str]] = {
    "no actions": (PLAN | {"actions": []}, "spec.actions in body should have at least 1 items"),
    "an action of no kind": (PLAN | {"actions": [EVICTION | {"kind": "Reboot"}]}, 'Unsupported value: "Reboot"'),
    "an eviction from nowhere": (
        PLAN | {"actions": [{key: value for key, value in EVICTION.items() if key != "node"}]},
        "Evict needs node",
    ),
    "an end before the beginning": (PLAN | {"expires": "2026-11-22T04:00:00Z"}, "expires must be later than created"),
    "a time that is none": (PLAN | {"expires": "soon"}, "spec.expires"),
}


@pytest.mark.parametrize(("spec", "sentence"), WRONG_PLANS.values(), ids=WRONG_PLANS)
def test_a_wrong_plan_is_refused_with_a_sentence_that_helps(refusal: Refusal, spec: object, sentence: str) -> None:
    assert sentence in refusal("Plan", spec)


def test_the_actions_of_a_stored_plan_are_those_that_went_in(create: Create) -> None:
    suspend = {key: EVICTION[key] for key in ("policy", "target", "reason")} | {"kind": "Suspend", "pods": 3}
    resources = {"kubernetes.io/batch-cpu": 500, "kubernetes.io/batch-memory": None}
    reclaim = {key: EVICTION[key] for key in ("policy", "target", "reason")} | {
        "kind": "SetNodeResources",
        "resources": resources,
    }
    spec = PLAN | {"actions": [EVICTION, suspend, reclaim]}
    wanted = msgspec.convert({"spec": spec}, PlanObject).spec
    assert msgspec.convert(create("Plan", spec), PlanObject).spec == wanted


def test_of_a_plan_only_the_approval_changes_and_only_once(api: Server) -> None:
    plans = "/apis/neaptide.io/v1alpha1/plans"
    body = {"apiVersion": "neaptide.io/v1alpha1", "kind": "Plan", "metadata": {"name": "one"}, "spec": PLAN}
    stored = msgspec.json.decode(api.call("POST", plans, body))
    try:
        approved = stored | {"spec": stored["spec"] | {"approved": True}}
        stored = msgspec.json.decode(api.call("PUT", f"{plans}/one", approved))
        for changed, sentence in (
            ({"approved": False}, "an approved Plan stays approved"),
            ({"evictions": 0}, "a Plan does not change, only `approved` does"),
            ({"actions": [EVICTION, EVICTION]}, "a Plan does not change, only `approved` does"),
        ):
            with pytest.raises(RefusedError, match=sentence):
                api.call("PUT", f"{plans}/one", stored | {"spec": stored["spec"] | changed})
    finally:
        api.call("DELETE", f"{plans}/one")
