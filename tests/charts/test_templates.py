"""What the charts make of values, without a cluster."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.charts.helm import CHARTS, INTEROP, NEAPTIDE, Helm, Objects

from neaptide import __version__
from neaptide.cli.app import _app as app
from neaptide.cli.run import run

VALUES: dict[str, tuple[str, ...]] = {
    "the defaults": (),
    "one replica, nothing beside it": (
        "--set=replicas=1,journal.persistence=false,networkPolicy.enabled=false,dashboard.enabled=false",
    ),
    "read-only": ("--set=enforce=false",),
    "everything": (
        "--set=admission.webhook=true",
        "--set=serviceMonitor.enabled=true,prometheusRule.enabled=true,usage.kubelets=true,usage.prometheus=http://prometheus:9090",
        f"--set=image.digest=sha256:{'a' * 64}",
        '--set-json=tolerations=[{"operator":"Exists"}]',
        '--set-json=networkPolicy.metricsFrom=[{"namespaceSelector":{}}]',
        "--set=controller.extraArgs={--dry-run},podLabels.team=a,podAnnotations.b=c,imagePullSecrets[0].name=key",
    ),
    "a MutatingAdmissionPolicy": ("--set=admission.policies=true,admission.immutableClasses=true",),
    "an account of one's own": ("--set=serviceAccount.create=false,serviceAccount.name=mine",),
}


@pytest.mark.parametrize("chart", [NEAPTIDE, INTEROP], ids=lambda each: each.name)
def test_lint_has_nothing_to_say(helm: Helm, chart: Path) -> None:
    assert "0 chart(s) failed" in helm.done("lint", "--strict", chart)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_lint_has_nothing_to_say_to_any_values(helm: Helm, values: tuple[str, ...]) -> None:
    helm.done("lint", "--strict", NEAPTIDE, *values)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_no_container_has_rights_on_its_node(helm: Helm, values: tuple[str, ...]) -> None:
    pod = pod_of(helm.rendered(NEAPTIDE, *values))
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert not any("hostPath" in volume for volume in pod.get("volumes", []))


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_every_rule_of_rights_names_its_verbs(helm: Helm, values: tuple[str, ...]) -> None:
    for (kind, _), each in helm.rendered(NEAPTIDE, *values).items():
        if kind in ("Role", "ClusterRole"):
            words = [
                word
                for rule in each["rules"]
                for part in ("apiGroups", "resources", "verbs")
                for word in rule.get(part, ())
            ]
            assert "*" not in words


def test_without_enforce_it_may_only_write_what_is_its_own(helm: Helm) -> None:
    rules = helm.rendered(NEAPTIDE, "--set=enforce=false,admission.webhook=true")["ClusterRole", "tide"]["rules"]
    writing = {
        resource
        for rule in rules
        if not {"get", "list", "watch"}.issuperset(rule["verbs"])
        for resource in rule["resources"]
    }
    asking = {"tokenreviews", "subjectaccessreviews"}  # "created", and nothing comes of it but an answer
    own = {"events", "plans", "plans/status", "policies/status", "mutatingwebhookconfigurations"}
    assert writing == own | asking


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_the_command_line_takes_what_the_chart_gives_it(helm: Helm, values: tuple[str, ...]) -> None:
    (container,) = pod_of(helm.rendered(NEAPTIDE, *values))["containers"]
    command, _, _ = app().parse_args(container["args"], exit_on_error=False, print_error=False)
    assert command is run


def test_two_replicas_are_never_on_one_node_and_not_disrupted_together(helm: Helm) -> None:
    objects = helm.rendered(NEAPTIDE)
    assert objects["StatefulSet", "tide"]["spec"]["replicas"] == 2
    labels = objects["StatefulSet", "tide"]["spec"]["selector"]["matchLabels"]
    away = pod_of(objects)["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert [(each["topologyKey"], each["labelSelector"]["matchLabels"]) for each in away] == [
        ("kubernetes.io/hostname", labels)
    ]
    assert objects["PodDisruptionBudget", "tide"]["spec"]["maxUnavailable"] == 1
    assert objects["PodDisruptionBudget", "tide"]["spec"]["selector"]["matchLabels"] == labels


def test_the_journal_is_on_a_volume_of_each_replica(helm: Helm) -> None:
    (claim,) = helm.rendered(NEAPTIDE)["StatefulSet", "tide"]["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"
    kept = helm.rendered(NEAPTIDE, "--set=journal.persistence=false,journal.size=1Gi")["StatefulSet", "tide"]["spec"]
    assert "volumeClaimTemplates" not in kept
    assert {"name": "journal", "emptyDir": {"sizeLimit": "1Gi"}} in kept["template"]["spec"]["volumes"]


def test_only_prod_preempts(helm: Helm) -> None:
    found = {name: each for (kind, name), each in helm.rendered(NEAPTIDE).items() if kind == "PriorityClass"}
    assert {name: (each["value"], each["preemptionPolicy"]) for name, each in found.items()} == {
        "koord-prod": (9000, "PreemptLowerPriority"),
        "koord-mid": (7000, "Never"),
        "koord-batch": (5000, "Never"),
        "koord-free": (3000, "Never"),
    }


def test_a_webhook_that_does_not_answer_keeps_no_pod_out(helm: Helm) -> None:
    (webhook,) = helm.rendered(NEAPTIDE, "--set=admission.webhook=true")["MutatingWebhookConfiguration", "tide"][
        "webhooks"
    ]
    assert webhook["failurePolicy"] == "Ignore"
    assert webhook["timeoutSeconds"] <= 10
    assert webhook["sideEffects"] == "None"
    (apart,) = webhook["namespaceSelector"]["matchExpressions"]
    assert apart["operator"] == "NotIn"
    assert {"here", "kube-system"} <= set(apart["values"])


MONITORING = {"ServiceMonitor", "PrometheusRule"}


@pytest.mark.parametrize(
    ("arguments", "there"),
    [
        pytest.param((), set(), id="the API is not served"),
        pytest.param(("--api-versions=monitoring.coreos.com/v1",), MONITORING, id="the API is served"),
        pytest.param(("--set=serviceMonitor.enabled=true",), {"ServiceMonitor"}, id="one is asked for"),
        pytest.param(
            ("--api-versions=monitoring.coreos.com/v1", "--set=prometheusRule.enabled=false"),
            {"ServiceMonitor"},
            id="one is not wanted",
        ),
    ],
)
def test_objects_of_prometheus_operator_come_where_they_can_be_used(
    helm: Helm, arguments: tuple[str, ...], there: set[str]
) -> None:
    assert {kind for kind, _ in helm.rendered(NEAPTIDE, *arguments)} & MONITORING == there


WRONG: dict[str, tuple[str, str]] = {
    "a value that there is none of": ("replica=1", "additional properties 'replica' not allowed"),
    "a replica too many": ("replicas=9", "/replicas"),
    "a mode that there is none of": ("admission.webhook=cel", "/admission/webhook"),
    "a webhook that may take too long": ("admission.timeoutSeconds=60", "/admission/timeoutSeconds"),
    "a digest that is none": ("image.digest=latest", "/image/digest"),
    "a size that is none": ("journal.size=big", "/journal/size"),
}


@pytest.mark.parametrize(("values", "sentence"), WRONG.values(), ids=WRONG)
def test_wrong_values_are_refused_where_they_stand(helm: Helm, values: str, sentence: str) -> None:
    assert sentence in helm.refused("template", NEAPTIDE, f"--set={values}").replace("at '", "")


def test_every_value_is_in_the_schema_and_every_schema_entry_has_a_value() -> None:
    for chart in (NEAPTIDE, INTEROP):
        values = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
        schema = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))
        assert names(values) == names_of_schema(schema) - {"global"}


def test_the_charts_have_the_version_of_the_package() -> None:
    for chart in CHARTS.iterdir():
        assert yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))["appVersion"] == __version__


def pod_of(objects: Objects) -> dict[str, Any]:
    pod: dict[str, Any] = objects["StatefulSet", "tide"]["spec"]["template"]["spec"]
    return pod


def names(values: dict[str, Any]) -> set[str]:
    """The paths of values, two levels deep."""
    inner = {f"{key}.{name}" for key, each in values.items() if isinstance(each, dict) for name in each}
    return set(values) | {each for each in inner if each.split(".")[0] not in FREE}


def names_of_schema(schema: dict[str, Any]) -> set[str]:
    properties = schema["properties"]
    return set(properties) | {
        f"{key}.{name}" for key, each in properties.items() for name in each.get("properties", {})
    }


FREE = ("nodeSelector", "resources", "podAnnotations", "podLabels")
"""Values whose content is the user's."""
