"""A virtual node in the API: registered, its status told, its lease renewed for as long as its provider answers.

A provider that does not answer a ping gets no renewal: after 40 s the node says NotReady itself, and the control plane, whose clock is the
lease, would have found out on its own. A Node that somebody deletes is made again.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from neaptide.kubeapi import errors
from neaptide.kubeapi.client import Client, Patch
from neaptide.kubeapi.resources import LEASES, NODES
from neaptide.kubeapi.watch import Removed, changes
from neaptide.virtualnode.node import TYPE, VIRTUAL, Health, NodeSettings, labels_of, node_object, node_status
from neaptide.virtualnode.provider import Capacity, PodProvider, ProviderError

LEASE_SECONDS = 40
LEASE_NAMESPACE = "kube-node-lease"


class Rhythm(Struct, frozen=True):
    """Seconds: from ping to ping, until a ping counts as failed, and from one full status to the next."""

    ping: float = 10.0
    ping_within: float = 10.0
    status: float = 60.0


class NotOursError(Exception):
    """A Node of that name exists and is no virtual node."""


class Registration:
    """Keeps one Node and its Lease.

    Args:
        client: the wire.
        provider: whose ping and capacity count.
        settings: what the node is.
        rhythm: how often.
        clock: seconds since the epoch.

    Attributes:
        health: whether the provider answers; told since the last ping.
    """

    def __init__(
        self,
        client: Client,
        provider: PodProvider,
        settings: NodeSettings,
        *,
        rhythm: Rhythm = Rhythm(),  # noqa: B008 - frozen
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._provider, self.settings = client, provider, settings
        self._rhythm, self._clock = rhythm, clock
        self._capacity: Capacity | None = None
        self._node: dict[str, Any] = {}
        self._gone = asyncio.Event()
        self._told: Health | None = None
        self.registered = asyncio.Event()
        self.health = Health(ready=False, message="the provider has not answered yet")

    async def run(self) -> None:
        """Until cancelled. Raises NotOursError."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep())
                tasks.create_task(self._watch())
        except* NotOursError as group:
            raise group.exceptions[0] from None

    async def _keep(self) -> None:
        monotonic = asyncio.get_running_loop().time
        answered, told = monotonic(), -float("inf")
        while True:
            health = await self._ping()
            if health.ready:
                answered = monotonic()
            if health.ready or monotonic() - answered >= LEASE_SECONDS or not self.registered.is_set():
                self.health = health
            try:
                if self._gone.is_set() or not self._node:
                    await self._register()
                    told = -float("inf")
                if self.health != self._told or monotonic() - told >= self._rhythm.status:
                    await self._tell()
                    told = monotonic()
                if health.ready:
                    await self._renew()
            except errors.NotFound:
                self._node = {}
                continue
            except (errors.ApiError, ProviderError, TimeoutError) as error:
                _log("the node cannot be kept", self.settings.name, error)
            await self._pause()

    async def _pause(self) -> None:
        """Until the next ping, or until the Node is gone."""
        try:
            async with asyncio.timeout(self._rhythm.ping):
                await self._gone.wait()
        except TimeoutError:
            return

    async def _ping(self) -> Health:
        try:
            async with asyncio.timeout(self._rhythm.ping_within):
                await self._provider.ping()
                self._capacity = await self._provider.capacity()
        except TimeoutError:
            return Health(ready=False, message=f"the provider did not answer within {self._rhythm.ping_within:g} s")
        except Exception as error:  # noqa: BLE001 - a provider that fails in an unknown way is not ready
            return Health(ready=False, message=f"the provider does not answer: {error or type(error).__name__}")
        return Health()

    async def _register(self) -> None:
        """Make the Node, or take the one that is there where it is a virtual node."""
        capacity = self._capacity or Capacity({})
        try:
            found = await self._client.create(NODES, node_object(self.settings, capacity))
        except errors.AlreadyExists:
            there = msgspec.json.decode(await self._client.get(NODES, self.settings.name))
            if (there["metadata"].get("labels") or {}).get(TYPE) != VIRTUAL:
                raise NotOursError(
                    f"node {self.settings.name} exists and its label {TYPE} is not {VIRTUAL}: another name is needed"
                ) from None
            labels = {"metadata": {"labels": labels_of(self.settings, capacity)}}
            found = await self._client.patch(NODES, self.settings.name, labels)
        self._node = msgspec.json.decode(found)
        self._gone.clear()

    async def _tell(self) -> None:
        if self._capacity is None:
            return
        before = self._node.get("status") or {}
        status = node_status(self.settings, self._capacity, self.health, before, self._clock())
        written = await self._client.patch(
            NODES, self.settings.name, {"status": status}, kind=Patch.STRATEGIC, subresource="status"
        )
        self._node, self._told = msgspec.json.decode(written), self.health
        self.registered.set()

    async def _renew(self) -> None:
        spec = {
            "holderIdentity": self.settings.name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        owner = {"apiVersion": "v1", "kind": "Node", "name": self.settings.name, "uid": self._node["metadata"]["uid"]}
        lease = {"metadata": {"name": self.settings.name, "ownerReferences": [owner]}, "spec": spec}
        try:
            await self._client.patch(LEASES, self.settings.name, lease, LEASE_NAMESPACE)
        except errors.NotFound:
            body = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, **lease}
            await self._client.create(LEASES, body, LEASE_NAMESPACE)

    async def _watch(self) -> None:
        """Notice at once that the Node was deleted: pods of a node that is not there are removed after 40 s."""
        stream = changes(self._client, NODES, field_selector=f"metadata.name={self.settings.name}")
        async with aclosing(stream) as events:
            async for event in events:
                if isinstance(event, Removed):
                    self._gone.set()


def _log(what: str, node: str, error: Exception) -> None:
    structlog.get_logger().warning(what, node=node, reason=str(error) or type(error).__name__)
