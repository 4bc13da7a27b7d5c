"""Required pod affinity and anti-affinity, the pod's own and those of the pods that are there."""

import numpy as np

from neaptide.model.columns import Bools
from neaptide.placement.counts import totals
from neaptide.placement.filters.filter import Filter
from neaptide.placement.topology import Together, Topology
from neaptide.placement.view import Pod, View

AFFINITY = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
EXISTING = "node(s) didn't satisfy existing pods anti-affinity rules"


class InterPodAffinity(Filter, frozen=True, tag="InterPodAffinity"):
    """A node must lie in the domains of the pods its affinity asks for, and outside those of the pods to be kept apart."""

    def failures(self, view: View, pod: Pod) -> dict[str, Bools]:
        topology = view.topology
        constraints = topology.constraints(pod.cls.number)
        rules = {}
        if constraints.together is not None:
            rules[AFFINITY] = ~_joins(topology, constraints.together)
        for reason, terms in ((ANTI_AFFINITY, constraints.apart), (EXISTING, constraints.repelled)):
            held = [_holds(topology, term.key, term.pods) for term in terms if topology.counts.on_node[term.pods].any()]
            if held:
                rules[reason] = np.any(held, axis=0)
        failed = np.zeros(view.nodes.rows, dtype=np.bool_)
        for reason, broken in rules.items():  # the first rule that a node breaks gives the reason
            rules[reason] = broken & ~failed
            failed |= broken
        return rules


def _joins(topology: Topology, together: Together) -> Bools:
    """bool[nodes]: nodes that meet an affinity, by the pods there or because the pod is the first of its kind."""
    keyed: Bools = np.all([topology.domains(key) >= 0 for key in together.keys], axis=0)
    on_node = topology.counts.on_node[together.pods]
    anywhere = np.any([on_node[topology.domains(key) >= 0].any() for key in together.keys])
    if not anywhere and together.itself:
        return keyed
    joined: Bools = keyed & np.all([_holds(topology, key, together.pods) for key in together.keys], axis=0)
    return joined


def _holds(topology: Topology, key: str, pods: int) -> Bools:
    """bool[nodes]: nodes in a domain of `key` that holds a pod of a count; false where the key is missing."""
    domains, on_node = topology.domains(key), topology.counts.on_node[pods]
    held = np.append(totals(on_node, domains, domains >= 0, topology.domain_count(key)) > 0, False)
    return held[domains]
