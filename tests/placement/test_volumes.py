"""Claims and volumes: where a pod with them can go, and the words when it cannot."""

from typing import Any

import pytest

from neaptide.model import objects as o
from neaptide.model import storage_objects as storage
from neaptide.model.any_object import AnyObject
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.place import Placement
from neaptide.placement.volumes import BIND_COMPLETED, NO_PROVISIONER, SELECTED_NODE

ZONE = "topology.kubernetes.io/zone"


def node(name: str, zone: str) -> o.Node:
    labels = {"kubernetes.io/hostname": name, ZONE: zone}
    return o.Node(o.Metadata(name=name, labels=labels), status=o.NodeStatus(allocatable={"cpu": "4", "pods": "10"}))


def pod(name: str, *claims: str, on: str = "", ephemeral: bool = False) -> o.Pod:
    volumes = tuple(
        o.Volume(claim, ephemeral=o.EphemeralSource())
        if ephemeral
        else o.Volume(claim, persistent_volume_claim=o.ClaimSource(claim))
        for claim in claims
    )
    return o.Pod(
        o.Metadata(name=name, namespace="default", uid=f"uid-of-{name}"),
        o.PodSpec(containers=(o.Container("main"),), node_name=on, volumes=volumes),
    )


def claim(
    name: str,
    volume: str = "",
    storage_class: str | None = None,
    *,
    modes: tuple[str, ...] = ("ReadWriteOnce",),
    size: str = "1Gi",
    annotations: dict[str, str] | None = None,
    **meta: Any,
) -> storage.PersistentVolumeClaim:
    done = {BIND_COMPLETED: "yes"} if volume else {}
    return storage.PersistentVolumeClaim(
        o.Metadata(name=name, namespace="default", annotations=done | (annotations or {}), **meta),
        storage.ClaimSpec(volume, storage_class, modes, o.Resources({"storage": size})),
    )


def volume(
    name: str,
    *zones: str,
    storage_class: str = "",
    size: str = "1Gi",
    labels: dict[str, str] | None = None,
    driver: str = "",
    claim_ref: storage.ClaimReference | None = None,
) -> storage.PersistentVolume:
    """A volume that nodes of some zones reach; of all, where none is named."""
    terms = (o.NodeSelectorTerm((o.Requirement(ZONE, "In", zones),)),)
    return storage.PersistentVolume(
        o.Metadata(name=name, labels=labels or {}),
        storage.VolumeSpec(
            {"storage": size},
            storage_class,
            ("ReadWriteOnce",),
            storage.VolumeNodeAffinity(o.NodeSelector(terms)) if zones else None,
            claim_ref,
            csi=o.CSISource(driver, f"handle-{name}") if driver else None,
        ),
        storage.VolumeStatus("Available"),
    )


def storage_class(name: str, mode: str, provisioner: str = "csi.example.com", *zones: str) -> storage.StorageClass:
    allowed = (storage.TopologySelectorTerm((storage.TopologySelectorLabel(ZONE, zones),)),) if zones else ()
    return storage.StorageClass(o.Metadata(name=name), provisioner, mode, allowed)


LATER = "WaitForFirstConsumer"
NODES: list[AnyObject] = [node("a", "z1"), node("b", "z2")]


def placed(items: list[AnyObject], new: o.Pod) -> tuple[dict[str, str], str]:
    """By node, why it cannot take a pod; and the message."""
    snapshot = snapshot_of([*items, new])
    placement = Placement(snapshot)
    row = snapshot.pods.by_key["default/new"]
    refusals = placement.verdicts(row)
    names = snapshot.nodes.names
    return {names[at]: ", ".join(why.reasons) for at, why in refusals.items()}, placement.verdict(row).message()


def snapshot_of(items: list[AnyObject]) -> ClusterSnapshot:
    snapshot = ClusterSnapshot()
    for item in [*NODES, *items]:
        snapshot.set(item)
    return snapshot


UNREACHABLE = "node(s) didn't match PersistentVolume's node affinity"
UNBINDABLE = "node(s) didn't find available persistent volumes to bind"
LOCAL = storage_class("local", LATER, NO_PROVISIONER)

NODE_CASES: dict[str, tuple[list[AnyObject], o.Pod, dict[str, str]]] = {
    "a bound volume that one zone reaches": (
        [claim("data", "v"), volume("v", "z1")],
        pod("new", "data"),
        {"b": UNREACHABLE},
    ),
    "a bound volume that all reach": ([claim("data", "v"), volume("v")], pod("new", "data"), {}),
    "a zone label on a bound volume": (
        [claim("data", "v"), volume("v", labels={ZONE: "z2"})],
        pod("new", "data"),
        {"a": "node(s) had no available volume zone"},
    ),
    "a label with two zones": ([claim("data", "v"), volume("v", labels={ZONE: "z1__z2"})], pod("new", "data"), {}),
    "a beta label counts against the new one of nodes": (
        [claim("data", "v"), volume("v", labels={"failure-domain.beta.kubernetes.io/zone": "z2"})],
        pod("new", "data"),
        {"a": "node(s) had no available volume zone"},
    ),
    "a region that no node names": (
        [claim("data", "v"), volume("v", labels={"topology.kubernetes.io/region": "r1"})],
        pod("new", "data"),
        {"a": "node(s) had no available volume zone", "b": "node(s) had no available volume zone"},
    ),
    "a claim that waits for its pod and can be provisioned": (
        [claim("data", storage_class="ssd"), storage_class("ssd", LATER)],
        pod("new", "data"),
        {},
    ),
    "in one zone": (
        [claim("data", storage_class="ssd"), storage_class("ssd", LATER, "csi.example.com", "z1")],
        pod("new", "data"),
        {"b": UNBINDABLE},
    ),
    "a claim that waits and finds a local volume": (
        [claim("data", storage_class="local"), LOCAL, volume("v", "z2", storage_class="local")],
        pod("new", "data"),
        {"a": UNBINDABLE},
    ),
    "a local volume that is too small": (
        [claim("data", storage_class="local", size="2Gi"), LOCAL, volume("v", "z2", storage_class="local")],
        pod("new", "data"),
        {"a": UNBINDABLE, "b": UNBINDABLE},
    ),
    "two claims need two volumes": (
        [
            claim("data", storage_class="local"),
            claim("log", storage_class="local"),
            LOCAL,
            volume("v", storage_class="local"),
            volume("w", "z2", storage_class="local"),
        ],
        pod("new", "data", "log"),
        {"a": UNBINDABLE},
    ),
    "a volume reserved for the claim": (
        [
            claim("data", storage_class="local"),
            LOCAL,
            volume("v", "z1", storage_class="local", claim_ref=storage.ClaimReference("data", "default")),
            volume("w", "z2", storage_class="local"),
        ],
        pod("new", "data"),
        {"b": UNBINDABLE},
    ),
    "a claim whose node was chosen already": (
        [claim("data", storage_class="ssd", annotations={SELECTED_NODE: "b"}), storage_class("ssd", LATER)],
        pod("new", "data"),
        {"a": UNBINDABLE},
    ),
    "the one pod of a ReadWriteOncePod claim is there": (
        [claim("data", "v", modes=("ReadWriteOncePod",)), volume("v"), pod("old", "data", on="a")],
        pod("new", "data"),
        dict.fromkeys(
            "ab",
            "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode"
            " already in-use by another pod",
        ),
    ),
    "a node with as many volumes as it takes": (
        [
            claim("data", "v"),
            volume("v", driver="csi.example.com"),
            claim("old", "w"),
            volume("w", driver="csi.example.com"),
            pod("old", "old", on="a"),
            *(
                storage.CSINode(
                    o.Metadata(name=name),
                    storage.CSINodeSpec((storage.CSIDriver("csi.example.com", storage.CSIAllocatable(1)),)),
                )
                for name in "ab"
            ),
        ],
        pod("new", "data"),
        {"a": "node(s) exceed max volume count"},
    ),
    "a volume that is attached already takes no more room": (
        [
            claim("data", "v"),
            volume("v", driver="csi.example.com"),
            pod("old", "data", on="a"),
            storage.CSINode(
                o.Metadata(name="a"),
                storage.CSINodeSpec((storage.CSIDriver("csi.example.com", storage.CSIAllocatable(1)),)),
            ),
        ],
        pod("new", "data"),
        {},
    ),
    "a generic ephemeral volume whose claim is bound to a volume that is gone": (
        [claim("new-data", "v", owner_references=(o.OwnerReference("Pod", "new", "uid-of-new", controller=True),))],
        pod("new", "data", ephemeral=True),
        dict.fromkeys("ab", "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"),
    ),
}


@pytest.mark.parametrize("name", NODE_CASES)
def test_nodes(name: str) -> None:
    items, new, expected = NODE_CASES[name]
    assert placed(items, new)[0] == expected


POD_CASES: dict[str, tuple[list[AnyObject], o.Pod, str]] = {
    "a claim that is not there": ([], pod("new", "data"), 'persistentvolumeclaim "data" not found'),
    "a claim that is still to be made": (
        [],
        pod("new", "data", ephemeral=True),
        'waiting for ephemeral volume controller to create the persistentvolumeclaim "new-data"',
    ),
    "a claim with the name of an ephemeral volume's that another pod's is": (
        [claim("new-data", owner_references=(o.OwnerReference("Pod", "new", "of another time", controller=True),))],
        pod("new", "data", ephemeral=True),
        "PVC default/new-data was not created for pod default/new (pod is not owner)",
    ),
    "a claim without a class": (
        [claim("data")],
        pod("new", "data"),
        "pod has unbound immediate PersistentVolumeClaims",
    ),
    "a claim of an immediate class": (
        [claim("data", storage_class="ssd"), storage_class("ssd", "Immediate")],
        pod("new", "data"),
        "pod has unbound immediate PersistentVolumeClaims",
    ),
    "a claim that is being deleted": (
        [claim("data", "v", deletion_timestamp="2026-01-01T00:00:00Z"), volume("v")],
        pod("new", "data"),
        'persistentvolumeclaim "data" is being deleted',
    ),
    "a bound volume that is gone": ([claim("data", "v")], pod("new", "data"), 'persistentvolume "v" not found'),
}


@pytest.mark.parametrize("name", POD_CASES)
def test_pods_that_no_node_can_take(name: str) -> None:
    items, new, expected = POD_CASES[name]
    assert placed(items, new)[1] == f"0/2 nodes are available: {expected}."


def test_a_scheduled_pod_takes_its_volume_from_the_next_one() -> None:
    snapshot = snapshot_of(
        [
            LOCAL,
            volume("small", "z2", storage_class="local"),
            claim("one", storage_class="local"),
            claim("two", storage_class="local"),
            pod("one", "one"),
            pod("two", "two"),
        ]
    )
    rows = [snapshot.pods.by_key[f"default/{name}"] for name in ("one", "two")]
    first, second = Placement(snapshot).schedule(rows)
    assert first.node == snapshot.nodes.by_name["b"]
    assert second.node is None
    assert second.reason == f"0/2 nodes are available: 2 {UNBINDABLE}."


def test_pods_that_share_a_waiting_claim_go_to_one_node() -> None:
    items: list[AnyObject] = [
        claim("data", storage_class="ssd"),
        storage_class("ssd", LATER),
        pod("one", "data"),
        pod("two", "data"),
    ]
    snapshot = snapshot_of(items)
    rows = [snapshot.pods.by_key[f"default/{name}"] for name in ("one", "two")]
    first, second = Placement(snapshot).schedule(rows)
    assert first.node == second.node
