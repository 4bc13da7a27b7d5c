"""Nominate: `status.nominatedNodeName` of a pod that waits, which kube-scheduler tries first and keeps room for.

One request a pod: the UID holds it to the pod that was meant, and to a pod that is bound by now it means nothing.
"""

from neaptide.kube.acting.carrying import Api
from neaptide.kubeapi.resources import PODS
from neaptide.model.actions import Nominate


async def nominate(action: Nominate, api: Api) -> None:
    """Write the name."""
    target = action.target
    body = {"metadata": {"uid": target.uid}, "status": {"nominatedNodeName": action.node}}
    await api.client.patch(PODS, target.name, body, target.namespace, subresource="status", dry_run=api.dry_run)
