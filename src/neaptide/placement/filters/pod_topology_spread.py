"""Topology spread constraints that must hold (DoNotSchedule)."""

import numpy as np

from neaptide.model.columns import Bools
from neaptide.placement.counts import totals
from neaptide.placement.filters.filter import Filter
from neaptide.placement.topology import Spread
from neaptide.placement.view import Pod, View

REASON = "node(s) didn't match pod topology spread constraints"
NO_KEY = "node(s) didn't match pod topology spread constraints (missing required label)"


class PodTopologySpread(Filter, frozen=True, tag="PodTopologySpread"):
    """With the pod, no domain may hold `maxSkew` more matching pods than the domain that holds the fewest."""

    def failures(self, view: View, pod: Pod) -> dict[str, Bools]:
        spreads = view.topology.constraints(pod.cls.number).spread
        if not spreads:
            return {}
        keys = tuple(dict.fromkeys(each.key for each in spreads))
        lacking, skewed = (np.zeros(view.nodes.rows, dtype=np.bool_) for _ in range(2))
        for spread in spreads:  # the first constraint that a node fails gives the reason
            lacking |= ~skewed & (view.topology.domains(spread.key) < 0)
            skewed |= ~lacking & _too_skewed(view, pod, spread, keys)
        return {NO_KEY: lacking, REASON: skewed}


def _too_skewed(view: View, pod: Pod, spread: Spread, keys: tuple[str, ...]) -> Bools:
    """bool[nodes]: nodes that a spread constraint refuses; meaningless where the key is missing."""
    topology = view.topology
    domains, size = topology.domains(spread.key), topology.domain_count(spread.key)
    if not size:
        return np.zeros(len(domains), dtype=np.bool_)
    counted = topology.counted(pod.cls, spread, keys)
    in_domain = totals(topology.counts.on_node[spread.pods], domains, counted, size)
    present = np.zeros(size, dtype=np.bool_)
    present[domains[counted]] = True
    enough = np.count_nonzero(present) >= spread.min_domains
    least = int(in_domain[present].min()) if enough else 0
    skewed: Bools = in_domain[domains] + spread.itself - least > spread.max_skew
    return skewed
