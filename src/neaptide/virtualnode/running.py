"""Virtual nodes in one process: as many as are wanted, with one provider between them, its turns to start pods, and one ledger."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.lease import this_process
from neaptide.pricing.tariff import Tariff
from neaptide.records.ledger import Ledger
from neaptide.virtualnode.billing import Bill
from neaptide.virtualnode.holding import holding
from neaptide.virtualnode.kubelet import Timing, VirtualKubelet
from neaptide.virtualnode.node import NodeSettings
from neaptide.virtualnode.overflow import Overflow
from neaptide.virtualnode.provider import PodProvider
from neaptide.virtualnode.serving.server import KubeletServer
from neaptide.virtualnode.starts import Starts
from neaptide.virtualnode.unreached import Unreached


class Accounts(Struct, frozen=True):
    """Where what pods hold is written down, and at which tariff."""

    directory: Path
    tariff: Tariff


async def run(
    client: Client,
    provider: PodProvider,
    nodes: Sequence[NodeSettings],
    *,
    host: str = "",
    accounts: Accounts | None = None,
    overflow: bool = True,
    identity: str = "",
    timing: Timing = Timing(),  # noqa: B008 - frozen
) -> None:
    """Keep virtual nodes until cancelled. Pods go on at their provider.

    Args:
        client: the wire.
        provider: of all the nodes.
        nodes: each with the port of its kubelet's API, 0 for any that is free.
        host: address to listen on; each node's own by default.
        accounts: for the bill; none is kept by default.
        overflow: whether pods that have opted in are let onto virtual nodes once no real node has room.
        identity: of this process, unlike that of any other; its host and number by default. A node that another process keeps is waited for.
        timing: of all parts.

    Raises:
        ExceptionGroup: of NotOursError for a name that a real node has, of OSError for a port that is taken.
        LogInUseError: the ledger has another writer.
    """
    identity = identity or this_process()
    starts = Starts(provider.rate, provider.burst)
    unreached = Unreached(client, provider.network)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(provider.close)
        ledger = None
        if accounts is not None:
            ledger = stack.enter_context(Ledger(accounts.directory))
        writing = asyncio.Lock()
        made = []
        for node in nodes:
            names = (node.address, node.name)
            server = await stack.enter_async_context(
                KubeletServer(host=host or node.address, port=node.port, names=names)
            )
            bill = (
                None
                if ledger is None or accounts is None
                else Bill(ledger, accounts.tariff, provider, node.name, writing=writing)
            )
            made.append((msgspec.structs.replace(node, port=server.port), server, bill))

        async def keep(node: NodeSettings, server: KubeletServer, bill: Bill | None) -> None:
            """For as long as the node is held."""
            kubelet = VirtualKubelet(client, provider, node, server=server, starts=starts, bill=bill, timing=timing)
            with unreached.following(kubelet.pods, kubelet.events):
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(kubelet.run())
                    if overflow and node.name == nodes[0].name:
                        tasks.create_task(Overflow(client, provider, kubelet.events).run())

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(unreached.run())
            for each in made:
                work = partial(keep, *each)
                tasks.create_task(holding(client, each[0].name, identity, work, seconds=timing.held))
