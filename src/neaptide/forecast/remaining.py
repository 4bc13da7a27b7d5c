"""How much longer a job will run: by what it says of itself, by how long its owner's earlier jobs ran, else by how long it has run."""

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from neaptide.forecast.survival import Run, kaplan_meier

LEAST_SEEN = 3
"""So many runs must have ended before history is believed."""


class Remaining(NamedTuple):
    """Seconds from now on. In four of five cases it is between `low` and `high`, which is infinite where nobody can say.

    `source` is Stated (an annotation or a deadline), History, or Age: nothing is known, and what has lasted so long lasts as long again.
    """

    expected: float
    low: float
    high: float
    source: str


def remaining(
    ran: float,
    past: Sequence[Run],
    *,
    stated: float | None = None,
    deadline: float | None = None,
    at_least: float = 600.0,
) -> Remaining:
    """How much longer a run that has lasted `ran` seconds will take.

    Args:
        ran: seconds since its start.
        past: earlier runs of its owner, and others that still run.
        stated: the seconds from start to end that the job says it needs.
        deadline: the seconds from its start after which it is ended (`activeDeadlineSeconds`).
        at_least: what is expected of a job that has only just begun, and of which nothing is known.
    """
    found = _unbounded(ran, past, stated, at_least)
    if deadline is None:
        return found
    most = max(deadline - ran, 0.0)
    return Remaining(min(found.expected, most), min(found.low, most), min(found.high, most), found.source)


def _unbounded(ran: float, past: Sequence[Run], stated: float | None, at_least: float) -> Remaining:
    if stated is not None and stated > ran:
        return Remaining(stated - ran, 0.8 * (stated - ran), 1.5 * (stated - ran), "Stated")
    survival = kaplan_meier(past)
    if sum(run.ended for run in past) >= LEAST_SEEN:
        median = survival.quantile(0.5, after=ran)
        if median is not None:
            low, high = survival.quantile(0.1, after=ran), survival.quantile(0.9, after=ran)
            return Remaining(median - ran, (low or median) - ran, inf if high is None else high - ran, "History")
    expected = max(ran, at_least)
    return Remaining(expected, 0.1 * expected, inf, "Age")
