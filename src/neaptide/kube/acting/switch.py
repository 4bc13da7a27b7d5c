"""Suspend and Resume: a Job or CronJob by its `spec.suspend`, what has replicas by keeping their number in an annotation.

Each is one write that holds only for the version that was looked at: whoever writes in between wins, and is looked at again.
"""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from msgspec import Struct

from neaptide.kube.acting.carrying import WORKLOADS, AlreadyError, Api, RefusedError, fresh
from neaptide.kubeapi.errors import Forbidden
from neaptide.kubeapi.pages import items_of
from neaptide.kubeapi.resources import HORIZONTAL_POD_AUTOSCALERS, PODS
from neaptide.model.actions import Ref, Resume, Suspend
from neaptide.model.objects import LabelSelector, Pod, Workload
from neaptide.model.times import seconds
from neaptide.model.workloads import SUSPEND_RUNNING, SUSPENDED_REPLICAS, is_anothers, is_finished, lets_suspend
from neaptide.policies.offline_work import HOLD
from neaptide.policies.protection import annotated_protection

_BY_FLAG = ("Job", "CronJob")
BY_REPLICAS = ("Deployment", "StatefulSet", "ReplicaSet", "ReplicationController", "CloneSet")


class _Target(Struct, frozen=True):
    kind: str = ""
    name: str = ""


class _ScalerSpec(Struct, frozen=True, rename="camel"):
    scale_target_ref: _Target = _Target()


class _ScalerMeta(Struct, frozen=True):
    name: str = ""


class _Scaler(Struct, frozen=True):
    metadata: _ScalerMeta = _ScalerMeta()
    spec: _ScalerSpec = _ScalerSpec()


async def suspend(action: Suspend, api: Api) -> None:
    """Stop a workload's pods and hold its starts."""
    workload = await _looked_at(action, api)
    if workload.spec.suspend or SUSPENDED_REPLICAS in workload.metadata.annotations:
        raise AlreadyError("Unchanged", "it is suspended already")
    if is_finished(workload):
        raise AlreadyError("Finished", "it has finished")
    if workload.status.ready and not lets_suspend(workload):
        raise RefusedError("NoConsent", f"it runs, and has no annotation {SUSPEND_RUNNING}: true")
    await _refuse_protected(workload, api)
    if action.target.kind in _BY_FLAG:
        await _write(action.target, workload, {"spec": {"suspend": True}}, api)
        return
    replicas = 1 if workload.spec.replicas is None else workload.spec.replicas
    kept = {SUSPENDED_REPLICAS: str(replicas)}
    await _write(action.target, workload, {"metadata": {"annotations": kept}, "spec": {"replicas": 0}}, api)


async def resume(action: Resume, api: Api) -> None:
    """Let a suspended workload start its pods; replicas that somebody set meanwhile stay as they are."""
    workload = await _looked_at(action, api)
    if action.target.kind in _BY_FLAG:
        if not workload.spec.suspend:
            raise AlreadyError("Unchanged", "it is not suspended")
        await _write(action.target, workload, {"spec": {"suspend": False}}, api)
        return
    kept = workload.metadata.annotations.get(SUSPENDED_REPLICAS)
    if kept is None:
        raise AlreadyError("Unchanged", "it is not suspended")
    change: dict[str, Any] = {"metadata": {"annotations": {SUSPENDED_REPLICAS: None}}}
    if not workload.spec.replicas:
        if not kept.isdecimal() or int(kept) >= 2**31:
            accepted = "a number of replicas"
            raise RefusedError(
                "NotAccepted",
                f"metadata.annotations[{SUSPENDED_REPLICAS}]: {kept!r} is not accepted; accepted: {accepted}",
            )
        change["spec"] = {"replicas": int(kept)}
    await _write(action.target, workload, change, api)


async def _looked_at(action: Suspend | Resume, api: Api) -> Workload:
    """The workload as it is now. Raises RefusedError where it cannot be switched, or somebody does not want it."""
    kind = action.target.kind
    if kind not in (*_BY_FLAG, *BY_REPLICAS):
        raise RefusedError("NotSuspendable", f"a {kind} cannot be suspended")
    workload = msgspec.json.decode(await fresh(action, api), type=Workload)
    meta = workload.metadata
    if meta.deletion_timestamp is not None:
        raise RefusedError("Terminating", "it is being deleted")
    if meta.annotations.get(HOLD) == "true":
        raise RefusedError("Held", f"its annotation {HOLD} is true")
    if is_anothers(workload):
        raise RefusedError("Kueue", "another controller decides when it runs")
    above = next((owner for owner in meta.owner_references if owner.controller), None)
    if kind in BY_REPLICAS and above is not None:
        raise RefusedError("Owned", f"its replicas belong to the {above.kind} {above.name}")
    if kind in BY_REPLICAS:
        await refuse_autoscaled(action.target, api)
    return workload


async def refuse_autoscaled(target: Ref, api: Api) -> None:
    """Raises RefusedError where an autoscaler sets the replicas of a workload, or nobody can see whether one does."""
    try:
        async for page in api.client.list(HORIZONTAL_POD_AUTOSCALERS, target.namespace):
            for scaler in items_of(page, _Scaler):
                aim = scaler.spec.scale_target_ref
                if (aim.kind, aim.name) == (target.kind, target.name):
                    name = scaler.metadata.name
                    raise RefusedError("Autoscaled", f"the HorizontalPodAutoscaler {name} sets its replicas")
    except Forbidden as error:
        reason = f"whether a HorizontalPodAutoscaler sets its replicas cannot be seen: {error.message}"
        raise RefusedError("Unseen", reason) from error


async def _refuse_protected(workload: Workload, api: Api) -> None:
    """What the arbiter saw in the snapshot, once more on the pods as they are now."""
    async for pod in _pods_of(workload, api):
        protected = annotated_protection(pod.metadata.annotations, seconds(pod.status.start_time), api.now())
        if protected is not None and pod.status.phase not in ("Succeeded", "Failed"):
            raise RefusedError(protected.code, f"Pod {pod.metadata.name}: {protected.message}")


async def _pods_of(workload: Workload, api: Api) -> AsyncIterator[Pod]:
    """A CronJob has none of its own: its Jobs go on."""
    chosen = "" if workload.spec.selector is None else _as_text(workload.spec.selector)
    if chosen:
        async for page in api.client.list(PODS, workload.metadata.namespace, label_selector=chosen):
            for pod in items_of(page, Pod):
                yield pod


def _as_text(selector: LabelSelector) -> str:
    """A selector as a query of the API has it."""
    parts = [f"{key}={value}" for key, value in selector.match_labels.items()]
    for each in selector.match_expressions:
        match each.operator:
            case "In" | "NotIn":
                parts.append(f"{each.key} {each.operator.lower()} ({','.join(each.values)})")
            case "Exists":
                parts.append(each.key)
            case "DoesNotExist":
                parts.append(f"!{each.key}")
    return ",".join(parts)


async def _write(target: Ref, workload: Workload, change: dict[str, Any], api: Api) -> None:
    meta = {**change.get("metadata", {}), "resourceVersion": workload.metadata.resource_version}
    body = {**change, "metadata": meta}
    await api.client.patch(WORKLOADS[target.kind], target.name, body, target.namespace, dry_run=api.dry_run)
