"""A snapshot from a list of objects, leaving out and reporting what cannot be used."""

from collections.abc import Iterable

from neaptide.model import objects
from neaptide.model.manifests import Found, describe
from neaptide.model.metrics import apply_metrics
from neaptide.model.problems import FieldError, LeftOut
from neaptide.model.snapshot import ClusterSnapshot

_ORDER: tuple[type[objects.Object], ...] = (objects.PriorityClass, objects.Namespace, objects.Workload, objects.Node)
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


def _rank(found: Found) -> int:
    return next(
        (rank for rank, kind in enumerate(_ORDER) if isinstance(found.item, kind)),
        len(_ORDER) + isinstance(found.item, objects.Pod) + 2 * isinstance(found.item, _METRICS),
    )
