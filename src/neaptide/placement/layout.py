"""Lays a cluster, and what some classes of pods ask of it, out as the arrays of kernels/problem.py."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import NamedTuple

import numpy as np

from neaptide.model.columns import Bools, Ints, Longs
from neaptide.placement.amounts import Unsuited, amounts_of
from neaptide.placement.asks import ITSELF, Asks, Rule, Term, Wish
from neaptide.placement.kernels import problem as arrays
from neaptide.placement.kernels.tallies import Tallies, cells
from neaptide.placement.profile import Profile
from neaptide.placement.view import View


class _RuleRow(NamedTuple):
    kind: int
    tally: int
    limit: int
    sole: bool


class _TermRow(NamedTuple):
    tally: int
    key: int
    factor: int
    by_node: bool


class Layout:
    """The nodes and counts that the chunks of a batch share, and change.

    Attributes:
        rows: the node row of each position.
    """

    def __init__(self, view: View, profile: Profile, asks: Sequence[Asks], pods: int) -> None:
        """Lay out a batch of at most `pods` pods. Raises Unsuited."""
        self._view, self._asks = view, asks
        alive = view.snapshot.nodes.indices()
        self._keys = {key: number for number, key in enumerate(dict.fromkeys((ITSELF, *_keys(asks))))}
        itself = np.arange(len(alive), dtype=np.int32)
        domains = [view.topology.domains(key)[alive] if key else itself for key in self._keys]
        self._sole = [_is_sole(domain) for domain in domains]
        order, first = cells([domain for domain, sole in zip(domains, self._sole, strict=True) if not sole], len(alive))
        self.rows = alive[order]
        self._classes = np.array([each.pod.cls.number for each in asks])
        self._tallies = Tallies([domain[order] for domain in domains], len(alive))
        self._rules = [list(self._rule_rows(each.rules)) for each in asks]
        self._terms = [[[self._term_row(term) for term in wish.terms] for wish in each.wishes] for each in asks]
        self._census = self._tallies.census()
        who = np.array(self._tallies.who, dtype=np.bool_).reshape(-1, len(asks))
        self._added = [np.flatnonzero(column) for column in who.T]
        self._amounts = amounts_of(
            view.snapshot, profile, self.rows, np.array([each.pod.cls.shape for each in asks]), pods
        )
        self._nodes = arrays.Nodes(
            free=self._amounts.free,
            scored=self._amounts.scored,
            capacity=self._amounts.capacity,
            first=first,
            width=_longs(1 << (size - 1).bit_length() for size in np.diff(first).tolist()),
            cell=np.repeat(np.arange(len(first) - 1), np.diff(first)),
            rank=order,
            position=np.argsort(order),
        )
        wishful = any(each.wishes for each in asks)
        self._log = np.array([0.0, *(math.log(each) for each in range(1, len(alive) + 4 if wishful else 1))])

    def problem(self, members: Longs) -> arrays.Problem:
        """Placing pods of some of the classes, which are numbered in the order of `members`. Raises Unsuited."""
        return arrays.Problem(
            nodes=self._nodes,
            scoring=self._amounts.scoring,
            classes=arrays.Classes(
                request=np.take(self._amounts.request, members, axis=1),
                scored=np.take(self._amounts.wanted, members, axis=1),
                balances=self._amounts.balances[members],
                fixed=self._fixed([self._asks[member] for member in members]),
            ),
            census=self._census,
            rules=self._lay_rules(members),
            wishes=self._lay_wishes(members),
        )

    def _fixed(self, asks: Sequence[Asks]) -> arrays.Shorts:
        allowed = np.array([each.allowed for each in asks])[:, self.rows]
        fixed: arrays.Shorts = np.zeros(allowed.shape[::-1], dtype=np.int16)
        if not allowed.all():
            fixed[~allowed.T] = arrays.REFUSED
        for number, each in enumerate(asks):
            if each.fixed is not None and each.fixed.any():
                if each.fixed.max() > np.iinfo(np.int16).max:
                    raise Unsuited
                fixed[:, number] = np.where(fixed[:, number] < 0, arrays.REFUSED, each.fixed[self.rows])
        largest = self._amounts.largest + int(fixed.max(initial=0))
        if largest > np.iinfo(np.int16).max:
            raise Unsuited
        return fixed

    def _rule_rows(self, rules: Iterable[Rule]) -> Iterator[_RuleRow]:
        for rule in rules:
            who = self._who(rule.pods)
            if rule.kind == arrays.APART and not who.any() and not self._on_node(rule.pods).any():
                continue  # nobody to be kept apart from, before or after the batch
            tally = self._tally(
                rule.key, rule.pods, rule.looked_at, least=rule.kind == arrays.SPREAD, sum_of=rule.together
            )
            kind = rule.kind
            if kind == arrays.SPREAD and self._tallies.domains_looked_at(tally) < rule.min_domains:
                kind = arrays.AT_MOST
            yield _RuleRow(kind, tally, rule.limit, self._sole[self._keys[rule.key]])

    def _term_row(self, term: Term) -> _TermRow:
        tally = self._tally(term.counted_by, term.pods, term.looked_at)
        return _TermRow(tally, self._keys[term.key], term.factor, term.counted_by == ITSELF)

    def _tally(
        self, key: str, pods: int, looked_at: Bools | None, *, least: bool = False, sum_of: tuple[str, ...] = ()
    ) -> int:
        return self._tallies.add(
            pods,
            self._keys[key],
            self._on_node(pods),
            self._who(pods),
            looked_at=None if looked_at is None else looked_at[self.rows],
            least=least,
            sum_of=sum_of or None,
        )

    def _on_node(self, pods: int) -> Ints:
        on_node: Ints = self._view.topology.counts.on_node[pods, self.rows]
        return on_node

    def _who(self, pods: int) -> Bools:
        who: Bools = self._view.topology.counts.who[pods, self._classes]
        return who

    def _lay_rules(self, members: Longs) -> arrays.Rules:
        parts = [
            [(number, row) for number, member in enumerate(members) for row in self._rules[member] if row.sole == sole]
            for sole in (True, False)
        ]
        rows = [*parts[0], *parts[1]]
        counts = [np.bincount([number for number, _ in part], minlength=len(members)) for part in parts]
        added = [self._added[member] for member in members]
        return arrays.Rules(
            kind=_longs(row.kind for _, row in rows),
            tally=_longs(row.tally for _, row in rows),
            limit=_longs(row.limit for _, row in rows),
            owner=_longs(number for number, _ in rows),
            sole=_offsets(counts[0]),
            shared=_offsets(counts[1]) + len(parts[0]),
            first_added=_offsets(len(each) for each in added),
            added=_longs(chain.from_iterable(added)),
        )

    def _lay_wishes(self, members: Longs) -> arrays.Wishes:
        wishes = [self._asks[member].wishes for member in members]
        terms = [self._terms[member] for member in members]
        flat, flat_terms = [*chain.from_iterable(wishes)], [*chain.from_iterable(terms)]
        rows = [*chain.from_iterable(flat_terms)]
        raw = [wish.raw[self.rows] for wish in flat if wish.raw is not None]
        scored = [wish.scored[self.rows] for wish in flat if wish.scored is not None]
        return arrays.Wishes(
            first=_offsets(len(each) for each in wishes),
            by_cell=np.array([self._is_by_cell(*each) for each in zip(wishes, terms, strict=True)], dtype=np.bool_),
            kind=_longs(wish.kind for wish in flat),
            weight=_longs(wish.weight for wish in flat),
            row=_longs(_rows_of(flat)),
            raw=np.array(raw, dtype=np.int64).reshape(len(raw), len(self.rows)),
            scored=np.array(scored, dtype=np.bool_).reshape(len(scored), len(self.rows)),
            first_term=_offsets(len(each) for each in flat_terms),
            tally=_longs(row.tally for row in rows),
            key=_longs(row.key for row in rows),
            factor=_longs(row.factor for row in rows),
            by_node=np.array([row.by_node for row in rows], dtype=np.bool_),
            log=self._log,
        )

    def _is_by_cell(self, wishes: Iterable[Wish], terms: Iterable[Iterable[_TermRow]]) -> bool:
        """Whether wishes cannot tell the nodes of a cell apart."""
        shared = all(not self._sole[row.key] and not row.by_node for row in chain.from_iterable(terms))
        return shared and all(wish.raw is None for wish in wishes)


def _keys(asks: Iterable[Asks]) -> Iterator[str]:
    for each in asks:
        yield from (rule.key for rule in each.rules)
        yield from (term.key for wish in each.wishes for term in wish.terms)


def _is_sole(domain: Ints) -> bool:
    """Whether every domain is one node's own."""
    present = domain[domain >= 0]
    return len(np.unique(present)) == len(present)


def _rows_of(wishes: Iterable[Wish]) -> Iterator[int]:
    """By wish, its row among the raw scores or the scored nodes."""
    raw = scored = 0
    for wish in wishes:
        yield raw if wish.raw is not None else scored
        raw += wish.raw is not None
        scored += wish.scored is not None


def _longs(values: Iterable[int]) -> Longs:
    return np.fromiter(values, dtype=np.int64)


def _offsets(counts: Iterable[int]) -> Longs:
    return _longs(accumulate(counts, initial=0))
