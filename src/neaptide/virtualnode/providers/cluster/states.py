"""A remote pod's status as what a provider knows of a pod."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from neaptide.model.times import seconds
from neaptide.virtualnode.provider import VirtualPod
from neaptide.virtualnode.providers.cluster.translate import GONE
from neaptide.virtualnode.states import Container, Ended, PodState, Running, Waiting

_PHASES_OVER = ("Succeeded", "Failed")
_KILLED = 137


def state_of(pod: VirtualPod, remote: Mapping[str, Any]) -> PodState:
    """The state of a pod here, from the pod there."""
    status: Mapping[str, Any] = remote.get("status") or {}
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    unscheduled = conditions.get("PodScheduled", {})
    why = Waiting()
    if unscheduled.get("status") == "False":
        why = Waiting(unscheduled.get("reason") or "Unschedulable", unscheduled.get("message") or "")
    gone = bool(remote.get(GONE))
    failed = status.get("phase") == "Failed" or gone
    sandbox = conditions.get("PodReadyToStartContainers", {})
    found = PodState(
        uid=pod.uid,
        namespace=pod.namespace,
        name=pod.name,
        node=pod.spec.get("nodeName") or "",
        containers=_containers(pod.spec.get("containers") or (), status.get("containerStatuses") or (), why),
        init_containers=_containers(
            pod.spec.get("initContainers") or (), status.get("initContainerStatuses") or (), why
        ),
        created=_moment(remote["metadata"].get("creationTimestamp")),
        sandbox=_moment(sandbox.get("lastTransitionTime")) if sandbox.get("status") == "True" else _began(status),
        ip=status.get("podIP") or "",
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        failed=failed,
    )
    return _without_running(found) if gone else found


def _without_running(state: PodState) -> PodState:
    """A pod that is there no more: a container of which nothing else was told was killed with it."""

    def over(container: Container) -> Container:
        if not isinstance(container.state, Running):
            return container
        ended = Ended(_KILLED, container.state.started, container.state.started, "ContainerStatusUnknown")
        return replace(container, state=ended)

    containers = tuple(over(each) for each in state.containers)
    return replace(state, containers=containers, init_containers=tuple(over(each) for each in state.init_containers))


def ended_of(remote: Mapping[str, Any]) -> float | None:
    """When a remote pod ended: its last container's end; None while it runs."""
    status = remote.get("status") or {}
    if status.get("phase") not in _PHASES_OVER:
        return _moment(remote["metadata"].get("deletionTimestamp")) if remote.get(GONE) else None
    ends = [
        _moment(each["state"]["terminated"].get("finishedAt"))
        for each in status.get("containerStatuses") or ()
        if "terminated" in (each.get("state") or {})
    ]
    return max((each for each in ends if each is not None), default=started_of(remote))


def started_of(remote: Mapping[str, Any]) -> float | None:
    """When a remote pod began to hold its node's room: when a kubelet took it; None before."""
    return _began(remote.get("status") or {})


def _began(status: Mapping[str, Any]) -> float | None:
    return _moment(status.get("startTime"))


def _containers(
    specs: Iterable[Mapping[str, Any]], statuses: Iterable[Mapping[str, Any]], why: Waiting
) -> tuple[Container, ...]:
    by_name = {each["name"]: each for each in statuses}
    return tuple(_container(spec, by_name.get(spec["name"]), why) for spec in specs)


def _container(spec: Mapping[str, Any], status: Mapping[str, Any] | None, why: Waiting) -> Container:
    if status is None:
        return Container(spec["name"], why, image=spec.get("image") or "")
    last = _state(status.get("lastState") or {}, ready=False)
    return Container(
        name=spec["name"],
        state=_state(status.get("state") or {}, ready=bool(status.get("ready"))),
        last=last if isinstance(last, Ended) else None,
        restarts=status.get("restartCount") or 0,
        image=status.get("image") or "",
        image_id=status.get("imageID") or "",
        container_id=status.get("containerID") or "",
    )


def _state(state: Mapping[str, Any], *, ready: bool) -> Waiting | Running | Ended:
    if "running" in state:
        return Running(_moment(state["running"].get("startedAt")) or 0.0, ready)
    if "terminated" in state:
        ended = state["terminated"]
        return Ended(
            ended.get("exitCode") or 0,
            _moment(ended.get("finishedAt")) or 0.0,
            _moment(ended.get("startedAt")),
            ended.get("reason") or "",
            ended.get("message") or "",
            ended.get("signal") or 0,
        )
    waiting = state.get("waiting") or {}
    return Waiting(waiting.get("reason") or "ContainerCreating", waiting.get("message") or "")


def _moment(text: str | None) -> float | None:
    return None if text is None else seconds(text)
