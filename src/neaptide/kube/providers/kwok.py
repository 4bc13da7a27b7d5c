"""A cloud on a real API server whose machines kwok plays: it creates and deletes Node objects, and can be slow, fail, or have run out.

The name that a plan gave a node is the node's: whoever asks again after an answer was lost gets no second one.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from msgspec import Struct

from neaptide.kube.providers.kwok_settings import UNLIMITED, KwokPool, KwokSettings, sold
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.errors import AlreadyExists, ApiError, NotFound
from neaptide.kubeapi.pages import items_of
from neaptide.kubeapi.resources import NODES
from neaptide.model.actions import FOR_LABEL
from neaptide.model.cloud import Coming, Interruption, Order, OutOfCapacityError, Stock, no_more
from neaptide.model.offerings import Offering
from neaptide.pricing.catalogue import Catalogue
from neaptide.pricing.nodes import PRICE_LABELS

POOL_LABEL = "karpenter.sh/nodepool"
_MANAGED = {"kwok.x-k8s.io/node": "fake"}
_COMMON = {"kubernetes.io/os": "linux", "app.kubernetes.io/managed-by": "neaptide"}
_DISK = "100Gi"
_ATTEMPTS = 5
_PAUSE = 1.0


class _Named(Struct, frozen=True):
    """Of a Node nothing but that it is there."""


class Kwok:
    """The provider `kwok`.

    Args:
        client: writes Node objects; guarded by the lease where there is one.
        settings: how the cloud behaves.
        catalogue: what it sells, and for how much.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        client: Client,
        settings: KwokSettings,
        catalogue: Catalogue,
        *,
        clock: Callable[[], float] = time.time,
        dry_run: bool = False,
    ) -> None:
        self._client, self._settings, self._clock, self._dry_run = client, settings, clock, dry_run
        self._pools = {pool.name: pool for pool in settings.pools}
        self._sold, self._stock = sold(catalogue, settings), Stock()
        self._random = random.Random(settings.seed)  # noqa: S311 - draws failures, no secrets
        self._coming: dict[str, Coming] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._log = structlog.get_logger()
        self.shortages = list(settings.shortages)
        """What cannot be had now; tests change it."""
        self.notices: dict[str, Interruption] = {}
        """By node, what this cloud has said; tests add to it."""

    def offerings(self) -> Sequence[Offering]:
        """What is sold, without what has run out."""
        return self._stock.available(self._sold, self._clock())

    def coming(self) -> Sequence[Coming]:
        """What was ordered here and has no Node yet."""
        return list(self._coming.values())

    def interruptions(self) -> Sequence[Interruption]:
        """What this cloud has said."""
        return list(self.notices.values())

    async def create(self, order: Order) -> str:
        """Order a node. Raises OutOfCapacityError and CloudError."""
        pool = self._pools.get(order.node_pool, KwokPool(order.node_pool))
        if order.name in self._coming:
            return order.name
        if pool.maximum < UNLIMITED:
            size = await self._size(pool.name)
            if size >= pool.maximum:
                raise OutOfCapacityError(f"the pool {pool.name} has {size} nodes and may have no more")
        if any(each.covers(order.offering) for each in self.shortages):
            self._stock.ran_out(order.offering, self._clock())
            raise OutOfCapacityError(no_more(order.offering))
        fate, delay = self._random.random(), self._settings.delay_seconds
        if fate < self._settings.failing:
            return order.name  # the cloud took the order, and nothing ever comes of it
        node = manifest(order, pool, answers=fate < 1 - self._settings.never_ready)
        if not delay or self._dry_run:
            await self._make(node)
            return order.name
        self._coming[order.name] = Coming(order, self._clock())
        self._tasks[order.name] = asyncio.create_task(self._later(order.name, node, delay))
        return order.name

    async def delete(self, node: str) -> None:
        """Give a node back, or take an order back."""
        task = None if self._dry_run else self._tasks.pop(node, None)
        if task is not None:
            task.cancel()
            self._coming.pop(node, None)
        self.notices.pop(node, None)
        try:
            await self._client.delete(NODES, node, dry_run=self._dry_run)
        except NotFound:
            return

    async def close(self) -> None:
        """Take back what has not come yet: nobody would wait for it any more."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _later(self, name: str, node: dict[str, Any], delay: float) -> None:
        """What fails for good is missed by whoever ordered it, and ordered anew."""
        await asyncio.sleep(delay)
        try:
            for attempt in range(_ATTEMPTS):
                try:
                    await self._make(node)
                except ApiError as error:
                    self._log.warning("node not made", node=name, attempt=attempt, reason=str(error))
                    await asyncio.sleep(_PAUSE * (attempt + 1))
                else:
                    return
        finally:
            self._coming.pop(name, None)
            self._tasks.pop(name, None)

    async def _make(self, node: dict[str, Any]) -> None:
        try:
            await self._client.create(NODES, node, dry_run=self._dry_run)
        except AlreadyExists:
            return

    async def _size(self, pool: str) -> int:
        """How many nodes a pool has, those that are coming included."""
        coming = sum(each.order.node_pool == pool for each in self._coming.values())
        pages = self._client.list(NODES, label_selector=f"{POOL_LABEL}={pool}")
        return coming + sum([len(items_of(page, _Named)) async for page in pages])


def manifest(order: Order, pool: KwokPool, *, answers: bool = True) -> dict[str, Any]:
    """The Node of an order; one for which kwok does not answer has no annotation for it."""
    offering = order.offering
    price = {} if offering.price_per_hour is None else {PRICE_LABELS[0]: f"{offering.price_per_hour:.6g}"}
    zone = {"topology.kubernetes.io/zone": offering.zone} if offering.zone else {}
    labels = {
        **_COMMON,
        **pool.labels,
        **offering.labels,
        **zone,
        "kubernetes.io/hostname": order.name,
        "node.kubernetes.io/instance-type": offering.instance_type,
        "karpenter.sh/capacity-type": offering.capacity_type,
        **price,
        **({POOL_LABEL: pool.name} if pool.name else {}),
        FOR_LABEL: order.name,
    }
    taints = [*pool.taints, *(each for each in order.taints if each not in pool.taints)]
    amounts = {"ephemeral-storage": _DISK} | {
        name: f"{amount}m" if name == "cpu" else str(amount) for name, amount in offering.allocatable.items()
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": order.name, "labels": labels, "annotations": _MANAGED if answers else {}},
        "spec": {
            "providerID": f"kwok://{order.name}",
            "taints": [{"key": each.key, "value": each.value, "effect": each.effect} for each in taints],
        },
        "status": {"capacity": amounts, "allocatable": amounts},
    }
