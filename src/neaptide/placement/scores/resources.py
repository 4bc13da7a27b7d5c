"""What scores on resources look at: how much of a node is allocatable, allocated, and requested with the pod on it.

Source: kube-scheduler v1.36, plugin noderesources (resource_allocation.go).
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from neaptide.model.columns import Longs
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.scores.score import LARGEST
from neaptide.placement.view import Pod, View

NATIVE = ("cpu", "memory", "ephemeral-storage")
_UNSCORED = ("pods", "storage")


class ResourceWeight(Struct, frozen=True, forbid_unknown_fields=True):
    """A resource and its weight among the resources of a score."""

    name: str
    weight: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.weight <= LARGEST:
            raise ValueError(f"weight must be in 1..{LARGEST}")


CPU_AND_MEMORY = (ResourceWeight("cpu"), ResourceWeight("memory"))


class Measure(NamedTuple):
    """One resource as a score measures it: int64 by node row, and `wanted` by the row of a pod's shape."""

    name: str
    weight: int
    allocatable: Longs
    allocated: Longs
    wanted: Longs

    def counts(self, wanted: int) -> bool:
        """Whether the resource has a say for a pod that wants so much of it."""
        return wanted > 0 or self.name in NATIVE


class Amounts(NamedTuple):
    """One resource on some nodes, int64[rows]; `allocatable` is 0 where the resource has no say."""

    weight: int
    allocatable: Longs
    allocated: Longs
    wanted: int

    @property
    def requested(self) -> Longs:
        """What is requested with the pod there."""
        return self.allocated + self.wanted


def measures(snapshot: ClusterSnapshot, resources: Iterable[ResourceWeight], *, scoring: bool = True) -> list[Measure]:
    """The measures of resources. With `scoring`, containers without requests for cpu or memory count 100m and 200Mi."""
    nodes, shapes = snapshot.nodes, snapshot.shapes
    found = []
    for resource in resources:
        row = snapshot.resource_row(resource.name)
        if row is None or resource.name in _UNSCORED:
            continue
        if scoring and row < len(shapes.scoring):  # cpu and memory come first in both
            allocated, wanted = nodes.scoring[row], shapes.scoring[row]
        else:
            allocated, wanted = nodes.used[row], shapes.request[row]
        found.append(Measure(resource.name, resource.weight, nodes.allocatable[row], allocated, wanted))
    return found


def amounts(
    view: View, pod: Pod, rows: Longs, resources: tuple[ResourceWeight, ...], *, scoring: bool = True
) -> list[Amounts]:
    """The amounts of each resource that has a say for a pod; see `measures`."""
    found = []
    for measure in measures(view.snapshot, resources, scoring=scoring):
        wanted = int(measure.wanted[pod.cls.shape])
        if measure.counts(wanted):
            found.append(Amounts(measure.weight, measure.allocatable[rows], measure.allocated[rows], wanted))
    return found


def weighted(
    found: list[Amounts], rows: int, score_of: Callable[[Amounts], Longs], *, above: int = -1
) -> tuple[Longs, Longs]:
    """int64[rows] twice: the sum of the resources' scores times their weights, and of the weights.

    Only resources with something allocatable and a score larger than `above` have a say.
    """
    total, weights = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64)
    for each in found:
        scores = score_of(each)
        counts = (each.allocatable != 0) & (scores > above)
        total += np.where(counts, scores * each.weight, 0)
        weights += counts * each.weight
    return total, weights


def percent(part: Longs, whole: Longs) -> Longs:
    """int64: `part` of `whole` in percent, rounded down; nothing of nothing is nothing."""
    return part * LARGEST // np.maximum(whole, 1)
