"""What each termination grace would cost: work that is killed and has to be done again, against nodes that are paid for while they wait."""

from collections.abc import Sequence
from typing import NamedTuple

from neaptide.forecast.survival import Run, kaplan_meier

SHARES = (0.5, 0.75, 0.9, 0.95, 0.99)


class Choice(NamedTuple):
    """One grace.

    Attributes:
        share: of the jobs end within it.
        seconds: the grace; None where jobs that still run leave that open.
        killed: the share that is killed.
        wait_seconds: how long a node waits for a job on the average.
        lost_seconds: how much work is done again on the average: what a killed job had run.
        money: US dollars for a node that waits for one job, its waiting and its lost work, at the node's price; None where that is unknown.
    """

    share: float
    seconds: float | None
    killed: float | None
    wait_seconds: float | None
    lost_seconds: float | None
    money: float | None


def choices(runs: Sequence[Run], price_per_hour: float | None, *, shares: Sequence[float] = SHARES) -> list[Choice]:
    """What graces would mean for jobs that have just begun when their node is to go; runs that have not ended count as far as they are known."""
    survival = kaplan_meier(runs)
    found = []
    for share in shares:
        seconds = survival.quantile(share)
        if seconds is None:
            found.append(Choice(share, None, None, None, None, None))
            continue
        killed = survival.beyond(seconds)
        wait = survival.mean_within(seconds) or 0.0
        lost = killed * seconds
        money = None if price_per_hour is None else (wait + lost) / 3600 * price_per_hour
        found.append(Choice(share, seconds, killed, wait, lost, money))
    return found
