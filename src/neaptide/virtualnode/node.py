"""The Node object of a virtual node: what it promises, and that it is no machine."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from neaptide import __version__
from neaptide.model.times import timestamp
from neaptide.virtualnode.provider import Capacity, Network

TAINT = "virtual-kubelet.io/provider"
TYPE, VIRTUAL = "type", "virtual-kubelet"
NETWORK = "neaptide.io/network"
"""A label of the node: what network its pods have, `own`, `cluster` or `none`."""
KUBERNETES = "v1.36.3"
"""The version whose kubelet this one behaves like."""

_QUIET = {
    "MemoryPressure": ("KubeletHasSufficientMemory", "a virtual node has no memory of its own"),
    "DiskPressure": ("KubeletHasNoDiskPressure", "a virtual node has no disk of its own"),
    "PIDPressure": ("KubeletHasSufficientPID", "a virtual node has no processes of its own"),
    "NetworkUnavailable": ("RouteCreated", "its provider gives its pods their network"),
}
_NETWORKS: dict[Network, str] = {
    "own": "pods have the provider's own network: they may not reach Services of this cluster, nor be reached by them",
    "cluster": "pods have an address in the cluster's network",
    "none": "pods have no network",
}


class NodeSettings(Struct, frozen=True, kw_only=True):
    """What one virtual node is.

    Attributes:
        name: of the Node; a DNS name.
        provider: the taint's value.
        network: of its pods.
        address: where the API server reaches the kubelet API; port: 0 where there is none.
        labels: besides those that every virtual node has.
        taint: whether it has the taint that keeps pods off which do not tolerate it.
    """

    name: str
    provider: str
    network: Network = "own"
    address: str = "127.0.0.1"
    port: int = 0
    labels: Mapping[str, str] = {}
    taint: bool = True


class Health(Struct, frozen=True):
    """Whether pods can be run now, and what the provider says where they cannot."""

    ready: bool = True
    message: str = "the provider answers"


def node_object(settings: NodeSettings, capacity: Capacity) -> dict[str, Any]:
    """The object to create; its status is written apart."""
    taint = {"key": TAINT, "value": settings.provider, "effect": "NoSchedule"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": settings.name,
            "labels": labels_of(settings, capacity),
            "annotations": {"neaptide.io/network-says": _NETWORKS[settings.network]},
        },
        "spec": {"taints": [taint]} if settings.taint else {},
    }


def labels_of(settings: NodeSettings, capacity: Capacity) -> dict[str, str]:
    """The labels: virtual-kubelet's, and those without which pods with a plain node selector never match."""
    return {
        TYPE: VIRTUAL,
        "kubernetes.io/role": "agent",
        "kubernetes.io/hostname": settings.name,
        "kubernetes.io/os": capacity.operating_system,
        "kubernetes.io/arch": capacity.architecture,
        "node.kubernetes.io/exclude-from-external-load-balancers": "true",
        NETWORK: settings.network,
        **settings.labels,
    }


def node_status(
    settings: NodeSettings, capacity: Capacity, health: Health, before: Mapping[str, Any], now: float
) -> dict[str, Any]:
    """The status to write; times of transitions stay where a condition does."""
    ready = ("KubeletReady" if health.ready else "ProviderNotReady", health.message)
    conditions = [_condition("Ready", health.ready, ready, before, now)]
    conditions += [_condition(kind, False, why, before, now) for kind, why in _QUIET.items()]
    status: dict[str, Any] = {
        "capacity": dict(capacity.capacity),
        "allocatable": dict(capacity.capacity if capacity.allocatable is None else capacity.allocatable),
        "addresses": [
            {"type": "InternalIP", "address": settings.address},
            {"type": "Hostname", "address": settings.name},
        ],
        "conditions": conditions,
        "nodeInfo": {
            "architecture": capacity.architecture,
            "operatingSystem": capacity.operating_system,
            "kubeletVersion": f"{KUBERNETES}-neaptide-{__version__}",
            "containerRuntimeVersion": f"{settings.provider}://",
            "kubeProxyVersion": "",
            "bootID": "",
            "kernelVersion": "",
            "machineID": "",
            "osImage": "",
            "systemUUID": "",
        },
    }
    if settings.port:
        status["daemonEndpoints"] = {"kubeletEndpoint": {"Port": settings.port}}
    return status


def _condition(kind: str, holds: bool, why: tuple[str, str], before: Mapping[str, Any], now: float) -> dict[str, Any]:
    value = "True" if holds else "False"
    conditions = before.get("conditions") or ()
    old: Mapping[str, Any] = next((each for each in conditions if each["type"] == kind), {})
    since = old.get("lastTransitionTime") if old.get("status") == value else None
    return {
        "type": kind,
        "status": value,
        "reason": why[0],
        "message": why[1],
        "lastHeartbeatTime": timestamp(now),
        "lastTransitionTime": since or timestamp(now),
    }
