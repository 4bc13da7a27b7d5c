"""Evict: through the eviction API, which keeps PodDisruptionBudgets; past them only where the action says so.

A pod that is to save its work first is asked once the API would let it go, so that one which a budget keeps is not asked in every cycle.
"""

import msgspec
import structlog

from neaptide.kube.acting.carrying import AlreadyError, Api, RefusedError, fresh
from neaptide.kubeapi.command import CommandError, run
from neaptide.kubeapi.resources import PODS
from neaptide.model.actions import Checkpoint, Evict
from neaptide.model.objects import Metadata, Pod
from neaptide.model.times import seconds
from neaptide.policies.protection import annotated_protection

_log = structlog.get_logger()


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
    if action.checkpoint is not None and not api.dry_run:
        began = api.now()
        await _save(action, action.checkpoint, meta, api)
        grace = None if grace is None else max(grace - int(api.now() - began), 1)
    if action.past_budgets:
        await api.client.delete(PODS, meta.name, meta.namespace, uid=meta.uid, grace_seconds=grace, dry_run=api.dry_run)
        return
    await api.client.evict(meta.name, meta.namespace, uid=meta.uid, grace_seconds=grace, dry_run=api.dry_run)


async def _save(action: Evict, checkpoint: Checkpoint, pod: Metadata, api: Api) -> None:
    """Have a pod save its work. What goes wrong with that is said, and does not keep it."""
    if not action.past_budgets:
        await api.client.evict(pod.name, pod.namespace, uid=pod.uid, dry_run=True)
    where, seconds = checkpoint.container, checkpoint.seconds
    try:
        await run(api.client, pod.name, pod.namespace, checkpoint.command, container=where, seconds=seconds)
    except CommandError as error:
        _log.warning("work not saved", pod=f"{pod.namespace}/{pod.name}", reason=str(error))
    else:
        _log.info("work saved", pod=f"{pod.namespace}/{pod.name}")
