"""Required topology constraints in compiled form: topology spread, pod affinity and pod anti-affinity, both directions.

Everything is said with three arrays that are kept in step with the snapshot:

- `domains(key)`, int32[nodes]: the number of each node's value of a topology key, -1 where it lacks the key.
- `counts.who`, bool[counts, classes], and `counts.on_node`, int32[counts, nodes]: which classes of pods a count
  includes, and how many such pods stand on each node. When a pod of class `c` comes to node `n`,
  `on_node[:, n] += who[:, c]`.
- `counted(cls, spread)`, bool[nodes]: the nodes that a spread constraint looks at.

`constraints(cls)` then lists what a node must meet to take a pod of the class. Each
names the row of `counts` that it is judged by (`pods`). With `in_domain[d]`, the sum of `on_node[pods]` over the nodes of
domain `d`:

- `Spread`: the node has the key, and `in_domain[its domain] + itself - least <= max_skew`. Sums run over counted nodes
  only (0 in a domain without one); `least` is the smallest sum of a domain with a counted node, and 0 where there are
  fewer such domains than `min_domains`.
- `Together`: the node has every key, and `in_domain[its domain] > 0` for each. Or else: no node that has any of the keys
  holds a counted pod, and `itself`: the pod is the first of its kind.
- `Apart`: the node lacks the key, or `in_domain[its domain] == 0`. `apart` are the class's own anti-affinity terms
  (counts: the pods they select), `repelled` those of the classes met so far that select this class (counts: the pods
  that have them, of which there may be none yet).

The number of a count stays its own as long as the Topology lives (a View makes a new one when namespaces change).

Sources: kube-scheduler v1.36, plugins podtopologyspread/filtering.go and interpodaffinity/filtering.go.
"""

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import msgspec

from neaptide.model.columns import Bools, Ints
from neaptide.model.objects import LabelSelector, PodAffinityTerm, TopologySpreadConstraint
from neaptide.model.selectors import labels_match
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.classes import PodClass, PodClasses
from neaptide.placement.counts import PodCounts
from neaptide.placement.nodes import Nodes
from neaptide.placement.terms import Term, affinity_sides, required, spread_selector, term_of


class Spread(NamedTuple):
    """A topology spread constraint of a class."""

    key: str
    pods: int
    max_skew: int
    min_domains: int
    itself: bool
    """Whether a pod of the class adds to the sum it is judged by."""
    honors_affinity: bool
    honors_taints: bool


class Together(NamedTuple):
    """The required pod affinity of a class: pods that match all terms, in the domain of every term's key."""

    keys: tuple[str, ...]
    pods: int
    itself: bool


class Apart(NamedTuple):
    """A required anti-affinity term, the class's own or one of other pods."""

    key: str
    pods: int


class Constraints(NamedTuple):
    """What the nodes that take a pod of some class must meet."""

    spread: tuple[Spread, ...]
    together: Together | None
    apart: tuple[Apart, ...]
    repelled: tuple[Apart, ...]


class _Own(NamedTuple):
    basis: PodClass
    spread: tuple[Spread, ...]
    together: Together | None
    apart: tuple[Apart, ...]


_encode = msgspec.msgpack.Encoder().encode


class Topology:
    """The topology constraints of the classes of a snapshot.

    Attributes:
        classes: the classes met so far.
        counts: see the module.
        asks_namespaces: whether a term that was met selects namespaces by their labels.
    """

    def __init__(self, snapshot: ClusterSnapshot, nodes: Nodes) -> None:
        self._snapshot, self._nodes = snapshot, nodes
        self.asks_namespaces = False
        self.classes = PodClasses(snapshot)
        self.classes.listeners.append(self._learn)
        self.counts = PodCounts(snapshot, self.classes)
        self._owned: dict[int, frozenset[bytes]] = {}
        self._own: dict[int, _Own] = {}
        self._repelling: dict[bytes, tuple[Apart, Term]] = {}
        self._repelled: dict[int, tuple[PodClass, int, tuple[Apart, ...]]] = {}
        self.counts.refresh(range(snapshot.nodes.rows))

    def refresh(self, touched: Iterable[int]) -> None:
        """Catch up with the nodes that the snapshot says were touched."""
        self.counts.refresh(touched)

    def domains(self, key: str) -> Ints:
        """int32[nodes]: see the module; to be read only."""
        return self._nodes.labels.column(key)

    def domain_count(self, key: str) -> int:
        """How many domains of a key have a number; some may have lost their nodes."""
        return len(self._nodes.labels.values(key))

    def constraints(self, cls: int) -> Constraints:
        """What a node must meet to take a pod of a class, given by its row in the snapshot's `classes`."""
        met = self.classes.meet(cls)
        own = self._own.get(cls)
        if own is None or own.basis is not met:
            own = self._own[cls] = self._compile(met)
        return Constraints(own.spread, own.together, own.apart, self._repelled_of(met))

    def spreads(self, met: PodClass, raw: Iterable[TopologySpreadConstraint]) -> tuple[Spread, ...]:
        """Topology spread constraints as they stand for a class."""
        return tuple(self._spread(met, each) for each in raw)

    def counted(self, met: PodClass, spread: Spread, keys: Iterable[str]) -> Bools:
        """bool[nodes]: the nodes that a spread constraint looks at; they have all `keys`, those of its sister constraints."""
        among = self._snapshot.nodes.alive[: self._nodes.rows].copy()
        for key in keys:
            among &= self.domains(key) >= 0
        if spread.honors_affinity:
            among &= self._nodes.matching(met.shape, met.requirements)
        if spread.honors_taints:
            among &= self._nodes.tolerable(met.shape, met.requirements)
        return among

    def selects(self, term: Term, other: PodClass) -> bool:
        """Whether a term of a pod that is there selects pods of a class."""
        return term.covers(other.namespace, self._namespace_labels(other.namespace)) and labels_match(
            term.selector, other.labels
        )

    def selects_as_incoming(self, term: Term, other: PodClass) -> bool:
        """Whether a term of the pod that is being placed selects pods of a class."""
        return term.covers_as_incoming(other.namespace, self._namespace_labels(other.namespace)) and labels_match(
            term.selector, other.labels
        )

    def terms(self, met: PodClass, raw: Iterable[PodAffinityTerm]) -> tuple[Term, ...]:
        """Affinity terms as they stand for a class."""
        terms = tuple(term_of(each, met.namespace, met.labels) for each in raw)
        self.asks_namespaces |= any(each.namespace_selector is not None for each in terms)
        return terms

    def count_selected(self, terms: tuple[Term, ...]) -> int:
        """The count of the pods that every one of some terms of an incoming pod selects."""
        name = ("selected", _encode([each[1:] for each in terms]))
        return self.counts.add(name, lambda other: all(self.selects_as_incoming(each, other) for each in terms))

    def _compile(self, met: PodClass) -> _Own:
        with_them, without_them = affinity_sides(met.requirements.affinity)
        attracted = self.terms(met, required(with_them))
        together = None
        if attracted:
            itself = all(self.selects_as_incoming(each, met) for each in attracted)
            keys = tuple(dict.fromkeys(each.key for each in attracted))
            together = Together(keys, self.count_selected(attracted), itself)
        apart = tuple(Apart(each.key, self.count_selected((each,))) for each in self.terms(met, required(without_them)))
        hard = (
            each for each in met.requirements.topology_spread_constraints if each.when_unsatisfiable == "DoNotSchedule"
        )
        return _Own(met, self.spreads(met, hard), together, tuple(dict.fromkeys(apart)))

    def _spread(self, met: PodClass, raw: TopologySpreadConstraint) -> Spread:
        selector = spread_selector(raw.label_selector, raw.match_label_keys, met.labels)
        return Spread(
            raw.topology_key,
            self._count_living(met.namespace, selector),
            raw.max_skew,
            raw.min_domains or 1,
            labels_match(selector, met.labels),
            raw.node_affinity_policy == "Honor",
            raw.node_taints_policy == "Honor",
        )

    def _count_living(self, namespace: str, selector: LabelSelector | None) -> int:
        """The count for a spread constraint; as in v1.36, an empty selector selects the pod itself but counts no other."""
        empty = selector is None or not (selector.match_labels or selector.match_expressions)

        def chooses(other: PodClass) -> bool:
            return not empty and other.namespace == namespace and labels_match(selector, other.labels)

        return self.counts.add(("living", namespace, _encode(selector)), chooses, living=True)

    def _learn(self, new: PodClass) -> None:
        """Note a class's anti-affinity terms: they keep others away wherever its pods stand."""
        named = {
            _encode(each): each for each in self.terms(new, required(affinity_sides(new.requirements.affinity)[1]))
        }
        self._owned[new.number] = frozenset(named)
        for name, term in named.items():
            if name not in self._repelling:
                count = self.counts.add(("owners", name), partial(self._has, name))
                self._repelling[name] = Apart(term.key, count), term

    def _has(self, name: bytes, other: PodClass) -> bool:
        return name in self._owned[other.number]

    def _repelled_of(self, met: PodClass) -> tuple[Apart, ...]:
        old = self._repelled.get(met.number)
        start, known = (old[1], old[2]) if old and old[0] is met else (0, ())
        if start < len(self._repelling):
            more = list(self._repelling.values())[start:]
            known += tuple(apart for apart, term in more if self.selects(term, met))
            self._repelled[met.number] = met, len(self._repelling), known
        return known

    def _namespace_labels(self, namespace: str) -> dict[str, str]:
        found = self._snapshot.others.get("Namespace", {}).get(namespace)
        return found.metadata.labels if found else {}
