"""How cheap hosting some pods could possibly be: a lower bound by a linear programme, beside which every plan is shown.

Nodes of each offering are bought, also in fractions, and the pods of each class spread over the offerings, so that on each of these the
requests fit the capacity, and no node holds more pods of a class than a whole number of them fits, nor more than there are. What is solved is
the dual programme, and its solution is made feasible exactly before the bound is read off: so it holds however loosely the solver has worked.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_array, vstack

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]
Bools = NDArray[np.bool_]

_ROUNDING = 1 - 1e-12  # what sums of floats may be off by
_CLOSE = 1e-7  # a share that much above its limit is the solver's rounding
_MAX_ROUNDS = 10  # the bound holds after each, and three are the most that random cases took


def lower_bound(requests: Longs, counts: Longs, eligible: Bools, capacity: Longs, price: Floats) -> float | None:
    """US dollars per hour below which no set of whole nodes can host the pods.

    Args:
        requests: [classes, resources], what a pod of each class asks for; count pods as a resource of which each asks for 1.
        counts: [classes], how many pods there are.
        eligible: [classes, offerings], whether a class may run on an offering.
        capacity: [offerings, resources], the allocatable amounts of a node.
        price: [offerings], dollars per hour; NaN where unknown: such an offering is not bought.

    Returns:
        None where a class fits no offering with a known price, or no solution was found; 0 without pods.

    Raises:
        ValueError: an amount or a price is negative.
    """
    if min((column.min(initial=0) for column in (requests, counts, capacity, price[~np.isnan(price)])), default=0) < 0:
        raise ValueError("requests, counts, capacity and prices are 0 or more")
    known = np.isfinite(price)
    usable = eligible & known & (_pods_per_node(requests, capacity) >= 1)
    wanted = counts > 0
    if not usable[wanted].any(axis=1).all():
        return None
    if not wanted.any():
        return 0.0
    requests, counts, usable = _merge_classes(requests[wanted], counts[wanted], usable[wanted])
    kept = _undominated(usable, capacity, price)
    return _solve(requests, counts, usable[:, kept], capacity[kept], price[kept])


def _pods_per_node(requests: Longs, capacity: Longs) -> Longs:
    """[classes, offerings]: how many pods of a class an empty node holds."""
    asked = np.maximum(requests, 1)[:, None, :]
    each = np.where(requests[:, None, :] > 0, capacity[None, :, :] // asked, np.iinfo(np.int64).max)
    return np.asarray(each.min(axis=2, initial=np.iinfo(np.int64).max), dtype=np.int64)


def _merge_classes(requests: Longs, counts: Longs, usable: Bools) -> tuple[Longs, Longs, Bools]:
    """Classes with the same requests that may run on the same offerings are one."""
    both = np.concatenate([requests, usable.astype(np.int64)], axis=1)
    _, first, group = np.unique(both, axis=0, return_index=True, return_inverse=True)
    total = np.zeros(len(first), dtype=np.int64)
    np.add.at(total, group.ravel(), counts)
    return requests[first], total, usable[first]


def _undominated(usable: Bools, capacity: Longs, price: Floats) -> Longs:
    """The offerings for which no other is as large, as cheap, and open to the same classes."""
    kept: list[int] = []
    order = np.lexsort((-capacity.sum(axis=1), np.nan_to_num(price, nan=np.inf)))
    for each in order:
        larger = (capacity[kept] >= capacity[each]).all(axis=1)
        wider = (usable[:, kept] | ~usable[:, [each]]).all(axis=0)
        if usable[:, each].any() and not (larger & wider).any():
            kept.append(int(each))
    return np.array(sorted(kept), dtype=np.int64)


class _Pairs(NamedTuple):
    """The pairs of a class and an offering it may run on. What is asked and given is in shares of the largest node and of the class."""

    cls: Longs
    offering: Longs
    asked: Floats
    """[pairs, resources]: by the whole class."""
    places: Floats
    """[pairs]: what share of the class one node has room for."""


class _Solution(NamedTuple):
    worth: Floats
    """[offerings, resources]."""
    surcharge: Floats
    """[pairs]."""
    share: Floats
    """[pairs]: how much of the class runs on the offering."""
    nodes: Floats
    """[offerings]."""


def _solve(requests: Longs, counts: Longs, usable: Bools, capacity: Longs, price: Floats) -> float | None:
    """The dual programme: what can pods be charged at most, if no node may be worth more than it costs?

    Each offering gives its resources a worth, and each class on it a surcharge for the places that one node has for the class. A class is
    charged what it is worth on the offering where it is worth least. Surcharges come in only where places were oversold without them,
    which is seldom; each round gives a bound, the last one the best.
    """
    cls, offering = np.nonzero(usable)
    scale = np.maximum(capacity.max(axis=0), 1)
    size = capacity / scale
    places = np.minimum(_pods_per_node(requests, capacity), counts[:, None]) / counts[:, None]
    pairs = _Pairs(cls, offering, (requests / scale * counts[:, None])[cls], places[cls, offering])
    surcharged = np.zeros(len(cls), dtype=np.bool_)
    bound = None
    for _ in range(_MAX_ROUNDS):
        found = _solve_with(pairs, surcharged, size, price)
        if found is None:
            break
        spent = (found.worth * size).sum(axis=1) + np.bincount(offering, found.surcharge * pairs.places, len(price))
        affordable = np.minimum(1.0, np.divide(price, spent, out=np.ones(len(price)), where=spent > 0))
        charge = ((pairs.asked * found.worth[offering]).sum(axis=1) + found.surcharge) * affordable[offering]
        charged = np.full(len(counts), np.inf)
        np.minimum.at(charged, cls, charge)
        bound = max(bound or 0.0, float(charged.sum()) * _ROUNDING)
        oversold = (found.share > pairs.places * found.nodes[offering] + _CLOSE) & ~surcharged
        if not oversold.any():
            break
        surcharged |= oversold
    return bound


def _solve_with(pairs: _Pairs, surcharged: Bools, size: Floats, price: Floats) -> _Solution | None:
    """The optimum where only some pairs bear a surcharge. Columns are the charges of classes, the worths, the surcharges."""
    at = np.flatnonzero(surcharged)
    classes, rows = int(pairs.cls.max()) + 1, np.arange(len(pairs.cls))
    worth_at = classes + np.arange(size.size).reshape(size.shape)
    surcharge_at = classes + size.size + np.arange(len(at))
    width = classes + size.size + len(at)
    charged = _sparse(
        (len(rows), width),
        (np.ones(len(rows)), rows, pairs.cls),
        (-pairs.asked, np.broadcast_to(rows[:, None], pairs.asked.shape), worth_at[pairs.offering]),
        (-np.ones(len(at)), at, surcharge_at),
    )
    spent = _sparse(
        (len(price), width),
        (size, np.broadcast_to(np.arange(len(price))[:, None], size.shape), worth_at),
        (pairs.places[at], pairs.offering[at], surcharge_at),
    )
    found = linprog(
        np.concatenate([-np.ones(classes), np.zeros(width - classes)]),
        A_ub=vstack([charged, spent]),  # type: ignore[call-overload] # the stubs know no sparse matrices, scipy does
        b_ub=np.concatenate([np.zeros(len(rows)), price]),
        method="highs-ipm",
    )
    if found.status != 0:
        return None
    values, marginals = np.maximum(found.x, 0.0), -found.ineqlin.marginals
    surcharge = np.zeros(len(rows))
    surcharge[at] = values[surcharge_at]
    return _Solution(values[worth_at], surcharge, marginals[: len(rows)], marginals[len(rows) :])


def _sparse(shape: tuple[int, int], *parts: tuple[Floats, Longs, Longs]) -> csr_array:
    """A matrix from parts of (values, rows, columns)."""
    values, rows, columns = (np.concatenate([np.ravel(each) for each in side]) for side in zip(*parts, strict=True))
    return csr_array((values, (rows, columns)), shape=shape)
