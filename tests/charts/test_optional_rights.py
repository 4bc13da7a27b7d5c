"""What each choice in the chart's values adds to the rights of its account: all that it needs, and not one verb more."""

import json
from typing import Any

import pytest
from tests.charts.scenes import PLAIN, Scene, assert_added_is_used, by_hand, carried_out, idle, policy
from tests.kube.live import WHY, eventually, found, make
from tests.kube.providers.test_karpenter import POOL, definition
from tests.kube.scheduler.asking import bound, custom, deployment, pod, pods, refused
from tests.kube.test_offline_live import TRAIN_JOBS, train_jobs, workload
from tests.kube.test_offline_live import add as add_offering
from tests.testbed.asking import done, items

from neaptide.model.actions import AnyAction, Checkpoint, Cordon, CreateNode, DeleteNode, Evict, Nominate, Ref
from neaptide.model.offerings import Offering
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.load import add_nodes
from neaptide.testbed.nodes import fake_node

CUSTOM = ",".join(
    f"customWorkloads[0].{key}={getattr(TRAIN_JOBS, key)}" for key in ("group", "version", "plural", "kind")
)
SIGS, MANAGER = "scheduling.sigs.k8s.io", "kube-controller-manager"
pytestmark = pytest.mark.slow


def choosing(*values: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("scene", [(f"--set={','.join((PLAIN, *values))}",)], indirect=True)


@choosing("scaling=true", CUSTOM)
def test_what_scaling_adds_is_what_it_needs(scene: Scene) -> None:
    """Offline work of each kind is below its minimum."""
    testbed = scene.testbed
    make(testbed, train_jobs())
    done(testbed, "wait", "--for=condition=Established", "crd", "--all", "--timeout=180s")
    add_offering(testbed, **{"kubernetes.io/batch-cpu": "8000", "kubernetes.io/batch-memory": "8Gi"})
    stateful = workload("StatefulSet", "stateful", 1)
    stateful["spec"]["serviceName"] = "none"
    clones, train = (
        workload("CloneSet", "clones", 1, "apps.kruise.io/v1alpha1"),
        workload("TrainJob", "train", 1, TRAIN_JOBS.api_version),
    )
    make(testbed, workload("Deployment", "crunch", 1), stateful, clones, train, namespace="default")
    kinds = ["Deployment", "StatefulSet", "CloneSet", TRAIN_JOBS.kind]
    rule = {"selector": {"kinds": kinds, "namespaces": ["default"]}, "minimum": 2, "maximum": 2, "coolDownSeconds": 0}
    scene.apply(
        policy(
            "elastic",
            {"policy": "elasticOffline", "elasticOffline": {"rules": [rule], "horizonSeconds": 1}},
            mode="Enforce",
        )
    )
    scene.start()
    eventually(lambda: not idle(scene))
    scene.end()
    assert_added_is_used(scene)


@choosing("usage.kubelets=true")
def test_what_asking_kubelets_adds_is_what_it_needs(scene: Scene) -> None:
    """There is nobody else who could be asked."""
    add_offering(scene.testbed)
    scene.apply(policy("reclaim", {"policy": "reclaim"}, mode="Recommend"))
    scene.start()
    eventually(lambda: not idle(scene))
    scene.end()
    assert_added_is_used(scene)


@choosing("scheduler.enabled=true")
def test_what_the_scheduler_adds_is_what_it_needs(scene: Scene) -> None:
    """A gang, a quota, a rolling update that keeps its room, claims that are provisioned and bound, and a pod that fits nowhere."""
    testbed = scene.testbed
    done(testbed, "wait", "--for=condition=Established", "crd", "--all", "--timeout=180s")
    add_nodes(testbed.site, [fake_node("tide-1", {}, {"cpu": "8", "memory": "32Gi", "pods": "110"})])
    eventually(lambda: items(testbed, "serviceaccounts", "--namespace=default"))
    make(testbed, storage_class("static", "kubernetes.io/no-provisioner"), storage_class("made", "tide.io/none"))
    make(testbed, volume("static"))
    service = deployment("web", 1, cpu="2")
    service["metadata"]["annotations"] = {"neaptide.io/reserve-on-update": "true"}
    make(
        testbed,
        custom(SIGS, "PodGroup", "gang", {"minMember": 1}),
        custom(SIGS, "ElasticQuota", "team", {"min": {"cpu": "1"}, "max": {"cpu": "4"}}),
        claim("static"),
        claim("made"),
        service,
        pod("member", metadata={"labels": {"pod-group.scheduling.sigs.k8s.io": "gang"}}),
        pod("within", metadata={"labels": {"quota.scheduling.koordinator.sh/name": "team"}}),
        pod("too-large", cpu="100"),
        reader("static"),
        reader("made"),
        namespace="default",
    )
    scene.start()
    bound(testbed, "default", 4)
    refused(testbed, "default", "too-large")
    old = next(each for each in pods(testbed, "default") if each.startswith("web"))
    testbed.freeze(MANAGER)  # the next pod comes when room is kept for it
    done(testbed, "delete", "pod", old, "--namespace=default", "--grace-period=0", "--force")
    eventually(lambda: items(testbed, "reservations"))
    testbed.thaw(MANAGER)
    eventually(lambda: not items(testbed, "reservations"))
    eventually(lambda: not idle(scene))
    scene.end()
    assert_added_is_used(scene)


@choosing("nodes.change=true")
def test_what_changing_nodes_adds_is_what_it_needs(scene: Scene) -> None:
    add_offering(scene.testbed)
    scene.apply(by_hand(Cordon(policy="by-hand", target=node(scene.testbed, "tide-0"), reason=WHY)))
    scene.start()
    eventually(lambda: found(scene.testbed, "node", "tide-0")["spec"].get("unschedulable"))
    scene.end()
    assert_added_is_used(scene)


@choosing("checkpoints=true")
def test_what_checkpoints_add_is_what_they_need(scene: Scene) -> None:
    """A pod that is evicted has a command run first; on a node that kwok plays nothing comes of that, and it goes all the same."""
    testbed = scene.testbed
    add_offering(testbed)
    make(testbed, pod("works", scheduler="default-scheduler"), namespace="default")
    bound(testbed, "default", 1)
    works = found(testbed, "pod", "works", "default")
    target, where = Ref("Pod", "works", "default", works["metadata"]["uid"]), works["spec"]["nodeName"]
    hook = Checkpoint(("save",), "", 5.0)
    scene.start()
    follow(
        scene, Evict(policy="by-hand", target=target, reason=WHY, node=where, forced=True, bare=True, checkpoint=hook)
    )
    eventually(lambda: not found(testbed, "pod", "works", "default"))
    scene.end()
    assert "unable to upgrade connection" in scene.said()  # by the kubelet that kwok plays, and not by the API server
    assert_added_is_used(scene)


OFFERING = Offering(
    "tide.large",
    "on-demand",
    "a",
    0.1,
    {"cpu": 4000, "memory": 16 << 30, "pods": 20},
    {
        "node.kubernetes.io/instance-type": "tide.large",
        "karpenter.sh/capacity-type": "on-demand",
        "topology.kubernetes.io/zone": "a",
    },
)


@choosing("provider.name=kwok")
def test_what_a_provider_adds_is_what_it_needs(scene: Scene) -> None:
    """A node is bought for a pod, taken out of use, and given back."""
    testbed = scene.testbed
    make(testbed, pod("waits", cpu="1"), namespace="default")
    scene.start()
    buy = CreateNode(policy="by-hand", target=Ref("Node", "bought"), reason=WHY, offering=OFFERING)
    follow(scene, buy, nominating(testbed, "bought"))
    bought = node(testbed, "bought")
    follow(
        scene,
        Cordon(policy="by-hand", target=bought, reason=WHY),
        DeleteNode(policy="by-hand", target=bought, reason=WHY),
    )
    eventually(lambda: not idle(scene))
    scene.end()
    assert_added_is_used(scene)


@choosing("provider.name=karpenter")
def test_what_karpenter_as_the_provider_adds_is_what_it_needs(scene: Scene) -> None:
    """Its NodePool is asked for a node; one that stands for it is given back."""
    testbed = scene.testbed
    make(testbed, definition("nodepools", "NodePool"), definition("nodeclaims", "NodeClaim"))
    done(testbed, "wait", "--for=condition=Established", "crd", "--all", "--timeout=180s")
    make(testbed, POOL)
    make(testbed, pod("waits", cpu="1"), namespace="default")
    add_offering(testbed)
    scene.start()
    buy = CreateNode(policy="by-hand", target=Ref("Node", "bought"), reason=WHY, offering=OFFERING, node_pool="default")
    follow(scene, buy, nominating(testbed, "tide-0"))
    status = json.dumps({"status": {"nodeName": "tide-0"}})
    done(testbed, "patch", "nodeclaim", "bought", "--subresource=status", "--type=merge", f"--patch={status}")
    follow(scene, DeleteNode(policy="by-hand", target=node(testbed, "tide-0"), reason=WHY))
    eventually(lambda: not idle(scene))
    scene.end()
    assert_added_is_used(scene)


def follow(scene: Scene, *actions: AnyAction) -> None:
    """Have a Plan of these actions carried out."""
    done(scene.testbed, "delete", "plans.neaptide.io", "by-hand", "--ignore-not-found")
    scene.apply(by_hand(*actions))
    eventually(lambda: carried_out(scene.testbed))


def nominating(testbed: Testbed, name: str) -> Nominate:
    uid = found(testbed, "pod", "waits", "default")["metadata"]["uid"]
    return Nominate(policy="by-hand", target=Ref("Pod", "waits", "default", uid), reason=WHY, node=name)


def node(testbed: Testbed, name: str) -> Ref:
    return Ref("Node", name, uid=found(testbed, "node", name)["metadata"]["uid"])


def storage_class(name: str, provisioner: str) -> dict[str, Any]:
    """One whose claims wait for their first consumer."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": provisioner,
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def volume(storage: str) -> dict[str, Any]:
    """One that is there already."""
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage,
        "hostPath": {"path": "/nowhere"},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": storage}, "spec": spec}


def claim(storage: str) -> dict[str, Any]:
    """Of that storage class, and named as it is."""
    wanted: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "storageClassName": storage}
    wanted["resources"] = {"requests": {"storage": "1Gi"}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": storage}, "spec": wanted}


def reader(storage: str) -> dict[str, Any]:
    return pod(f"reads-{storage}", volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": storage}}])
