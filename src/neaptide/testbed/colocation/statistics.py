"""Figures of rounds: percentiles, and intervals by drawing rounds again."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from neaptide.model.columns import Floats

_DRAWS = 1000


class Interval(NamedTuple):
    """A figure, and between what 95 % of the draws are."""

    value: float
    low: float
    high: float


def percentile(rounds: Sequence[Floats], percent: float) -> float:
    """Of all requests of all rounds, in their unit; one that nobody answered is infinite."""
    together = np.sort(np.concatenate(rounds))
    return float(together[min(int(len(together) * percent / 100), len(together) - 1)])


def bootstrap(figure: Callable[[Sequence[int]], float], rounds: int, *, seed: int = 0) -> Interval:
    """A figure of some rounds, by their numbers, with an interval: whole rounds are drawn, since requests of one are alike."""
    rng = np.random.default_rng(seed)
    draws = [figure(rng.integers(rounds, size=rounds).tolist()) for _ in range(_DRAWS)]
    low, high = np.percentile(draws, (2.5, 97.5))
    return Interval(figure(range(rounds)), float(low), float(high))
