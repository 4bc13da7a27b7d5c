"""How long runs last, from those that ended and those that still run: the estimator of Kaplan and Meier.

A run that has not ended yet says that it lasts at least so long. Leaving such runs out makes long jobs seem short, for the short ones end first.
Source: Kaplan, Meier, "Nonparametric Estimation from Incomplete Observations" (1958).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Run(NamedTuple):
    """Seconds that a run took, or has taken so far where it has not ended."""

    seconds: float
    ended: bool = True


class Survival(NamedTuple):
    """The share of runs that last longer than a time: it steps down to `lasting[i]` at `seconds[i]`.

    Where the longest run has not ended, the last share is above 0: how long the rest takes is not known.
    """

    seconds: tuple[float, ...]
    lasting: tuple[float, ...]

    def beyond(self, seconds: float) -> float:
        """The share of runs that last longer than so many seconds; 1 where nothing is known."""
        share = 1.0
        for step, lasting in zip(self.seconds, self.lasting, strict=True):
            if step > seconds:
                break
            share = lasting
        return share

    def quantile(self, share: float, *, after: float = 0.0) -> float | None:
        """The seconds within which `share` of the runs end that have lasted `after` seconds; None where that was never seen."""
        left = self.beyond(after)
        if left <= 0:
            return None
        for step, lasting in zip(self.seconds, self.lasting, strict=True):
            if step > after and lasting <= (1 - share) * left + 1e-12:
                return step
        return None

    def mean_within(self, limit: float, *, after: float = 0.0) -> float | None:
        """The mean seconds that a run which has lasted `after` takes from then on, each counted up to `limit` from the start."""
        left = self.beyond(after)
        if left <= 0 or limit <= after:
            return None
        total, at, share = 0.0, after, left
        for step, lasting in zip(self.seconds, self.lasting, strict=True):
            if step <= after:
                continue
            end = min(step, limit)
            total += (end - at) * share / left
            at, share = end, lasting
            if step >= limit:
                break
        return total + max(limit - at, 0.0) * share / left


def kaplan_meier(runs: Iterable[Run]) -> Survival:
    """The share of runs that last longer than a time. Of a run that ends and one that is only seen until the same second, the first ends first."""
    ordered: Sequence[Run] = sorted(runs, key=lambda run: (run.seconds, not run.ended))
    left, share = len(ordered), 1.0
    seconds: list[float] = []
    lasting: list[float] = []
    for run in ordered:
        if run.ended:
            share *= (left - 1) / left
            if seconds and seconds[-1] == run.seconds:
                lasting[-1] = share
            else:
                seconds.append(run.seconds)
                lasting.append(share)
        left -= 1
    return Survival(tuple(seconds), tuple(lasting))
