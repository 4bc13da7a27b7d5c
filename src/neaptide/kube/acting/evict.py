"""Evict: through the eviction API, which keeps PodDisruptionBudgets; past them only where the action says so."""

import msgspec

from neaptide.kube.acting.carrying import AlreadyError, Api, RefusedError, fresh
from neaptide.kubeapi.resources import PODS
from neaptide.model.actions import Evict
from neaptide.model.objects import Pod
from neaptide.model.times import seconds
from neaptide.policies.protection import annotated_protection


async def evict(action: Evict, api: Api) -> None:
    """Ask for the eviction of the very pod that was meant, if it is still where it was and nothing protects it."""
    pod = msgspec.json.decode(await fresh(action, api), type=Pod)
    meta = pod.metadata
    if meta.deletion_timestamp is not None:
        raise AlreadyError("Terminating", "the pod is going already")
    if pod.status.phase in ("Succeeded", "Failed"):
        raise AlreadyError("Finished", f"the pod has {pod.status.phase.lower()}")
    if pod.spec.node_name != action.node:
        raise RefusedError("Moved", f"the pod is no longer on node {action.node}")
    protected = annotated_protection(meta.annotations, seconds(pod.status.start_time), api.now())
    if protected is not None and not action.forced:
        raise RefusedError(protected.code, protected.message)
    grace = None if action.grace_seconds is None else int(action.grace_seconds)
    if action.past_budgets:
        await api.client.delete(PODS, meta.name, meta.namespace, uid=meta.uid, grace_seconds=grace, dry_run=api.dry_run)
        return
    await api.client.evict(meta.name, meta.namespace, uid=meta.uid, grace_seconds=grace, dry_run=api.dry_run)
