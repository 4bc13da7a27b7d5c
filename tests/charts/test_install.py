"""The charts on a real control plane: installed, upgraded, removed, and beside what is there already."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.charts.helm import INTEROP, NEAPTIDE, Helm
from tests.controlplane import running
from tests.testbed.asking import done

from neaptide.pricing.load import shipped
from neaptide.pricing.offerings import offerings
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.load import add_nodes
from neaptide.testbed.nodes import Mix, draw

PLACE = ("--namespace=tide", "--create-namespace")
VALUES = "--set=journal.persistence=false,admission.webhook=true"
CLASSES = ["koord-batch", "koord-free", "koord-mid", "koord-prod"]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Testbed]:
    """A control plane with three nodes that are not real: pods on them are said to run."""
    for each in running(tmp_path / "control-plane"):
        add_nodes(each.site, draw(3, Mix(offerings=offerings(shipped()))))
        yield each


@pytest.fixture
def helm(helm_in: Callable[[Path], Helm], cluster: Testbed) -> Helm:
    return helm_in(cluster.kubeconfig)


def test_it_is_installed_upgraded_and_removed(helm: Helm, cluster: Testbed) -> None:
    helm.done("install", "neaptide", NEAPTIDE, *PLACE, VALUES, "--wait", "--timeout=180s")
    pods = items(cluster, "pods", "--namespace=tide")
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 2
    assert names(cluster, "crd") == ["plans.neaptide.io", "policies.neaptide.io", "pricecatalogues.neaptide.io"]
    assert [each for each in names(cluster, "priorityclass") if each.startswith("koord-")] == CLASSES
    done(cluster, "apply", "--filename=-", content=json.dumps(policy()))
    trust = [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": bundle(cluster)}]
    done(cluster, "patch", "mutatingwebhookconfiguration", "neaptide", "--type=json", f"--patch={json.dumps(trust)}")

    helm.done("upgrade", "neaptide", NEAPTIDE, *PLACE, VALUES, "--set=replicas=1,enforce=false")
    assert [each for each in names(cluster, "priorityclass") if each.startswith("koord-")] == CLASSES
    webhook = object_of(cluster, "mutatingwebhookconfiguration", "neaptide")["webhooks"][0]
    assert webhook["clientConfig"]["caBundle"] == bundle(cluster)
    assert object_of(cluster, "statefulset", "neaptide", "--namespace=tide")["spec"]["replicas"] == 1
    assert items(cluster, "pdb", "--namespace=tide") == []

    helm.done("uninstall", "neaptide", "--namespace=tide")
    assert items(cluster, "clusterrole,clusterrolebinding", "--selector=app.kubernetes.io/name=neaptide") == []
    assert names(cluster, "policies.neaptide.io") == ["reclaim"]
    helm.done("install", "neaptide", NEAPTIDE, *PLACE, VALUES)
    assert names(cluster, "policies.neaptide.io") == ["reclaim"]


def test_a_priority_class_that_is_there_stays_as_it_is(helm: Helm, cluster: Testbed) -> None:
    done(cluster, "create", "priorityclass", "koord-batch", "--value=5555")
    helm.done("install", "neaptide", NEAPTIDE, *PLACE, VALUES)
    helm.done("upgrade", "neaptide", NEAPTIDE, *PLACE, VALUES)
    helm.done("uninstall", "neaptide", "--namespace=tide")
    found = object_of(cluster, "priorityclass", "koord-batch")
    assert found["value"] == 5555
    assert "annotations" not in found["metadata"]
    assert [each for each in names(cluster, "priorityclass") if each.startswith("koord-")] == CLASSES


def test_kinds_of_others_are_installed_where_there_are_none(helm: Helm, cluster: Testbed) -> None:
    theirs = installed_by_others()
    done(cluster, "create", "--filename=-", content=json.dumps(theirs))
    helm.done("install", "interop", INTEROP, *PLACE)
    expected = sorted(path.stem for path in INTEROP.glob("files/*/*.yaml"))
    assert names(cluster, "crd") == expected
    done(cluster, "wait", "--for=condition=Established", "crd", *expected, "--timeout=180s")
    kept = object_of(cluster, "crd", "podgroups.scheduling.sigs.k8s.io")
    assert kept["spec"]["versions"][0]["schema"] == theirs["spec"]["versions"][0]["schema"]

    helm.done("upgrade", "interop", INTEROP, *PLACE)
    assert names(cluster, "crd") == expected
    helm.done("install", "again", INTEROP, *PLACE)
    helm.done("uninstall", "again", "--namespace=tide")
    helm.done("uninstall", "interop", "--namespace=tide")
    assert names(cluster, "crd") == expected
    for manifest in SAMPLES:
        done(cluster, "create", "--namespace=default", "--filename=-", content=json.dumps(manifest))


POD = {"spec": {"containers": [{"name": "main", "image": "web", "resources": {"requests": {"cpu": "1"}}}]}}
SAMPLES: list[dict[str, Any]] = [
    {
        "apiVersion": "scheduling.koordinator.sh/v1alpha1",
        "kind": "Reservation",
        "metadata": {"name": "room"},
        "spec": {"template": POD, "owners": [{"labelSelector": {"matchLabels": {"app": "web"}}}], "ttl": "1h"},
    },
    {
        "apiVersion": "config.koordinator.sh/v1alpha1",
        "kind": "ClusterColocationProfile",
        "metadata": {"name": "batch"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "qosClass": "BE", "priorityClassName": "koord-batch"},
    },
    {
        "apiVersion": "slo.koordinator.sh/v1alpha1",
        "kind": "NodeMetric",
        "metadata": {"name": "node"},
        "spec": {"metricCollectPolicy": {"reportIntervalSeconds": 60}},
    },
    {
        "apiVersion": "scheduling.sigs.k8s.io/v1alpha1",
        "kind": "PodGroup",
        "metadata": {"name": "gang"},
        "spec": {"minMember": 3},
    },
    {
        "apiVersion": "scheduling.sigs.k8s.io/v1alpha1",
        "kind": "ElasticQuota",
        "metadata": {"name": "team"},
        "spec": {"min": {"cpu": 4}, "max": {"cpu": "8", "memory": "16Gi"}},
    },
    {
        "apiVersion": "apps.kruise.io/v1alpha1",
        "kind": "CloneSet",
        "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": POD},
    },
]


def installed_by_others() -> dict[str, Any]:
    """A definition as another project may have put it there."""
    spec = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "podgroups.scheduling.sigs.k8s.io",
            "annotations": {
                "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/scheduler-plugins/pull/50"
            },
        },
        "spec": {
            "group": "scheduling.sigs.k8s.io",
            "scope": "Namespaced",
            "names": {"kind": "PodGroup", "plural": "podgroups"},
            "versions": [version],
        },
    }


def policy() -> dict[str, Any]:
    return {
        "apiVersion": "neaptide.io/v1alpha1",
        "kind": "Policy",
        "metadata": {"name": "reclaim"},
        "spec": {"policy": "reclaim"},
    }


def bundle(cluster: Testbed) -> str:
    """A CA bundle as the controller would put it in."""
    config = json.loads(cluster.kubeconfig.read_text(encoding="utf-8"))
    found: str = config["clusters"][0]["cluster"]["certificate-authority-data"]
    return found


def items(cluster: Testbed, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(done(cluster, "get", *arguments, "--output=json"))["items"]
    return found


def names(cluster: Testbed, kind: str) -> list[str]:
    return sorted(each["metadata"]["name"] for each in items(cluster, kind))


def object_of(cluster: Testbed, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done(cluster, "get", *arguments, "--output=json"))
    return found
