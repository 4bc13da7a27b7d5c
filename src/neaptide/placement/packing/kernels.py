"""Ruin and recreate, compiled: parts of a choice of nodes are given up and built anew, and what is better is kept.

Without numba the same functions run as they stand, a hundred times slower. Arrays are those of `problem.Problem`; a *bin* is a node that is
there (bin and column have one number) or one that would be bought, and *guests* are the pods that come to it. The approach is that
of Schrimpf et al., "Record breaking optimization results using the ruin and recreate principle" (2000), with the
insertion in random order and with noise of Christiaens and Vanden Berghe, "Slack induction by string removals" (2020).
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neaptide.model.columns import Bools, Floats, Ints, Longs
from neaptide.placement.kernels.jit import lean_kernel

BINS, EVICTIONS, CURSOR, TOUCHED = range(4)
"""Places in `Work.counts`."""
MOST_TOUCHED = 512
"""A step that changes more bins than that is given up."""
FREE = 1e-9
"""US dollars per hour; what costs no more is as good as free, and money is not divided by it."""
_RUINED = 4
_NOISE = 0.25


class Case(NamedTuple):
    """What does not change. `toll` is what an eviction costs in US dollars per hour; the rest as in Problem and Prices."""

    request: Floats
    fits: Bools
    room: Floats
    price: Floats
    held: Longs
    pods: Longs
    may_go: Bools
    worth: Floats
    charge: Floats
    toll: float


class Work(NamedTuple):
    """What changes.

    Attributes:
        column, open, free, guests: by bin: its column, whether it is kept or bought, its room, and who came.
        money: [1], US dollars per hour of what is open and may go.
        counts: [4], see the names above.
        draws: random numbers from 0 to 1, used in turn.
        loose, order, key, contents, trial: [kinds], scratch: pods without a place; kinds in order, by that key; what a bin would hold.
        rest: [1, resources], scratch.
        touched, marked: which bins the step has changed.
        old_column, old_open, old_free, old_guests: what they were, in the order of `touched`.
    """

    column: Longs
    open: Bools
    free: Floats
    guests: Ints
    money: Floats
    counts: Longs
    draws: Floats
    loose: Longs
    order: Longs
    key: Floats
    contents: Longs
    trial: Longs
    rest: Floats
    touched: Longs
    marked: Bools
    old_column: Longs
    old_open: Bools
    old_free: Floats
    old_guests: Ints


def work_for(case: Case, bins: int, seed: int) -> Work:
    """The state in which every node stays as it is, with room for so many bins."""
    nodes, kinds = case.held.shape
    resources = case.request.shape[1]
    state = Work(
        column=np.zeros(bins, dtype=np.int64),
        open=np.zeros(bins, dtype=np.bool_),
        free=np.zeros((bins, resources)),
        guests=np.zeros((bins, kinds), dtype=np.int32),
        money=np.array([float(case.price[:nodes][case.may_go].sum())]),
        counts=np.array([nodes, 0, 0, 0], dtype=np.int64),
        draws=np.random.Generator(np.random.PCG64(seed)).random(1 << 16),
        loose=np.zeros(kinds, dtype=np.int64),
        order=np.zeros(kinds, dtype=np.int64),
        key=np.zeros(kinds),
        contents=np.zeros(kinds, dtype=np.int64),
        trial=np.zeros(kinds, dtype=np.int64),
        rest=np.zeros((1, resources)),
        touched=np.zeros(MOST_TOUCHED, dtype=np.int64),
        marked=np.zeros(bins, dtype=np.bool_),
        old_column=np.zeros(MOST_TOUCHED, dtype=np.int64),
        old_open=np.zeros(MOST_TOUCHED, dtype=np.bool_),
        old_free=np.zeros((MOST_TOUCHED, resources)),
        old_guests=np.zeros((MOST_TOUCHED, kinds), dtype=np.int32),
    )
    state.column[:nodes] = np.arange(nodes)
    state.open[:nodes] = True
    state.free[:nodes] = case.room[:nodes]
    return state


@lean_kernel
def begin(case: Case, work: Work, going: Longs) -> bool:
    """Give nodes back and place their pods; whether all of them found a place. Nothing is taken back."""
    for node in going:
        _close(case, work, node, False)
    _sort_loose(case, work, 0, 0.0)
    _place(case, work, len(work.column), 0.0, False)
    return _house(case, work, 3, 0.0, False)


@lean_kernel
def improve(case: Case, work: Work, best: Work, steps: int, limit: int, reach: int, heat: float) -> None:
    """Ruin and recreate, so many times; `best` becomes the cheapest state met that has at most `limit` evictions.

    A step is accepted if the money per hour, with the toll of evictions, falls, or rises no more than an exponential random number
    times `heat`, which falls to 0 as the steps go by. Places are sought in `reach` bins, from a random one on.
    """
    for step in range(steps):
        money, evictions = work.money[0], work.counts[EVICTIONS]
        work.counts[TOUCHED] = 0
        placed = _ruin(case, work) and _recreate(case, work, reach)
        more = work.counts[EVICTIONS]
        rise = work.money[0] - money + case.toll * (more - evictions)
        left = 1.0 - step / steps
        allowed = -heat * left * left * math.log(1.0 - _draw(work))
        if not placed or rise > allowed or (more > limit and more > evictions):
            _take_back(work, money, evictions)
        elif more <= limit and work.money[0] < best.money[0] - 1e-9:
            adopt(work, best)
        for number in range(work.counts[TOUCHED]):
            work.marked[work.touched[number]] = False
    work.counts[TOUCHED] = 0


@lean_kernel
def _draw(work: Work) -> float:
    cursor = work.counts[CURSOR]
    work.counts[CURSOR] = (cursor + 1) % len(work.draws)
    return float(work.draws[cursor])


@lean_kernel
def _below(work: Work, limit: int) -> int:
    return int(_draw(work) * limit)


@lean_kernel
def adopt(work: Work, to: Work) -> None:
    """Make another state like this one."""
    bins = max(work.counts[BINS], to.counts[BINS])
    for number in range(bins):
        to.column[number] = work.column[number]
        to.open[number] = work.open[number]
        _copy_row(to.free, number, work.free, number)
        _copy_row(to.guests, number, work.guests, number)
    to.money[0] = work.money[0]
    to.counts[BINS] = work.counts[BINS]
    to.counts[EVICTIONS] = work.counts[EVICTIONS]


@lean_kernel
def _copy_row(to: NDArray[Any], row: int, source: NDArray[Any], at: int) -> None:
    for column in range(to.shape[1]):
        to[row, column] = source[at, column]


@lean_kernel
def _touch(work: Work, number: int) -> None:
    if work.marked[number]:
        return
    at = work.counts[TOUCHED]
    work.touched[at] = number
    work.old_column[at] = work.column[number]
    work.old_open[at] = work.open[number]
    _copy_row(work.old_free, at, work.free, number)
    _copy_row(work.old_guests, at, work.guests, number)
    work.marked[number] = True
    work.counts[TOUCHED] = at + 1


@lean_kernel
def _take_back(work: Work, money: float, evictions: int) -> None:
    for at in range(work.counts[TOUCHED]):
        number = work.touched[at]
        work.column[number] = work.old_column[at]
        work.open[number] = work.old_open[at]
        _copy_row(work.free, number, work.old_free, at)
        _copy_row(work.guests, number, work.old_guests, at)
    work.money[0] = money
    work.counts[EVICTIONS] = evictions


@lean_kernel
def _close(case: Case, work: Work, number: int, undoable: bool) -> None:
    """Give a bin up; its pods become loose."""
    if undoable:
        _touch(work, number)
    column = work.column[number]
    for kind in range(len(work.loose)):
        work.loose[kind] += work.guests[number, kind]
        work.guests[number, kind] = 0
    if number < len(case.held):
        for kind in range(len(work.loose)):
            work.loose[kind] += case.held[number, kind]
        work.counts[EVICTIONS] += case.pods[number]
    work.open[number] = False
    work.money[0] -= case.price[column]
    _copy_row(work.free, number, case.room, column)


@lean_kernel
def _reopen(case: Case, work: Work, node: int) -> None:
    """Keep a node after all: its pods are fetched back from among the loose ones and the guests of other bins."""
    _touch(work, node)
    work.open[node] = True
    work.money[0] += case.price[node]
    work.counts[EVICTIONS] -= case.pods[node]
    bins = work.counts[BINS]
    for kind in range(len(work.loose)):
        need = case.held[node, kind]
        some = min(need, work.loose[kind])
        work.loose[kind] -= some
        need -= some
        if need > 0:
            first = _below(work, bins)
            for offset in range(bins):
                number = (first + offset) % bins
                some = min(need, work.guests[number, kind])
                if some > 0:
                    _touch(work, number)
                    _put(case, work, number, kind, -some)
                    need -= some
                    if need == 0:
                        break


@lean_kernel
def _put(case: Case, work: Work, number: int, kind: int, pods: int) -> None:
    work.guests[number, kind] += pods
    for resource in range(case.request.shape[1]):
        work.free[number, resource] -= pods * case.request[kind, resource]


@lean_kernel
def _room_for(case: Case, free: Floats, number: int, kind: int) -> int:
    """How many pods of a kind the room of a bin holds."""
    most = 1 << 30
    for resource in range(case.request.shape[1]):
        asked = case.request[kind, resource]
        if asked > 0:
            most = min(most, int(free[number, resource] // asked))
    return max(most, 0)


@lean_kernel
def _sort_loose(case: Case, work: Work, by: int, noise: float) -> None:
    """`order` begins with the kinds that have loose pods, the greatest first: by charge (0) or by resource (1, 2, ...)."""
    found = 0
    for kind in range(len(work.loose)):
        if work.loose[kind] > 0:
            size = case.charge[kind] if by == 0 else case.request[kind, by - 1]
            key = size * (1.0 - noise + 2.0 * noise * _draw(work)) if noise > 0 else size
            at = found
            while at > 0 and work.key[at - 1] < key:
                work.key[at] = work.key[at - 1]
                work.order[at] = work.order[at - 1]
                at -= 1
            work.key[at] = key
            work.order[at] = kind
            found += 1
    if found < len(work.order):
        work.order[found] = -1


@lean_kernel
def _place(case: Case, work: Work, reach: int, noise: float, undoable: bool) -> None:
    """Put loose pods, in order, each into the open bin whose room is worth least."""
    bins = work.counts[BINS]
    reach = min(reach, bins)
    for at in range(len(work.order)):
        kind = work.order[at]
        if kind < 0:
            break
        first = _below(work, bins) if reach < bins else 0
        while work.loose[kind] > 0:
            best, least = -1, np.inf
            for offset in range(reach):
                number = first + offset if first + offset < bins else first + offset - bins
                column = work.column[number]
                if not work.open[number] or not case.fits[kind, column]:
                    continue
                worth, enough = 0.0, True
                for resource in range(case.request.shape[1]):
                    free = work.free[number, resource]
                    if free < case.request[kind, resource]:
                        enough = False
                        break
                    worth += free * case.worth[column, resource]
                if not enough:
                    continue
                if noise > 0:
                    worth *= 1.0 + noise * _draw(work)
                if worth < least:
                    best, least = number, worth
            if best < 0 or (undoable and work.counts[TOUCHED] >= MOST_TOUCHED):
                break
            some = min(work.loose[kind], _room_for(case, work.free, best, kind))
            if undoable:
                _touch(work, best)
            _put(case, work, best, kind, some)
            work.loose[kind] -= some


@lean_kernel
def _house(case: Case, work: Work, tries: int, noise: float, undoable: bool) -> bool:
    """Buy bins for loose pods, each time what hosts most charge for its price; False where some fit no offering."""
    nodes, columns = len(case.held), len(case.price)
    while True:
        best, ratio = -1, 0.0
        for attempt in range(tries):
            by = attempt % 3 if noise == 0 else _below(work, 3)
            _sort_loose(case, work, by, noise)
            if work.order[0] < 0:
                return True
            for offering in range(nodes, columns):
                value, price = _fill(case, work, offering), case.price[offering]
                gain = value / price if price > FREE else (np.inf if value > 0 else 0.0)
                if gain > ratio:
                    best, ratio = offering, gain
                    for kind in range(len(work.loose)):
                        work.contents[kind] = work.trial[kind]
        if best < 0:
            return False
        times = 1 << 30
        for kind in range(len(work.loose)):
            if work.contents[kind] > 0:
                times = min(times, work.loose[kind] // work.contents[kind])
        for _ in range(times):
            if not _buy(case, work, best, undoable):
                return False


@lean_kernel
def _fill(case: Case, work: Work, offering: int) -> float:
    """Fill an empty bin with loose pods in order, into `trial`; what they are charged together."""
    _copy_row(work.rest, 0, case.room, offering)
    for kind in range(len(work.loose)):
        work.trial[kind] = 0
    value = 0.0
    for at in range(len(work.order)):
        kind = work.order[at]
        if kind < 0:
            break
        if case.fits[kind, offering]:
            some = min(work.loose[kind], _room_for(case, work.rest, 0, kind))
            if some > 0:
                work.trial[kind] = some
                value += some * max(case.charge[kind], 1e-9)
                for resource in range(case.request.shape[1]):
                    work.rest[0, resource] -= some * case.request[kind, resource]
    return value


@lean_kernel
def _buy(case: Case, work: Work, offering: int, undoable: bool) -> bool:
    """A bin of an offering with `contents`; False where there is no row for it."""
    number = len(case.held)
    while number < work.counts[BINS] and (work.open[number] or work.marked[number]):
        number += 1
    if number == len(work.column) or (undoable and work.counts[TOUCHED] >= MOST_TOUCHED):
        return False
    if undoable:
        _touch(work, number)
    work.counts[BINS] = max(work.counts[BINS], number + 1)
    work.column[number] = offering
    work.open[number] = True
    _copy_row(work.free, number, case.room, offering)
    work.money[0] += case.price[offering]
    for kind in range(len(work.loose)):
        if work.contents[kind] > 0:
            _put(case, work, number, kind, work.contents[kind])
            work.loose[kind] -= work.contents[kind]
    return True


@lean_kernel
def _is_ruinable(case: Case, work: Work, number: int) -> bool:
    return work.open[number] and (number >= len(case.held) or case.may_go[number])


@lean_kernel
def _wasted(case: Case, work: Work, number: int) -> float:
    """What a bin costs more than its pods are charged."""
    value = 0.0
    for kind in range(len(work.loose)):
        pods = float(work.guests[number, kind])
        if number < len(case.held):
            pods += case.held[number, kind]
        value += pods * case.charge[kind]
    if number < len(case.held):
        value += case.toll * case.pods[number]
    return float(case.price[work.column[number]]) - value


@lean_kernel
def _ruin(case: Case, work: Work) -> bool:
    """Give up some bins, wasteful ones first of all, and at times keep a node that was given back. False where there is none."""
    bins, nodes = work.counts[BINS], len(case.held)
    for kind in range(len(work.loose)):
        work.loose[kind] = 0
    ruined = 0
    for turn in range(1 + _below(work, _RUINED)):
        chosen, most = -1, -np.inf
        for _ in range(8):
            number = _below(work, bins)
            if not _is_ruinable(case, work, number):
                continue
            wasted = _wasted(case, work, number) if turn == 0 else 0.0
            if wasted > most:
                chosen, most = number, wasted
            if turn > 0:
                break
        if chosen >= 0:
            _close(case, work, chosen, True)
            ruined += 1
    if nodes > 0 and _draw(work) < 0.4:
        for _ in range(8):
            node = _below(work, nodes)
            if case.may_go[node] and not work.open[node]:
                _reopen(case, work, node)
                ruined += 1
                break
    return ruined > 0


@lean_kernel
def _recreate(case: Case, work: Work, reach: int) -> bool:
    _sort_loose(case, work, _below(work, 3), _NOISE)
    _place(case, work, reach, _NOISE, True)
    return _house(case, work, 2, _NOISE, True)
