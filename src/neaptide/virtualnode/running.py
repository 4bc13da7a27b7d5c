"""Virtual nodes in one process: as many as are wanted, with one provider between them, its turns to start pods, and one ledger."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

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
    shared = _Shared(
        client, provider, Starts(provider.rate, provider.burst), Unreached(client, provider.network), timing
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(provider.close)
        bills = _bills(stack, provider, nodes, accounts)
        kept = []
        for node, bill in zip(nodes, bills, strict=True):
            names = (node.address, node.name)
            server = KubeletServer(host=host or node.address, port=node.port, names=names)
            await stack.enter_async_context(server)
            settings = msgspec.structs.replace(node, port=server.port)
            kept.append(_Kept(settings, server, bill, overflow=overflow and node is nodes[0]))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(shared.unreached.run())
            for each in kept:
                work = partial(_keep, shared, each)
                tasks.create_task(holding(client, each.node.name, identity, work, seconds=timing.held))


class _Shared(NamedTuple):
    """What the nodes of a process have in common."""

    client: Client
    provider: PodProvider
    starts: Starts
    unreached: Unreached
    timing: Timing


class _Kept(NamedTuple):
    """One node; `overflow` is whether it is the one that lets pods onto all of them."""

    node: NodeSettings
    server: KubeletServer
    bill: Bill | None
    overflow: bool


def _bills(
    stack: AsyncExitStack, provider: PodProvider, nodes: Sequence[NodeSettings], accounts: Accounts | None
) -> list[Bill | None]:
    """Each node's, in one ledger that is open as long as the stack; none where no accounts are kept. Raises LogInUseError."""
    if accounts is None:
        return [None] * len(nodes)
    ledger, writing = stack.enter_context(Ledger(accounts.directory)), asyncio.Lock()
    return [Bill(ledger, accounts.tariff, provider, node.name, writing=writing) for node in nodes]


async def _keep(shared: _Shared, kept: _Kept) -> None:
    """For as long as the node is held."""
    client, provider, starts, unreached, timing = shared
    node, server, bill, overflow = kept
    kubelet = VirtualKubelet(client, provider, node, server=server, starts=starts, bill=bill, timing=timing)
    with unreached.following(kubelet.pods, kubelet.events):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(kubelet.run())
            if overflow:
                tasks.create_task(Overflow(client, provider, kubelet.events).run())
