"""A bill from the ledger's leases: by namespace, workload or day, in whole seconds that are paid for."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from msgspec import Struct

from neaptide.pricing.billing import Billing, billed_seconds
from neaptide.records.ledger import Lease, Opened

By = Literal["namespace", "workload", "day"]

DAY = 86400
_MILLI = 1000
_MIB_PER_GIB = 1024


class Charge(NamedTuple):
    """A lease's time within one day (UTC). `seconds` are paid for; `dollars` is None where the price is unknown."""

    opened: Opened
    start: float
    end: float
    seconds: int
    dollars: float | None
    running: bool

    @property
    def day(self) -> str:
        return datetime.fromtimestamp(self.start, UTC).date().isoformat()


class Line(Struct, frozen=True, rename="camel"):
    """One line of a bill. `dollars` sums what has a price; `unpriced_seconds` are those that have none."""

    key: str
    pods: int
    running: int
    billed_seconds: int
    vcpu_hours: float
    gib_hours: float
    dollars: float
    unpriced_seconds: int


def charges(
    leases: Iterable[Lease], now: float, *, since: float = 0.0, until: float = float("inf")
) -> Iterator[Charge]:
    """The charges of leases, a day each, of the days that begin within [since, until); an open lease is charged up to now.

    A lease's minimum is charged to its first day; the seconds of its days add up to those of the lease.
    """
    for lease in leases:
        opened = lease.opened
        billing = Billing(opened.granularity_seconds, opened.minimum_seconds)
        end = max(lease.seen, now) if lease.ended is None else lease.ended
        end, charged = max(end, opened.started), 0
        for start, stop in _days(opened.started, end):
            total = billed_seconds(stop - opened.started, billing)
            seconds, charged = total - charged, total
            price = opened.price_per_hour
            if seconds and since <= start < until:
                dollars = None if price is None else price * seconds / 3600
                yield Charge(opened, start, stop, seconds, dollars, lease.ended is None)


def bill(found: Iterable[Charge], by: By) -> list[Line]:
    """Lines in order of their keys."""
    key_of = _KEYS[by]
    groups: dict[str, list[Charge]] = {}
    for charge in found:
        groups.setdefault(key_of(charge), []).append(charge)
    return [_line(key, groups[key]) for key in sorted(groups)]


def total(found: Iterable[Charge]) -> Line:
    """All of it in one line."""
    return _line("total", list(found))


_KEYS: dict[By, Callable[[Charge], str]] = {
    "namespace": lambda charge: charge.opened.namespace,
    "workload": lambda charge: f"{charge.opened.namespace}/{charge.opened.workload}",
    "day": lambda charge: charge.day,
}


def _line(key: str, group: list[Charge]) -> Line:
    return Line(
        key=key,
        pods=len({charge.opened.uid for charge in group}),
        running=len({charge.opened.uid for charge in group if charge.running}),
        billed_seconds=sum(charge.seconds for charge in group),
        vcpu_hours=sum(charge.seconds * charge.opened.cpu_milli for charge in group) / (3600 * _MILLI),
        gib_hours=sum(charge.seconds * charge.opened.memory_mib for charge in group) / (3600 * _MIB_PER_GIB),
        dollars=sum(charge.dollars for charge in group if charge.dollars is not None),
        unpriced_seconds=sum(charge.seconds for charge in group if charge.dollars is None),
    )


def _days(start: float, end: float) -> Iterator[tuple[float, float]]:
    """The parts of a time that lie in one day each."""
    while start // DAY < end // DAY:
        midnight = (start // DAY + 1) * DAY
        yield start, midnight
        start = midnight
    if end > start:
        yield start, end
