"""Taint, Untaint, Annotate, Cordon and Uncordon: each one write of the node's spec that holds only for the version that was looked at."""

from typing import Any

import msgspec
from msgspec import Struct

from neaptide.kube.acting.carrying import AlreadyError, Api, RefusedError, fresh
from neaptide.kubeapi.resources import NODES
from neaptide.model.actions import Annotate, Cordon, Taint, Uncordon, Untaint


class _Meta(Struct, frozen=True, rename="camel"):
    name: str
    resource_version: str = ""
    annotations: dict[str, str] = {}
    deletion_timestamp: str | None = None


class _Spec(Struct, frozen=True):
    taints: list[dict[str, Any]] = []
    unschedulable: bool = False


class _Node(Struct, frozen=True):
    metadata: _Meta
    spec: _Spec = _Spec()


async def taint(action: Taint, api: Api) -> None:
    """Put a taint in place of one with the same key and effect."""
    node = await _looked_at(action, api)
    new = {"key": action.key, "value": action.value, "effect": action.effect}
    if any(_same(each, action) and each.get("value", "") == action.value for each in node.spec.taints):
        raise AlreadyError("Unchanged", "it has the taint already")
    kept = [each for each in node.spec.taints if not _same(each, action)]
    await _write(node, {"taints": [*kept, new]}, api)


async def untaint(action: Untaint, api: Api) -> None:
    """Take the taints with a key off; with an effect, only the one that has it."""
    node = await _looked_at(action, api)
    kept = [each for each in node.spec.taints if each["key"] != action.key or action.effect not in ("", each["effect"])]
    if len(kept) == len(node.spec.taints):
        raise AlreadyError("Unchanged", "it has no such taint")
    await _write(node, {"taints": kept or None}, api)


async def annotate(action: Annotate, api: Api) -> None:
    """Set an annotation."""
    node = await _looked_at(action, api)
    if node.metadata.annotations.get(action.key) == action.value:
        raise AlreadyError("Unchanged", "it says so already")
    meta = {"resourceVersion": node.metadata.resource_version, "annotations": {action.key: action.value}}
    await api.client.patch(NODES, node.metadata.name, {"metadata": meta}, dry_run=api.dry_run)


async def cordon(action: Cordon, api: Api) -> None:
    """Keep new pods off a node."""
    node = await _looked_at(action, api)
    if node.spec.unschedulable:
        raise AlreadyError("Unchanged", "it is cordoned already")
    await _write(node, {"unschedulable": True}, api)


async def uncordon(action: Uncordon, api: Api) -> None:
    """Let new pods onto a node again."""
    node = await _looked_at(action, api)
    if not node.spec.unschedulable:
        raise AlreadyError("Unchanged", "it is not cordoned")
    await _write(node, {"unschedulable": None}, api)


async def _looked_at(action: Taint | Untaint | Cordon | Uncordon | Annotate, api: Api) -> _Node:
    node = msgspec.json.decode(await fresh(action, api), type=_Node)
    if node.metadata.deletion_timestamp is not None:
        raise RefusedError("Terminating", "the node is being deleted")
    return node


def _same(each: dict[str, Any], action: Taint) -> bool:
    return bool(each["key"] == action.key and each["effect"] == action.effect)


async def _write(node: _Node, spec: dict[str, Any], api: Api) -> None:
    body = {"metadata": {"resourceVersion": node.metadata.resource_version}, "spec": spec}
    await api.client.patch(NODES, node.metadata.name, body, dry_run=api.dry_run)
