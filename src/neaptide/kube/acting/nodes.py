"""CreateNode and DeleteNode: through whoever sells nodes here.

A node is cordoned and looked at once more before it is given back, so that no pod comes to it in between; if one is there, it stays.
"""

import msgspec

from neaptide.kube.acting.carrying import Api, RefusedError, fresh
from neaptide.kubeapi.pages import items_of
from neaptide.kubeapi.resources import NODES, PODS
from neaptide.model.actions import CreateNode, DeleteNode
from neaptide.model.cloud import CloudError, OutOfCapacityError
from neaptide.model.objects import MIRROR, Node, Pod

_OF_NODES = ("DaemonSet", "Node")


async def create_node(action: CreateNode, api: Api) -> None:
    """Order a node."""
    if api.provider is None:
        raise _no_provider()
    try:
        await api.provider.create(action.order())
    except OutOfCapacityError as error:
        raise RefusedError("OutOfCapacity", str(error)) from error
    except CloudError as error:
        raise RefusedError("NotSold", str(error)) from error


async def delete_node(action: DeleteNode, api: Api) -> None:
    """Give a node back, if only pods are on it that are there because it is."""
    if api.provider is None:
        raise _no_provider()
    node = msgspec.json.decode(await fresh(action, api), type=Node)
    if action.lost:
        if any(each.type == "Ready" and each.status == "True" for each in node.status.conditions):
            raise RefusedError("Ready", "it answers again")
        await api.provider.delete(node.metadata.name)
        return
    name, cordoned_before = node.metadata.name, node.spec.unschedulable
    if not cordoned_before:
        body = {"metadata": {"resourceVersion": node.metadata.resource_version}, "spec": {"unschedulable": True}}
        await api.client.patch(NODES, name, body, dry_run=api.dry_run)
    staying = await _staying(name, api)
    if staying is not None:
        if not cordoned_before:
            await api.client.patch(NODES, name, {"spec": {"unschedulable": None}}, dry_run=api.dry_run)
        raise RefusedError("NotEmpty", f"Pod {staying} is on it")
    try:
        await api.provider.delete(name)
    except CloudError as error:
        raise RefusedError("NotTakenBack", str(error)) from error


async def _staying(node: str, api: Api) -> str | None:
    """A pod that keeps a node, as the API server has them now and not a cache of it."""
    async for page in api.client.list(PODS, field_selector=f"spec.nodeName={node}"):
        for pod in items_of(page, Pod):
            meta = pod.metadata
            of_node = MIRROR in meta.annotations or any(
                each.controller and each.kind in _OF_NODES for each in meta.owner_references
            )
            if not of_node and pod.status.phase not in ("Succeeded", "Failed"):
                return f"{meta.namespace}/{meta.name}"
    return None


def _no_provider() -> RefusedError:
    return RefusedError("NoProvider", "no provider of nodes is configured; `neaptide run --provider` names one")
