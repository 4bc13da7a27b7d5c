"""A pod as a row of the snapshot's table: its key, its texts, and its values."""

from collections.abc import Iterable, Mapping
from typing import Any

from neaptide.model import objects
from neaptide.model.columns import PHASES, UNKNOWN
from neaptide.model.problems import FieldError
from neaptide.model.qos import band_of
from neaptide.model.times import seconds
from neaptide.model.vocabulary import Vocabulary
from neaptide.model.workloads import Workloads

POD_VALUES = (
    "cls",
    "owner",
    "priority",
    "band",
    "phase",
    "annotations",
    "created",
    "started",
    "deleted",
    "ready",
    "gated",
    "grace",
)
CLS, PHASE, DELETED = (POD_VALUES.index(name) for name in ("cls", "phase", "deleted"))
_PHASE_ROWS = {name: row for row, name in enumerate(PHASES)}
_GRACE = 30.0


def pod_key(meta: objects.Metadata) -> str:
    """`namespace/name`: how a snapshot names a pod."""
    return f"{meta.namespace or 'default'}/{meta.name}"


def pod_texts(key: str, pod: objects.Pod) -> tuple[str, str, str, str]:
    """A pod's texts in the order of `PodColumns.texts`."""
    return key, pod.metadata.uid, pod.metadata.resource_version, pod.spec.scheduler_name or "default-scheduler"


def pod_values(
    pod: objects.Pod, words: Vocabulary, workloads: Workloads, classes: Mapping[str, objects.PriorityClass]
) -> tuple[Any, ...]:
    """A pod's values in the order of POD_VALUES. Raises FieldError before anything but interned values has changed."""
    meta, spec, status = pod.metadata, pod.spec, pod.status
    priority = _priority(spec, classes)
    grace = spec.termination_grace_period_seconds
    return (
        words.class_of(pod),
        workloads.owner_of(meta),
        priority,
        band_of(meta.labels, priority),
        _PHASE_ROWS.get(status.phase, UNKNOWN),
        words.annotations(meta.annotations),
        seconds(meta.creation_timestamp),
        seconds(status.start_time),
        seconds(meta.deletion_timestamp),
        _is_ready(status.conditions),
        bool(spec.scheduling_gates),
        _GRACE if grace is None else grace,
    )


def _is_ready(conditions: Iterable[objects.Condition]) -> bool:
    """What the condition Ready says; without one a pod is not ready."""
    for each in conditions:
        if each.type == "Ready":
            return each.status == "True"
    return False


def _priority(spec: objects.PodSpec, classes: Mapping[str, objects.PriorityClass]) -> int:
    if spec.priority is not None:
        if not -(2**31) <= spec.priority < 2**31:
            raise FieldError("spec.priority", spec.priority, "a 32-bit integer")
        return spec.priority
    named = classes.get(spec.priority_class_name) if spec.priority_class_name else None
    if named is None and not spec.priority_class_name:
        named = next((each for each in classes.values() if each.global_default), None)
    return named.value if named else 0
