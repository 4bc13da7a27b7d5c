"""Which nodes to keep, which to give back and which to buy, as arrays: what consolidation searches.

A *kind* is pods that ask for the same and may go to the same places. A *column* is a place that can be had: first every node that is
there, with the room that it has left, then every offering. A node that is kept keeps the pods that it has; one that is given back
sends its pods, which costs an eviction each, to the room of others and to bought nodes.
"""

from typing import NamedTuple

import numpy as np

from neaptide.model.columns import Bools, Floats, Longs


class Problem(NamedTuple):
    """Amounts are float64 that hold integers.

    Attributes:
        request: [kinds, resources].
        fits: [kinds, columns], whether pods of a kind may go to a column at all, whatever room it has.
        room: [columns, resources], what is left on a node, or what a bought node has for pods.
        price: [columns], US dollars per hour; of a node that may not go it plays no part.
        held: [nodes, kinds], the pods that leave with a node.
        may_go: [nodes], whether a node may be given back.
    """

    request: Floats
    fits: Bools
    room: Floats
    price: Floats
    held: Longs
    may_go: Bools

    @property
    def nodes(self) -> int:
        """How many nodes there are; the columns behind them are offerings."""
        return len(self.held)

    @property
    def pods(self) -> Longs:
        """[nodes]: the evictions that giving a node back costs."""
        pods: Longs = self.held.sum(axis=1)
        return pods


class Prices(NamedTuple):
    """What the linear programme says things are worth, in US dollars per hour.

    Attributes:
        worth: [columns, resources], of a unit of room.
        charge: [kinds], of hosting a pod.
        eviction: of one eviction more.
        going: [nodes], how much of a node is given back, 0..1.
        money: the bound: what the nodes that stay or are bought cost together at least.
    """

    worth: Floats
    charge: Floats
    eviction: float
    going: Floats
    money: float


class Choice(NamedTuple):
    """What is done.

    Attributes:
        kept: [nodes].
        bought: by bought node, its offering (a column).
        guests: [nodes + bought, kinds], the pods that come to each.
        money: US dollars per hour of what is kept (of the nodes that may go) and bought.
        evictions: how many pods move.
    """

    kept: Bools
    bought: Longs
    guests: Longs
    money: float
    evictions: int


def useful_offerings(fits: Bools, room: Floats, price: Floats, group: Longs) -> Longs:
    """The offerings, in ascending order, for which no other of their group is as large, as cheap, and open to the same kinds."""
    kept: list[int] = []
    for each in np.lexsort((-room.sum(axis=1), price)).tolist():
        alike = group[kept] == group[each]
        larger = (room[kept] >= room[each]).all(axis=1)
        wider = (fits[:, kept] | ~fits[:, [each]]).all(axis=0)
        if fits[:, each].any() and not (alike & larger & wider).any():
            kept.append(each)
    return np.array(sorted(kept), dtype=np.int64)
