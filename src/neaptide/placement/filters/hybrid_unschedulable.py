"""Nodes that are marked so take no pods that live on what services leave over: elastic resources can be withdrawn there soon."""

from collections.abc import Callable

import numpy as np
from msgspec import field

from neaptide.model.columns import Bools, Longs
from neaptide.model.objects import Requirement
from neaptide.placement.filters.filter import Filter
from neaptide.placement.real_time import column
from neaptide.placement.view import Pod, View

ELASTIC = ("kubernetes.io/batch-", "kubernetes.io/mid-", "neaptide.io/ot-")
"""How the names of elastic resources begin."""
LABEL = "neaptide.io/hybrid-unschedulable"
UNDER_PRESSURE = tuple(f"node.kubernetes.io/{each}-pressure" for each in ("memory", "disk", "pid"))
NEAR_RELEASE = (
    "karpenter.sh/disrupted",
    "karpenter.sh/disruption",
    "ToBeDeletedByClusterAutoscaler",
    "DeletionCandidateOfClusterAutoscaler",
)
MARKED = "node(s) were marked unschedulable for elastic resources"
PRESSED = "node(s) were under pressure, where elastic resources may be withdrawn"
LEAVING = "node(s) were near release, where elastic resources end"
STALE = "node(s) had no fresh metrics, by which elastic resources are sized"


class HybridUnschedulable(Filter, frozen=True, tag="HybridUnschedulable"):
    """Pods that request elastic resources (batch, mid, OT) are kept off some nodes; others pass.

    Attributes:
        labels: a node with any of these labels is marked.
        pool_label, pools: so is a node of one of these pools.
        pressure_taints: the kubelet's conditions as the taints that stand for them. A toleration does not help.
        release_taints: of nodes that are about to be given back.
        pressure_thresholds: by resource (cpu, memory, io) the part of the time (0..1) in which tasks wait, where it is known.
        metric_age_seconds: a node whose usage was never measured, or longer ago, is left alone; 0 for not looking.
    """

    labels: dict[str, str] = field(default_factory=lambda: {LABEL: "true"})
    pool_label: str = "karpenter.sh/nodepool"
    pools: tuple[str, ...] = ()
    pressure_taints: tuple[str, ...] = UNDER_PRESSURE
    release_taints: tuple[str, ...] = NEAR_RELEASE
    pressure_thresholds: dict[str, float] = field(default_factory=dict)
    metric_age_seconds: float = 180.0

    def failures(self, view: View, pod: Pod) -> dict[str, Bools]:
        if not is_elastic(view, pod):
            return {}
        pressed = self._masked(view, "pressed", lambda rows: self._tainted(view, self.pressure_taints, rows))
        for resource, threshold in self.pressure_thresholds.items():
            pressed = pressed | (column(view, f"pressure.{resource}") > threshold)
        found = {
            MARKED: self._masked(view, "marked", lambda rows: self._marked(view, rows)),
            PRESSED: pressed,
            LEAVING: self._masked(view, "leaving", lambda rows: self._tainted(view, self.release_taints, rows)),
        }
        if self.metric_age_seconds and not np.isnan(view.now):
            age = view.now - view.snapshot.nodes.usage_time[: view.nodes.rows]
            found[STALE] = ~(age <= self.metric_age_seconds)
        return found

    def _masked(self, view: View, what: str, evaluate: Callable[[Longs], Bools]) -> Bools:
        return view.nodes.mask(f"HybridUnschedulable {what}", 0, self, evaluate)

    def _marked(self, view: View, rows: Longs) -> Bools:
        wanted = [Requirement(key, "In", (value,)) for key, value in self.labels.items()]
        if self.pools:
            wanted.append(Requirement(self.pool_label, "In", self.pools))
        marked = np.zeros(len(rows), dtype=np.bool_)
        for each in wanted:
            marked |= view.nodes.labels.meets_all([each], rows)
        return marked

    def _tainted(self, view: View, keys: tuple[str, ...], rows: Longs) -> Bools:
        return view.nodes.by_taints(lambda taints: any(each.key in keys for each in taints), rows).astype(np.bool_)


def is_elastic(view: View, pod: Pod) -> bool:
    """Whether a pod requests any elastic resource."""
    return any(name.startswith(ELASTIC) for name in view.snapshot.shape_facts.values[pod.cls.shape].requests)
