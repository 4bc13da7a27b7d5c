"""What a snapshot says, by names and not by rows: two snapshots that were built in different orders can be compared."""

from typing import Any

import msgspec
import numpy as np

from neaptide.model.snapshot import ClusterSnapshot


def seen(snapshot: ClusterSnapshot) -> dict[str, Any]:
    """Everything but the order."""
    return {
        "nodes": {name: _node(snapshot, row) for name, row in snapshot.nodes.by_name.items()},
        "pods": {key: _pod(snapshot, row) for key, row in snapshot.pods.by_key.items()},
        "workloads": {
            str(ref): item
            for ref, item in zip(snapshot.workloads.refs, snapshot.workloads.objects, strict=True)
            if item is not None
        },
        "others": {kind: dict(items) for kind, items in snapshot.others.items() if items},
    }


def _node(snapshot: ClusterSnapshot, row: int) -> dict[str, Any]:
    nodes = snapshot.nodes
    matrices = {name: _amounts(snapshot, getattr(nodes, name)[:, row]) for name in ("allocatable", "capacity", "used")}
    return {
        **matrices,
        "scoring": nodes.scoring[:, row].tolist(),
        "pods": sorted(snapshot.pods.keys[pod] for pod in snapshot.pods_on(row)),
        "labels": snapshot.node_labels(row),
        "taints": snapshot.node_taints(row),
        "ready": bool(nodes.ready[row]),
        "unschedulable": bool(nodes.unschedulable[row]),
        "version": nodes.resource_versions[row],
    }


def _pod(snapshot: ClusterSnapshot, row: int) -> dict[str, Any]:
    pods = snapshot.pods
    on, owner = int(pods.node[row]), int(pods.owner[row])
    waiting_for = next((name for name, rows in pods.orphans.items() if row in rows), "")
    return {
        "node": snapshot.nodes.names[on] if on >= 0 else waiting_for,
        "owner": snapshot.workloads.refs[owner] if owner >= 0 else None,
        "request": _amounts(snapshot, snapshot.pod_requests(row)),
        "labels": snapshot.pod_labels(row),
        "annotations": snapshot.pod_annotations(row),
        "namespace": snapshot.pod_namespace(row),
        "values": [
            getattr(pods, name)[row].item() for name in ("priority", "band", "phase", "ready", "gated", "grace")
        ],
        "times": np.array([pods.created[row], pods.started[row], pods.deleted[row]]).tobytes(),
        "version": pods.resource_versions[row],
    }


def _amounts(snapshot: ClusterSnapshot, column: Any) -> dict[str, int]:
    return {name: int(amount) for name, amount in zip(snapshot.resources, column, strict=True) if amount}


def encoded(item: msgspec.Struct) -> bytes:
    """An object as the API sends it."""
    return msgspec.json.encode(item)
