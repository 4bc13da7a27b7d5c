"""A pod as it is made in the other cluster, and what goes with it.

Where it goes there is that cluster's decision: what ties it to nodes, priorities and schedulers of this one is taken off. A pod is named by the
first part of its UID as well, so that its successor of the same name never meets it; what it refers to keeps its name.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from neaptide.virtualnode.provider import VirtualPod

UID = "neaptide.io/virtual-pod-uid"
"""Label of remote pods: the pod's UID here."""
OWNER = "neaptide.io/virtual-pod-owner"
"""Label of everything that was made there: whose it is."""
ORIGIN = "neaptide.io/virtual-pod"
"""Annotation of remote pods: `namespace/name` here."""
SERVICES = "neaptide.io/translate-services"
"""Annotation of a pod here: the names of the Services of its namespace that it wants beside it, with commas."""
GONE = "gone"
"""Key beside a remote pod's metadata: it was asked to end, and is there no more."""

_TAINT = "virtual-kubelet.io/provider"
_TOKEN_VOLUME = "kube-api-access-"  # noqa: S105 - the beginning of a volume's name
_LONGEST_NAME = 253
_LEFT_OUT = frozenset(
    {
        "affinity",
        "nodeName",
        "nodeSelector",
        "preemptionPolicy",
        "priority",
        "priorityClassName",
        "runtimeClassName",
        "schedulerName",
        "schedulingGates",
        "serviceAccount",
        "serviceAccountName",
        "tolerations",
        "topologySpreadConstraints",
    }
)
_REFUSED = ("ephemeral", "hostPath", "persistentVolumeClaim")

Kind = Literal["ConfigMap", "Secret", "ServiceAccount", "Service"]


class Needed(NamedTuple):
    """An object that a pod refers to. `optional` is one that may be missing."""

    kind: Kind
    name: str
    optional: bool = False


def refusal(pod: VirtualPod) -> str:
    """What keeps a pod from running in another cluster, by the field; empty where nothing does."""
    found = [
        f"spec.{field}" for field in ("hostNetwork", "hostPID", "hostIPC", "resourceClaims") if pod.spec.get(field)
    ]
    for at, volume in enumerate(pod.spec.get("volumes") or ()):
        found += [f"spec.volumes[{at}].{kind}" for kind in _REFUSED if kind in volume]
    for field in ("initContainers", "containers"):
        for at, container in enumerate(pod.spec.get(field) or ()):
            ports = container.get("ports") or ()
            found += [f"spec.{field}[{at}].ports.hostPort" for port in ports if port.get("hostPort")]
    return f"the provider cluster does not support {', '.join(found)}" if found else ""


def remote_name(pod: VirtualPod) -> str:
    """Of the pod there."""
    tail = f"-{pod.uid[:8]}"
    return pod.name[: _LONGEST_NAME - len(tail)].rstrip("-.") + tail


def remote_pod(pod: VirtualPod, *, namespace: str, owner: str, service_accounts: bool) -> dict[str, Any]:
    """The manifest of the pod there."""
    spec = {key: value for key, value in pod.spec.items() if key not in _LEFT_OUT}
    tolerations = [each for each in pod.spec.get("tolerations") or () if each.get("key") and each["key"] != _TAINT]
    own = [each for each in tolerations if not each["key"].startswith("node.kubernetes.io/")]
    hidden = {volume["name"] for volume in spec.get("volumes") or () if volume["name"].startswith(_TOKEN_VOLUME)}
    spec["volumes"] = [volume for volume in spec.get("volumes") or () if volume["name"] not in hidden]
    for field in ("initContainers", "containers"):
        if spec.get(field):
            spec[field] = [_without(container, hidden) for container in spec[field]]
    account = pod.spec.get("serviceAccountName") or "default"
    if service_accounts and account != "default":
        spec["serviceAccountName"] = account
    else:
        spec["automountServiceAccountToken"] = False  # the token of that cluster says nothing here
    spec["hostname"] = spec.get("hostname") or pod.name[:63].rstrip("-.")
    labels = dict(pod.metadata.get("labels") or {})
    annotations = dict(pod.metadata.get("annotations") or {})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": remote_name(pod),
            "namespace": namespace,
            "labels": labels | {UID: pod.uid, OWNER: owner},
            "annotations": annotations | {ORIGIN: f"{pod.namespace}/{pod.name}"},
        },
        "spec": spec | ({"tolerations": own} if own else {}),
    }


def remote_object(kind: Kind, found: Mapping[str, Any], *, owner: str) -> dict[str, Any]:
    """The manifest of an object there, from the one here."""
    metadata = found["metadata"]
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": metadata["name"], "labels": dict(metadata.get("labels") or {}) | {OWNER: owner}},
    }
    if kind == "Service":
        spec = found.get("spec") or {}
        ports = [{key: value for key, value in port.items() if key != "nodePort"} for port in spec.get("ports") or ()]
        headless = {"clusterIP": "None"} if spec.get("clusterIP") == "None" else {}
        return body | {"spec": {"selector": spec.get("selector") or {}, "ports": ports, **headless}}
    if kind == "ServiceAccount":
        return body | {"automountServiceAccountToken": False}
    fields = ("data", "binaryData") if kind == "ConfigMap" else ("data", "type")
    return body | {key: found[key] for key in fields if found.get(key) is not None}


def needed(pod: VirtualPod, *, service_accounts: bool) -> list[Needed]:
    """What a pod refers to, each object once; required where any reference requires it."""
    found: dict[tuple[Kind, str], bool] = {}
    for each in _references(pod, service_accounts=service_accounts):
        key = (each.kind, each.name)
        found[key] = found.get(key, True) and each.optional
    return [Needed(kind, name, optional) for (kind, name), optional in found.items()]


def _references(pod: VirtualPod, *, service_accounts: bool) -> Iterator[Needed]:
    spec = pod.spec
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        sources = [variable.get("valueFrom") or {} for variable in container.get("env") or ()]
        for source in [*sources, *(container.get("envFrom") or ())]:
            yield from _of(source.get("secretKeyRef") or source.get("secretRef"), "Secret")
            yield from _of(source.get("configMapKeyRef") or source.get("configMapRef"), "ConfigMap")
    for volume in spec.get("volumes") or ():
        if volume["name"].startswith(_TOKEN_VOLUME):
            continue
        for source in [volume, *((volume.get("projected") or {}).get("sources") or ())]:
            yield from _of(source.get("secret"), "Secret")
            yield from _of(source.get("configMap"), "ConfigMap")
    yield from (Needed("Secret", each["name"], optional=True) for each in spec.get("imagePullSecrets") or ())
    account = spec.get("serviceAccountName") or "default"
    if service_accounts and account != "default":
        yield Needed("ServiceAccount", account)
    wanted = (pod.metadata.get("annotations") or {}).get(SERVICES, "")
    yield from (Needed("Service", name.strip()) for name in wanted.split(",") if name.strip())


def _of(reference: Mapping[str, Any] | None, kind: Kind) -> Iterator[Needed]:
    if reference:
        name = reference.get("name") or reference.get("secretName")
        if name and name != "kube-root-ca.crt":  # every namespace has its own cluster's
            yield Needed(kind, name, bool(reference.get("optional")))


def _without(container: Mapping[str, Any], hidden: set[str]) -> dict[str, Any]:
    """A container without mounts of volumes that are not taken along."""
    mounts = [each for each in container.get("volumeMounts") or () if each["name"] not in hidden]
    return {**container, "volumeMounts": mounts}
