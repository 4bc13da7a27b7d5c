"""CPU on a node that is wanted more than it is there: weighted max-min fairness, all nodes at once.

Nobody gets more than it wants, and what one leaves the others share by weight, as the kernel's CFS does with cpu.shares.
"""

import numpy as np
from numpy.typing import NDArray

from neaptide.model.columns import Floats

MIN_WEIGHT = 2.0
"""The kernel's least cpu.shares, what a pod without a CPU request gets."""


def share(demand: Floats, weight: Floats, node: NDArray[np.integer], room: Floats) -> Floats:
    """What every pod gets.

    Args:
        demand: float64[pods], what each wants, not negative.
        weight: float64[pods], positive.
        node: int[pods], the row of each pod's node in `room`.
        room: float64[nodes], what there is to share; a negative amount counts as none.

    Returns:
        float64[pods]: at most `demand`; per node the sum is at most `room`, and reaches it where more is wanted.
    """
    wanted = np.bincount(node, weights=demand, minlength=len(room))
    rows = np.flatnonzero((wanted > room)[node])
    given = demand.copy()
    if not len(rows):
        return given
    rows = rows[np.lexsort((demand[rows] / weight[rows], node[rows]))]
    want, heavy, at = demand[rows], weight[rows], node[rows]
    first = np.flatnonzero(np.append(True, at[1:] != at[:-1]))
    group = np.cumsum(np.append(0, at[1:] != at[:-1]))
    before = _sum_before(want, first, group)
    heavier = np.add.reduceat(heavy, first)[group] - _sum_before(heavy, first, group)
    level = np.maximum(room[at] - before, 0.0) / heavier
    short = np.flatnonzero(want > level * heavy)
    reached = np.full(len(first), -1.0)  # the level of the first that is short: it falls from there on
    np.maximum.at(reached, group[short], level[short])
    cut = reached[group] >= 0
    given[rows[cut]] = np.minimum(want, reached[group] * heavy)[cut]
    return given


def _sum_before(amount: Floats, first: NDArray[np.integer], group: NDArray[np.integer]) -> Floats:
    """The sum of what stands before each item in its group."""
    total = np.cumsum(amount) - amount
    before: Floats = total - total[first][group]
    return before
