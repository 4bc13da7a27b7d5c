"""Tolerate: one more toleration of a pod that waits; the API lets a pod gain them, and no scheduler needs to be told."""

from typing import Any

import msgspec
from msgspec import Struct

from neaptide.kube.acting.carrying import AlreadyError, Api, RefusedError, fresh
from neaptide.kubeapi.client import Patch
from neaptide.kubeapi.resources import PODS
from neaptide.model.actions import Tolerate


class _Meta(Struct, frozen=True, rename="camel"):
    name: str
    namespace: str
    uid: str
    resource_version: str
    deletion_timestamp: str | None = None


class _Spec(Struct, frozen=True, rename="camel"):
    node_name: str = ""
    tolerations: list[dict[str, Any]] | None = None


class _Pod(Struct, frozen=True):
    metadata: _Meta
    spec: _Spec


async def tolerate(action: Tolerate, api: Api) -> None:
    """Append it, if the pod is the one that was looked at and still has no node."""
    pod = msgspec.json.decode(await fresh(action, api), type=_Pod)
    meta = pod.metadata
    if pod.spec.node_name:
        raise AlreadyError("Bound", f"it is on node {pod.spec.node_name}")
    if meta.deletion_timestamp is not None:
        raise RefusedError("Terminating", "the pod is going")
    new = {"key": action.key, "operator": "Equal" if action.value else "Exists"}
    new |= {name: given for name, given in (("value", action.value), ("effect", action.effect)) if given}
    if new in (pod.spec.tolerations or ()):
        raise AlreadyError("Unchanged", "it has this toleration already")
    add: dict[str, Any] = {"op": "add", "path": "/spec/tolerations/-", "value": new}
    if pod.spec.tolerations is None:
        add = {"op": "add", "path": "/spec/tolerations", "value": [new]}
    body = [{"op": "test", "path": "/metadata/resourceVersion", "value": meta.resource_version}, add]
    await api.client.patch(PODS, meta.name, body, meta.namespace, kind=Patch.JSON, dry_run=api.dry_run)
