"""Nominate: `status.nominatedNodeName` of a pod that waits, which kube-scheduler tries first and keeps room for."""

import msgspec

from neaptide.kube.acting.carrying import AlreadyError, Api, RefusedError, fresh
from neaptide.kubeapi.resources import PODS
from neaptide.model.actions import Nominate
from neaptide.model.objects import Pod


async def nominate(action: Nominate, api: Api) -> None:
    """Write the name, if the pod is the one that was meant and still has no node."""
    pod = msgspec.json.decode(await fresh(action, api), type=Pod)
    meta = pod.metadata
    if pod.spec.node_name:
        raise AlreadyError("Bound", f"it is on node {pod.spec.node_name}")
    if meta.deletion_timestamp is not None:
        raise RefusedError("Terminating", "the pod is going")
    if pod.status.nominated_node_name == action.node:
        raise AlreadyError("Unchanged", "it has this nomination already")
    body = {"metadata": {"uid": meta.uid}, "status": {"nominatedNodeName": action.node}}
    await api.client.patch(PODS, meta.name, body, meta.namespace, subresource="status", dry_run=api.dry_run)
