"""One process at a time keeps a node: whoever holds the node's Lease of holders. Another one of the same name waits for it.

The Lease by which a kubelet shows that it lives cannot tell two of them apart, for its holder is the node. A process that loses its Lease, for it could not
renew it, stops at once what it does for the node, and begins anew when it has the Lease again: pods go on at the provider, and are found there.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.lease import Election

NAMESPACE = "kube-node-lease"
SECONDS = 15
"""For which a node is held without a renewal."""
_RETRY = 2.0


def lease_name(node: str) -> str:
    """Of the Lease of holders."""
    return f"neaptide-virtual-node-{node}"


async def holding(
    client: Client, node: str, identity: str, work: Callable[[], Awaitable[None]], *, seconds: int = SECONDS
) -> None:
    """Do the work for a node whenever this process holds it; until cancelled, or the work ends.

    Args:
        client: the wire.
        node: its name.
        identity: of this process, unlike that of any other.
        work: is cancelled when the node is lost, and called again when it is held again. What it raises is raised.
        seconds: for which a renewal holds.
    """
    election = Election(client, lease_name(node), NAMESPACE, identity, duration=seconds, retry=_RETRY)
    seeking = asyncio.create_task(election.run())
    telling = asyncio.create_task(_tell(election, node))
    try:
        while True:
            await _first(election.won(), seeking)
            working = asyncio.ensure_future(work())
            try:
                await _first(election.lost(), seeking, working)
                if working.done():
                    return
            finally:
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
            structlog.get_logger().warning("the node is lost: its Lease could not be renewed", node=node)
    finally:
        for task in (telling, seeking):  # the next one may begin now, and not before the work has ended
            task.cancel()
        await asyncio.gather(telling, seeking, return_exceptions=True)


async def _first(what: Awaitable[None], *others: "asyncio.Future[None]") -> None:
    """Wait for something, or the end of any of the others. What the one that ended raises is raised."""
    waiting = asyncio.ensure_future(what)
    try:
        done, _ = await asyncio.wait({waiting, *others}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    for each in done:
        each.result()


async def _tell(election: Election, node: str) -> None:
    """Say once of each other holder that it is waited for."""
    told = ""
    while True:
        if election.holder not in ("", told, election.identity):
            told = election.holder
            structlog.get_logger().warning("the node is kept by another process: waiting", node=node, holder=told)
        await asyncio.sleep(1.0)
