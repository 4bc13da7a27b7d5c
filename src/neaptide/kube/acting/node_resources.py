"""SetNodeResources: extended resources in a node's status, in capacity as well as allocatable, for a kubelet copies the one over the other."""

import msgspec

from neaptide.kube.acting.carrying import AlreadyError, Api, RefusedError, fresh
from neaptide.kubeapi.resources import NODES
from neaptide.model.actions import SetNodeResources
from neaptide.model.objects import Node
from neaptide.model.quantity import QuantityError, for_resource


async def set_node_resources(action: SetNodeResources, api: Api) -> None:
    """Write the amounts, if the node is the one that was meant and does not have them already."""
    node = msgspec.json.decode(await fresh(action, api), type=Node)
    if node.metadata.deletion_timestamp is not None:
        raise RefusedError("Terminating", "the node is being deleted")
    standing = (node.status.allocatable, node.status.capacity)
    if all(_amount(has, name) == amount for has in standing for name, amount in action.resources.items()):
        raise AlreadyError("Unchanged", "it has these resources already")
    amounts = {name: None if amount is None else str(amount) for name, amount in action.resources.items()}
    body = {
        "metadata": {"resourceVersion": node.metadata.resource_version},
        "status": {"capacity": amounts, "allocatable": amounts},
    }
    await api.client.patch(NODES, node.metadata.name, body, subresource="status", dry_run=api.dry_run)


def _amount(has: dict[str, str], name: str) -> int | None:
    try:
        return for_resource(name, has[name]) if name in has else None
    except QuantityError:
        return None
