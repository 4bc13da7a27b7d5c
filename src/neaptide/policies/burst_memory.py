"""What the policy `burst` remembers: money by namespace, run times by owner, and since when there is room at home."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from msgspec import Struct, field

from neaptide.policies.burst_spec import BurstBudget


class Spending(Struct, frozen=True):
    """US dollars of a namespace: in the UTC day and month of `until` (seconds since the epoch), up to then."""

    until: float
    day: float = 0.0
    month: float = 0.0


class Seen(Struct, frozen=True):
    """A pod that ran at the last look: its owner, and when it began."""

    owner: str
    started: float


class BurstMemory(Struct):
    """By namespace; by owner; and by workload.

    Attributes:
        spent: by namespace.
        runs: the seconds that pods of an owner ran, the latest last.
        seen: the pods that ran at the last look, by `namespace/name`.
        room_since: by workload, since when a real node has had room for its pods on virtual nodes.
    """

    spent: dict[str, Spending] = field(default_factory=dict)
    runs: dict[str, tuple[float, ...]] = field(default_factory=dict)
    seen: dict[str, Seen] = field(default_factory=dict)
    room_since: dict[str, float] = field(default_factory=dict)


class Purse(NamedTuple):
    """What a namespace has left: dollars of the day and the month, and pods; None where there is no limit."""

    day: float | None
    month: float | None
    pods: int | None

    def refusal(self, dollars: float) -> str:
        """Why a pod that is expected to cost so much must wait; empty where it need not."""
        if self.pods is not None and self.pods <= 0:
            return "as many of its pods as are allowed run on virtual nodes"
        for left, name in ((self.day, "day"), (self.month, "month")):
            if left is not None and dollars > left:
                return f"it would cost ${dollars:.4f}, and ${max(left, 0):.4f} of the {name}'s budget are left"
        return ""

    def without(self, dollars: float) -> "Purse":
        """After a pod of that cost."""
        return Purse(
            None if self.day is None else self.day - dollars,
            None if self.month is None else self.month - dollars,
            None if self.pods is None else self.pods - 1,
        )

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left of a sum of money."""
        return any(left is not None and left <= 0 for left in (self.day, self.month))


def accrued(before: Mapping[str, Spending], rates: Mapping[str, float], now: float) -> dict[str, Spending]:
    """Spending up to now, at the rates (dollars per hour) of what runs; a clock that was set back adds nothing.

    A day or a month that has ended begins anew; what was spent in it before midnight is not counted into the new one.
    """
    found = {}
    for namespace in sorted({*before, *rates}):
        known = before.get(namespace) or Spending(now)
        if now <= known.until:
            found[namespace] = known
            continue
        day, month = _starts(now)
        rate = rates.get(namespace, 0.0) / 3600
        of_day = (0.0 if known.until < day else known.day) + rate * (now - max(known.until, day))
        of_month = (0.0 if known.until < month else known.month) + rate * (now - max(known.until, month))
        found[namespace] = Spending(now, of_day, of_month)
    return found


def purse(budget: BurstBudget, spending: Spending | None, running: int) -> Purse:
    """What is left of a budget."""
    spent = spending or Spending(0.0)
    return Purse(
        None if budget.per_day is None else budget.per_day - spent.day,
        None if budget.per_month is None else budget.per_month - spent.month,
        None if budget.concurrent is None else budget.concurrent - running,
    )


def _starts(now: float) -> tuple[float, float]:
    """When the day and the month began."""
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day.timestamp(), day.replace(day=1).timestamp()
