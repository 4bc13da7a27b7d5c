"""Topology spread constraints that are wished for (ScheduleAnyway), and the defaults for pods without any."""

import math

import numpy as np
from msgspec.structs import replace

from neaptide.model.columns import Bools, Floats, Longs
from neaptide.model.objects import LabelSelector, Requirement, TopologySpreadConstraint
from neaptide.placement.counts import totals
from neaptide.placement.scores.score import LARGEST, Score
from neaptide.placement.topology import Spread
from neaptide.placement.view import Pod, View

HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
ANYWAY = "ScheduleAnyway"

SYSTEM_DEFAULTS = (
    TopologySpreadConstraint(max_skew=3, topology_key=HOSTNAME, when_unsatisfiable=ANYWAY),
    TopologySpreadConstraint(max_skew=5, topology_key=ZONE, when_unsatisfiable=ANYWAY),
)


class PodTopologySpread(Score, frozen=True, tag="PodTopologySpread"):
    """The fewer matching pods in a node's domains the better, domains of small topologies counting less.

    Pods without constraints get the system's defaults, with a selector made of the services that select the pod and of
    the ReplicaSet or StatefulSet that owns it.

    Fields:
        system_defaults: whether pods without constraints get those defaults (`defaultingType: System`).
    """

    weight: int = 2
    system_defaults: bool = True

    def scores(self, view: View, pod: Pod, rows: Longs) -> Longs | None:
        spreads, keys = self.wishes(view, pod)
        if not spreads:
            return None
        scored = np.ones(len(rows), dtype=np.bool_)
        for key in keys:
            scored &= view.topology.domains(key)[rows] >= 0
        total = np.zeros(len(rows), dtype=np.float64)
        for spread in spreads:
            total += _crowding(view, pod, spread, keys, rows, scored)
        raw_scores = np.where(scored, np.trunc(total) + (total - np.trunc(total) >= 0.5), 0).astype(np.int64)
        return _least_first(raw_scores, scored)

    def wishes(self, view: View, pod: Pod) -> tuple[tuple[Spread, ...], tuple[str, ...]]:
        """The constraints that a pod's score is made of, and the keys that a node must have to be scored."""
        written = pod.cls.requirements.topology_spread_constraints
        raw = [each for each in written if each.when_unsatisfiable == ANYWAY]
        if not written and self.system_defaults:
            raw = _defaults(view, pod)
        spreads = view.topology.spreads(pod.cls, raw)
        return spreads, tuple(dict.fromkeys(each.key for each in spreads)) if written else ()


def _crowding(view: View, pod: Pod, spread: Spread, keys: tuple[str, ...], rows: Longs, scored: Bools) -> Floats:
    """float64[len(rows)]: what one constraint adds to each node's raw score; nothing where the node lacks the key."""
    topology = view.topology
    domains, on_node = topology.domains(spread.key), topology.counts.on_node[spread.pods]
    if spread.key == HOSTNAME:
        size, held = int(np.count_nonzero(scored)), on_node[rows]
    else:
        size = len(np.unique(domains[rows[scored]]))  # nodes without the key, where they are scored, make one more
        counted = topology.counted(pod.cls, spread, (spread.key, *keys))
        held = np.append(totals(on_node, domains, counted, topology.domain_count(spread.key)), 0)[domains[rows]]
    return np.where(domains[rows] >= 0, held * math.log(size + 2) + (spread.max_skew - 1), 0.0)


def _least_first(raw: Longs, scored: Bools) -> Longs:
    """int64[len(rows)], 0..100: the least raw score is the best; nodes that are not scored get 0."""
    if not scored.any():
        return np.zeros_like(raw)
    least, largest = int(raw[scored].min()), int(raw[scored].max())
    turned = LARGEST * (largest + least - raw) // largest if largest else np.full_like(raw, LARGEST)
    return np.where(scored, turned, 0)


def _defaults(view: View, pod: Pod) -> list[TopologySpreadConstraint]:
    """The system's constraints for a pod that has none; nothing for a pod that neither service nor owner selects."""
    selector = _default_selector(view, pod)
    if not (selector.match_labels or selector.match_expressions):
        return []
    return [replace(each, label_selector=selector) for each in SYSTEM_DEFAULTS]


def _default_selector(view: View, pod: Pod) -> LabelSelector:
    """What the services that select a pod select, and its ReplicaSet or StatefulSet besides."""
    labels: dict[str, str] = {}
    for service in view.snapshot.others.get("Service", {}).values():
        wanted = service.spec.selector
        if (service.metadata.namespace or "default") == pod.cls.namespace and wanted.items() <= pod.cls.labels.items():
            labels |= wanted
    owner = int(view.snapshot.pods.owner[pod.row]) if pod.row >= 0 else -1
    workloads = view.snapshot.workloads
    found = workloads.objects[owner] if owner >= 0 else None
    if found is None or found.kind not in ("ReplicaSet", "StatefulSet") or found.spec.selector is None:
        return LabelSelector(labels)
    of_owner = found.spec.selector
    exact = tuple(Requirement(key, "In", (value,)) for key, value in of_owner.match_labels.items())
    return LabelSelector(labels, (*exact, *of_owner.match_expressions))
