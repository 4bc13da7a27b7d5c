"""The cheapest nodes for pods that have none: the linear programme's worth of things, a first fill by it, and a search around that."""

from typing import NamedTuple

import numpy as np

from neaptide.model.columns import Bools, Floats, Longs
from neaptide.placement.kernels.jit import HAVE_NUMBA
from neaptide.placement.packing import kernels
from neaptide.placement.packing.problem import Problem
from neaptide.placement.packing.relaxation import relaxed

STEPS_PER_NODE, MOST_STEPS = (100, 20_000) if HAVE_NUMBA else (1, 100)
_REACH = 256
_HEAT = 0.05
"""As a part of the mean price of a bought node."""
_SPARE_BINS = 64


class Hosts(NamedTuple):
    """What to buy.

    Attributes:
        bought: by node, its offering.
        guests: [bought, kinds], the pods that each is meant for.
        money: US dollars per hour.
        bound: what any mix costs at least, in fractions of nodes.
    """

    bought: Longs
    guests: Longs
    money: float
    bound: float


def hosts(request: Floats, fits: Bools, room: Floats, price: Floats, counts: Longs, *, seed: int = 0) -> Hosts | None:
    """A cheap mix of offerings that hosts pods; None where some fit none of them, or the solver finds nothing.

    Args:
        request: [kinds, resources].
        fits: [kinds, offerings], whether a kind may go there, whatever room there is.
        room: [offerings, resources].
        price: [offerings], US dollars per hour.
        counts: [kinds], how many pods there are.
        seed: the same gives the same mix.
    """
    problem = _problem(request, fits, room, price, counts)
    prices = relaxed(problem)
    if prices is None:
        return None
    case = kernels.Case(
        request=problem.request,
        fits=problem.fits,
        room=problem.room,
        price=np.concatenate([[0.0], price]),
        held=problem.held,
        pods=problem.pods,
        may_go=np.zeros(1, dtype=np.bool_),  # it goes at once, and the search never takes it back
        worth=prices.worth,
        charge=prices.charge,
        toll=0.0,
    )
    bins = int(counts.sum())
    if price.min() > kernels.FREE:
        bins = min(bins, 2 * round(prices.money / price.min()))
    best = kernels.work_for(case, 1 + bins + _SPARE_BINS, seed)
    work = kernels.work_for(case, 1 + bins + _SPARE_BINS, seed)
    if not kernels.begin(case, work, np.zeros(1, dtype=np.int64)):
        return None
    kernels.adopt(work, best)
    opened = int(work.open[1:].sum())
    heat = _HEAT * work.money[0] / max(opened, 1)
    kernels.improve(case, work, best, min(STEPS_PER_NODE * opened, MOST_STEPS), int(counts.sum()), _REACH, heat)
    rows = np.flatnonzero(best.open[1 : int(best.counts[kernels.BINS])]) + 1
    return Hosts(best.column[rows] - 1, best.guests[rows].astype(np.int64), float(best.money[0]), prices.money)


def _problem(request: Floats, fits: Bools, room: Floats, price: Floats, counts: Longs) -> Problem:
    """All pods are on one node that has no room and is to be given back: so they are hosted by what is bought."""
    return Problem(
        request=request,
        fits=np.ascontiguousarray(np.concatenate([np.zeros((len(request), 1), dtype=np.bool_), fits], axis=1)),
        room=np.ascontiguousarray(np.concatenate([np.zeros((1, request.shape[1])), room])),
        price=np.concatenate([[price.max() * (counts.sum() + 1)], price]),  # more than a node for each pod costs
        held=counts[None, :],
        may_go=np.ones(1, dtype=np.bool_),
    )
