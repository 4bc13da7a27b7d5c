"""What a class of pods asks of nodes, in the terms of the batch kernels: where it can never go, and by which counts it is judged.

Filters and scores whose say does not change while pods are placed become masks and fixed scores here; the others become
the rules and wishes of kernels/problem.py, with names of topology keys and rows of `Topology.counts` in place of numbers.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from neaptide.model.columns import Bools, Longs
from neaptide.placement.filters.inter_pod_affinity import InterPodAffinity as AffinityFilter
from neaptide.placement.filters.node_name import NodeName
from neaptide.placement.filters.node_ports import NodePorts
from neaptide.placement.filters.node_resources_fit import NodeResourcesFit
from neaptide.placement.filters.node_volume_limits import NodeVolumeLimits
from neaptide.placement.filters.pod_topology_spread import PodTopologySpread as SpreadFilter
from neaptide.placement.filters.scheduling_gates import SchedulingGates
from neaptide.placement.filters.volume_binding import VolumeBinding
from neaptide.placement.filters.volume_restrictions import VolumeRestrictions
from neaptide.placement.filters.volume_zone import VolumeZone
from neaptide.placement.kernels import problem as kinds
from neaptide.placement.profile import Profile
from neaptide.placement.scores.image_locality import ImageLocality
from neaptide.placement.scores.inter_pod_affinity import InterPodAffinity
from neaptide.placement.scores.node_affinity import NodeAffinity
from neaptide.placement.scores.pod_topology_spread import HOSTNAME, PodTopologySpread
from neaptide.placement.scores.real_nodes_first import RealNodesFirst
from neaptide.placement.scores.taint_toleration import TaintToleration
from neaptide.placement.view import Pod, View

COUNTING = (NodeResourcesFit, NodePorts, SpreadFilter, AffinityFilter)
"""Filters whose say changes with the pods that are placed."""
SILENT = (SchedulingGates, NodeName, VolumeRestrictions, NodeVolumeLimits, VolumeBinding, VolumeZone)
"""Filters that have nothing to say of pods without gates, nodes and claims."""
ITSELF = ""
"""The topology key by which every node is a domain of its own."""


class Rule(NamedTuple):
    """A rule of a kind, judged by the pods of a row of counts on the nodes `looked_at` (bool[node rows]; None for all)."""

    kind: int
    limit: int
    key: str
    pods: int
    looked_at: Bools | None = None
    min_domains: int = 0
    together: tuple[str, ...] = ()
    """All keys of the affinity that a TOGETHER rule is a part of."""


class Term(NamedTuple):
    """A term of a wish. Pods are counted by `counted_by`, which is the term's key or ITSELF."""

    key: str
    counted_by: str
    pods: int
    factor: int
    looked_at: Bools | None = None


class Wish(NamedTuple):
    """A wish of a kind: `raw` (int64[node rows]) of shares, terms of the others, and which nodes (rows) a crowd is scored on."""

    kind: int
    weight: int
    raw: Longs | None = None
    scored: Bools | None = None
    terms: tuple[Term, ...] = ()


class Asks(NamedTuple):
    """What a class of pods asks.

    Attributes:
        pod: a pod of the class.
        allowed: bool[node rows]: where it may ever go.
        fixed: int64[node rows]: weighted scores that no placement changes; None for none.
        rules, wishes: what changes with the pods that are placed.
    """

    pod: Pod
    allowed: Bools
    fixed: Longs | None
    rules: tuple[Rule, ...]
    wishes: tuple[Wish, ...]


def asks_of(view: View, profile: Profile, pod: Pod, allowed: Bools) -> Asks:
    """What a pod of some class asks by a profile; `allowed` is what `allowed_to` says of it."""
    fixed: Longs | None = None
    for score in profile.scores:
        if isinstance(score, ImageLocality | RealNodesFirst):
            found = score.scores(view, pod, np.arange(view.nodes.rows))
            if found is not None:
                fixed = score.weight * found + (0 if fixed is None else fixed)
    rules, wishes = tuple(_rules(view, profile, pod)), tuple(_wishes(view, profile, pod, allowed))
    return Asks(pod, allowed, fixed, rules, wishes)


def allowed_to(view: View, profile: Profile, pod: Pod) -> Bools:
    """bool[node rows]: where a pod without gates, node and claims may go, whatever other pods are there."""
    allowed = view.snapshot.nodes.alive[: view.nodes.rows].copy()
    for each in profile.filters:
        if isinstance(each, SILENT):
            continue
        names = each.named(view, pod)
        if names is not None:
            rows = [view.snapshot.nodes.by_name[name] for name in names if name in view.snapshot.nodes.by_name]
            allowed &= np.isin(np.arange(len(allowed)), rows)
        if each.refusal(view, pod) is not None:
            allowed[:] = False
        if not isinstance(each, COUNTING):
            for failed in each.failures(view, pod).values():
                allowed &= ~failed
    return allowed


def _rules(view: View, profile: Profile, pod: Pod) -> Iterator[Rule]:
    constraints = view.topology.constraints(pod.cls.number)
    for each in profile.filters:
        if isinstance(each, NodePorts):
            for pods in each.users(view, pod):
                yield Rule(kinds.APART, 0, ITSELF, pods)
        elif isinstance(each, SpreadFilter):
            keys = tuple(dict.fromkeys(spread.key for spread in constraints.spread))
            for spread in constraints.spread:
                counted = view.topology.counted(pod.cls, spread, keys)
                limit = spread.max_skew - spread.itself
                yield Rule(kinds.SPREAD, limit, spread.key, spread.pods, counted, spread.min_domains)
        elif isinstance(each, AffinityFilter):
            if (together := constraints.together) is not None:
                for key in together.keys:
                    yield Rule(kinds.TOGETHER, int(together.itself), key, together.pods, together=together.keys)
            for apart in dict.fromkeys(constraints.apart + constraints.repelled):
                yield Rule(kinds.APART, 0, apart.key, apart.pods)


def _wishes(view: View, profile: Profile, pod: Pod, allowed: Bools) -> Iterator[Wish]:
    rows = np.arange(view.nodes.rows)
    for score in profile.scores:
        if isinstance(score, TaintToleration | NodeAffinity):
            raw = score.raw(view, pod, rows)
            kind = kinds.SHARE if isinstance(score, NodeAffinity) else kinds.SHARE_OF_NONE
            if raw is not None and raw.any() and len(np.unique(raw[allowed])) > 1:
                yield Wish(kind, score.weight, raw)
        elif isinstance(score, InterPodAffinity):
            pulls = score.pulls(view, pod)
            if pulls:
                terms = tuple(Term(each.key, each.key, each.pods, each.weight) for each in pulls)
                yield Wish(kinds.PULL, score.weight, terms=terms)
        elif isinstance(score, PodTopologySpread):
            spreads, keys = score.wishes(view, pod)
            if spreads:
                scored = np.all([view.topology.domains(key) >= 0 for key in keys] or [allowed], axis=0)
                terms = tuple(
                    Term(each.key, ITSELF, each.pods, each.max_skew - 1)
                    if each.key == HOSTNAME
                    else Term(
                        each.key,
                        each.key,
                        each.pods,
                        each.max_skew - 1,
                        view.topology.counted(pod.cls, each, (each.key, *keys)),
                    )
                    for each in spreads
                )
                yield Wish(kinds.CROWD, score.weight, scored=scored, terms=terms)
