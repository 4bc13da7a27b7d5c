"""Searches for a cheap set of nodes: starts from the linear programme's choice, then ruins parts of it and builds them anew."""

import numpy as np

from neaptide.model.columns import Longs
from neaptide.placement.kernels.jit import HAVE_NUMBA
from neaptide.placement.packing import kernels
from neaptide.placement.packing.problem import Choice, Prices, Problem

STEPS_PER_NODE, MOST_STEPS = (200, 60_000) if HAVE_NUMBA else (2, 600)
"""How many steps a search takes; a step costs about as much however large the cluster is."""
_REACH = 256
_HEAT = 0.05
"""As a part of the mean price of a node."""
_BINS_PER_NODE, _SPARE_BINS = 4, 256
"""Bins that may be bought: large nodes may be replaced by several small ones each."""


def search(problem: Problem, prices: Prices, *, evictions: int, steps: int | None = None, seed: int = 0) -> Choice:
    """The cheapest choice found that costs at most so many evictions; at worst that everything stays as it is."""
    case = kernels.Case(
        request=problem.request,
        fits=problem.fits,
        room=problem.room,
        price=problem.price,
        held=problem.held,
        pods=problem.pods,
        may_go=problem.may_go,
        worth=prices.worth,
        charge=prices.charge,
        toll=prices.eviction,
    )
    bins = problem.nodes + min(int(problem.pods.sum()), _BINS_PER_NODE * problem.nodes) + _SPARE_BINS
    best = kernels.work_for(case, bins, seed)
    work = kernels.work_for(case, bins, seed)
    if kernels.begin(case, work, _going(problem, prices, evictions)):
        if work.money[0] < best.money[0]:
            kernels.adopt(work, best)
    else:
        work = kernels.work_for(case, bins, seed)
    heat = _HEAT * float(problem.price.mean()) if len(problem.price) else 0.0
    if steps is None:
        steps = min(STEPS_PER_NODE * int(problem.may_go.sum()), MOST_STEPS)
    if problem.may_go.any():
        kernels.improve(case, work, best, steps, evictions, _REACH, heat)
    return _choice(problem, best)


def _going(problem: Problem, prices: Prices, evictions: int) -> Longs:
    """The nodes that the linear programme gives back, as far as the evictions allow, the surest first."""
    found, left, pods = [], evictions, problem.pods
    for node in np.argsort(-prices.going, kind="stable").tolist():
        if problem.may_go[node] and prices.going[node] >= 0.5 and pods[node] <= left:
            found.append(node)
            left -= int(pods[node])
    return np.array(found, dtype=np.int64)


def _choice(problem: Problem, work: kernels.Work) -> Choice:
    nodes, bins = problem.nodes, int(work.counts[kernels.BINS])
    bought = np.flatnonzero(work.open[nodes:bins]) + nodes
    rows = np.concatenate([np.arange(nodes), bought])
    return Choice(
        kept=work.open[:nodes].copy(),
        bought=work.column[bought],
        guests=work.guests[rows].astype(np.int64),
        money=float(work.money[0]),
        evictions=int(work.counts[kernels.EVICTIONS]),
    )
