"""The rule `colocation`: who is matched, what a matched pod becomes, and who is refused with which sentence."""

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.admission.json_patch import patched

from neaptide.admission.colocation import DRAW, Colocation, ColocationSpec, Known
from neaptide.admission.pipeline import RuleSetting, Verdict, admit
from neaptide.admission.protocols import Namespace
from neaptide.model.colocation_profile import EPHEMERAL, EPHEMERAL_SIZE, ClusterColocationProfile
from neaptide.model.problems import FieldError

QOS, PRIORITY = "koordinator.sh/qosClass", "koordinator.sh/priority"
PRIORITIES = {"koord-prod": 9500, "koord-mid": 7500, "koord-batch": 5500, "koord-free": 3500}
SPARK: dict[str, Any] = {
    "selector": {"matchLabels": {"app": "spark"}},
    "qosClass": "BE",
    "priorityClassName": "koord-batch",
    "koordinatorPriority": 1111,
    "schedulerName": "koord-scheduler",
    "labels": {"team": "data"},
    "annotations": {"note": "offline"},
}


def profile(name: str = "spark", annotations: dict[str, str] | None = None, /, **spec: Any) -> ClusterColocationProfile:
    value = {"metadata": {"name": name, "annotations": annotations or {}}, "spec": spec or SPARK}
    return msgspec.convert(value, ClusterColocationProfile)


def a_pod(labels: dict[str, str] | None = None, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    resources = containers or ({"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}},)
    return {
        "metadata": {"generateName": "spark-", "labels": {"app": "spark"} if labels is None else labels},
        "spec": {
            "containers": [{"name": f"c{number}", "resources": each} for number, each in enumerate(resources)],
            "priority": 0,
            "schedulerName": "default-scheduler",
            **spec,
        },
    }


def ask(
    pod: dict[str, Any],
    *profiles: ClusterColocationProfile,
    labels: dict[str, str] | None = None,
    request: str = "r-1",
    **spec: Any,
) -> tuple[dict[str, Any], Verdict]:
    """The pod as it is admitted, and the verdict; admitting it again changes nothing."""
    known = {"colocation": Known(profiles, PRIORITIES)}
    namespace = Namespace("batch", labels or {}, {}, known, request)
    settings = [RuleSetting("offline", Colocation(), ColocationSpec(**spec))]
    verdict = admit(copy.deepcopy(pod), namespace, settings)
    found = patched(pod, verdict.patch)
    if not verdict.refusal:
        assert admit(copy.deepcopy(found), namespace._replace(request="r-2"), settings).patch == ()
    return found, verdict


def test_a_matched_pod_becomes_what_the_profile_says_whatever_it_said_itself() -> None:
    found, verdict = ask(a_pod({"app": "spark", QOS: "LS", "team": "web"}), profile())
    assert found["metadata"]["labels"] == {"app": "spark", QOS: "BE", "team": "data", PRIORITY: "1111"}
    assert found["metadata"]["annotations"] == {"note": "offline"}
    assert found["spec"]["schedulerName"] == "koord-scheduler"
    assert found["spec"]["priorityClassName"] == "koord-batch"
    assert "priority" not in found["spec"]
    amounts = {"kubernetes.io/batch-cpu": "500", "kubernetes.io/batch-memory": str(1 << 30)}
    assert found["spec"]["containers"][0]["resources"] == {
        "requests": amounts,
        "limits": amounts | {"kubernetes.io/batch-cpu": "1000"},
    }
    assert verdict.policies == ("offline",)


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"limits": {"cpu": "1.5"}}, {"requests": {"batch-cpu": "1500"}, "limits": {"batch-cpu": "1500"}}),
        ({"requests": {"memory": "1Ki"}}, {"requests": {"batch-memory": "1024"}, "limits": {"batch-memory": "1024"}}),
        (
            {"requests": {"cpu": "0.1m", "nvidia.com/gpu": "1"}},
            {"requests": {"batch-cpu": "1", "nvidia.com/gpu": "1"}, "limits": {"batch-cpu": "1"}},
        ),
        ({}, {}),
        ({"requests": {"cpu": "many"}}, {"requests": {"cpu": "many"}}),
    ],
    ids=["a limit alone", "a request alone", "beside other resources", "nothing asked", "what cannot be read stays"],
)
def test_requests_and_limits_become_batch_resources(resources: dict[str, Any], expected: dict[str, Any]) -> None:
    found, _ = ask(a_pod(None, resources), profile())
    whole = {
        part: {
            f"kubernetes.io/{name}" if name.startswith("batch") else name: amount for name, amount in amounts.items()
        }
        for part, amounts in expected.items()
    }
    assert found["spec"]["containers"][0]["resources"] == whole


def test_init_containers_and_overhead_are_moved_too() -> None:
    init = [{"name": "i", "resources": {"requests": {"cpu": "2"}}}]
    found, _ = ask(a_pod(initContainers=init, overhead={"cpu": "250m", "memory": "1Mi"}), profile())
    assert found["spec"]["initContainers"][0]["resources"]["requests"] == {"kubernetes.io/batch-cpu": "2000"}
    assert found["spec"]["overhead"] == {"kubernetes.io/batch-cpu": "250", "kubernetes.io/batch-memory": "1048576"}


@pytest.mark.parametrize(
    ("name", "spec", "resource"),
    [
        ("koord-mid", {}, "kubernetes.io/mid-cpu"),
        ("koord-batch", {}, "kubernetes.io/batch-cpu"),
        ("koord-free", {}, "cpu"),
        ("koord-free", {"free_runs_in_ot": True}, "neaptide.io/ot-cpu"),
        ("koord-prod", {"refuse": False}, "cpu"),
    ],
)
def test_the_band_says_from_which_tier_a_pod_asks(name: str, spec: dict[str, Any], resource: str) -> None:
    given_class = profile(qosClass="BE", priorityClassName=name)
    found, _ = ask(a_pod(None, {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}), given_class, **spec)
    assert resource in found["spec"]["containers"][0]["resources"]["requests"]
    if resource.startswith("neaptide"):  # an extended resource's limit is its request
        assert found["spec"]["containers"][0]["resources"]["limits"] == {resource: "1000"}


def test_a_pod_of_a_band_needs_no_profile_to_ask_for_its_resources() -> None:
    found, _ = ask(a_pod({QOS: "BE"}, priorityClassName="koord-batch", priority=5500))
    assert "kubernetes.io/batch-cpu" in found["spec"]["containers"][0]["resources"]["requests"]


@pytest.mark.parametrize(
    ("spec", "of_namespace", "matches"),
    [
        ({"selector": {"matchLabels": {"app": "spark"}}}, {}, True),
        ({"selector": {"matchLabels": {"app": "web"}}}, {}, False),
        ({"namespaceSelector": {"matchLabels": {"tier": "offline"}}}, {"tier": "offline"}, True),
        ({"namespaceSelector": {"matchLabels": {"tier": "offline"}}}, {}, False),
        ({"selector": {}, "namespaceSelector": {}}, {}, True),
        ({"selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}, {}, True),
    ],
)
def test_both_selectors_narrow_and_an_empty_one_matches_all(
    spec: dict[str, Any], of_namespace: dict[str, str], *, matches: bool
) -> None:
    found, _ = ask(a_pod(), profile(**spec, labels={"seen": "yes"}), labels=of_namespace)
    assert ("seen" in found["metadata"]["labels"]) is matches


def test_what_one_profile_adds_does_not_bring_a_pod_under_another_that_came_before() -> None:
    first = profile("a", selector={"matchLabels": {"x": "1"}}, labels={"hit": "a"})
    second = profile("b", selector={"matchLabels": {"app": "spark"}}, labels={"x": "1"})
    found, _ = ask_once(a_pod(), first, second)
    assert found["metadata"]["labels"] == {"app": "spark", "x": "1"}


def ask_once(pod: dict[str, Any], *profiles: ClusterColocationProfile) -> tuple[dict[str, Any], Verdict]:
    namespace = Namespace("batch", {}, {}, {"colocation": Known(profiles, PRIORITIES)}, "r")
    verdict = admit(copy.deepcopy(pod), namespace, [RuleSetting("offline", Colocation(), ColocationSpec())])
    return patched(pod, verdict.patch), verdict


@pytest.mark.parametrize(
    ("probability", "expected"), [(0, 0), ("0%", 0), (30, 300), ("30%", 300), ("100%", 1000), (None, 1000)]
)
def test_a_probability_means_so_many_of_a_hundred_pods(probability: Any, expected: int) -> None:
    some = profile(selector={}, probability=probability, labels={"seen": "yes"})
    seen = sum("seen" in ask(a_pod(), some, request=f"r-{number}")[0]["metadata"]["labels"] for number in range(1000))
    assert abs(seen - expected) <= (50 if 0 < expected < 1000 else 0)


def test_a_pod_is_drawn_once_for_all_profiles_and_says_its_number() -> None:
    rare, often = (profile(n, selector={}, probability=p, labels={n: "yes"}) for n, p in (("rare", 20), ("often", 80)))
    for number in range(50):
        found, _ = ask(a_pod(), rare, often, request=f"r-{number}")
        labels, drawn = found["metadata"]["labels"], int(found["metadata"]["annotations"][DRAW])
        assert ("rare" in labels, "often" in labels) == (drawn < 20, drawn < 80)


def test_keys_are_copied_where_the_pod_has_them() -> None:
    mapping = profile(labelKeysMapping={"app": "koordinator.sh/app", "none": "x"}, annotationKeysMapping={"a": "b"})
    found, _ = ask(a_pod(), mapping)
    assert found["metadata"]["labels"] == {"app": "spark", "koordinator.sh/app": "spark"}


def test_a_priority_class_that_does_not_exist_is_left_out_with_a_warning() -> None:
    found, verdict = ask(a_pod(), profile(selector={}, priorityClassName="nobody"))
    assert "priorityClassName" not in found["spec"]
    assert "nobody, which does not exist" in verdict.warnings[0]


def test_scratch_space_of_offline_pods_moves_to_volumes_of_a_storage_class() -> None:
    volumes = [
        {"name": "tmp", "emptyDir": {"sizeLimit": "2Gi"}},
        {"name": "more", "emptyDir": {}},
        {"name": "ram", "emptyDir": {"medium": "Memory"}},
        {"name": "conf", "configMap": {"name": "c"}},
    ]
    disks = profile("spark", {EPHEMERAL: "offline-disks", EPHEMERAL_SIZE: "5Gi"}, **SPARK)
    found, _ = ask(a_pod(volumes=volumes), disks)
    made = found["spec"]["volumes"]
    claims = [each["ephemeral"]["volumeClaimTemplate"]["spec"] for each in made[:2]]
    assert [each["storageClassName"] for each in claims] == ["offline-disks"] * 2
    assert [each["resources"]["requests"]["storage"] for each in claims] == ["2Gi", "5Gi"]
    assert ["emptyDir" in each for each in made] == [False, False, True, False]
    online, _ = ask(a_pod(volumes=volumes), profile("spark", {EPHEMERAL: "offline-disks"}, selector={}))
    assert online["spec"]["volumes"] == volumes


@pytest.mark.parametrize(
    ("pod", "sentence"),
    [
        (a_pod({QOS: "BE"}), "cannot have no priority class of Koordinator's"),
        (a_pod({QOS: "BE"}, priorityClassName="koord-prod"), "cannot have the band prod"),
        (
            a_pod({QOS: "LSR"}, {"requests": {"cpu": "2"}}, priorityClassName="koord-batch"),
            "cannot have the band batch",
        ),
        (a_pod({QOS: "LSE"}, priorityClassName="koord-prod"), "must request whole ones, and requests 500m"),
        (a_pod({QOS: "LSX"}, {}, priorityClassName="koord-prod"), "must request whole ones, and requests none"),
        (
            a_pod(
                {QOS: "LSR"}, {"requests": {"cpu": "1"}}, {"requests": {"cpu": "1100m"}}, priorityClassName="koord-prod"
            ),
            "must request whole ones, and requests 2100m",
        ),
        (
            a_pod({QOS: "LS"}, {"requests": {"kubernetes.io/batch-cpu": "100"}}, priorityClassName="koord-batch"),
            "requests batch resources, which are for pods labelled koordinator.sh/qosClass=BE; this one is LS",
        ),
    ],
)
def test_a_label_that_contradicts_the_rest_is_refused_with_a_sentence(pod: dict[str, Any], sentence: str) -> None:
    assert sentence in ask(pod)[1].refusal
    assert "(Policy offline)" in ask(pod)[1].refusal
    _, warned = ask(pod, refuse=False)
    assert warned.refusal == ""
    assert sentence in warned.warnings[0]


def test_whole_cpus_are_asked_of_the_pod_and_not_of_each_container() -> None:
    parts = ({"requests": {"cpu": "3900m"}}, {"requests": {"cpu": "100m"}})
    sidecar = {"name": "proxy", "restartPolicy": "Always", "resources": {}}
    first = {"name": "migrate", "resources": {"requests": {"cpu": "500m"}}}
    pod = a_pod({QOS: "LSR"}, *parts, priorityClassName="koord-prod", initContainers=[sidecar, first])
    assert ask(pod)[1].refusal == ""


@pytest.mark.parametrize(
    "pod",
    [
        a_pod({}),
        a_pod({}, {"requests": {"kubernetes.io/batch-cpu": "100"}}),
        a_pod({QOS: "unheard-of"}),
        a_pod({QOS: "LSE"}, {"requests": {"cpu": "2"}}, priorityClassName="koord-prod"),
        a_pod({QOS: "LSR"}, {"requests": {"cpu": "2000m"}}, priorityClassName="koord-prod"),
        a_pod({QOS: "SYSTEM"}),
    ],
)
def test_what_has_no_label_or_contradicts_nothing_is_let_in(pod: dict[str, Any]) -> None:
    assert ask(pod)[1].refusal == ""


@pytest.mark.parametrize(
    ("field", "value"), [("qosClass", "best"), ("probability", 101), ("probability", "half"), ("probability", "-1%")]
)
def test_a_profile_that_is_not_accepted_says_the_field(field: str, value: Any) -> None:
    with pytest.raises(msgspec.ValidationError, match=f"spec.{field}"):
        profile(**{field: value})


amounts = st.dictionaries(st.sampled_from(["cpu", "memory", "nvidia.com/gpu"]), st.integers(1, 64).map(str), max_size=3)


@given(st.lists(st.fixed_dictionaries({}, optional={"requests": amounts, "limits": amounts}), min_size=1, max_size=3))
def test_whatever_is_asked_no_cpu_is_left_and_every_amount_is_kept(resources: list[dict[str, Any]]) -> None:
    found, verdict = ask(a_pod(None, *resources), profile())
    assert verdict.refusal == ""
    for before, container in zip(resources, found["spec"]["containers"], strict=True):
        after = container["resources"]
        for part in ("requests", "limits"):
            assert not {"cpu", "memory"} & (after.get(part) or {}).keys()
        for name, new, scale in (("cpu", "kubernetes.io/batch-cpu", 1000), ("memory", "kubernetes.io/batch-memory", 1)):
            wanted = (before.get("requests") or {}).get(name) or (before.get("limits") or {}).get(name)
            if wanted is not None:
                assert after["requests"][new] == str(int(wanted) * scale)
                assert int(after["limits"][new]) > 0


def test_a_profiles_patch_is_merged_into_the_pod_last() -> None:
    patch = {
        "metadata": {"labels": {"team": "patched"}},
        "spec": {
            "priorityClassName": "koord-free",
            "containers": [{"name": "c0", "env": [{"name": "A", "value": "1"}]}],
            "schedulerName": None,
        },
    }
    found, _ = ask(a_pod(), profile("patched", None, qosClass="BE", patch=patch))
    assert found["metadata"]["labels"]["team"] == "patched"
    assert found["spec"]["priorityClassName"] == "koord-free"
    assert "priority" not in found["spec"]
    assert "schedulerName" not in found["spec"]
    (container,) = found["spec"]["containers"]
    assert container["env"] == [{"name": "A", "value": "1"}]
    assert container["resources"]["requests"]


@pytest.mark.parametrize("patch", [{"status": {}}, {"spec": {"$setElementOrder/containers": []}}])
def test_a_patch_that_cannot_be_merged_is_refused(patch: dict[str, Any]) -> None:
    with pytest.raises((FieldError, msgspec.ValidationError), match="patch"):
        profile("bad", None, patch=patch)
