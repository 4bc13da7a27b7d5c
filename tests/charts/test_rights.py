"""The controller as the chart's account: it may do everything that it does, and does everything that it may."""

import json
import ssl
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.charts.rights import assert_exact, granted
from tests.charts.scenes import BASE, PLAIN, Scene, assert_added_is_used, by_hand, carried_out, policy
from tests.kube.live import WHY, eventually, found, job, make
from tests.testbed.asking import deployment, done, items

from neaptide.model.actions import Evict, Ref
from neaptide.model.virtual_names import TAINT, TYPE, VIRTUAL
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.load import add_nodes
from neaptide.testbed.nodes import fake_node

ADMISSION = (f"--set={BASE},admission.policies=true,journal.endpoint=false",)
ENDPOINT = (f"--set={BASE},admission.webhook=false",)
BURSTING = (f"--set={PLAIN},burst=true",)
SERIES = 60.0
"""Seconds after which a repeated Event is counted on the one that is there."""


@pytest.mark.slow
def test_the_account_may_do_what_the_controller_does_and_not_one_verb_more(scene: Scene) -> None:
    testbed = scene.testbed
    populate(testbed)
    scene.apply(policy("offline", closed(), mode="Recommend"))
    scene.apply(policy("reclaim", {"policy": "reclaim"}, mode="Enforce"))
    scene.start()
    eventually(lambda: items(testbed, "plans.neaptide.io"))
    began = datetime.now(UTC)
    scene.apply(policy("offline", closed(), mode="Enforce"))
    eventually(lambda: suspended(testbed) == {"Job", "Deployment", "StatefulSet"})
    eventually(lambda: not items(testbed, "plans.neaptide.io"))
    eventually(lambda: "kubernetes.io/batch-cpu" in found(testbed, "node", "tide-1")["status"]["allocatable"])
    scene.apply(by_hand(eviction(testbed)))
    eventually(lambda: carried_out(testbed))
    scene.apply(policy("offline", opened(), mode="Enforce"))
    eventually(lambda: not suspended(testbed))
    scene.apply(policy("offline", closed(), mode="Enforce"))
    eventually(lambda: any(each.get("series") for each in events(testbed)), within=SERIES + 60)
    assert (datetime.now(UTC) - began) < timedelta(minutes=5)
    scene.end()
    assert_exact(testbed, "neaptide", granted(scene.objects))


@pytest.mark.slow
@pytest.mark.parametrize("scene", [ADMISSION], indirect=True)
def test_what_admission_adds_to_the_rights_is_what_it_needs(scene: Scene) -> None:
    """The certificate is renewed in a Secret that is there and made in one that is not; a Policy comes, changes and goes."""
    testbed, secret = scene.testbed, "neaptide-webhook-tls"
    done(testbed, "create", "secret", "generic", secret, "--namespace=tide")
    scene.start()
    for label in ("one", "two"):
        scene.apply(giving(label))
        eventually(partial(says, testbed, label))
    eventually(lambda: reviewed(scene.webhook, "no-such-namespace"))
    eventually(lambda: ca_bundle(testbed))
    done(testbed, "delete", "policy", "given")
    eventually(lambda: not found(testbed, "mutatingadmissionpolicy", "neaptide-given"))
    scene.end()
    done(testbed, "delete", "secret", secret, "--namespace=tide")
    scene.start()
    eventually(lambda: found(testbed, "secret", secret, "tide").get("data"))
    scene.end()
    assert_added_is_used(scene)


@pytest.mark.slow
@pytest.mark.parametrize("scene", [ENDPOINT], indirect=True)
def test_what_the_journals_endpoint_adds_to_the_rights_is_what_it_needs(scene: Scene, tmp_path: Path) -> None:
    """Its certificate is made in a Secret that is not there, and renewed in one that is."""
    testbed, secret, token, authority = scene.testbed, "neaptide-journal-tls", tmp_path / "token", tmp_path / "ca.crt"
    scene.start()
    eventually(lambda: found(testbed, "secret", secret, "tide").get("data"))
    eventually(lambda: found(testbed, "configmap", "neaptide-journal-ca", "tide"))
    scene.end()
    done(testbed, "patch", "secret", secret, "--namespace=tide", "--type=merge", '--patch={"data": {"ca.key": null}}')
    before = found(testbed, "configmap", "neaptide-journal-ca", "tide")["data"]
    scene.start()
    eventually(lambda: found(testbed, "configmap", "neaptide-journal-ca", "tide")["data"] != before)
    authority.write_text(found(testbed, "configmap", "neaptide-journal-ca", "tide")["data"]["ca.crt"])
    done(testbed, "create", "serviceaccount", "reader", "--namespace=tide")
    reader = "--clusterrole=neaptide-journal-reader"
    done(testbed, "create", "clusterrolebinding", "reader", reader, "--serviceaccount=tide:reader")
    token.write_text(done(testbed, "create", "token", "reader", "--namespace=tide"))
    scene.apply(policy("reclaim", {"policy": "reclaim"}, mode="Recommend"))
    add_nodes(testbed.site, [fake_node("tide-1", {}, {"cpu": "1", "memory": "1Gi", "pods": "1"})])
    ask = ["explain", "node", "tide-1", f"--kubeconfig={testbed.kubeconfig}", f"--controller-ca={authority}"]
    ask += [f"--controller-token={token}", f"--controller=https://localhost:{scene.journal}"]
    eventually(lambda: told(ask))
    scene.end()
    assert_added_is_used(scene)


@pytest.mark.slow
@pytest.mark.parametrize("scene", [BURSTING], indirect=True)
def test_what_the_policy_burst_adds_to_the_rights_is_what_it_needs(scene: Scene) -> None:
    """A Job waits in a cluster that has a virtual node and no other."""
    testbed, taint = scene.testbed, {"key": TAINT, "value": "simulated", "effect": "NoSchedule"}
    node = fake_node("tide-virtual", {TYPE: VIRTUAL}, {"cpu": "16", "memory": "64Gi", "pods": "110"})
    add_nodes(testbed.site, [node | {"spec": {"taints": [taint]}}])
    done(testbed, "create", "namespace", "work")
    eventually(lambda: items(testbed, "serviceaccounts", "--namespace=work"))
    waits = job("waits")
    del waits["spec"]["template"]["spec"]["nodeSelector"]
    make(testbed, waits, namespace="work")
    spec = {"policy": "burst", "burst": {"nodeStartSeconds": None, "graceSeconds": 0, "comeHome": False}}
    scene.apply(policy("burst", spec, mode="Enforce"))
    scene.start()
    eventually(lambda: any(tolerates(each) for each in items(testbed, "pods", "--namespace", "work")))
    scene.end()
    assert_added_is_used(scene)


def tolerates(pod: dict[str, Any]) -> bool:
    return any(each.get("key") == TAINT for each in pod["spec"].get("tolerations", ()))


def told(arguments: list[str]) -> bool:
    """Whether neaptide tells decisions of more than one cycle, so that some are of the past."""
    command = [sys.executable, "-m", "neaptide", *arguments, "--output=json"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)  # noqa: S603 - the project's own
    return answer.returncode == 0 and len({each["time"] for each in json.loads(answer.stdout)["decisions"]}) > 1


def giving(label: str) -> dict[str, Any]:
    """A Policy that labels new pods."""
    spec = {"policy": "podDefaults", "mode": "Enforce", "podDefaults": {"labels": {"tide": label}}}
    return {"apiVersion": "neaptide.io/v1alpha1", "kind": "Policy", "metadata": {"name": "given"}, "spec": spec}


def says(testbed: Testbed, label: str) -> bool:
    return f'"{label}"' in json.dumps(found(testbed, "mutatingadmissionpolicy", "neaptide-given")).replace("\\", "")


def ca_bundle(testbed: Testbed) -> bool:
    hooks = found(testbed, "mutatingwebhookconfiguration", "neaptide")["webhooks"]
    return all(hook["clientConfig"].get("caBundle") for hook in hooks)


def reviewed(port: int, namespace: str) -> bool:
    """Ask the webhook about a pod."""
    request = {
        "uid": "1",
        "resource": {"group": "", "resource": "pods"},
        "operation": "CREATE",
        "namespace": namespace,
        "object": {"metadata": {}},
    }
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # whose it is does not matter here
    body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()
    asked = urllib.request.Request(f"https://127.0.0.1:{port}/admit/pods", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, context=context, timeout=60) as answer:  # noqa: S310 - our own
            return bool(json.load(answer)["response"]["allowed"])
    except OSError:
        return False


def populate(testbed: Testbed) -> None:
    """Nodes with usage, a service, and offline work of each kind; one piece of it belongs to an autoscaler."""
    amounts = {"cpu": "16", "memory": "64Gi", "pods": "110"}
    names = ("tide-1", "tide-2")
    add_nodes(testbed.site, [fake_node(name, {"neaptide.io/price-per-hour": "0.5"}, amounts) for name in names])
    make(testbed, *STAND_INS)
    done(testbed, "wait", "--for=condition=Established", "crd", "--all", "--timeout=180s")
    done(testbed, "create", "namespace", "work")
    eventually(lambda: items(testbed, "serviceaccounts", "--namespace=work"))
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    usage = {"timestamp": now, "window": "20s", "usage": {"cpu": "2", "memory": "8Gi"}}
    make(
        testbed,
        *(
            {"apiVersion": "metrics.k8s.io/v1beta1", "kind": "NodeMetrics", "metadata": {"name": name}, **usage}
            for name in names
        ),
    )
    offline, scaled = json.loads(deployment("offline", 1)), json.loads(deployment("scaled", 1))
    stateful = {**json.loads(deployment("stateful", 1)), "kind": "StatefulSet"}
    for each in (offline, scaled, stateful):
        each["metadata"]["labels"] = {"tide": "offline"}
    offline_job = job("offline")
    offline_job["metadata"]["labels"] = {"tide": "offline"}
    offline_job["spec"]["template"]["spec"]["nodeSelector"] = {"tide": "nowhere"}  # it must not complete
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "scaled"}
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "scaled"},
        "spec": {"scaleTargetRef": target, "maxReplicas": 3},
    }
    service = json.loads(deployment("service", 2))
    make(testbed, offline, scaled, stateful, offline_job, autoscaler, service, namespace="work")
    done(testbed, "rollout", "status", "deployment/service", "--namespace=work", "--timeout=180s")


def definition(group: str, version: str, kind: str, plural: str, *, namespaced: bool) -> dict[str, Any]:
    """A kind that another program would serve."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, stands in for another program"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced" if namespaced else "Cluster",
            "names": {"kind": kind, "plural": plural},
            "versions": [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


STAND_INS = (
    definition("metrics.k8s.io", "v1beta1", "NodeMetrics", "nodes", namespaced=False),
    definition("metrics.k8s.io", "v1beta1", "PodMetrics", "pods", namespaced=True),
    definition("karpenter.sh", "v1", "NodePool", "nodepools", namespaced=False),
)


def closed() -> dict[str, Any]:
    return windows("0 0 29 2 *", 1)


def opened() -> dict[str, Any]:
    return windows("* * * * *", 3600)


def windows(schedule: str, duration: float) -> dict[str, Any]:
    """Offline work in one kind of window."""
    rule = {
        "selector": {"kinds": ["Job", "Deployment", "StatefulSet"], "labels": {"tide": "offline"}},
        "windows": [{"schedule": schedule, "durationSeconds": duration}],
        "graceSeconds": 0,
        "marginSeconds": 0,
        "deadlineSeconds": None,
    }
    return {"policy": "timeWindows", "timeWindows": {"rules": [rule]}}


def eviction(testbed: Testbed) -> Evict:
    """Of one of the service's pods."""
    pod = items(testbed, "pods", "--namespace=work", "--selector=app=service")[0]
    meta, workload = pod["metadata"], Ref("Deployment", "service", "work")
    target = Ref("Pod", meta["name"], "work", meta["uid"])
    return Evict(policy="by-hand", target=target, reason=WHY, node=pod["spec"]["nodeName"], workload=workload)


def suspended(testbed: Testbed) -> set[str]:
    """The kinds of the offline work that is suspended."""
    work = items(testbed, "jobs,deployments,statefulsets", "--namespace=work", "--selector=tide=offline")
    return {each["kind"] for each in work if each["spec"].get("suspend") or each["spec"].get("replicas") == 0}


def events(testbed: Testbed) -> list[dict[str, Any]]:
    mine = "--field-selector=reportingController=neaptide.io/controller"
    return items(testbed, "events.events.k8s.io", "--namespace=work", mine)
