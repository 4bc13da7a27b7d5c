"""Room that is lent, kept and taken back on a real control plane: quotas, rolling updates, volumes, and objects that make no sense."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from tests.kube.live import eventually, found
from tests.kube.scheduler.asking import (
    bound,
    create,
    custom,
    deployment,
    node,
    nodes_of,
    nothing_is_over_committed,
    pod,
    pods,
    refusal,
    refused,
)
from tests.kube.scheduler.conftest import Start
from tests.testbed.asking import done, items

from neaptide.testbed.cluster import Testbed
from neaptide.testbed.load import add_nodes

SIGS, KOORDINATOR = "scheduling.sigs.k8s.io", "scheduling.koordinator.sh"
QUOTA = "quota.scheduling.koordinator.sh/"
MANAGER = "kube-controller-manager"
CORES = 4
pytestmark = [pytest.mark.usefixtures("kinds"), pytest.mark.slow]


@pytest.fixture
def classes(bed: Testbed, place: str) -> Iterator[tuple[str, str]]:
    """PriorityClasses of the bands prod and batch, which preempt nobody by themselves."""
    names = f"{place}-prod", f"{place}-batch"
    for name, value in zip(names, (9500, 5500), strict=True):
        done(bed, "create", "priorityclass", name, f"--value={value}", "--preemption-policy=Never")
    yield names
    done(bed, "delete", "priorityclass", *names)


@pytest.fixture
def own_node(bed: Testbed, place: str) -> Iterator[dict[str, Any]]:
    """What a pod needs for a node of CORES cores that nobody else can use."""
    add_nodes(bed.site, [node(place, cpu=str(CORES))])
    done(bed, "taint", "node", place, f"only={place}:NoSchedule")
    yield {
        "nodeSelector": {"kubernetes.io/hostname": place},
        "tolerations": [{"key": "only", "value": place, "effect": "NoSchedule"}],
    }
    done(bed, "delete", "node", place)


@pytest.mark.parametrize("room", ["160", "152"], ids=["of nodes that are full", "of a parent quota that is full"])
def test_what_a_quota_has_borrowed_is_taken_back_by_preemption(
    bed: Testbed, place: str, scheduler: Start, room: str
) -> None:
    """Two pods fill a node. Of 40 places the borrower has 38, its own are 15, when the lender wants 8 of its 23."""
    done(bed, "create", "priorityclass", place, "--value=5500")

    def quota(name: str, least: str, *, parent: str = "company") -> dict[str, Any]:
        made = custom(SIGS, "ElasticQuota", name, {"min": {"cpu": least}, "max": {"cpu": room}})
        made["metadata"]["labels"] = {f"{QUOTA}parent": parent} if parent else {f"{QUOTA}is-parent": "true"}
        return made

    def many(of: str, count: int) -> dict[str, Any]:
        made = deployment(of, count, cpu="4", priorityClassName=place)
        made["spec"]["template"]["metadata"]["labels"][f"{QUOTA}name"] = of
        return made

    create(bed, place, quota("company", room, parent=""), quota("borrower", "60"), quota("lender", "92"))
    with scheduler(bed.kubeconfig):
        create(bed, place, many("borrower", 38))
        bound(bed, place, 38)
        create(bed, place, many("lender", 8))
        eventually(lambda: len(_bound(bed, place, "lender")) == 8)
        said = [each for each in items(bed, "events.events.k8s.io", "-n", place) if each["reason"] == "Preempted"]
        assert {each["regarding"]["name"].partition("-")[0] for each in said} == {"borrower"}
        eventually(lambda: _used(bed, place, "lender") == "32000m")
    done(bed, "delete", "priorityclass", place)
    nothing_is_over_committed(bed)


@pytest.mark.parametrize("asks", [True, False], ids=["with", "without"])
def test_a_rolling_update_on_a_full_node_while_batch_pods_wait_for_its_room(
    bed: Testbed, place: str, scheduler: Start, classes: tuple[str, str], own_node: dict[str, Any], asks: bool
) -> None:
    """The next pod of the service comes a while after the old one has gone: its controller is frozen in between."""
    prod, batch = classes
    service = deployment("web", 2, cpu="2", priorityClassName=prod, **own_node)
    service["metadata"]["annotations"] = {"neaptide.io/reserve-on-update": "true"} if asks else {}
    with scheduler(bed.kubeconfig):
        create(bed, place, service)
        bound(bed, place, 2)
        create(bed, place, deployment("batch", 3, cpu="2", priorityClassName=batch, **own_node))
        eventually(lambda: len(nodes_of(bed, place)) == 5)
        refused(bed, place, next(name for name in nodes_of(bed, place) if "batch" in name))
        old = [name for name in nodes_of(bed, place) if "web" in name]
        for each in old:
            bed.freeze(MANAGER)
            try:
                done(bed, "delete", "pod", each, "--namespace", place, "--grace-period=0", "--force")
                if asks:
                    eventually(partial(_where_kept, bed, f"{place}-{each}"))
                else:
                    eventually(lambda: any(_bound(bed, place, "batch")))
            finally:
                bed.thaw(MANAGER)
            if not asks:
                break
            eventually(lambda: len(_bound(bed, place, "web")) == 2)
        assert bool(_bound(bed, place, "batch")) is not asks
        if asks:
            assert not set(old) & set(_bound(bed, place, "web"))
            automatic = "--selector=neaptide.io/automatic=true"
            eventually(lambda: not items(bed, "reservations", automatic), "reservations go when they have been used")
        else:
            eventually(lambda: any(refusal(bed, place, each)[1] for each in pods(bed, place) if "web" in each))
    nothing_is_over_committed(bed)


def test_a_claim_is_provisioned_for_the_node_that_was_chosen_and_the_binding_waits_for_it(
    bed: Testbed, place: str, scheduler: Start, own_node: dict[str, Any]
) -> None:
    storage = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": place},
        "provisioner": "neaptide.io/test",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    wanted = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": place,
        "resources": {"requests": {"storage": "1Gi"}},
    }
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": wanted}
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    with scheduler(bed.kubeconfig):
        create(bed, place, storage, claim, pod("reader", volumes=volumes, **own_node))
        eventually(lambda: _selected(bed, place) == place)
        assert nodes_of(bed, place) == {"reader": ""}
        uid = found(bed, "pvc", "data", place)["metadata"]["uid"]
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": place},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": place,
                "hostPath": {"path": "/mnt"},
                "claimRef": {"kind": "PersistentVolumeClaim", "name": "data", "namespace": place, "uid": uid},
            },
        }
        create(bed, "", volume)
        assert bound(bed, place, 1) == {"reader": place}
    done(bed, "delete", "pod", "reader", "--namespace", place, "--grace-period=0", "--force")
    done(bed, "delete", "pvc", "data", "--namespace", place, "--wait=false")
    done(bed, "delete", "pv,storageclass", place, "--wait=false")


def test_objects_that_make_no_sense_say_so_and_stop_nobody_else(bed: Testbed, place: str, scheduler: Start) -> None:
    def quota(name: str, least: str, most: str, parent: str = "") -> dict[str, Any]:
        made = custom(SIGS, "ElasticQuota", name, {"min": {"cpu": least}, "max": {"cpu": most}})
        made["metadata"]["labels"] = {f"{QUOTA}parent": parent} if parent else {}
        return made

    create(
        bed,
        place,
        *(quota("hen", "1", "4", "egg"), quota("egg", "1", "4", "hen")),
        *(quota("upside-down", "4", "1"), quota("sound", "1", "4")),
        custom(KOORDINATOR, "Reservation", place, {"owners": [{}], "template": {"spec": pod("", cpu="1")["spec"]}}),
    )
    of_quotas = ("hen", "upside-down", "sound")
    with scheduler(bed.kubeconfig):
        create(bed, place, *(pod(each, metadata={"labels": {f"{QUOTA}name": each}}) for each in of_quotas))
        assert "its parents lead back to itself" in refused(bed, place, "hen")
        assert "spec.max[cpu] is below spec.min" in refused(bed, place, "upside-down")
        eventually(lambda: nodes_of(bed, place)["sound"])
        eventually(lambda: found(bed, "reservation", place).get("status", {}).get("phase") == "Failed")
        assert "names nobody" in json.dumps(found(bed, "reservation", place)["status"])
    done(bed, "delete", "reservation", place)
    nothing_is_over_committed(bed)


def _used(bed: Testbed, namespace: str, quota: str) -> str:
    used: str = found(bed, "elasticquota", quota, namespace).get("status", {}).get("used", {}).get("cpu", "")
    return used


def _where_kept(bed: Testbed, reservation: str) -> str:
    node: str = found(bed, "reservation", reservation).get("status", {}).get("nodeName", "")
    return node


def _bound(bed: Testbed, namespace: str, beginning: str) -> list[str]:
    return [name for name, where in nodes_of(bed, namespace).items() if name.startswith(beginning) and where]


def _selected(bed: Testbed, namespace: str) -> str:
    annotations = found(bed, "pvc", "data", namespace)["metadata"].get("annotations", {})
    chosen: str = annotations.get("volume.kubernetes.io/selected-node", "")
    return chosen
