"""Pods of a dump as pods that an API server accepts: what admission fills in is taken out, what it wants and a dump lacks is filled in."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from neaptide.model.objects import Pod, PodSpec, PriorityClass
from neaptide.model.storage_objects import PersistentVolumeClaim

Json = dict[str, Any]

RUNS_ON = "pod-complete.stage.kwok.x-k8s.io/delay"
"""Annotation by which kwok lets a Job's pod run so long; else it succeeds at once."""
_A_YEAR = "8760h"
_IMAGE = "neaptide.io/loaded:none"
_SYSTEM = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
_FILLED: Mapping[str, Json] = {
    "topologySpreadConstraints": {"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"},
    "preferredDuringSchedulingIgnoredDuringExecution": {"weight": 1},
}
"""What the API wants to be said although the model takes it for granted."""


class Classes:
    """The priority classes and runtime classes that pods need, those of the dump and those that only their pods tell of."""

    def __init__(self, known: Iterable[PriorityClass]) -> None:
        self._known = {each.metadata.name: each for each in known}
        self._values = _SYSTEM | {name: each.value for name, each in self._known.items()}
        self._default = any(each.global_default for each in self._known.values())
        self._overheads: dict[str, dict[str, str]] = {}

    def priority_class(self, spec: PodSpec) -> str:
        """The class that gives a pod its priority; empty for none."""
        name, value = spec.priority_class_name, spec.priority
        if name and value in (None, self._values.setdefault(name, value or 0)):
            return name
        if not value and not self._default:
            return ""
        name = f"neaptide-{'minus-' if (value or 0) < 0 else ''}{abs(value or 0)}"
        self._values.setdefault(name, value or 0)
        return name

    def runtime_class(self, spec: PodSpec) -> str:
        """The class that gives a pod its overhead; empty for none."""
        if not spec.overhead:
            return ""
        name = "neaptide-" + hashed(repr(sorted(spec.overhead.items())))
        self._overheads[name] = spec.overhead
        return name

    def priority_classes(self) -> list[Json]:
        return [self._priority_class(name, value) for name, value in self._values.items() if name not in _SYSTEM]

    def runtime_classes(self) -> list[Json]:
        return [
            {"metadata": {"name": name}, "handler": "runc", "overhead": {"podFixed": fixed}}
            for name, fixed in self._overheads.items()
        ]

    def _priority_class(self, name: str, value: int) -> Json:
        known = self._known.get(name, PriorityClass())
        return {
            "metadata": {"name": name, "labels": known.metadata.labels},
            "value": value,
            "globalDefault": known.global_default,
            "preemptionPolicy": known.preemption_policy,
        }


def hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def spec_of(pod: Pod, classes: Classes, claims: Mapping[str, PersistentVolumeClaim], *, of_job: bool) -> Json:
    """A pod's spec.

    Args:
        pod: of the dump.
        classes: learn what the pod needs.
        claims: by namespace/name.
        of_job: whether a Job owns it, which no pod does that starts again for ever.
    """
    spec: Json = _filled("", msgspec.to_builtins(pod.spec))
    for name in ("priority", "preemptionPolicy", "overhead", "priorityClassName"):
        spec.pop(name, None)
    for field in ("containers", "initContainers"):
        spec[field] = [_container(each, at) for at, each in enumerate(spec.get(field, ()))]
    spec["containers"] = spec["containers"] or [_container({}, 0)]
    spec["volumes"] = [_volume(each, pod, claims) for each in spec.get("volumes", ())]
    spec["resourceClaims"] = [each | {"resourceClaimName": each["name"]} for each in spec.get("resourceClaims", ())]
    spec["automountServiceAccountToken"] = False
    if of_job:
        spec["restartPolicy"] = "Never"
    names = {"priorityClassName": classes.priority_class(pod.spec), "runtimeClassName": classes.runtime_class(pod.spec)}
    return spec | {key: name for key, name in names.items() if name}


def annotations_of(pod: Pod, *, of_job: bool) -> dict[str, str]:
    return pod.metadata.annotations | ({RUNS_ON: _A_YEAR} if of_job else {})


def claim_of(pod: Pod, volume: str) -> str:
    """The key of the claim that is made for an ephemeral volume."""
    return f"{pod.metadata.namespace or 'default'}/{pod.metadata.name}-{volume}"


def claim_spec(claim: PersistentVolumeClaim) -> Json:
    spec: Json = msgspec.to_builtins(claim.spec)
    spec.pop("volumeAttributesClassName", None)
    spec.setdefault("accessModes", ["ReadWriteOnce"])
    spec.setdefault("resources", {"requests": {"storage": "1Gi"}})
    return spec


def _container(container: Json, at: int) -> Json:
    return {"name": f"c{at}", "image": _IMAGE} | container


def _volume(volume: Json, pod: Pod, claims: Mapping[str, PersistentVolumeClaim]) -> Json:
    if "ephemeral" in volume:
        claim = claims.get(claim_of(pod, volume["name"]), PersistentVolumeClaim())
        return volume | {"ephemeral": {"volumeClaimTemplate": {"spec": claim_spec(claim)}}}
    sources = {key: value for key, value in volume.items() if key == "name" or value or key == "emptyDir"}
    if "csi" in sources:
        sources["csi"] = {"driver": sources["csi"].get("driver", "")}
    return sources  # one without a source that the model reads becomes an emptyDir


def _filled(name: str, value: Any) -> Any:  # noqa: ANN401 - plain JSON values
    """With what has to be said, wherever it is said of items of a list named so."""
    if isinstance(value, dict):
        return {key: _filled(key, each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_FILLED.get(name, {}) | _filled("", each) if isinstance(each, dict) else each for each in value]
    return value
