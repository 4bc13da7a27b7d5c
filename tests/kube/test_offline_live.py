"""Offline work on a real control plane: what elastic-offline scales, whom time windows hold back, and who is left alone."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.kube.live import eventually, found, make, running
from tests.testbed.asking import done, items

from neaptide.kubeapi.resources import Resource
from neaptide.model.workloads import QUEUE, SUSPEND_RUNNING
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.load import add_nodes
from neaptide.testbed.nodes import fake_node

CLONE_SETS = Path(__file__).parents[2] / "charts/neaptide-interop-crds/files/kruise/clonesets.apps.kruise.io.yaml"
TRAIN_JOBS = Resource("example.com", "v1", "trainjobs", "TrainJob", namespaced=True)
CLOSED = [{"schedule": "0 0 29 2 *", "durationSeconds": 1}]


def policy(name: str, **spec: Any) -> dict[str, Any]:
    meta = {"name": name}
    return {
        "apiVersion": "neaptide.io/v1alpha1",
        "kind": "Policy",
        "metadata": meta,
        "spec": {"mode": "Enforce", **spec},
    }


def template(**resources: str) -> dict[str, Any]:
    """Pods of offline work."""
    amounts = {"requests": resources, "limits": resources}
    return {
        "metadata": {"labels": {"app": "crunch", "koordinator.sh/qosClass": "BE"}},
        "spec": {"containers": [{"name": "main", "image": "web", "resources": amounts}]},
    }


def workload(kind: str, name: str, replicas: int, api: str = "apps/v1") -> dict[str, Any]:
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "crunch"}},
        "template": template(**{"kubernetes.io/batch-cpu": "1000", "kubernetes.io/batch-memory": "1Gi"}),
    }
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec}


def a_job(name: str, **meta: Any) -> dict[str, Any]:
    """One that kwok's nodes run for two hours."""
    made = template(cpu="100m")
    made["metadata"]["annotations"] = {"pod-complete.stage.kwok.x-k8s.io/delay": "2h"}
    made["spec"]["restartPolicy"] = "Never"
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, **meta}, "spec": {"template": made}}


def train_jobs() -> dict[str, Any]:
    """A kind of somebody's, whose spec has more than replicas, and other types than a Deployment's."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": TRAIN_JOBS.version,
        "served": True,
        "storage": True,
        "subresources": {"scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": schema, "status": schema}}},
    }
    names = {"plural": TRAIN_JOBS.plural, "singular": "trainjob", "kind": TRAIN_JOBS.kind}
    spec = {"group": TRAIN_JOBS.group, "scope": "Namespaced", "names": names, "versions": [version]}
    meta = {"name": f"{TRAIN_JOBS.plural}.{TRAIN_JOBS.group}"}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": meta, "spec": spec}


def add(bed: Testbed, **more: str) -> None:
    amounts = {"cpu": "16", "memory": "64Gi", "pods": "110", **more}
    add_nodes(bed.site, [fake_node(f"tide-{number}", {}, amounts) for number in range(2)])


def replicas(bed: Testbed, kind: str, name: str) -> int:
    number: int = found(bed, kind, name, "default")["spec"]["replicas"]
    return number


def said(journal: Path) -> str:
    return "".join(each.read_text(errors="replace") for each in journal.rglob("*") if each.is_file())


@pytest.mark.slow
def test_offline_work_of_every_kind_grows_and_what_an_autoscaler_scales_stays(
    installed: Testbed, tmp_path: Path
) -> None:
    done(installed, "apply", f"--filename={CLONE_SETS}")
    make(installed, train_jobs())
    for each in ("clonesets.apps.kruise.io", f"{TRAIN_JOBS.plural}.{TRAIN_JOBS.group}"):
        done(installed, "wait", "--for=condition=Established", f"crd/{each}", "--timeout=180s")
    add(installed, **{"kubernetes.io/batch-cpu": "8000", "kubernetes.io/batch-memory": "8Gi"})
    train = workload(TRAIN_JOBS.kind, "train", 1, TRAIN_JOBS.api_version)
    train["spec"]["selector"], train["spec"]["suspend"] = "none", "never"
    make(
        installed,
        workload("Deployment", "crunch", 1),
        workload("Deployment", "scaled", 1),
        workload("CloneSet", "clones", 1, "apps.kruise.io/v1alpha1"),
        train,
        namespace="default",
    )
    done(installed, "autoscale", "deployment", "scaled", "--namespace=default", "--max=9")
    kinds = ["Deployment", "CloneSet", TRAIN_JOBS.kind]
    rule = {"selector": {"kinds": kinds, "namespaces": ["default"]}, "minimum": 3, "maximum": 5, "coolDownSeconds": 0}
    make(installed, policy("elastic", policy="elasticOffline", elasticOffline={"rules": [rule], "horizonSeconds": 1}))

    def check() -> None:
        eventually(lambda: replicas(installed, "cloneset", "clones") >= 3)
        eventually(lambda: replicas(installed, TRAIN_JOBS.plural, "train") >= 3)
        eventually(lambda: replicas(installed, "deployment", "crunch") == 5, "into what nodes offer, up to its maximum")
        assert replicas(installed, "deployment", "scaled") == 1
        eventually(lambda: "Autoscaled" in said(tmp_path))
        # Services want it back: nothing is offered any more.
        nothing = {"status": {kind: {"kubernetes.io/batch-cpu": "0"} for kind in ("allocatable", "capacity")}}
        for number in range(2):
            patch = ("--subresource=status", f"--patch={json.dumps(nothing)}")
            done(installed, "patch", "node", f"tide-{number}", *patch)
        eventually(lambda: replicas(installed, "deployment", "crunch") == 3, "down to its minimum")

    asyncio.run(running(installed, tmp_path, check, workloads=(TRAIN_JOBS,)))


@pytest.mark.slow
def test_jobs_wait_for_their_window_and_nobody_elses_or_running_one_is_touched(
    installed: Testbed, tmp_path: Path
) -> None:
    add(installed)
    make(
        installed,
        a_job("runs"),
        a_job("agrees", annotations={SUSPEND_RUNNING: "true"}),
        a_job("queued", labels={QUEUE: "team"}),
        namespace="default",
    )
    names = ("runs", "agrees", "queued")
    eventually(lambda: all(found(installed, "job", each, "default")["status"].get("ready") for each in names))
    cron = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "every-minute"},
        "spec": {
            "schedule": "* * * * *",
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {"spec": a_job("")["spec"]},
        },
    }
    rule = {"name": "nights", "selector": {"namespaces": ["default"]}, "windows": CLOSED, "graceSeconds": 0}
    make(installed, policy("nights", policy="timeWindows", timeWindows={"rules": [rule]}))

    def suspended() -> set[str]:
        return {
            each["metadata"]["name"] for each in items(installed, "jobs", "-n", "default") if each["spec"]["suspend"]
        }

    def check() -> None:
        eventually(lambda: "agrees" in suspended())
        make(installed, cron, namespace="default")
        eventually(lambda: any(each.startswith("every-minute") for each in suspended()))
        first = {each for each in suspended() if each.startswith("every-minute")}
        due = found(installed, "cronjob", "every-minute", "default")["status"]["lastScheduleTime"]
        eventually(lambda: "NoConsent" in said(tmp_path))
        skipped = "JobAlreadyActive"
        eventually(
            lambda: any(each["reason"] == skipped for each in items(installed, "events", "-n", "default")), within=240
        )
        assert found(installed, "cronjob", "every-minute", "default")["status"]["lastScheduleTime"] == due
        assert suspended() == {"agrees", *first}
        assert len(first) == 1
        assert not found(installed, "cronjob", "every-minute", "default")["spec"]["suspend"]
        opened = {
            "spec": {
                "timeWindows": {"rules": [rule | {"windows": [{"schedule": "* * * * *", "durationSeconds": 600}]}]}
            }
        }
        done(installed, "patch", "policies.neaptide.io", "nights", "--type=merge", f"--patch={json.dumps(opened)}")
        eventually(lambda: not suspended(), "the window is open", within=400)

    asyncio.run(running(installed, tmp_path, check))
