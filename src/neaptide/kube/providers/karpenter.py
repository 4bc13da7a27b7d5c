"""A cloud behind Karpenter: nodes are NodeClaims of its NodePools, which Karpenter launches and terminates.

A NodeClaim of ours is made as Karpenter makes its own: labels, taints, node class and life time of its NodePool's template, and the one
offering that the plan chose as requirements. Deleting a NodeClaim starts no replacement; what must be there first is created first.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from msgspec import Struct, field

from neaptide.kube.providers.kwok_settings import KwokSettings, sold
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.errors import AlreadyExists, ApiError, NotFound
from neaptide.kubeapi.pages import items_of
from neaptide.kubeapi.resources import NODE_CLAIMS, NODE_POOLS, NODES
from neaptide.model.actions import FOR_LABEL
from neaptide.model.cloud import CloudError, Coming, Interruption, Order, Stock
from neaptide.model.offerings import Offering
from neaptide.pricing.catalogue import Catalogue

POOL_LABEL = "karpenter.sh/nodepool"
_HASHES = ("karpenter.sh/nodepool-hash", "karpenter.sh/nodepool-hash-version")
"""Copied from the pool, so that a NodeClaim of ours counts as drifted when those of Karpenter do."""
_INHERITED = ("startupTaints", "nodeClassRef", "expireAfter", "terminationGracePeriod")
_LOOK_SECONDS = 5.0


class KarpenterSettings(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What may be bought: of the price catalogue, with the fields of `kwok`.

    Attributes:
        instance_types: all whose size the catalogue states, where none is named.
        zones: where types are bought that the catalogue prices for all zones.
        spot_price: types without a spot price are taken to cost this part of the on-demand price as spot; 0 for none.
    """

    instance_types: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    spot_price: float = 0.0


class _Meta(Struct, frozen=True, rename="camel"):
    name: str = ""
    uid: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    deletion_timestamp: str | None = None


class _Template(Struct, frozen=True):
    metadata: _Meta = field(default_factory=_Meta)
    spec: dict[str, Any] = {}


class _PoolSpec(Struct, frozen=True):
    template: _Template = field(default_factory=_Template)


class Pool(Struct, frozen=True):
    """What is read of a NodePool."""

    metadata: _Meta
    spec: _PoolSpec = field(default_factory=_PoolSpec)


class _ClaimStatus(Struct, frozen=True, rename="camel"):
    node_name: str = ""


class _Claim(Struct, frozen=True):
    metadata: _Meta
    status: _ClaimStatus = field(default_factory=_ClaimStatus)


class Karpenter:
    """The provider `karpenter`.

    Args:
        client: writes NodeClaims; guarded by the lease where there is one.
        settings: what may be bought.
        catalogue: for how much.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        client: Client,
        settings: KarpenterSettings,
        catalogue: Catalogue,
        *,
        clock: Callable[[], float] = time.time,
        dry_run: bool = False,
    ) -> None:
        self._client, self._clock, self._dry_run = client, clock, dry_run
        wanted = KwokSettings(settings.instance_types, settings.zones, settings.spot_price)
        self._sold, self._stock = sold(catalogue, wanted), Stock()
        self._coming: dict[str, Coming] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._log = structlog.get_logger()

    def offerings(self) -> Sequence[Offering]:
        """What is sold, without what Karpenter could not launch a short while ago."""
        return self._stock.available(self._sold, self._clock())

    def coming(self) -> Sequence[Coming]:
        """NodeClaims of ours whose node has not registered."""
        return list(self._coming.values())

    def interruptions(self) -> Sequence[Interruption]:
        """None: Karpenter taints the nodes that are interrupted, which is seen."""
        return ()

    async def create(self, order: Order) -> str:
        """Make a NodeClaim. Raises CloudError where its NodePool is not there, or the API server refuses it."""
        if not order.node_pool:
            raise CloudError(f"{order.name} belongs to no NodePool: Karpenter launches nodes of NodePools only")
        try:
            pool = msgspec.json.decode(await self._client.get(NODE_POOLS, order.node_pool), type=Pool)
            await self._client.create(NODE_CLAIMS, manifest(order, pool), dry_run=self._dry_run)
        except AlreadyExists:
            return order.name
        except NotFound as error:
            raise CloudError(f"there is no NodePool {order.node_pool}") from error
        if not self._dry_run:
            self._coming[order.name] = Coming(order, self._clock())
            if self._watcher is None or self._watcher.done():
                self._watcher = asyncio.create_task(self._follow())
        return order.name

    async def delete(self, node: str) -> None:
        """Delete the NodeClaim of a node, or an order; Karpenter terminates the machine. Raises CloudError where there is none."""
        if node in self._coming:
            self._coming.pop(node)
            name: str | None = node
        else:
            name = next((each.metadata.name for each in await self._claims() if each.status.node_name == node), None)
        if name is None:
            if await self._is_there(node):
                raise CloudError(f"node {node} has no NodeClaim: it is not Karpenter's")
            return
        try:
            await self._client.delete(NODE_CLAIMS, name, dry_run=self._dry_run)
        except NotFound:
            return

    async def close(self) -> None:
        """Look no more; what was ordered comes."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)

    async def _follow(self) -> None:
        """See what becomes of orders: a node, or nothing, because Karpenter has given the NodeClaim up."""
        while self._coming:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                claims = {each.metadata.name: each for each in await self._claims()}
            except ApiError as error:
                self._log.warning("NodeClaims not seen", reason=str(error))
                continue
            for name, coming in tuple(self._coming.items()):
                claim = claims.get(name)
                if claim is None or claim.metadata.deletion_timestamp is not None:
                    self._stock.ran_out(coming.order.offering, self._clock())
                    self._log.warning("not launched", nodeclaim=name, instance_type=coming.order.offering.instance_type)
                if claim is None or claim.status.node_name:
                    self._coming.pop(name, None)

    async def _claims(self) -> list[_Claim]:
        return [each async for page in self._client.list(NODE_CLAIMS) for each in items_of(page, _Claim)]

    async def _is_there(self, node: str) -> bool:
        try:
            await self._client.get(NODES, node)
        except NotFound:
            return False
        return True


def manifest(order: Order, pool: Pool) -> dict[str, Any]:
    """The NodeClaim of an order."""
    template, offering = pool.spec.template, order.offering
    chosen = {
        "node.kubernetes.io/instance-type": offering.instance_type,
        "karpenter.sh/capacity-type": offering.capacity_type,
        **({"topology.kubernetes.io/zone": offering.zone} if offering.zone else {}),
        POOL_LABEL: pool.metadata.name,
    }
    kept = [each for each in template.spec.get("requirements", ()) if each["key"] not in chosen]
    requirements = [*kept, *({"key": key, "operator": "In", "values": [value]} for key, value in chosen.items())]
    known = template.spec.get("taints", [])
    taints = [{"key": each.key, "value": each.value, "effect": each.effect} for each in order.taints]
    owner = {
        "apiVersion": NODE_POOLS.api_version,
        "kind": NODE_POOLS.kind,
        "name": pool.metadata.name,
        "uid": pool.metadata.uid,
        "blockOwnerDeletion": True,
    }
    return {
        "apiVersion": NODE_CLAIMS.api_version,
        "kind": NODE_CLAIMS.kind,
        "metadata": {
            "name": order.name,
            "labels": {
                **template.metadata.labels,
                **_labels(template.spec),
                POOL_LABEL: pool.metadata.name,
                FOR_LABEL: order.name,
            },
            "annotations": {
                **template.metadata.annotations,
                **{key: pool.metadata.annotations[key] for key in _HASHES if key in pool.metadata.annotations},
            },
            "ownerReferences": [owner],
        },
        "spec": {
            **{name: template.spec[name] for name in _INHERITED if name in template.spec},
            "requirements": requirements,
            "resources": {},
            "taints": [*known, *(each for each in taints if each not in known)],
        },
    }


def _labels(spec: Mapping[str, Any]) -> dict[str, str]:
    """What Karpenter puts on nodes of a node class, by which it finds them again."""
    ref = spec.get("nodeClassRef", {})
    return {f"{ref['group']}/{ref['kind'].lower()}": ref["name"]} if ref else {}
