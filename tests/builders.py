"""Short ways to write objects in tests."""

from typing import Any

from neaptide.model import objects as o


def node(
    name: str,
    *,
    cpu: str = "4",
    memory: str = "16Gi",
    pods: str = "110",
    labels: dict[str, str] | None = None,
    **extra: Any,
) -> o.Node:
    """A ready node; `extra` takes spec fields (taints, unschedulable) and `resources` (extended ones)."""
    resources = {"cpu": cpu, "memory": memory, "pods": pods, **extra.pop("resources", {})}
    meta = o.Metadata(
        name=name, labels={"kubernetes.io/hostname": name, **(labels or {})}, annotations=extra.pop("annotations", {})
    )
    return o.Node(meta, o.NodeSpec(**extra), o.NodeStatus(allocatable=resources, capacity=resources))


def pod(
    name: str,
    *,
    namespace: str = "default",
    node: str = "",
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    owner: tuple[str, str] | None = ("ReplicaSet", "web"),
    phase: str = "Running",
    started: str | None = "2026-01-01T00:00:00Z",
    limits: dict[str, str] | None = None,
    spec: dict[str, Any] | None = None,
    **requests: str,
) -> o.Pod:
    """A pod with one container that requests `requests` (cpu="100m", memory="1Gi")."""
    owners = () if owner is None else (o.OwnerReference(kind=owner[0], name=owner[1], controller=True),)
    meta = o.Metadata(
        name=name,
        namespace=namespace,
        uid=f"uid-{name}",
        labels=labels or {},
        annotations=annotations or {},
        owner_references=owners,
    )
    container = o.Container(name="main", resources=o.Resources(requests=requests, limits=limits or {}))
    return o.Pod(
        meta,
        o.PodSpec(containers=(container,), node_name=node, **(spec or {})),
        o.PodStatus(phase=phase if node else "Pending", start_time=started if node else None),
    )
