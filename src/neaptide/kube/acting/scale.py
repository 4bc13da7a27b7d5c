"""Scale: what has replicas through its scale subresource, a Job by its `spec.parallelism`.

Each is one write that holds only for the version that was looked at.
"""

from neaptide.kube.acting.carrying import AlreadyError, Api, RefusedError, fresh
from neaptide.kube.acting.switch import BY_REPLICAS, refuse_autoscaled
from neaptide.kube.reading import Reader
from neaptide.model.actions import Scale
from neaptide.model.objects import Workload
from neaptide.model.workloads import is_finished, is_suspended, pods_wanted
from neaptide.policies.offline_work import HOLD


async def scale(action: Scale, api: Api) -> None:
    """Set how many pods a workload wants, if that is still what it was, and nobody else sets it."""
    target = action.target
    resource = api.resource(target.kind)
    if resource is None or target.kind not in (*BY_REPLICAS, "Job", *api.workloads):
        raise RefusedError("NotScalable", f"a {target.kind} cannot be scaled")
    workload = Reader([target.kind]).read(target.kind, await fresh(action, api))
    if not isinstance(workload, Workload):
        raise RefusedError("NotAccepted", f"it cannot be read as a {target.kind} with replicas")
    _refuse(action, workload)
    of_job = target.kind == "Job"
    if not of_job:
        await refuse_autoscaled(target, api)
    meta = {"resourceVersion": workload.metadata.resource_version}
    body = {"metadata": meta, "spec": {"parallelism" if of_job else "replicas": action.replicas}}
    subresource = "" if of_job else "scale"
    await api.client.patch(resource, target.name, body, target.namespace, subresource=subresource, dry_run=api.dry_run)


def _refuse(action: Scale, workload: Workload) -> None:
    """Raises RefusedError for a workload that must not be scaled now."""
    meta = workload.metadata
    if meta.deletion_timestamp is not None:
        raise RefusedError("Terminating", "it is being deleted")
    if meta.annotations.get(HOLD) == "true":
        raise RefusedError("Held", f"its annotation {HOLD} is true")
    if is_suspended(workload):
        raise RefusedError("Suspended", "it is suspended")
    if is_finished(workload):
        raise AlreadyError("Finished", "it has finished")
    above = next((owner for owner in meta.owner_references if owner.controller), None)
    if above is not None and action.target.kind != "Job":
        raise RefusedError("Owned", f"its replicas belong to the {above.kind} {above.name}")
    now = pods_wanted(workload)
    if now == action.replicas:
        raise AlreadyError("Unchanged", f"it is scaled to {now} already")
    if now != action.was:
        raise RefusedError("Conflict", f"it is scaled to {now}, not {action.was}")
