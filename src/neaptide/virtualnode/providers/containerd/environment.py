"""A container's environment, command and arguments, with `$(NAME)` put in as Kubernetes does it; and the downward API."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from neaptide.model.quantity import for_resource
from neaptide.virtualnode.provider import VirtualPod
from neaptide.virtualnode.providers.containerd.objects import Fetched, MissingError

_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")
_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


def expand(text: str, values: Mapping[str, str]) -> str:
    """Put values in for `$(NAME)`; `$$` stands for `$`, and a name that is not known stays as it is written."""

    def replaced(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return values.get(match[1], match[0])

    return _REFERENCE.sub(replaced, text)


def environment(
    pod: VirtualPod, container: Mapping[str, Any], fetched: Fetched, ip: str, host_ip: str
) -> dict[str, str]:
    """The variables of a container, in order. Raises MissingError for what is asked for and not there."""
    found: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        kind = "secret" if "secretRef" in source else "configmap"
        reference = source.get("secretRef") or source.get("configMapRef") or {}
        prefix = source.get("prefix") or ""
        for key, content in sorted(fetched.keys(kind, reference).items()):
            if _NAME.fullmatch(prefix + key):  # Kubernetes skips the others
                found[prefix + key] = content.decode(errors="replace")
    for variable in container.get("env") or ():
        value = _value(pod, container, variable, fetched, found, (ip, host_ip))
        if value is not None:
            found[variable["name"]] = value
    return found


def words(texts: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """A command or arguments."""
    return [expand(text, values) for text in texts]


def field_of(pod: VirtualPod, path: str, ip: str, host_ip: str) -> str:
    """A field of the downward API. Raises MissingError for one that it does not have."""
    if match := _SUBSCRIPT.fullmatch(path):
        return str((pod.metadata.get(match[1]) or {}).get(match[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        values = pod.metadata.get(path.partition(".")[2]) or {}
        return "".join(f"{key}={_quoted(value)}\n" for key, value in sorted(values.items())).rstrip("\n")
    known = {
        "metadata.name": pod.name,
        "metadata.namespace": pod.namespace,
        "metadata.uid": pod.uid,
        "spec.nodeName": pod.spec.get("nodeName") or "",
        "spec.serviceAccountName": pod.spec.get("serviceAccountName") or "",
        "status.hostIP": host_ip,
        "status.hostIPs": host_ip,
        "status.podIP": ip,
        "status.podIPs": ip,
    }
    if path not in known:
        raise MissingError(
            f"the downward API has no field {path!r}; accepted: {', '.join(known)}, metadata.labels['KEY']"
        )
    return str(known[path])


def resource_of(container: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    """A resource field of the downward API, in multiples of its divisor. Raises MissingError."""
    kind, _, name = reference["resource"].partition(".")
    resources = container.get("resources") or {}
    text = (resources.get(kind) or {}).get(name) or (resources.get("limits") or {}).get(name)
    if kind not in ("limits", "requests") or text is None:
        raise MissingError(f"container {container.get('name')!r} states no {reference['resource']}")
    divisor = for_resource(name, str(reference.get("divisor") or "1")) or for_resource(name, "1")
    return str(-(-for_resource(name, text) // divisor))


def _value(
    pod: VirtualPod,
    container: Mapping[str, Any],
    variable: Mapping[str, Any],
    fetched: Fetched,
    so_far: Mapping[str, str],
    addresses: tuple[str, str],
) -> str | None:
    source = variable.get("valueFrom") or {}
    if "fieldRef" in source:
        return field_of(pod, source["fieldRef"]["fieldPath"], *addresses)
    if "resourceFieldRef" in source:
        return resource_of(
            _named(pod, source["resourceFieldRef"].get("containerName"), container), source["resourceFieldRef"]
        )
    for kind, field in (("secret", "secretKeyRef"), ("configmap", "configMapKeyRef")):
        if field in source:
            value = fetched.value(kind, source[field])
            return None if value is None else value.decode(errors="replace")
    if source:
        raise MissingError(
            f"the variable {variable['name']} is taken from {', '.join(source)}, which is not supported here"
        )
    return expand(variable.get("value") or "", so_far)


def _named(pod: VirtualPod, name: str | None, default: Mapping[str, Any]) -> Mapping[str, Any]:
    every = [*(pod.spec.get("initContainers") or ()), *(pod.spec.get("containers") or ())]
    return next((each for each in every if each["name"] == name), default) if name else default


def container_named(pod: VirtualPod, name: str) -> Mapping[str, Any]:
    """A container of a pod; empty where it has none of that name."""
    return _named(pod, name, {}) if name else {}


def _quoted(text: str) -> str:
    escaped = (
        text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    )
    return f'"{escaped}"'
