"""A virtual kubelet: one node, its pods, and the API of a kubelet, for as long as it runs."""

import asyncio
import time
from collections.abc import Callable

import msgspec
from msgspec import Struct

from neaptide.kubeapi.client import Client
from neaptide.virtualnode.billing import Bill
from neaptide.virtualnode.events import Events
from neaptide.virtualnode.holding import SECONDS
from neaptide.virtualnode.node import NodeSettings
from neaptide.virtualnode.pods import Patience, Pods
from neaptide.virtualnode.provider import PodProvider
from neaptide.virtualnode.registration import Registration, Rhythm
from neaptide.virtualnode.serving.routes import Routes
from neaptide.virtualnode.serving.server import KubeletServer
from neaptide.virtualnode.starts import Starts


class Timing(Struct, frozen=True):
    """How often and how long, of all parts; `held` seconds a process holds its nodes without a renewal."""

    rhythm: Rhythm = Rhythm()
    patience: Patience = Patience()
    held: int = SECONDS


class VirtualKubelet:
    """One virtual node.

    Args:
        client: the wire.
        provider: who runs its pods. Several nodes may share one, and then share `starts`; each has pods of its own.
        settings: the node; its provider and network are the provider's, its port the server's.
        server: where the API of a kubelet is served, entered already; None for nowhere, and then `kubectl logs` and the like do not work.
        starts: turns to create pods.
        bill: where what pods hold is written down.
        clock: seconds since the epoch.

    Attributes:
        pods: what it knows of its pods; registration: the node in the API.
    """

    def __init__(
        self,
        client: Client,
        provider: PodProvider,
        settings: NodeSettings,
        *,
        server: KubeletServer | None = None,
        starts: Starts | None = None,
        bill: Bill | None = None,
        timing: Timing = Timing(),  # noqa: B008 - frozen
        clock: Callable[[], float] = time.time,
    ) -> None:
        port = server.port if server else 0
        settings = msgspec.structs.replace(settings, provider=provider.name, network=provider.network, port=port)
        self._client, self._server, self._provider, self._settings = client, server, provider, settings
        self._bill = bill
        self.events = Events(client, settings.name, clock=clock)
        self.registration = Registration(client, provider, settings, rhythm=timing.rhythm, clock=clock)
        self.pods = Pods(
            client,
            provider,
            node=settings.name,
            address=settings.address,
            events=self.events,
            starts=starts or Starts(provider.rate, provider.burst),
            bill=bill,
            patience=timing.patience,
            clock=clock,
        )

    async def run(self) -> None:
        """Until cancelled: pods go on at their provider. Raises NotOursError."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.events.run())
            tasks.create_task(self.registration.run())
            if self._bill is not None:
                tasks.create_task(self._bill.run())
            await self.registration.registered.wait()  # a node's name is ours before its pods are
            tasks.create_task(self.pods.run())
            if self._server is not None:
                routes = Routes(self._provider, self.pods, self._settings.name)
                tasks.create_task(self._server.run(self._client, routes, self._settings.name))
