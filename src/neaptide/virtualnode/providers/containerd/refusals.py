"""What of a pod this provider can run. Everything that is not listed here is refused by its name, before anything starts.

A field that only decides where a pod goes, or that the API server sets on every pod, changes nothing here and may stand.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from neaptide.virtualnode.provider import VirtualPod

_ANY: Callable[[Any], bool] = lambda _: True  # noqa: E731 - a table of such tests reads better
_UNSET: Callable[[Any], bool] = lambda value: not value  # noqa: E731
_POD: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(
        (
            "activeDeadlineSeconds",
            "affinity",
            "automountServiceAccountToken",
            "containers",
            "dnsConfig",
            "dnsPolicy",
            "enableServiceLinks",
            "hostname",
            "imagePullSecrets",
            "initContainers",
            "nodeName",
            "nodeSelector",
            "preemptionPolicy",
            "priority",
            "priorityClassName",
            "readinessGates",
            "restartPolicy",
            "schedulerName",
            "schedulingGates",
            "securityContext",
            "serviceAccount",
            "serviceAccountName",
            "shareProcessNamespace",
            "terminationGracePeriodSeconds",
            "tolerations",
            "topologySpreadConstraints",
            "volumes",
        ),
        _ANY,
    ),
    "os": lambda value: value.get("name") == "linux",
    "hostNetwork": _UNSET,
    "hostPID": _UNSET,
    "hostIPC": _UNSET,
    "hostUsers": lambda value: value is not False,
}
_CONTAINER: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(
        (
            "args",
            "command",
            "env",
            "envFrom",
            "image",
            "imagePullPolicy",
            "name",
            "ports",
            "resources",
            "securityContext",
            "stdin",
            "stdinOnce",
            "terminationMessagePath",
            "terminationMessagePolicy",
            "tty",
            "volumeMounts",
            "workingDir",
        ),
        _ANY,
    ),
}
_POD_SECURITY = ("runAsUser", "runAsGroup", "runAsNonRoot", "supplementalGroups", "seccompProfile")
_SECURITY = (
    "runAsUser",
    "runAsGroup",
    "runAsNonRoot",
    "readOnlyRootFilesystem",
    "allowPrivilegeEscalation",
    "capabilities",
    "seccompProfile",
)
_VOLUMES = ("emptyDir", "secret", "configMap", "downwardAPI", "projected")
_SOURCES = ("secret", "configMap", "downwardAPI", "serviceAccountToken")
_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_MOUNT = ("name", "mountPath", "readOnly", "recursiveReadOnly")
_PROFILES = ("RuntimeDefault", "Unconfined")


def refusal(pod: VirtualPod) -> str:
    """The fields that keep a pod from running here, as one sentence; empty where there are none."""
    found = list(_obstacles(pod.spec))
    return f"the provider containerd does not support {', '.join(found)}" if found else ""


def _obstacles(spec: Mapping[str, Any]) -> Iterator[str]:
    yield from _unsupported("spec", spec, _POD)
    yield from _security("spec.securityContext", spec.get("securityContext") or {}, _POD_SECURITY)
    for at, volume in enumerate(spec.get("volumes") or ()):
        yield from _volume(f"spec.volumes[{at}]", volume)
    for field in ("initContainers", "containers"):
        for at, container in enumerate(spec.get(field) or ()):
            yield from _container(f"spec.{field}[{at}]", container)


def _container(where: str, container: Mapping[str, Any]) -> Iterator[str]:
    yield from _unsupported(where, container, _CONTAINER)
    yield from _security(f"{where}.securityContext", container.get("securityContext") or {}, _SECURITY)
    for at, port in enumerate(container.get("ports") or ()):
        if port.get("hostPort"):
            yield f"{where}.ports[{at}].hostPort"
    resources = container.get("resources") or {}
    if resources.get("claims"):
        yield f"{where}.resources.claims"
    for kind in ("requests", "limits"):
        for name in resources.get(kind) or {}:
            if name not in _RESOURCES or (kind == "limits" and name == "ephemeral-storage"):
                yield f"{where}.resources.{kind}[{name}]"
    for at, mount in enumerate(container.get("volumeMounts") or ()):
        for key, value in mount.items():
            if key not in _MOUNT and value not in ("", None, "None"):
                yield f"{where}.volumeMounts[{at}].{key}"


def _volume(where: str, volume: Mapping[str, Any]) -> Iterator[str]:
    kind = next((key for key in volume if key != "name"), "emptyDir")
    if kind not in _VOLUMES:
        yield f"{where}.{kind}"
        return
    content = volume.get(kind) or {}
    if kind == "emptyDir":
        yield from (f"{where}.emptyDir.{key}" for key in ("medium", "sizeLimit") if content.get(key))
    if kind == "projected":
        for at, source in enumerate(content.get("sources") or ()):
            yield from (f"{where}.projected.sources[{at}].{key}" for key in source if key not in _SOURCES)


def _security(where: str, context: Mapping[str, Any], supported: tuple[str, ...]) -> Iterator[str]:
    for key, value in context.items():
        harmless = value in (None, False) and key == "privileged"
        if key not in supported and not harmless:
            yield f"{where}.{key}"
    profile = (context.get("seccompProfile") or {}).get("type", _PROFILES[0])
    if profile not in _PROFILES:
        yield f"{where}.seccompProfile.type {profile}"


def _unsupported(where: str, given: Mapping[str, Any], table: Mapping[str, Callable[[Any], bool]]) -> Iterator[str]:
    for key, value in given.items():
        if value is not None and not (key in table and table[key](value)):
            yield f"{where}.{key}"
