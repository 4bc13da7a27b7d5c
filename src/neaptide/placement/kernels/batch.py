"""Placing a batch of pods one after the other, each where its class scores best: the compiled version.

The scores of every class at every node, REFUSED where a pod of the class cannot go, are the leaves of tournament trees, one tree
for each cell of nodes, whose rows hold all classes side by side: after a pod was placed, its node's scores are computed anew and
carried up for all classes at once, by vector instructions. Choosing a node for the next pod looks at the roots, and goes down
from the best one, to the left where both sides are equal. Rules by a shared topology key (a zone) are asked at the
roots, once for each cell; rules by a sole key (the hostname) are part of the scores.

Helpers stand in this file, for numba's cache of a function looks at no other; who changes a constant in problem.py has to touch
this file too. batch_numpy.py says the same with numpy.
"""

import numpy as np

from neaptide.model.columns import Bools, Longs
from neaptide.placement.kernels.jit import lean_kernel, lean_part
from neaptide.placement.kernels.problem import (
    APART,
    AT_MOST,
    CROWD,
    LEAST_ALLOCATED,
    MOST_ALLOCATED,
    NEVER,
    PULL,
    REFUSED,
    REQUESTED_TO_CAPACITY,
    SHARE,
    SPREAD,
    TOGETHER,
    Census,
    Nodes,
    Problem,
    Rules,
    Shorts,
    Wishes,
)
from neaptide.placement.kernels.scratch import Scratch, scratch_for


def place(problem: Problem, pods: Longs, out: Longs) -> None:
    """Place pods, given by their classes, in this order; `out` gets the position of each, or REFUSED.

    Changes `free` and `scored` of the problem's nodes, and its census.
    """
    _place(problem, pods, out, scratch_for(problem))


def is_compiled() -> bool:
    """Whether this process has machine code for `place` already."""
    return bool(getattr(_place, "signatures", ()))


@lean_kernel
def _place(problem: Problem, pods: Longs, out: Longs, scratch: Scratch) -> None:
    start = problem.nodes.first[0]  # 0; a literal would have helpers compiled twice
    nodes, classes = problem.classes.fixed.shape
    _refresh(start, nodes, start, classes, problem, scratch)
    for pod_class in range(classes):
        scratch.epoch[pod_class] = _epoch(pod_class, problem.census, problem.rules)
    for number in range(pods.size):
        pod_class = pods[number]
        epoch = _epoch(pod_class, problem.census, problem.rules)
        if epoch != scratch.epoch[pod_class]:
            scratch.epoch[pod_class] = epoch
            _refresh(start, nodes, pod_class, pod_class + 1, problem, scratch)
        position = _choose(pod_class, problem, scratch)
        out[number] = position
        if position != REFUSED:
            _take(position, pod_class, problem)
            _refresh(position, position + 1, start, classes, problem, scratch)


@lean_part
def _epoch(pod_class: int, census: Census, rules: Rules) -> int:
    """A number that changes when pods on other nodes change whether rules by a sole key admit a node."""
    epoch = 0
    for rule in range(rules.sole[pod_class], rules.sole[pod_class + 1]):
        tally = rules.tally[rule]
        if rules.kind[rule] == SPREAD:
            epoch += census.least[tally]
        elif rules.kind[rule] == TOGETHER:
            epoch += census.total[census.sum_of[tally]] > 0
    return epoch


@lean_part
def _choose(pod_class: int, problem: Problem, scratch: Scratch) -> int:
    nodes, wishes = problem.nodes, problem.wishes
    if wishes.first[pod_class] < wishes.first[pod_class + 1]:
        found = _candidates(pod_class, problem, scratch)
        return _choose_among(found, pod_class, problem, scratch)
    best, chosen = REFUSED, REFUSED
    for cell in range(nodes.first.size - 1):
        score = scratch.tree[2 * nodes.first[cell] + 1, pod_class]
        if score < max(best, 0) or not _admits_all(pod_class, nodes.first[cell], problem.census, problem.rules):
            continue
        position = _descend(cell, pod_class, nodes, scratch.tree)
        if score > best or nodes.rank[position] < nodes.rank[chosen]:
            best, chosen = score, position
    return chosen


@lean_part
def _descend(cell: int, pod_class: int, nodes: Nodes, tree: Shorts) -> int:
    """The first position of a cell with the highest score of a class."""
    start, size = nodes.first[cell], nodes.first[cell + 1] - nodes.first[cell]
    row = 1
    while row < size:
        row *= 2
        row += tree[2 * start + row, pod_class] < tree[2 * start + row // 2, pod_class]
    offset = row - nodes.width[cell]
    return int(start + (offset if offset >= 0 else offset + size))


@lean_part
def _candidates(pod_class: int, problem: Problem, scratch: Scratch) -> int:
    """Gather the feasible nodes with their scores, or only the best of each cell where wishes cannot tell them apart; how many."""
    nodes, tree = problem.nodes, scratch.tree
    found = 0
    for cell in range(nodes.first.size - 1):
        start, stop = nodes.first[cell], nodes.first[cell + 1]
        score = tree[2 * start + 1, pod_class]
        if score < 0 or not _admits_all(pod_class, start, problem.census, problem.rules):
            continue
        if problem.wishes.by_cell[pod_class]:
            scratch.candidate[found] = _descend(cell, pod_class, nodes, tree)
            scratch.total[found] = score
            found += 1
            continue
        for position in range(start, stop):
            score = tree[_row(position, nodes), pod_class]
            if score >= 0:
                scratch.candidate[found] = position
                scratch.total[found] = score
                found += 1
    return found


@lean_part
def _choose_among(found: int, pod_class: int, problem: Problem, scratch: Scratch) -> int:
    """Add what wishes give to the scores of the candidates; the best one."""
    wishes, rank = problem.wishes, problem.nodes.rank
    candidate, total = scratch.candidate[:found], scratch.total[:found]
    for wish in range(wishes.first[pod_class], wishes.first[pod_class + 1]):
        if wishes.kind[wish] == PULL:
            _add_pull(wish, found, problem.census, wishes, scratch)
        elif wishes.kind[wish] == CROWD:
            _add_crowd(wish, found, problem.census, wishes, scratch)
        else:
            _add_share(wish, candidate, total, wishes)
    best, highest = REFUSED, -1
    for each in range(found):
        position = candidate[each]
        if total[each] > highest or (total[each] == highest and rank[position] < rank[best]):
            best, highest = position, total[each]
    return best


@lean_part
def _add_share(wish: int, candidate: Longs, total: Longs, wishes: Wishes) -> None:
    raw, largest = wishes.raw[wishes.row[wish]], 0
    for position in candidate:
        largest = max(largest, raw[position])
    for each in range(candidate.size):
        share = 100 * raw[candidate[each]] // largest if largest > 0 else 0
        total[each] += wishes.weight[wish] * (share if wishes.kind[wish] == SHARE else 100 - share)


@lean_part
def _add_pull(wish: int, found: int, census: Census, wishes: Wishes, scratch: Scratch) -> None:
    raw = scratch.raw[:found]
    raw[:] = 0
    for term in range(wishes.first_term[wish], wishes.first_term[wish + 1]):
        domain, start = census.domain[wishes.key[term]], census.offset[wishes.tally[term]]
        for each in range(found):
            of = domain[scratch.candidate[each]]
            raw[each] += wishes.factor[term] * census.pods[start + of] if of >= 0 else 0
    least, largest = NEVER, -NEVER
    for each in raw:
        least, largest = min(least, each), max(largest, each)
    if largest > least:
        for each in range(found):
            scratch.total[each] += wishes.weight[wish] * int(100.0 * ((raw[each] - least) / (largest - least)))


@lean_part
def _add_crowd(wish: int, found: int, census: Census, wishes: Wishes, scratch: Scratch) -> None:
    scored, candidate, crowd = wishes.scored[wishes.row[wish]], scratch.candidate, scratch.crowd[:found]
    crowd[:] = 0.0
    for term in range(wishes.first_term[wish], wishes.first_term[wish + 1]):
        size = _size(term, found, scored, census, wishes, scratch)
        tally, key = wishes.tally[term], wishes.key[term]
        for each in range(found):
            position = candidate[each]
            if census.domain[key, position] >= 0:
                of = census.domain[census.key[tally], position]
                crowd[each] += census.pods[census.offset[tally] + of] * wishes.log[size + 2] + wishes.factor[term]
    least, largest = NEVER, 0
    for each in range(found):
        whole = int(crowd[each])
        scratch.raw[each] = whole + (crowd[each] - whole >= 0.5)
        if scored[candidate[each]]:
            least, largest = min(least, scratch.raw[each]), max(largest, scratch.raw[each])
    for each in range(found):
        if scored[candidate[each]]:
            turned = 100 * (largest + least - scratch.raw[each]) // largest if largest > 0 else 100
            scratch.total[each] += wishes.weight[wish] * turned


@lean_part
def _size(term: int, found: int, scored: Bools, census: Census, wishes: Wishes, scratch: Scratch) -> int:
    """Among the candidates that are scored, the number of nodes or of domains of a term's key; lacking it counts as one."""
    size = 0
    scratch.clock[0] += 1
    for each in range(found):
        position = scratch.candidate[each]
        if not scored[position]:
            continue
        domain = census.domain[wishes.key[term], position] + 1
        if wishes.by_node[term] or scratch.seen[domain] != scratch.clock[0]:
            size += 1
        scratch.seen[domain] = scratch.clock[0]
    return size


@lean_part
def _admits_all(pod_class: int, position: int, census: Census, rules: Rules) -> bool:
    """Whether all rules by a shared key admit the nodes of the cell that a position begins."""
    for rule in range(rules.shared[pod_class], rules.shared[pod_class + 1]):
        if not _admits(rule, position, census, rules):
            return False
    return True


@lean_part
def _admits(rule: int, position: int, census: Census, rules: Rules) -> bool:
    tally, kind, limit = rules.tally[rule], rules.kind[rule], rules.limit[rule]
    domain = census.domain[census.key[tally], position]
    if domain < 0:
        return bool(kind == APART)
    count = census.pods[census.offset[tally] + domain]
    if kind == SPREAD:
        return bool(count - census.least[tally] <= limit)
    if kind == AT_MOST:
        return bool(count <= limit)
    if kind == TOGETHER:
        return bool(count > 0 or (limit == 1 and census.total[census.sum_of[tally]] == 0))
    return bool(count == 0)


@lean_part
def _take(position: int, pod_class: int, problem: Problem) -> None:
    """Put a pod on a node."""
    nodes, classes, rules = problem.nodes, problem.classes, problem.rules
    for resource in range(nodes.free.shape[0]):
        nodes.free[resource, position] -= classes.request[resource, pod_class]
    for measure in range(nodes.scored.shape[0]):
        nodes.scored[measure, position] += max(classes.scored[measure, pod_class], 0.0)
    for place in range(rules.first_added[pod_class], rules.first_added[pod_class + 1]):
        _count(rules.added[place], position, problem.census)


@lean_part
def _count(tally: int, position: int, census: Census) -> None:
    """Add a pod to a tally, and see to the tally's least count."""
    domain = census.domain[census.key[tally], position]
    if domain < 0 or not census.looked_at[census.mask[tally], position]:
        return
    census.total[census.sum_of[tally]] += 1
    start = census.offset[tally]
    before = census.pods[start + domain]
    census.pods[start + domain] = before + 1
    if before != census.least[tally]:
        return
    census.at_least[tally] -= 1
    if census.at_least[tally] > 0:
        return
    least, times = NEVER, 0
    for place in range(start, census.offset[tally + 1]):
        if census.exists[place] and census.pods[place] <= least:
            times = times + 1 if census.pods[place] == least else 1
            least = int(census.pods[place])
    census.least[tally], census.at_least[tally] = least, times


@lean_part
def _row(position: int, nodes: Nodes) -> int:
    """The row of a position's leaf. Leaves stand such that going down to the left comes to the first position."""
    cell = nodes.cell[position]
    start, size = nodes.first[cell], nodes.first[cell + 1] - nodes.first[cell]
    row = nodes.width[cell] + position - start
    return int(2 * start + (row if row < 2 * size else row - size))


@lean_part
def _climb(position: int, low: int, high: int, nodes: Nodes, tree: Shorts) -> None:
    """Carry a node's scores up its tree."""
    base = 2 * nodes.first[nodes.cell[position]]
    row = _row(position, nodes) - base
    while row > 1:
        row //= 2
        _join(base + 2 * row, base + row, low, high, tree)


@lean_part
def _join(child: int, parent: int, low: int, high: int, tree: Shorts) -> None:
    left, right, best = tree[child, low:high], tree[child + 1, low:high], tree[parent, low:high]
    for each in range(best.size):
        best[each] = max(left[each], right[each])


@lean_kernel
def _refresh(start: int, stop: int, low: int, high: int, problem: Problem, scratch: Scratch) -> None:
    """Compute the scores of classes `low : high` at positions `start : stop`: one, or all."""
    nodes, classes, rules = problem.nodes, problem.classes, problem.rules
    fits, points = scratch.fits[low:high], scratch.points[low:high]
    for position in range(start, stop):
        fixed = classes.fixed[position, low:high]
        for each in range(fits.size):
            fits[each] = fixed[each] >= 0
        for resource in range(nodes.free.shape[0]):
            free, request = nodes.free[resource, position], classes.request[resource, low:high]
            for each in range(fits.size):
                fits[each] &= (request[each] <= free) | (request[each] == 0)
        _fit_points(position, low, high, problem, scratch)
        if problem.scoring.balance_weight > 0:
            _balance_points(position, low, high, problem, scratch)
        scores = scratch.tree[_row(position, nodes), low:high]
        for each in range(fits.size):
            scores[each] = np.int16(points[each] + fixed[each]) if fits[each] else np.int16(REFUSED)
        for rule in range(rules.sole[low], rules.sole[high]):
            if not _admits(rule, position, problem.census, rules):
                scores[rules.owner[rule] - low] = REFUSED
    if stop - start == 1:
        _climb(start, low, high, nodes, scratch.tree)
    else:
        _plant(low, high, nodes, scratch.tree)


@lean_part
def _plant(low: int, high: int, nodes: Nodes, tree: Shorts) -> None:
    """Carry all scores up the trees."""
    for cell in range(nodes.first.size - 1):
        base = 2 * nodes.first[cell]
        for row in range(nodes.first[cell + 1] - nodes.first[cell] - 1, 0, -1):
            _join(base + 2 * row, base + row, low, high, tree)


@lean_part
def _fit_points(position: int, low: int, high: int, problem: Problem, scratch: Scratch) -> None:
    """Set points to the weighted mean of a score for each measure."""
    nodes, classes, scoring = problem.nodes, problem.classes, problem.scoring
    points, weights = scratch.points[low:high], scratch.weights[low:high]
    points[:] = 0.0
    weights[:] = 0.0
    for measure in range(nodes.capacity.shape[0]):
        capacity, there = nodes.capacity[measure, position], nodes.scored[measure, position]
        weight = scoring.weight[measure]
        if capacity == 0 or weight == 0:
            continue
        scored = classes.scored[measure, low:high]
        if scoring.strategy == LEAST_ALLOCATED:
            for each in range(points.size):
                counts = weight if scored[each] >= 0 else 0.0
                points[each] += counts * np.floor(max(capacity - (there + scored[each]), 0.0) * 100.0 / capacity)
                weights[each] += counts
        elif scoring.strategy == MOST_ALLOCATED:
            for each in range(points.size):
                counts = weight if scored[each] >= 0 else 0.0
                points[each] += counts * np.floor(min(there + scored[each], capacity) * 100.0 / capacity)
                weights[each] += counts
        else:
            for each in range(points.size):
                score = scoring.curve[int(min(there + max(scored[each], 0.0), capacity) * 100.0 / capacity)]
                counts = weight if scored[each] >= 0 and score > 0 else 0.0
                points[each] += counts * score
                weights[each] += counts
    rounding = 0.5 if scoring.strategy == REQUESTED_TO_CAPACITY else 0.0
    for each in range(points.size):
        mean = np.floor(points[each] / weights[each] + rounding) if weights[each] > 0 else 0.0
        points[each] = scoring.fit_weight * mean


@lean_part
def _balance_points(position: int, low: int, high: int, problem: Problem, scratch: Scratch) -> None:
    """Add how much a pod evens out the used parts of a node; 75 for no change."""
    points, balances, weight = (
        scratch.points[low:high],
        problem.classes.balances[low:high],
        problem.scoring.balance_weight,
    )
    change = scratch.weights[low:high]
    change[:] = 50.0
    for sign in (1.0, -1.0):
        _deviations(position, low, high, problem, scratch, max(sign, 0.0))
        deviation = scratch.parts[low:high]
        for each in range(change.size):
            change[each] += sign * np.floor((1.0 - deviation[each]) * 100.0)
    for each in range(points.size):
        points[each] += weight * (50.0 + np.floor(change[each] / 2.0)) if balances[each] else 0.0


@lean_part
def _deviations(position: int, low: int, high: int, problem: Problem, scratch: Scratch, pods: float) -> None:
    """Set `parts` to the standard deviation of the used parts of a node with 0 or 1 pods of each class more."""
    number, first, second = scratch.number[low:high], scratch.first[low:high], scratch.second[low:high]
    parts, squares = scratch.parts[low:high], scratch.squares[low:high]
    number[:] = 0.0
    parts[:] = 0.0
    squares[:] = 0.0
    measures = 0
    for measure in range(problem.nodes.capacity.shape[0]):
        capacity, there = problem.nodes.capacity[measure, position], problem.nodes.scored[measure, position]
        if capacity > 0 and problem.scoring.balanced[measure]:
            measures += 1
            scored = problem.classes.scored[measure, low:high]
            for each in range(parts.size):
                part = min((there + pods * scored[each]) / capacity, 1.0)
                counts = scored[each] >= 0
                first[each] = part if counts and number[each] == 0 else first[each]
                second[each] = part if counts and number[each] == 1 else second[each]
                parts[each] += part if counts else 0.0
                number[each] += counts
    if measures > 2:
        _add_squares(position, low, high, problem, scratch, pods)
    for each in range(parts.size):
        spread = np.sqrt(squares[each] / max(number[each], 1.0)) if number[each] > 2 else 0.0
        parts[each] = abs((first[each] - second[each]) / 2.0) if number[each] == 2 else spread


@lean_part
def _add_squares(position: int, low: int, high: int, problem: Problem, scratch: Scratch, pods: float) -> None:
    """Sum up the squares of how far the used parts are from their mean."""
    parts, squares, number = scratch.parts[low:high], scratch.squares[low:high], scratch.number[low:high]
    for measure in range(problem.nodes.capacity.shape[0]):
        capacity, there = problem.nodes.capacity[measure, position], problem.nodes.scored[measure, position]
        if capacity > 0 and problem.scoring.balanced[measure]:
            scored = problem.classes.scored[measure, low:high]
            for each in range(parts.size):
                away = min((there + pods * scored[each]) / capacity, 1.0) - parts[each] / max(number[each], 1.0)
                squares[each] += away * away if scored[each] >= 0 else 0.0
