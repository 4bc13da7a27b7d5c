"""Changes of a cluster that may help a pod which found no node, and the queueing hints: which of them help whom.

A pod is tried again only when a change helps against one of the filters or plugins that refused it. kube-scheduler calls
this QueueingHint; its hints are those of v1.36's plugins, asked per class of pods.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

import numpy as np

from neaptide.model.selectors import node_matches, untolerated
from neaptide.placement.overflow import tolerations
from neaptide.placement.view import Pod, View


class Kind(Enum):
    NODE_ADDED = auto()
    NODE_CHANGED = auto()
    """Its labels, taints, cordon or amounts."""
    NODE_REMOVED = auto()
    POD_ARRIVED = auto()
    """On a node: a binding was assumed or seen."""
    POD_LEFT = auto()
    """A pod on a node has finished or is gone, or its binding was taken back."""
    POD_RELABELLED = auto()
    POD_RESIZED = auto()
    VOLUMES = auto()
    """Claims, volumes, storage classes, CSI nodes."""
    NAMESPACE = auto()
    POD_GROUP = auto()
    """A gang, or one more of its members."""
    QUOTA = auto()
    """A quota, or less demand for one."""
    RESERVATION = auto()
    USAGE = auto()
    """What nodes and pods use was measured."""


OF_OBJECTS = {
    **dict.fromkeys(("PersistentVolumeClaim", "PersistentVolume", "StorageClass", "CSINode"), Kind.VOLUMES),
    "Namespace": Kind.NAMESPACE,
    "PodGroup": Kind.POD_GROUP,
    "ElasticQuota": Kind.QUOTA,
    "Reservation": Kind.RESERVATION,
}
"""By kind of object that is neither a pod nor a node: what a change of it is."""


class Change(NamedTuple):
    """What happened: to which node (row; -1 where it does not matter), by a pod of which class (-1 for none)."""

    kind: Kind
    node: int = -1
    cls: int = -1


Hint = Callable[[View, Pod, Change], bool]
"""Whether a change can help a pod of a class."""
_NODES = (Kind.NODE_ADDED, Kind.NODE_CHANGED)
_PODS = (Kind.POD_ARRIVED, Kind.POD_LEFT, Kind.POD_RELABELLED)


def _always(_view: View, _pod: Pod, _change: Change) -> bool:
    return True


def _has_room(view: View, pod: Pod, change: Change) -> bool:
    """Whether the node of the change has room for the pod now, whatever else speaks against it."""
    snapshot = view.snapshot
    wanted = snapshot.shapes.request[:, pod.cls.shape]
    free = snapshot.nodes.allocatable[:, change.node] - snapshot.nodes.used[:, change.node]
    return bool((free[wanted > 0] >= wanted[wanted > 0]).all())


def _is_named(view: View, pod: Pod, change: Change) -> bool:
    requirements, node = pod.cls.requirements, change.node
    labels, rules = view.snapshot.node_labels(node), requirements.affinity and requirements.affinity.node_affinity
    return all(labels.get(key) == value for key, value in requirements.node_selector.items()) and (
        not rules
        or node_matches(
            rules.required_during_scheduling_ignored_during_execution, labels, view.snapshot.nodes.names[node]
        )
    )


def _is_tolerated(view: View, pod: Pod, change: Change) -> bool:
    taints = view.snapshot.node_taints(change.node)
    return untolerated(taints, tolerations(view, pod), ("NoSchedule", "NoExecute")) is None


def _is_open(view: View, _pod: Pod, change: Change) -> bool:
    return not view.snapshot.nodes.unschedulable[change.node]


def _has_claims(view: View, _pod: Pod, change: Change) -> bool:
    """Whether the pod of the change used claims, which the waiting one may want."""
    if change.cls < 0:
        return False
    shape = view.snapshot.shape_facts.values[int(view.snapshot.classes.shape[change.cls])]
    return bool(shape.requirements.volumes)


def _has_ports(view: View, _pod: Pod, change: Change) -> bool:
    return change.cls >= 0 and bool(
        view.snapshot.shape_facts.values[int(view.snapshot.classes.shape[change.cls])].host_ports
    )


def _table(*kinds: Kind, by: Hint = _always) -> dict[Kind, Hint]:
    return dict.fromkeys(kinds, by)


HINTS: dict[str, dict[Kind, Hint]] = {
    "NodeUnschedulable": _table(*_NODES, by=_is_open),
    "NodeName": _table(Kind.NODE_ADDED),
    "TaintToleration": _table(*_NODES, by=_is_tolerated) | _table(Kind.NAMESPACE),
    "NodeAffinity": _table(*_NODES, by=_is_named),
    "NodePorts": _table(Kind.NODE_ADDED) | _table(Kind.POD_LEFT, by=_has_ports),
    "NodeResourcesFit": _table(*_NODES, Kind.POD_LEFT, Kind.POD_RESIZED, by=_has_room) | _table(Kind.RESERVATION),
    "VolumeRestrictions": _table(Kind.VOLUMES) | _table(Kind.POD_LEFT, by=_has_claims),
    "NodeVolumeLimits": _table(Kind.NODE_ADDED, Kind.VOLUMES) | _table(Kind.POD_LEFT, by=_has_claims),
    "VolumeBinding": _table(*_NODES, Kind.VOLUMES),
    "VolumeZone": _table(*_NODES, Kind.VOLUMES),
    "PodTopologySpread": _table(*_NODES, Kind.NODE_REMOVED, *_PODS),
    "InterPodAffinity": _table(*_NODES, *_PODS, Kind.NAMESPACE),
    "DynamicResources": {},
    "Coscheduling": _table(Kind.POD_GROUP),
    "ElasticQuota": _table(Kind.QUOTA, *_NODES, Kind.NODE_REMOVED, Kind.POD_LEFT),
    "DeviceShare": _table(*_NODES, Kind.POD_LEFT),
    "Reservation": _table(Kind.RESERVATION),
}
"""By filter or plugin: the changes that can help a pod which it refused. One that is not named here is helped by anything."""
_ANYTHING = _table(*Kind)


def helps(view: View, plugins: frozenset[str], cls: int, change: Change) -> bool:
    """Whether a change can help pods of a class that these filters and plugins refused; where nobody did, for there were no nodes, any can."""
    if not plugins:
        return True
    if change.node >= 0 and not view.snapshot.nodes.alive[change.node]:
        return False
    hints = [found for name in plugins if (found := HINTS.get(name, _ANYTHING).get(change.kind)) is not None]
    return any(hint(view, view.any_pod(cls), change) for hint in hints)


def node_state(view: View, row: int) -> tuple[object, ...]:
    """What of a node decides whether pods can go there; equal as long as nothing of that has changed."""
    nodes = view.snapshot.nodes
    return (
        int(nodes.labels[row]),
        int(nodes.taints[row]),
        bool(nodes.unschedulable[row]),
        np.ascontiguousarray(nodes.allocatable[:, row]).tobytes(),
    )
