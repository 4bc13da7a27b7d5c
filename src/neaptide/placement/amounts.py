"""Lays the amounts that filters and scores look at out as the arrays of kernels/problem.py."""

from typing import NamedTuple

import numpy as np

from neaptide.model.columns import Bools, Floats, Longs
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.filters.node_resources_fit import NodeResourcesFit
from neaptide.placement.kernels.problem import (
    EXACT,
    LEAST_ALLOCATED,
    MOST_ALLOCATED,
    REQUESTED_TO_CAPACITY,
    Scoring,
)
from neaptide.placement.profile import Profile
from neaptide.placement.scores.balanced_allocation import NodeResourcesBalancedAllocation
from neaptide.placement.scores.least_allocated import LeastAllocated
from neaptide.placement.scores.most_allocated import MostAllocated
from neaptide.placement.scores.requested_to_capacity_ratio import RequestedToCapacityRatio
from neaptide.placement.scores.resources import Measure, measures
from neaptide.placement.scores.score import LARGEST

Fit = LeastAllocated | MostAllocated | RequestedToCapacityRatio
"""The scores of which a kernel can have one."""
_STRATEGIES = {
    LeastAllocated: LEAST_ALLOCATED,
    MostAllocated: MOST_ALLOCATED,
    RequestedToCapacityRatio: REQUESTED_TO_CAPACITY,
}


class Unsuited(Exception):  # noqa: N818 - no error, but a reason to place pods another way
    """The amounts or scores of a batch are too large for the kernels' arithmetic."""


class Amounts(NamedTuple):
    """Attributes as in `Nodes`, `Classes` and `Scoring` of kernels/problem.py.

    Attributes:
        free, scored, capacity: by position.
        request, wanted, balances: by class; `wanted` is `Classes.scored`.
        scoring: how nodes are scored.
        largest: the most that fit and balance give together.
    """

    free: Floats
    scored: Floats
    capacity: Floats
    request: Floats
    wanted: Floats
    balances: Bools
    scoring: Scoring
    largest: int


def amounts_of(snapshot: ClusterSnapshot, profile: Profile, rows: Longs, shapes: Longs, pods: int) -> Amounts:
    """The amounts of nodes (rows) and of classes with these shapes, for a batch of at most `pods` pods. Raises Unsuited."""
    fit = next((each for each in profile.scores if isinstance(each, Fit)), None)
    balance = next((each for each in profile.scores if isinstance(each, NodeResourcesBalancedAllocation)), None)
    fitted = measures(snapshot, fit.resources) if fit else []
    balanced = measures(snapshot, balance.resources, scoring=False) if balance else []
    wanted = [_wanted(each, shapes) for each in (*fitted, *balanced)]
    request = snapshot.shapes.request[:, shapes].copy()
    for resource, name in enumerate(snapshot.resources):
        if not any(isinstance(each, NodeResourcesFit) and not each.ignores(name) for each in profile.filters):
            request[resource] = 0
    used = np.flatnonzero(request.any(axis=1))
    free = snapshot.nodes.allocatable[np.ix_(used, rows)] - snapshot.nodes.used[np.ix_(used, rows)]
    found = Amounts(
        free=_exact(free, len(rows)),
        scored=_exact([each.allocated[rows] for each in (*fitted, *balanced)], len(rows)),
        capacity=_exact([each.allocatable[rows] for each in (*fitted, *balanced)], len(rows)),
        request=_exact(request[used], len(shapes)),
        wanted=_exact(wanted, len(shapes)),
        balances=np.any(np.reshape(wanted[len(fitted) :], (-1, len(shapes))) > np.zeros(1), axis=0),
        scoring=Scoring(
            strategy=_STRATEGIES[type(fit)] if fit else LEAST_ALLOCATED,
            weight=np.array([each.weight for each in fitted] + [0] * len(balanced), dtype=np.float64),
            balanced=np.array([False] * len(fitted) + [True] * len(balanced), dtype=np.bool_),
            curve=_curve(fit),
            fit_weight=float(fit.weight if fit else 0),
            balance_weight=float(balance.weight if balance else 0),
        ),
        largest=LARGEST * ((fit.weight if fit else 0) + (balance.weight if balance else 0)),
    )
    if any(
        (now + pods * more).max(initial=0) > EXACT
        for now, more in zip(found.scored, found.wanted.max(axis=1, initial=0), strict=True)
    ):
        raise Unsuited
    return found


def _wanted(measure: Measure, shapes: Longs) -> Longs:
    """int64[classes]: what a pod of each class adds to a measure, -1 where the measure has no say."""
    wanted = measure.wanted[shapes]
    return np.where([measure.counts(int(each)) for each in wanted], wanted, -1)


def _curve(fit: object) -> Floats:
    percentages = np.arange(101)
    curve = fit.curve(percentages) if isinstance(fit, RequestedToCapacityRatio) else percentages
    return curve.astype(np.float64)


def _exact(amounts: Longs | list[Longs], width: int) -> Floats:
    """Amounts as float64, [rows, width]. Raises Unsuited where that would not be exact."""
    found = np.asarray(amounts, dtype=np.int64).reshape(len(amounts), width)
    if np.abs(found).max(initial=0) > EXACT:
        raise Unsuited
    return found.astype(np.float64, order="C")
