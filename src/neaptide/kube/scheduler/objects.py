"""What the scheduling cycle writes besides pods: claims and volumes, reservations, gangs and quotas."""

import asyncio
from functools import partial
from typing import Any

import msgspec

from neaptide.kube.scheduler.binding import UNCERTAIN
from neaptide.kube.scheduler.lanes import Lanes, Pool
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.errors import AlreadyExists, NotFound
from neaptide.kubeapi.pace import Backoff
from neaptide.kubeapi.resources import (
    ELASTIC_QUOTAS,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    POD_GROUPS,
    RESERVATIONS,
    Resource,
)
from neaptide.model.storage_objects import PersistentVolume
from neaptide.placement.cycle.actions import (
    ClaimVolume,
    CreateReservation,
    DeleteReservation,
    SelectNode,
    SetPodGroup,
    SetQuota,
    SetReservation,
)
from neaptide.placement.cycle.reservation_objects import AVAILABLE, FAILED, PENDING, SUCCEEDED
from neaptide.placement.volumes import SELECTED_NODE

ObjectAction = (
    SelectNode | ClaimVolume | SetReservation | CreateReservation | DeleteReservation | SetQuota | SetPodGroup
)
_BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
_CONDITIONS = {
    AVAILABLE: (("Scheduled", "True", "Scheduled"), ("Ready", "True", "Available")),
    PENDING: (("Scheduled", "False", "Unschedulable"),),
    SUCCEEDED: (("Ready", "False", "Succeeded"),),
    FAILED: (("Ready", "False", "Expired"),),
}
"""Type, status and reason of the conditions that a reservation's phase stands for."""


class Objects:
    """Writes objects, of each what is wanted last. What may have been lost is written again."""

    def __init__(self, client: Client, lanes: Lanes, pool: Pool) -> None:
        self._client, self._lanes, self._pool = client, lanes, pool

    def write(self, action: ObjectAction) -> None:
        """Have an action carried out."""
        self._lanes.put(_about(action), self._pool, partial(self._lasting, action))

    async def _lasting(self, action: ObjectAction) -> None:
        """Try until the API server has answered; what is gone needs nothing any more."""
        backoff = Backoff(0.1, 5.0)
        while True:
            try:
                await self._once(action)
            except UNCERTAIN:
                await asyncio.sleep(backoff.next())
            except (NotFound, AlreadyExists):
                return
            else:
                return

    async def _once(self, action: ObjectAction) -> None:
        client = self._client
        body: dict[str, Any]
        match action:
            case SelectNode(claim, node):
                body = {"metadata": {"uid": claim.uid, "annotations": {SELECTED_NODE: node}}}
                await client.patch(PERSISTENT_VOLUME_CLAIMS, claim.name, body, claim.namespace)
            case ClaimVolume():
                await self._claim(action)
            case CreateReservation(reservation):
                body = {"apiVersion": RESERVATIONS.api_version, "kind": RESERVATIONS.kind}
                await client.create(RESERVATIONS, body | msgspec.to_builtins(reservation))
            case DeleteReservation(name):
                await client.delete(RESERVATIONS, name)
            case SetReservation(name, status, message):
                conditions = [
                    {"type": kind, "status": value, "reason": reason, "message": message}
                    for kind, value, reason in _CONDITIONS.get(status.phase, ())
                ]
                body = {"allocated": None, "currentOwners": [], **msgspec.to_builtins(status), "conditions": conditions}
                await self._status(RESERVATIONS, name, "", body)
            case SetQuota(quota, used, annotations):
                if annotations:
                    body = {"metadata": {"annotations": annotations}}
                    await client.patch(ELASTIC_QUOTAS, quota.name, body, quota.namespace)
                await self._status(ELASTIC_QUOTAS, quota.name, quota.namespace, {"used": used})
            case SetPodGroup(group, phase, scheduled):
                await self._status(POD_GROUPS, group.name, group.namespace, {"phase": phase, "scheduled": scheduled})

    async def _status(self, resource: Resource, name: str, namespace: str, status: dict[str, Any]) -> None:
        await self._client.patch(resource, name, {"status": status}, namespace, subresource="status")

    async def _claim(self, action: ClaimVolume) -> None:
        """Give a volume to a claim, unless another has it by now."""
        raw = await self._client.get(PERSISTENT_VOLUMES, action.volume)
        volume = msgspec.json.decode(raw, type=PersistentVolume)
        owner, claim = volume.spec.claim_ref, action.claim
        if owner is not None and owner.uid not in ("", claim.uid):
            return
        reference = {
            "apiVersion": PERSISTENT_VOLUME_CLAIMS.api_version,
            "kind": claim.kind,
            "name": claim.name,
            "namespace": claim.namespace,
            "uid": claim.uid,
        }
        metadata = {
            "resourceVersion": volume.metadata.resource_version,
            "annotations": {_BOUND_BY_CONTROLLER: "yes"},
        }
        body = {"metadata": metadata, "spec": {"claimRef": reference}}
        await self._client.patch(PERSISTENT_VOLUMES, action.volume, body)


def _about(action: ObjectAction) -> str:
    """What is written, one way at a time: an object's creation and its status are not each other's successors."""
    match action:
        case SelectNode(claim):
            return str(claim)
        case ClaimVolume(volume):
            return f"PersistentVolume {volume}"
        case CreateReservation(reservation):
            return f"new Reservation {reservation.metadata.name}"
        case DeleteReservation(name):
            return f"old Reservation {name}"
        case SetReservation(name):
            return f"Reservation {name}"
        case SetQuota(quota):
            return str(quota)
        case SetPodGroup(group):
            return str(group)
