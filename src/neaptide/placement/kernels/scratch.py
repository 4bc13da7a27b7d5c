"""The arrays that the compiled kernel works on."""

from typing import NamedTuple

import numpy as np

from neaptide.model.columns import Bools, Floats, Longs
from neaptide.placement.kernels.problem import Problem, Shorts


class Scratch(NamedTuple):
    """What `place` works on.

    Attributes:
        tree: [2 * nodes, classes]: the tree of the cell at positions `a : b` has its root in row 2a + 1, its leaves in
            the last b - a rows up to 2b, and the parent of row 2a + i in row 2a + i // 2.
        fits, points, weights, number, first, second, parts, squares: [classes] for the scores of one node.
        epoch: [classes] what `_epoch` was when the scores of a class were last computed at every node.
        candidate, total, raw, crowd: [nodes] for wishes: the feasible nodes, their scores, and raw scores of one wish.
        seen: [domains] when a domain was last seen, by `clock`.
    """

    tree: Shorts
    fits: Bools
    points: Floats
    weights: Floats
    number: Floats
    first: Floats
    second: Floats
    parts: Floats
    squares: Floats
    epoch: Longs
    candidate: Longs
    total: Longs
    raw: Longs
    crowd: Floats
    seen: Longs
    clock: Longs


def scratch_for(problem: Problem) -> Scratch:
    """Room for a problem."""
    nodes, classes = problem.classes.fixed.shape
    points, weights, number, first, second, parts, squares = np.empty((7, classes))
    candidate, total, raw = np.empty((3, nodes), dtype=np.int64)
    return Scratch(
        tree=np.empty((2 * nodes, classes), dtype=np.int16),
        fits=np.empty(classes, dtype=np.bool_),
        points=points,
        weights=weights,
        number=number,
        first=first,
        second=second,
        parts=parts,
        squares=squares,
        epoch=np.empty(classes, dtype=np.int64),
        candidate=candidate,
        total=total,
        raw=raw,
        crowd=np.empty(nodes),
        seen=np.zeros(problem.census.domain.max(initial=0) + 2, dtype=np.int64),
        clock=np.zeros(1, dtype=np.int64),
    )
