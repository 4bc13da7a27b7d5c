"""The linear programme behind a consolidation: what it can cost at best for so many evictions, and what everything is worth there.

Nodes may be given back and bought in parts, pods are spread in parts, and the room of all nodes that admit the same kinds is one. What
remains is small: a variable for each node and for each kind at each such group and offering.
"""

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array, hstack, vstack

from neaptide.model.columns import Floats, Longs
from neaptide.placement.packing.problem import Prices, Problem


def relaxed(problem: Problem, *, toll: float = 0.0, evictions: float | None = None) -> Prices | None:
    """The optimum in fractions.

    Args:
        problem: what to choose from.
        toll: what an eviction costs, in US dollars per hour.
        evictions: how many there may be.

    Returns:
        None where the solver finds none.
    """
    nodes, kinds = problem.held.shape
    resources = problem.request.shape[1]
    scale = np.maximum(problem.room.max(axis=0), 1.0)
    request, room = problem.request / scale, problem.room / scale
    group = _groups(problem)
    groups = int(group.max(initial=-1)) + 1
    offers = len(problem.price) - nodes
    fits = np.zeros((kinds, groups + offers), dtype=np.bool_)
    fits[:, group] = problem.fits[:, :nodes]
    fits[:, groups:] = problem.fits[:, nodes:]
    kind, place = np.nonzero(fits)
    going = np.flatnonzero(problem.may_go)
    shape = (len(kind), len(going), offers)

    demand = _matrix(kinds, shape, (np.ones(len(kind)), kind), problem.held[going].T.astype(np.float64) * -1)
    rows = (groups + offers) * resources
    used = csr_array(
        (
            request[kind].ravel(),
            ((place[:, None] * resources + np.arange(resources)).ravel(), np.repeat(np.arange(len(kind)), resources)),
        ),
        shape=(rows, len(kind)),
    )
    lost = csr_array(
        (
            room[going].ravel(),
            (
                (group[going][:, None] * resources + np.arange(resources)).ravel(),
                np.repeat(np.arange(len(going)), resources),
            ),
        ),
        shape=(rows, len(going)),
    )
    bought = csr_array(
        (
            -room[nodes:].ravel(),
            (np.arange(groups * resources, rows), np.repeat(np.arange(offers), resources)),
        ),
        shape=(rows, offers),
    )
    limits = hstack([used, lost, bought])
    free = np.zeros((groups, resources))
    np.add.at(free, group, np.maximum(room[:nodes], 0.0))
    bounds_of_rows = np.concatenate([free.ravel(), np.zeros(offers * resources)])
    pods = problem.pods[going].astype(np.float64)
    if evictions is not None:
        budget = csr_array(np.concatenate([np.zeros(len(kind)), pods, np.zeros(offers)])[None, :])
        limits = vstack([limits, budget])
        bounds_of_rows = np.append(bounds_of_rows, evictions)
    cost = np.concatenate([np.zeros(len(kind)), toll * pods - problem.price[going], problem.price[nodes:]])
    upper = np.concatenate([np.full(len(kind), np.inf), np.ones(len(going)), np.full(offers, np.inf)])
    found = linprog(
        cost,
        A_ub=limits,  # type: ignore[call-overload] # the stubs know no sparse matrices, scipy does
        b_ub=bounds_of_rows,
        A_eq=demand,
        b_eq=np.zeros(kinds),
        bounds=np.stack([np.zeros(len(cost)), upper], axis=1),
        method="highs",
    )
    if found.status != 0:
        return None
    worth = np.maximum(-found.ineqlin.marginals[:rows].reshape(-1, resources), 0.0) / scale
    share = np.zeros(nodes)
    share[going] = found.x[len(kind) : len(kind) + len(going)]
    return Prices(
        worth=np.concatenate([worth[group], worth[groups:]]),
        charge=found.eqlin.marginals,
        eviction=toll + (0.0 if evictions is None else max(-float(found.ineqlin.marginals[-1]), 0.0)),
        going=share,
        money=float(problem.price[going].sum() + found.fun - toll * float(share[going] @ pods)),
    )


def _groups(problem: Problem) -> Longs:
    """[nodes]: nodes that admit the same kinds have one number."""
    columns = np.packbits(problem.fits[:, : problem.nodes], axis=0).T
    return np.unique(columns, axis=0, return_inverse=True)[1].ravel().astype(np.int64)


def _matrix(rows: int, shape: tuple[int, int, int], spread: tuple[Floats, Longs], leaving: Floats) -> csr_array:
    pairs, going, offers = shape
    values, kind = spread
    return csr_array(
        hstack(
            [
                csr_array((values, (kind, np.arange(pairs))), shape=(rows, pairs)),
                csr_array(leaving.reshape(rows, going)),
                csr_array((rows, offers)),
            ]
        )
    )
