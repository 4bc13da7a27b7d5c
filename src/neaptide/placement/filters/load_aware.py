"""Nodes that are in use beyond a threshold take no pods, estimates of what measurements cannot show yet included."""

from functools import lru_cache

import msgspec
import numpy as np
from msgspec import Struct

from neaptide.model.columns import Bools, Floats
from neaptide.placement.filters.filter import Filter
from neaptide.placement.load_aware import RESOURCES, Aggregated, Estimation, expired, incoming, is_prod, used
from neaptide.placement.view import Pod, View

ANNOTATION = "scheduling.koordinator.sh/usage-thresholds"
"""On a node: thresholds of its own, as JSON with the profile's names."""
EXPIRED = "node(s) nodeMetric expired"


class Thresholds(Struct, frozen=True, forbid_unknown_fields=True):
    """Percent of the allocatable; 0 for no threshold."""

    cpu: int = 0
    memory: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.cpu <= 100 and 0 <= self.memory <= 100):
            raise ValueError("thresholds must be in 0..100")


class AggregatedThresholds(Aggregated, frozen=True, rename="camel"):
    """Thresholds of a percentile, in place of those of the latest usage."""

    usage_thresholds: Thresholds = Thresholds()


class _Own(Struct, frozen=True, rename="camel"):
    """What a node's annotation may say."""

    usage_thresholds: Thresholds | None = None
    prod_usage_thresholds: Thresholds | None = None
    aggregated_usage: AggregatedThresholds | None = None


_NONE = Thresholds()


class LoadAware(Filter, frozen=True, tag="LoadAware"):
    """A node is refused where usage, with the pod on it, would be above a threshold of its allocatable.

    With `prod_usage_thresholds`, a pod of band prod is judged by what pods of that band use there; with `aggregated`, all others by
    a percentile. DaemonSets' pods go anywhere. A node without a measurement passes; one whose measurement has
    expired is refused, unless `enable_schedule_when_node_metrics_expired`.
    """

    usage_thresholds: Thresholds = Thresholds(65, 95)
    prod_usage_thresholds: Thresholds = _NONE
    aggregated: AggregatedThresholds | None = None
    filter_expired_node_metrics: bool = True
    enable_schedule_when_node_metrics_expired: bool = False
    estimation: Estimation = Estimation()

    def failures(self, view: View, pod: Pod) -> dict[str, Bools]:
        if _comes_with_node(view, pod):
            return {}
        nodes, rows = view.snapshot.nodes, view.snapshot.nodes.rows
        old = expired(view, self.estimation) & self.filter_expired_node_metrics
        prod, words, limits = self._limits(view, pod)
        use = used(view, self.estimation, prod=prod, aggregated=None if prod else self.aggregated)
        use = use + incoming(view, pod, self.estimation)
        found: dict[str, Bools] = {}
        if not self.enable_schedule_when_node_metrics_expired:
            found[EXPIRED] = old
        for row, name in enumerate(RESOURCES):
            allocatable = nodes.allocatable[row, :rows]
            percent = np.rint(use[row] * 100 / np.maximum(allocatable, 1))
            over = (limits[row] > 0) & (allocatable > 0) & (percent > limits[row]) & ~old
            found[f"node(s) {name} {words}usage exceed threshold"] = over
        return found

    def _limits(self, view: View, pod: Pod) -> tuple[bool, str, Floats]:
        """Whether band prod is judged apart, how reasons call that, and float64[2, node rows] in percent."""
        rows = view.snapshot.nodes.rows
        prod = self.prod_usage_thresholds != _NONE and is_prod(view, pod)
        ours = self.prod_usage_thresholds if prod else self._of_nodes()
        limits = np.array([[ours.cpu], [ours.memory]], dtype=np.float64).repeat(rows, axis=1)
        for number in np.unique(view.snapshot.nodes.annotations[:rows]).tolist():
            text = view.snapshot.annotation_sets.values[number].get(ANNOTATION) if number >= 0 else None
            own = None if text is None else _own(text)
            theirs = None if own is None else self._theirs(own, prod=prod)
            if theirs is not None:
                limits[:, view.snapshot.nodes.annotations[:rows] == number] = [[theirs.cpu], [theirs.memory]]
        return prod, "prod " if prod else "aggregated " if self.aggregated else "", limits

    def _of_nodes(self) -> Thresholds:
        return self.usage_thresholds if self.aggregated is None else self.aggregated.usage_thresholds

    def _theirs(self, own: _Own, *, prod: bool) -> Thresholds | None:
        if prod:
            return own.prod_usage_thresholds
        if self.aggregated is not None:
            return None if own.aggregated_usage is None else own.aggregated_usage.usage_thresholds
        return own.usage_thresholds


@lru_cache(maxsize=1 << 10)
def _own(text: str) -> _Own | None:
    """What an annotation says; None for what cannot be read, so that the profile's thresholds hold."""
    try:
        return msgspec.json.decode(text, type=_Own)
    except msgspec.MsgspecError:
        return None


def _comes_with_node(view: View, pod: Pod) -> bool:
    """Whether a pod is a DaemonSet's."""
    owner = -1 if pod.row < 0 else int(view.snapshot.pods.owner[pod.row])
    return owner >= 0 and view.snapshot.workloads.refs[owner].kind == "DaemonSet"
