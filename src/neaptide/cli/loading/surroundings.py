"""What pods of a dump need around them, as an API server accepts it: namespaces, nodes that kwok plays, volumes and claims, budgets."""

from collections.abc import Iterable
from typing import Any

import msgspec

from neaptide.model import objects as o
from neaptide.model import storage_objects as storage

Json = dict[str, Any]

FAKE = "kwok.x-k8s.io/node"
"""Annotation of a node that kwok plays: `fake`."""
_LEFT_TO_CONTROLLERS = "node.kubernetes.io/"
_ADMISSION = "pod-security.kubernetes.io/"
_DROPPED = ("kubectl.kubernetes.io/last-applied-configuration", "pv.kubernetes.io/", "volume.kubernetes.io/")


def namespace(item: o.Namespace) -> Json:
    """A namespace, without what it would refuse of pods."""
    labels = {key: value for key, value in item.metadata.labels.items() if not key.startswith(_ADMISSION)}
    return {"metadata": _meta(item.metadata) | {"labels": labels}}


def node(item: o.Node) -> Json:
    """A node that kwok plays; taints for its state come and go by themselves."""
    spec, images = msgspec.to_builtins(item.spec), msgspec.to_builtins(item.status.images)
    taints = [each for each in spec.get("taints", ()) if not each["key"].startswith(_LEFT_TO_CONTROLLERS)]
    meta = _meta(item.metadata)
    meta["annotations"] = meta["annotations"] | {FAKE: "fake"}
    capacity, allocatable = item.status.capacity or item.status.allocatable, item.status.allocatable
    return {
        "metadata": meta,
        "spec": spec | {"taints": taints},
        "status": {"capacity": capacity, "allocatable": allocatable, "images": images},
    }


def csi_node(item: storage.CSINode) -> Json:
    drivers = [{"nodeID": item.metadata.name} | msgspec.to_builtins(each) for each in item.spec.drivers]
    return {"metadata": _meta(item.metadata), "spec": {"drivers": drivers}}


def storage_class(item: storage.StorageClass) -> Json:
    plain: Json = msgspec.to_builtins(item)
    return plain | {"metadata": _meta(item.metadata), "provisioner": item.provisioner or "neaptide.io/none"}


def volume(item: storage.PersistentVolume) -> Json:
    """A volume, bound to its claim by name."""
    spec = msgspec.to_builtins(item.spec)
    spec.pop("volumeAttributesClassName", None)
    spec.setdefault("accessModes", ["ReadWriteOnce"])
    if "csi" in spec:
        spec["csi"] = {"volumeHandle": item.metadata.name} | spec["csi"]
    else:
        spec["hostPath"] = {"path": f"/neaptide.io/{item.metadata.name}"}
    if item.spec.claim_ref is not None:
        spec["claimRef"] = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "name": item.spec.claim_ref.name,
            "namespace": item.spec.claim_ref.namespace,
        }
    return {"metadata": _meta(item.metadata), "spec": spec}


def budget(item: o.PodDisruptionBudget) -> Json:
    return {"metadata": _meta(item.metadata), "spec": msgspec.to_builtins(item.spec)}


def namespaces_of(items: Iterable[Any]) -> list[Json]:
    """Every namespace that objects are in, also where a dump lacks it."""
    found = list(items)
    known = {each.metadata.name: namespace(each) for each in found if isinstance(each, o.Namespace)}
    named = {each.metadata.namespace for each in found if each.metadata.namespace}
    if any(isinstance(each, o.Pod) and not each.metadata.namespace for each in found):
        named.add("default")
    return [*known.values(), *({"metadata": {"name": name}} for name in sorted(named - known.keys()))]


def _meta(meta: o.Metadata) -> Json:
    kept = {key: value for key, value in meta.annotations.items() if not key.startswith(_DROPPED)}
    found: Json = {"name": meta.name, "labels": meta.labels, "annotations": kept}
    return found | ({"namespace": meta.namespace} if meta.namespace else {})
