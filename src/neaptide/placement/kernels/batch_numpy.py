"""Placing a batch of pods one after the other, each where its class scores best: the numpy version.

Every class has a *key* at every node: score * nodes + (nodes - 1 - rank), or REFUSED where a pod of the class cannot go, so
that the highest key is the best node with ties already broken. The keys of a class stand in a row.
"""

from typing import Any

import numpy as np

from neaptide.model.columns import Bools, Floats, Longs
from neaptide.placement.kernels.problem import (
    APART,
    AT_MOST,
    CROWD,
    LEAST_ALLOCATED,
    PULL,
    REFUSED,
    REQUESTED_TO_CAPACITY,
    SHARE,
    SPREAD,
    TOGETHER,
    Problem,
)

At = Any
"""Positions or classes: a number, a slice or an array. Of the two, one is a number."""
ALL = slice(None)


def place(problem: Problem, pods: Longs, out: Longs) -> None:
    """Place pods, given by their classes, in this order; `out` gets the position of each, or REFUSED.

    Changes `free` and `scored` of the problem's nodes, and its census.
    """
    nodes, classes = problem.classes.fixed.shape
    keys = np.empty((classes, nodes), dtype=np.int64)
    epochs = [_epoch(pod_class, problem) for pod_class in range(classes)]
    for pod_class in range(classes):
        keys[pod_class] = _keys(ALL, pod_class, problem)
    for number, pod_class in enumerate(pods.tolist()):
        epoch = _epoch(pod_class, problem)
        if epoch != epochs[pod_class]:
            epochs[pod_class] = epoch
            keys[pod_class] = _keys(ALL, pod_class, problem)
        position = out[number] = _choose(pod_class, keys[pod_class], problem)
        if position != REFUSED:
            _take(position, pod_class, problem)
            keys[:, position] = _keys(position, ALL, problem)


def _epoch(pod_class: int, problem: Problem) -> int:
    """A number that changes when pods on other nodes change whether rules by a sole key admit a node."""
    census, rules = problem.census, problem.rules
    own = slice(rules.sole[pod_class], rules.sole[pod_class + 1])
    if own.start == own.stop:
        return 0
    tally, kind = rules.tally[own], rules.kind[own]
    least = census.least[tally[kind == SPREAD]].sum()
    return int(least + np.count_nonzero(census.total[census.sum_of[tally[kind == TOGETHER]]]))


def _choose(pod_class: int, keys: Longs, problem: Problem) -> int:
    nodes, rules = problem.nodes, problem.rules
    first = nodes.first[:-1]
    admitted = np.ones(len(first), dtype=np.bool_)
    for rule in range(rules.shared[pod_class], rules.shared[pod_class + 1]):
        admitted &= _admits(rule, first, problem)
    if problem.wishes.first[pod_class] < problem.wishes.first[pod_class + 1]:
        feasible = np.flatnonzero(admitted[nodes.cell] & (keys >= 0))
        return _choose_among(pod_class, feasible, keys[feasible] // len(keys), problem) if len(feasible) else REFUSED
    highest = np.maximum.reduceat(keys, first) if len(first) > 1 else keys.max(keepdims=True)
    best = highest[admitted].max(initial=REFUSED)
    return REFUSED if best < 0 else int(nodes.position[len(keys) - 1 - best % len(keys)])


def _choose_among(pod_class: int, feasible: Longs, total: Longs, problem: Problem) -> int:
    """Add what wishes give to the scores of the feasible nodes; the best one."""
    wishes, count = problem.wishes, len(problem.nodes.rank)
    for wish in range(wishes.first[pod_class], wishes.first[pod_class + 1]):
        terms = range(wishes.first_term[wish], wishes.first_term[wish + 1])
        if wishes.kind[wish] == PULL:
            scores = _pull(terms, feasible, problem)
        elif wishes.kind[wish] == CROWD:
            scores = _crowd(terms, feasible, wishes.scored[wishes.row[wish], feasible], problem)
        else:
            raw = wishes.raw[wishes.row[wish], feasible]
            scores = 100 * raw // max(int(raw.max()), 1)
            scores = scores if wishes.kind[wish] == SHARE else 100 - scores
        total = total + wishes.weight[wish] * scores
    return int(feasible[(total * count + (count - 1 - problem.nodes.rank[feasible])).argmax()])


def _pull(terms: range, feasible: Longs, problem: Problem) -> Longs:
    census, wishes, raw = problem.census, problem.wishes, np.zeros(len(feasible), dtype=np.int64)
    for term in terms:
        domain = census.domain[wishes.key[term], feasible]
        pods = census.pods[census.offset[wishes.tally[term]] + np.maximum(domain, 0)]
        raw += np.where(domain >= 0, wishes.factor[term] * pods, 0)
    least, span = raw.min(), raw.max() - raw.min()
    return (100 * ((raw - least) / span)).astype(np.int64) if span else np.zeros_like(raw)


def _crowd(terms: range, feasible: Longs, scored: Bools, problem: Problem) -> Longs:
    census, wishes, crowd = problem.census, problem.wishes, np.zeros(len(feasible))
    if not scored.any():
        return np.zeros(len(feasible), dtype=np.int64)
    for term in terms:
        tally, domain = wishes.tally[term], census.domain[wishes.key[term], feasible]
        size = np.count_nonzero(scored) if wishes.by_node[term] else len(np.unique(domain[scored]))
        pods = census.pods[census.offset[tally] + np.maximum(census.domain[census.key[tally], feasible], 0)]
        crowd += np.where(domain >= 0, pods * wishes.log[size + 2] + wishes.factor[term], 0.0)
    raw = (np.trunc(crowd) + (crowd - np.trunc(crowd) >= 0.5)).astype(np.int64)
    least, largest = raw[scored].min(), raw[scored].max()
    turned = 100 * (largest + least - raw) // largest if largest else np.full_like(raw, 100)
    return np.where(scored, turned, 0)


def _admits(rule: At, position: At, problem: Problem) -> Bools:
    census, rules = problem.census, problem.rules
    tally, kind, limit = rules.tally[rule], rules.kind[rule], rules.limit[rule]
    domain = census.domain[census.key[tally], position]
    count = census.pods[census.offset[tally] + np.maximum(domain, 0)]
    alone = (limit == 1) & (census.total[census.sum_of[tally]] == 0)
    by_kind = {
        SPREAD: count - census.least[tally] <= limit,
        AT_MOST: count <= limit,
        TOGETHER: (count > 0) | alone,
        APART: count == 0,
    }
    met = np.any([(kind == each) & met for each, met in by_kind.items()], axis=0)
    admitted: Bools = np.where(domain < 0, kind == APART, met)
    return admitted


def _take(position: int, pod_class: int, problem: Problem) -> None:
    """Put a pod on a node."""
    nodes, classes, rules = problem.nodes, problem.classes, problem.rules
    nodes.free[:, position] -= classes.request[:, pod_class]
    nodes.scored[:, position] += np.maximum(classes.scored[:, pod_class], 0.0)
    for tally in rules.added[rules.first_added[pod_class] : rules.first_added[pod_class + 1]].tolist():
        _count(tally, position, problem)


def _count(tally: int, position: int, problem: Problem) -> None:
    """Add a pod to a tally, and see to the tally's least count."""
    census = problem.census
    domain = census.domain[census.key[tally], position]
    if domain < 0 or not census.looked_at[census.mask[tally], position]:
        return
    census.total[census.sum_of[tally]] += 1
    counts = slice(census.offset[tally], census.offset[tally + 1])
    before = census.pods[counts][domain]
    census.pods[counts][domain] += 1
    if before == census.least[tally]:
        census.at_least[tally] -= 1
        if census.at_least[tally] == 0:
            there = census.pods[counts][census.exists[counts]]
            census.least[tally] = there.min()
            census.at_least[tally] = np.count_nonzero(there == census.least[tally])


def _keys(position: At, pod_class: At, problem: Problem) -> Longs:
    """The keys of all classes at one position, or of one class at all positions."""
    nodes, classes, rules = problem.nodes, problem.classes, problem.rules
    fixed, request = classes.fixed[position, pod_class], _columns(classes.request, pod_class)
    fits = (fixed >= 0) & ((request <= _columns(nodes.free, position)) | (request == 0)).all(axis=0)
    points = fixed + _fit_points(position, pod_class, problem)
    if problem.scoring.balance_weight > 0:
        points = points + _balance_points(position, pod_class, problem)
    count = len(nodes.rank)
    keys = np.where(fits, points * count + (count - 1 - nodes.rank[position]), REFUSED).astype(np.int64)
    if isinstance(pod_class, int):
        for rule in range(rules.sole[pod_class], rules.sole[pod_class + 1]):
            keys[~_admits(rule, np.arange(count), problem)] = REFUSED
    elif rules.sole[-1]:
        sole = np.arange(rules.sole[-1])
        keys[rules.owner[sole[~_admits(sole, position, problem)]]] = REFUSED
    return keys


def _columns(matrix: Floats, at: At) -> Floats:
    """Columns of a matrix; one column can be set against many."""
    columns: Floats = matrix[:, at]
    return columns if columns.ndim > 1 else columns[:, None]


def _fit_points(position: At, pod_class: At, problem: Problem) -> Floats:
    """The weighted mean of a score for each measure."""
    nodes, scoring, scored = problem.nodes, problem.scoring, _columns(problem.classes.scored, pod_class)
    capacity, there = _columns(nodes.capacity, position), _columns(nodes.scored, position)
    requested = there + np.maximum(scored, 0.0)
    if scoring.strategy == LEAST_ALLOCATED:
        score = np.floor(np.maximum(capacity - requested, 0.0) * 100.0 / np.maximum(capacity, 1.0))
    else:
        score = np.floor(np.minimum(requested, capacity) * 100.0 / np.maximum(capacity, 1.0))
    weight = np.where((capacity > 0) & (scored >= 0), scoring.weight[:, None], 0.0)
    if scoring.strategy == REQUESTED_TO_CAPACITY:
        score = scoring.curve[score.astype(np.int64)]
        weight = np.where(score > 0, weight, 0.0)
    weights = weight.sum(axis=0)
    rounding = np.where(weights > 0, 0.5, 0.0) if scoring.strategy == REQUESTED_TO_CAPACITY else 0.0
    mean: Floats = np.floor((weight * score).sum(axis=0) / np.maximum(weights, 1.0) + rounding)
    return scoring.fit_weight * mean


def _balance_points(position: At, pod_class: At, problem: Problem) -> Floats:
    """How much a pod evens out the used parts of a node; 75 for no change."""
    after = np.floor((1.0 - _deviation(position, pod_class, problem, 1.0)) * 100.0)
    before = np.floor((1.0 - _deviation(position, pod_class, problem, 0.0)) * 100.0)
    points = problem.scoring.balance_weight * (50.0 + np.floor((50.0 + after - before) / 2.0))
    return np.where(problem.classes.balances[pod_class], points, 0.0)


def _deviation(position: At, pod_class: At, problem: Problem, pods: float) -> Floats:
    """The standard deviation of the used parts of a node with 0 or 1 pods more."""
    nodes, number, total = problem.nodes, np.zeros(1), np.zeros(1)
    first, second, found = np.zeros(1), np.zeros(1), []
    for measure in np.flatnonzero(problem.scoring.balanced):
        capacity, scored = nodes.capacity[measure, position], problem.classes.scored[measure, pod_class]
        counts = (capacity > 0) & (scored >= 0)
        part = np.minimum((nodes.scored[measure, position] + pods * scored) / np.maximum(capacity, 1.0), 1.0)
        first = np.where(counts & (number == 0), part, first)
        second = np.where(counts & (number == 1), part, second)
        total = total + np.where(counts, part, 0.0)
        number = number + counts
        found.append((counts, part))
    mean, squares = total / np.maximum(number, 1.0), np.zeros(1)
    for counts, part in found:
        squares = squares + np.where(counts, (part - mean) * (part - mean), 0.0)
    spread = np.where(number > 2, np.sqrt(squares / np.maximum(number, 1.0)), 0.0)
    return np.where(number == 2, np.abs((first - second) / 2.0), spread)
