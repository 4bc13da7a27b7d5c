"""What a scheduler watches."""

import asyncio

from neaptide.kube.streams import Stream, may_watch
from neaptide.kubeapi import resources
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.discovery import served
from neaptide.kubeapi.errors import Forbidden

NEEDED = (resources.NODES, resources.PODS)
"""Without these nothing can be scheduled."""
WANTED = (
    resources.NAMESPACES,
    resources.SERVICES,
    resources.REPLICA_SETS,
    resources.STATEFUL_SETS,
    resources.DAEMON_SETS,
    resources.JOBS,
    resources.DEPLOYMENTS,
    resources.REPLICATION_CONTROLLERS,
    resources.POD_DISRUPTION_BUDGETS,
    resources.PERSISTENT_VOLUME_CLAIMS,
    resources.PERSISTENT_VOLUMES,
    resources.STORAGE_CLASSES,
    resources.CSI_NODES,
)
"""What every cluster serves. Pods have their priority from admission, so that classes need not be seen."""
WHERE_SERVED = (resources.CLONE_SETS, resources.POD_GROUPS, resources.ELASTIC_QUOTAS, resources.RESERVATIONS)


async def choose(client: Client) -> tuple[list[Stream], list[str]]:
    """The streams that are there and allowed, and sentences on what cannot be seen.

    Raises:
        Forbidden: nodes or pods may not be watched.
    """
    there = await served(client)
    found = [*NEEDED, *WANTED, *(each for each in WHERE_SERVED if each in there)]
    may = await asyncio.gather(*(may_watch(client, each) for each in found))
    unseen = [each for each, seen in zip(found, may, strict=True) if not seen]
    for each in unseen:
        if each in NEEDED:
            raise Forbidden(403, "Forbidden", f"the scheduler must be allowed to list and watch all {each.plural}")
    streams = [Stream(each, "") for each in found if each not in unseen]
    return streams, [f"could not see {each.plural}: list and watch are not allowed" for each in unseen]
