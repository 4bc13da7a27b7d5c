"""Compiles what is compiled at its first use, or loads what was compiled before, so that nobody waits for it in the midst of work."""

import numpy as np

from neaptide.placement import engine
from neaptide.placement.kernels.jit import HAVE_NUMBA
from neaptide.placement.packing.problem import Problem
from neaptide.placement.packing.relaxation import relaxed
from neaptide.placement.packing.search import search


def warm() -> None:
    """All kernels of placement but those of published GPU experiments. Does nothing without numba."""
    if not HAVE_NUMBA:
        return
    engine.warm()
    two = np.ones((2, 1))
    small = Problem(
        request=two[:1],
        fits=np.ones((1, 2), dtype=np.bool_),
        room=two,
        price=np.array([2.0, 1.0]),
        held=np.ones((1, 1), dtype=np.int64),
        may_go=np.ones(1, dtype=np.bool_),
    )
    prices = relaxed(small, evictions=1)
    if prices is not None:
        search(small, prices, evictions=1, steps=1)


if __name__ == "__main__":
    warm()
