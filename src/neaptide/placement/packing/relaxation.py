"""The linear programme behind a consolidation: what it can cost at best for so many evictions, and what everything is worth there.

Nodes may be given back and bought in parts, pods are spread in parts, and the room of all nodes that admit the same kinds and are alike in shape is
one: were nodes of any shape pooled, the memory that one has left would serve with the CPU of another. A kind goes only where a whole pod of it fits.
What remains is small: a variable for each node, and one for each kind at each such group and offering.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array, hstack, vstack

from neaptide.model.columns import Floats, Longs
from neaptide.placement.packing.problem import Prices, Problem

_STEPS = (0.125, 0.25, 0.5, 1.0, 8.0)
"""How finely shapes are told apart, as powers of two: as finely as leaves few groups."""
_MOST_GROUPS = 64
_PLENTY = 3.0
"""Eight times as much as could be used is as good as any more."""


class _Programme(NamedTuple):
    """Columns are the pairs of a kind and a place, the nodes that may go, and the offerings; places are groups of nodes, then offerings.

    Attributes:
        group: [nodes].
        going: the nodes that may go.
        pairs: how many pairs there are.
        request, room: as in the problem, in shares of the largest room.
        limits, free: that what is used of a place's resources is at most what is there, [places * resources].
        demand: that a kind's pods on nodes that go are placed.
    """

    group: Longs
    going: Longs
    pairs: int
    limits: csr_array
    free: Floats
    demand: csr_array


def relaxed(
    problem: Problem, *, toll: float = 0.0, evictions: float | None = None, pooled: bool = False
) -> Prices | None:
    """The optimum in fractions.

    Args:
        problem: what to choose from.
        toll: what an eviction costs, in US dollars per hour.
        evictions: how many there may be.
        pooled: whether the room of nodes of any shape is one: a lower bound and a quicker one.

    Returns:
        None where the solver finds none.
    """
    nodes, kinds = problem.held.shape
    resources = problem.request.shape[1]
    offers = len(problem.price) - nodes
    scale = np.maximum(problem.room.max(axis=0, initial=1.0), 1.0)
    group = _groups(problem, pooled=pooled)
    lp = _programme(problem, problem.request / scale, problem.room / scale, group)
    pods = problem.pods[lp.going].astype(np.float64)
    cost = np.concatenate([np.zeros(lp.pairs), toll * pods - problem.price[lp.going], problem.price[nodes:]])
    if not len(cost):
        return Prices(np.zeros_like(problem.room), np.zeros(kinds), toll, np.zeros(nodes), 0.0)
    limits, most = lp.limits, lp.free
    if evictions is not None:
        budget = csr_array(np.concatenate([np.zeros(lp.pairs), pods, np.zeros(offers)])[None, :])
        limits, most = vstack([limits, budget]), np.append(most, evictions)
    upper = np.concatenate([np.full(lp.pairs, np.inf), np.ones(len(lp.going)), np.full(offers, np.inf)])
    found = linprog(
        cost,
        A_ub=limits,  # type: ignore[call-overload] # the stubs know no sparse matrices, scipy does
        b_ub=most,
        A_eq=lp.demand,
        b_eq=np.zeros(kinds),
        bounds=np.stack([np.zeros(len(cost)), upper], axis=1),
        method="highs",
    )
    if found.status != 0:
        return None
    rows = len(lp.free)
    groups = int(lp.group.max(initial=-1)) + 1
    worth = np.maximum(-found.ineqlin.marginals[:rows].reshape(groups + offers, resources), 0.0) / scale
    share = np.zeros(nodes)
    share[lp.going] = found.x[lp.pairs : lp.pairs + len(lp.going)]
    return Prices(
        worth=np.concatenate([worth[lp.group], worth[groups:]]),
        charge=np.maximum(found.eqlin.marginals, 0.0),
        eviction=toll + (0.0 if evictions is None else max(-float(found.ineqlin.marginals[rows]), 0.0)),
        going=share,
        money=float(problem.price[lp.going].sum() + found.fun - toll * float(share[lp.going] @ pods)),
    )


def _programme(problem: Problem, request: Floats, room: Floats, group: Longs) -> _Programme:
    nodes, kinds = problem.held.shape
    resources, offers = problem.request.shape[1], len(problem.price) - nodes
    groups = int(group.max(initial=-1)) + 1
    fits = np.zeros((kinds, groups + offers), dtype=np.bool_)
    holds = problem.fits & (problem.request[:, None, :] <= problem.room[None, :, :]).all(axis=2)
    for number in range(groups):
        fits[:, number] = holds[:, :nodes][:, group == number].any(axis=1)
    fits[:, groups:] = holds[:, nodes:]
    kind, place = np.nonzero(fits)
    going = np.flatnonzero(problem.may_go)
    bought = np.arange(offers)
    places = groups + offers
    limits = hstack(
        [
            _by_resource(request[kind], place, places),
            _by_resource(np.maximum(room[going], 0.0), group[going], places),
            _by_resource(-room[nodes:], groups + bought, places),
        ]
    )
    free = np.zeros((places, resources))
    np.add.at(free, group, np.maximum(room[:nodes], 0.0))
    placed = csr_array((np.ones(len(kind)), (kind, np.arange(len(kind)))), shape=(kinds, len(kind)))
    leaving = csr_array(-problem.held[going].T.astype(np.float64))
    demand = hstack([placed, leaving, csr_array((kinds, offers))])
    return _Programme(group, going, len(kind), limits, free.ravel(), demand)


def _by_resource(amounts: Floats, place: Longs, places: int) -> csr_array:
    """[places * resources, len(amounts)]: column i has its amounts [resources] in the rows of its place."""
    count, resources = amounts.shape
    rows = (place[:, None] * resources + np.arange(resources)).ravel()
    columns = np.repeat(np.arange(count), resources)
    return csr_array((amounts.ravel(), (rows, columns)), shape=(places * resources, count))


def _groups(problem: Problem, *, pooled: bool) -> Longs:
    """[nodes]: nodes that admit the same kinds, and unless `pooled` are alike in shape, have one number."""
    if not problem.nodes:
        return np.zeros(0, dtype=np.int64)
    columns = np.packbits(problem.fits[:, : problem.nodes], axis=0).T
    more = np.zeros_like(problem.room[: problem.nodes]) if pooled else _shapes(problem)
    for step in _STEPS:
        keys = np.concatenate([columns, np.round(more / step)], axis=1)
        found, group = np.unique(keys, axis=0, return_inverse=True)
        if len(found) <= _MOST_GROUPS:
            break
    numbers: Longs = group.ravel().astype(np.int64)
    return numbers


def _shapes(problem: Problem) -> Floats:
    """[nodes, resources]: how much more a node has left of each resource than of that which pods use up first, as a power of two, 0 to _PLENTY.

    Pods are taken to ask for what all of them that may move ask for together.
    """
    room = np.maximum(problem.room[: problem.nodes], 0.0)
    asked = problem.held.sum(axis=0) @ problem.request
    if not (asked > 0).any():
        return np.zeros_like(room)
    served = np.full_like(room, np.inf)
    served[:, asked > 0] = room[:, asked > 0] / asked[asked > 0]
    least = served.min(axis=1, keepdims=True)
    more = np.where(served > least, np.inf, 1.0)
    np.divide(served, least, out=more, where=least > 0)
    shapes: Floats = np.minimum(np.log2(more), _PLENTY)
    return shapes
