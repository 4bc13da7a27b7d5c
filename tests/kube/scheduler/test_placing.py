"""The scheduler on a real control plane, beside kube-scheduler."""

from typing import Any

from tests.kube.live import eventually
from tests.kube.scheduler.asking import (
    OURS,
    PEER,
    bound,
    create,
    deployment,
    nodes_of,
    nothing_is_over_committed,
    pod,
    refused,
)
from tests.kube.scheduler.conftest import Start
from tests.testbed.asking import done, items

from neaptide.testbed.cluster import Testbed

LABELS = {"app": "impossible"}
AWAY = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "topology.kubernetes.io/zone", "labelSelector": {"matchLabels": {"app": "spread"}}}
        ]
    }
}
IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "too-large": {"cpu": "100"},
    "no-such-zone": {"nodeSelector": {"topology.kubernetes.io/zone": "zone-z"}},
    "apart": {"affinity": AWAY},
    "no-such-resource": {
        "containers": [{"name": "main", "image": "web", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]
    },
    "no-such-node": {
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}]
                }
            }
        }
    },
}


def test_300_mixed_pods_are_bound_and_the_impossible_ones_say_why_as_kube_scheduler_does(
    bed: Testbed, place: str, scheduler: Start
) -> None:
    spread = [{"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}]
    spread[0]["labelSelector"] = {"matchLabels": {"app": "even"}}
    ports = {"name": "main", "image": "web", "ports": [{"containerPort": 80, "hostPort": 8080}]}
    create(
        bed,
        place,
        deployment("plain", 150),
        deployment("large", 20, cpu="1500m"),
        deployment("even", 90, topologySpreadConstraints=spread),
        deployment("host", 20, containers=[ports]),
        deployment("zone", 20, nodeSelector={"topology.kubernetes.io/zone": "zone-b"}),
        *(pod(f"spread-{zone}", metadata={"labels": {"app": "spread"}}, affinity=AWAY) for zone in "abc"),
    )
    with scheduler(bed.kubeconfig):
        found = bound(bed, place, 303)
        for name, spec in IMPOSSIBLE.items():
            both = (pod(f"{name}-{who}", scheduler=who, **spec) for who in (OURS, PEER))
            create(bed, place, *both)
        for name in IMPOSSIBLE:
            assert refused(bed, place, f"{name}-{OURS}") == refused(bed, place, f"{name}-{PEER}"), name
        eventually(lambda: _said(bed, place, "Scheduled"))
        assert _said(bed, place, "Scheduled") <= set(found)
        eventually(lambda: _said(bed, place, "FailedScheduling") & {f"{name}-{OURS}" for name in IMPOSSIBLE})
    assert len({found[name] for name in found if name.startswith("host-")}) == 20
    assert _zones(bed, found, "even-") == [30, 30, 30]
    assert sum(_zones(bed, found, "zone-")) == 20
    nothing_is_over_committed(bed)


def test_a_pod_that_was_refused_is_bound_once_there_is_room(bed: Testbed, place: str, scheduler: Start) -> None:
    with scheduler(bed.kubeconfig):
        create(bed, place, pod("picky", nodeSelector={"disk": "ssd"}))
        refused(bed, place, "picky")
        done(bed, "label", "node", "node-07", "disk=ssd")
        assert bound(bed, place, 1) == {"picky": "node-07"}
        done(bed, "label", "node", "node-07", "disk-")


def test_a_pod_waits_until_its_scheduling_gates_are_gone(bed: Testbed, place: str, scheduler: Start) -> None:
    with scheduler(bed.kubeconfig):
        create(bed, place, pod("gated", schedulingGates=[{"name": "example.com/wait"}]), pod("free"))
        assert bound(bed, place, 1)["gated"] == ""
        patch = '[{"op": "remove", "path": "/spec/schedulingGates"}]'
        done(bed, "patch", "pod", "gated", "--namespace", place, "--type=json", "--patch", patch)
        bound(bed, place, 2)


def test_a_more_important_pod_has_a_less_important_one_evicted(bed: Testbed, place: str, scheduler: Start) -> None:
    only: dict[str, Any] = {"nodeSelector": {"kubernetes.io/hostname": "node-03"}}
    for name, value in (("high", 1000), ("low", 10)):
        done(bed, "create", "priorityclass", f"{place}-{name}", f"--value={value}")
    with scheduler(bed.kubeconfig):
        create(bed, place, deployment("low", 1, cpu="6", priorityClassName=f"{place}-low", **only))
        bound(bed, place, 1)
        create(bed, place, pod("high", cpu="7", priorityClassName=f"{place}-high", **only))
        eventually(lambda: nodes_of(bed, place)["high"] == "node-03")
        eventually(lambda: _said(bed, place, "Preempted"))
    nothing_is_over_committed(bed)


def test_the_loop_and_the_scheduler_run_in_one_process_under_one_lease(
    bed: Testbed, place: str, scheduler: Start
) -> None:
    with scheduler(bed.kubeconfig, "--interval", "1", only=()):
        create(bed, place, deployment("web", 20))
        bound(bed, place, 20)
        holders = {each["metadata"]["name"]: each["spec"]["holderIdentity"] for each in items(bed, "leases")}
    assert holders["neaptide"]
    assert not holders.get("neaptide-scheduler")  # given up by those that ran alone before
    nothing_is_over_committed(bed)


def test_a_claim_that_waits_for_its_first_consumer_gets_a_volume_where_the_pod_goes(
    bed: Testbed, place: str, scheduler: Start
) -> None:
    name = f"{place}-local"
    create(
        bed,
        place,
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        },
        _volume(name, "node-11"),
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": name,
                "resources": {"requests": {"storage": "1Gi"}},
            },
        },
    )
    with scheduler(bed.kubeconfig):
        create(bed, place, pod("reader", volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]))
        assert bound(bed, place, 1) == {"reader": "node-11"}
    claim = items(bed, "pvc", "--namespace", place)[0]
    assert claim["status"]["phase"] == "Bound"
    done(bed, "delete", "pod", "reader", "--namespace", place, "--grace-period=0", "--force")
    done(bed, "delete", "pvc", "data", "--namespace", place, "--wait=false")
    done(bed, "delete", "pv,storageclass", name, "--wait=false")


def _volume(name: str, where: str) -> dict[str, Any]:
    at = {"key": "kubernetes.io/hostname", "operator": "In", "values": [where]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": name,
            "local": {"path": "/mnt"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [at]}]}},
        },
    }


def _zones(bed: Testbed, found: dict[str, str], beginning: str) -> list[int]:
    """How many of some pods are in each zone that has any."""
    zones = {each["metadata"]["name"]: each["metadata"]["labels"] for each in items(bed, "nodes")}
    counted: dict[str, int] = {}
    for name, where in found.items():
        if name.startswith(beginning):
            zone = zones[where]["topology.kubernetes.io/zone"]
            counted[zone] = counted.get(zone, 0) + 1
    return sorted(counted.values())


def _said(bed: Testbed, namespace: str, reason: str) -> set[str]:
    """The pods of which our scheduler has said this in an Event."""
    found = items(bed, "events.events.k8s.io", "--namespace", namespace)
    ours = (each for each in found if each["reason"] == reason and each["reportingController"] == OURS)
    return {each["regarding"]["name"] for each in ours}
