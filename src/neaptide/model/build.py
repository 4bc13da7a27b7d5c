"""A snapshot from a list of objects, leaving out and reporting what cannot be used."""

from collections.abc import Iterable

import msgspec

from neaptide.model import objects
from neaptide.model.any_object import AnyObject
from neaptide.model.collector import collector_paused
from neaptide.model.manifests import Found, describe, from_json, pods_of_list
from neaptide.model.metrics import apply_metrics
from neaptide.model.problems import FieldError, LeftOut
from neaptide.model.snapshot import ClusterSnapshot

_ORDER: tuple[type[AnyObject], ...] = (objects.PriorityClass, objects.Namespace, objects.Workload, objects.Node)
"""Pods come after all these: their priority comes from PriorityClasses, their place from nodes. Metrics come last."""
_METRICS = (objects.PodMetrics, objects.NodeMetrics)


def build(found: Iterable[Found]) -> tuple[ClusterSnapshot, list[LeftOut]]:
    """The cluster that objects describe. Of two objects with one name the first counts."""
    snapshot = ClusterSnapshot()
    left_out: list[LeftOut] = []
    seen: set[str] = set()
    for file, item in sorted(found, key=_rank):
        name = describe(item)
        if name in seen:
            left_out.append(LeftOut(file, name, "metadata.name", item.metadata.name, "a name that no other object has"))
            continue
        seen.add(name)
        try:
            if isinstance(item, _METRICS):
                apply_metrics(snapshot, item)
            else:
                snapshot.set(item)
        except FieldError as error:
            left_out.append(error.left_out(file, name))
    return snapshot, left_out


def add_pod_list(snapshot: ClusterSnapshot, data: bytes, file: str) -> list[LeftOut]:
    """The pods of an API server's PodList into a snapshot, never all of them in memory as objects; what was left out."""
    left_out: list[LeftOut] = []

    def add(pods: list[objects.Pod]) -> None:
        left_out.extend(error.left_out(file, describe(pod)) for pod, error in snapshot.add_pods(pods))

    try:
        with collector_paused():
            for pods in pods_of_list(data):
                add(pods)
    except msgspec.MsgspecError:  # some pod does not fit: look at each alone
        found, left_out = from_json(data, file)
        add([each.item for each in found if isinstance(each.item, objects.Pod)])
    return left_out


def _rank(found: Found) -> int:
    return next(
        (rank for rank, kind in enumerate(_ORDER) if isinstance(found.item, kind)),
        len(_ORDER) + isinstance(found.item, objects.Pod) + 2 * isinstance(found.item, _METRICS),
    )
