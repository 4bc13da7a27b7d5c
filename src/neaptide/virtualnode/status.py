"""The `v1.PodStatus` of a pod from what its provider knows. Phases and conditions are the kubelet's.

Source: kubernetes/kubernetes pkg/kubelet/kubelet_pods.go (getPhase) and pkg/kubelet/status/generate.go.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from neaptide.model.times import timestamp
from neaptide.virtualnode.provider import VirtualPod
from neaptide.virtualnode.states import Container, Ended, PodState, Running, Waiting

_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
TERMINAL = ("Succeeded", "Failed")


def pod_status(pod: VirtualPod, state: PodState, *, now: float, host_ip: str) -> dict[str, Any]:
    """The status to write. What the pod's status says already stays where it is still so: start time, times of transitions, IP.

    Args:
        pod: as the API has it.
        state: as its provider has it.
        now: epoch seconds, for what has just changed.
        host_ip: the node's address, where the provider tells none.
    """
    before: Mapping[str, Any] = pod.object.get("status") or {}
    containers = _in_order(pod.spec.get("containers") or (), state.containers, state)
    inits = _in_order(pod.spec.get("initContainers") or (), state.init_containers, state)
    phase = phase_of(pod, state)
    status: dict[str, Any] = {
        "phase": phase,
        "startTime": before.get("startTime") or timestamp(now if state.created is None else state.created),
        "hostIP": before.get("hostIP") or state.host_ip or host_ip,  # a merge would add a second one
        "containerStatuses": [_container(spec, found) for spec, found in containers],
        "conditions": _conditions(pod, state, phase, containers, inits, before, now),
        "qosClass": before.get("qosClass") or "BestEffort",
    }
    status["hostIPs"] = [{"ip": status["hostIP"]}]
    if inits:
        status["initContainerStatuses"] = [_container(spec, found) for spec, found in inits]
    ip = state.ip or before.get("podIP") or ""
    if ip:
        status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
    status |= {key: value for key, value in (("reason", state.reason), ("message", state.message)) if value}
    return status


def phase_of(pod: VirtualPod, state: PodState) -> str:
    """Pending, Running, Succeeded or Failed."""
    if state.failed and state.stopped:
        return "Failed"
    restart = pod.spec.get("restartPolicy") or "Always"
    failed_init = any(_ended_badly(each) for each in state.init_containers)
    if failed_init and restart == "Never":
        return "Failed"
    ends = [each.state for each in state.containers if isinstance(each.state, Ended)]
    begun = [each for each in state.containers if not isinstance(each.state, Waiting) or each.last is not None]
    if len(state.containers) < len(pod.spec.get("containers") or ()) or len(begun) < len(state.containers):
        return "Pending"
    if len(ends) < len(state.containers) or restart == "Always":
        return "Running"
    if all(each.exit_code == 0 for each in ends):
        return "Succeeded"
    return "Failed" if restart == "Never" else "Running"


def failed_status(pod: VirtualPod, reason: str, message: str, *, now: float) -> dict[str, Any]:
    """The status of a pod that failed without having run here, or whose run is lost: containers that were begun count as ended with 137."""
    before: Mapping[str, Any] = pod.object.get("status") or {}
    status = {
        "phase": "Failed",
        "reason": reason,
        "message": message,
        "startTime": before.get("startTime") or timestamp(now),
        "conditions": [_condition(kind, kind == "PodScheduled", before, now, "PodFailed") for kind in _CONDITIONS],
    }
    for field in ("containerStatuses", "initContainerStatuses"):
        if before.get(field):
            status[field] = [_lost(each, now) for each in before[field]]
    return status


def _in_order(
    specs: Sequence[Mapping[str, Any]], found: Sequence[Container], state: PodState
) -> list[tuple[Mapping[str, Any], Container]]:
    """Each container of the pod with what is known of it."""
    by_name = {each.name: each for each in found}
    reason = state.reason if state.failed and state.reason else "ContainerCreating"
    return [(spec, by_name.get(spec["name"]) or Container(spec["name"], Waiting(reason))) for spec in specs]


def _container(spec: Mapping[str, Any], found: Container) -> dict[str, Any]:
    running = isinstance(found.state, Running)
    status = {
        "name": found.name,
        "image": found.image or spec.get("image") or "",
        "imageID": found.image_id,
        "ready": isinstance(found.state, Running) and found.state.ready,
        "started": running,
        "restartCount": found.restarts,
        "state": _state(found.state, found.container_id),
    }
    if found.container_id:
        status["containerID"] = found.container_id
    if found.last is not None:
        status["lastState"] = _state(found.last, found.container_id)
    return status


def _state(state: Waiting | Running | Ended, container_id: str) -> dict[str, Any]:
    if isinstance(state, Running):
        return {"running": {"startedAt": timestamp(state.started)}}
    if isinstance(state, Waiting):
        return {"waiting": _said(reason=state.reason, message=state.message)}
    reason = state.reason or ("Completed" if state.exit_code == 0 else "Error")
    ended = _said(reason=reason, message=state.message, containerID=container_id)
    began = state.finished if state.started is None else state.started
    times = {"startedAt": timestamp(began), "finishedAt": timestamp(state.finished)}
    signal = {"signal": state.signal} if state.signal else {}
    return {"terminated": {"exitCode": state.exit_code, **signal, **times, **ended}}


def _said(**fields: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value}


def _conditions(
    pod: VirtualPod,
    state: PodState,
    phase: str,
    containers: Sequence[tuple[Mapping[str, Any], Container]],
    inits: Sequence[tuple[Mapping[str, Any], Container]],
    before: Mapping[str, Any],
    now: float,
) -> list[dict[str, Any]]:
    """The five conditions of a kubelet; those of others, as of readiness gates, are theirs (a strategic merge patch leaves them)."""
    over = phase in TERMINAL
    initialized = all(_init_done(spec, each) for spec, each in inits) or phase == "Succeeded"
    ready = not over and all(isinstance(each.state, Running) and each.state.ready for _, each in containers)
    others = {each["type"]: each for each in before.get("conditions") or () if each["type"] not in _CONDITIONS}
    gates = [each["conditionType"] for each in pod.spec.get("readinessGates") or ()]
    gates_open = all(others.get(gate, {}).get("status") == "True" for gate in gates)
    why = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase, "ContainersNotReady")
    values = {
        "PodReadyToStartContainers": (state.sandbox is not None and not over, ""),
        "Initialized": (initialized, "ContainersNotInitialized"),
        "Ready": (ready and gates_open, why if over or not ready else "ReadinessGatesNotReady"),
        "ContainersReady": (ready, why),
        "PodScheduled": (True, ""),
    }
    return [_condition(kind, holds, before, now, why) for kind, (holds, why) in values.items()]


def _condition(kind: str, holds: bool, before: Mapping[str, Any], now: float, why: str) -> dict[str, Any]:
    """A condition; the time of its transition stays where its status does."""
    value = "True" if holds else "False"
    old: Mapping[str, Any] = next((each for each in before.get("conditions") or () if each["type"] == kind), {})
    since = old.get("lastTransitionTime") if old.get("status") == value else None
    found = {"type": kind, "status": value, "lastTransitionTime": since or timestamp(now)}
    return found if holds or not why else found | {"reason": why}


def _init_done(spec: Mapping[str, Any], found: Container) -> bool:
    if spec.get("restartPolicy") == "Always":  # a sidecar: it has begun, and goes on
        return not isinstance(found.state, Waiting)
    return isinstance(found.state, Ended) and found.state.exit_code == 0


def _ended_badly(found: Container) -> bool:
    return isinstance(found.state, Ended) and found.state.exit_code != 0


def _lost(status: Mapping[str, Any], now: float) -> dict[str, Any]:
    """A container's status when nothing more can be learnt of it."""
    if "terminated" in (status.get("state") or {}):
        return dict(status)
    began = (status.get("state") or {}).get("running", {}).get("startedAt") or timestamp(now)
    ended = {
        "exitCode": 137,
        "reason": "ContainerStatusUnknown",
        "message": "The container could not be located when the pod was terminated",
        "startedAt": began,
        "finishedAt": timestamp(now),
    }
    return {**status, "ready": False, "started": False, "state": {"terminated": ended}}
