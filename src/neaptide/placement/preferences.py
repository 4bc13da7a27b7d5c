"""Preferred pod affinity: what pulls a class of pods to a domain, and what pushes it away.

Source: kube-scheduler v1.36, plugin interpodaffinity (scoring.go).
"""

from functools import partial
from typing import NamedTuple

import msgspec

from neaptide.placement.classes import PodClass
from neaptide.placement.terms import Term, affinity_sides, preferred, required
from neaptide.placement.topology import Topology


class Pull(NamedTuple):
    """`weight` for every pod of a count (a row of `Topology.counts`) in a node's domain of `key`; below 0 it pushes."""

    key: str
    pods: int
    weight: int


class _Line(NamedTuple):
    """A term that pods bring to where they stand. `weight` is None for a required term, whose weight the profile gives."""

    term: Term
    weight: int | None
    pods: int


_Name = tuple[bytes, int | None, int]
_encode = msgspec.msgpack.Encoder().encode


class Preferences:
    """The preferred affinity terms of the classes met so far, and the required ones of pods that are there."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._brought: dict[int, tuple[PodClass, dict[_Name, Term]]] = {}
        self._lines: dict[_Name, _Line] = {}
        for known in list(topology.classes.known()):
            self._learn(known)
        topology.classes.listeners.append(self._learn)

    def own(self, met: PodClass) -> tuple[Pull, ...]:
        """What a pod of a class prefers itself."""
        with_them, without_them = affinity_sides(met.requirements.affinity)
        pulls = []
        for side, sign in ((with_them, 1), (without_them, -1)):
            for weight, raw in preferred(side):
                (term,) = self._topology.terms(met, (raw,))
                pulls.append(Pull(term.key, self._topology.count_selected((term,)), sign * weight))
        return tuple(pulls)

    def others(self, met: PodClass, hard_weight: int) -> tuple[Pull, ...]:
        """What the pods that are there prefer of a pod of a class; their required affinity counts `hard_weight`."""
        return tuple(
            Pull(line.term.key, line.pods, hard_weight if line.weight is None else line.weight)
            for line in self._lines.values()
            if (line.weight is not None or hard_weight) and self._topology.selects(line.term, met)
        )

    def _learn(self, new: PodClass) -> None:
        for name, term in self._terms(new).items():
            if name not in self._lines:
                pods = self._topology.counts.add(("brings", name), partial(self._brings, name))
                self._lines[name] = _Line(term, name[1], pods)

    def _brings(self, name: _Name, other: PodClass) -> bool:
        return name in self._terms(other)

    def _terms(self, met: PodClass) -> dict[_Name, Term]:
        """The terms that pods of a class bring, by what tells them apart; one that is written twice has two names."""
        old = self._brought.get(met.number)
        if old is not None and old[0] is met:
            return old[1]
        with_them, without_them = affinity_sides(met.requirements.affinity)
        weighted = [
            *((None, raw) for raw in required(with_them)),
            *preferred(with_them),
            *((-weight, raw) for weight, raw in preferred(without_them)),
        ]
        terms: dict[_Name, Term] = {}
        for weight, raw in weighted:
            (term,) = self._topology.terms(met, (raw,))
            body, repeat = _encode(term), 0
            while (body, weight, repeat) in terms:
                repeat += 1
            terms[body, weight, repeat] = term
        self._brought[met.number] = met, terms
        return terms
