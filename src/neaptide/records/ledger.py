"""Who had what virtual capacity from when to when: the ledger that bills are made from.

A lease is a pod's capacity, named by the pod's UID: it is opened once and closed once, however often that is said, so that a call that is
repeated after a crash charges no second twice. The provider is the one who knows what really ran: `reconcile` opens what it started and the
ledger does not know, closes what it ended, and closes what it has lost at the time when it was last seen. A provider forgets a pod only after
`close` has returned: until then no second can be lost.

The log has three kinds of records; what they say of prices and rounding is kept in them, so that a new tariff changes no old bill.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import msgspec
from msgspec import Struct

from neaptide.records.log import Log
from neaptide.records.reading import Corrupt, read

NAME = "ledger"
GONE = "Gone"
"""Why a lease was closed whose pod the provider has lost."""


class Opened(Struct, frozen=True, gc=False, tag_field="kind", tag="Opened", omit_defaults=True):
    """A lease begins. Amounts are those that are paid for (rounded up); times are seconds since the epoch by the provider's clock.

    Attributes:
        workload: the top of the pod's owner chain, as in `Job/pi`; `Pod/NAME` for a bare pod.
        price_per_hour: US dollars; None where unknown.
    """

    uid: str
    provider: str
    node: str
    namespace: str
    pod: str
    workload: str
    started: float
    cpu_milli: int
    memory_mib: int
    tariff: str = ""
    price_per_hour: float | None = None
    spot: bool = False
    granularity_seconds: int = 1
    minimum_seconds: int = 0


class Closed(Struct, frozen=True, gc=False, tag_field="kind", tag="Closed", omit_defaults=True):
    """A lease ends."""

    uid: str
    ended: float
    reason: str = ""


class Seen(Struct, frozen=True, gc=False, tag_field="kind", tag="Seen", omit_defaults=True):
    """At this time all open leases of a provider's node were alive."""

    provider: str
    node: str
    at: float


Record = Opened | Closed | Seen


class Lease(NamedTuple):
    """A lease as the records tell it; `ended` is None while it is open, `seen` is when it was last known to be alive."""

    opened: Opened
    ended: float | None
    seen: float
    reason: str = ""


class Ledger:
    """Writes the ledger of a directory, of which it is the only writer.

    Raises:
        LogInUseError: it has a writer.
    """

    def __init__(self, directory: str | Path, *, on_corrupt: Callable[[Corrupt], object] | None = None) -> None:
        self._log = Log(directory, NAME, keep=None, sync_each=True)
        self._leases = leases_of(directory, on_corrupt=on_corrupt)

    def lease(self, uid: str) -> Lease | None:
        """The lease of a pod."""
        return self._leases.get(uid)

    def open_leases(self, provider: str, node: str) -> list[Lease]:
        """Those of a provider's node that nobody has closed."""
        return [
            each
            for each in self._leases.values()
            if each.ended is None and (each.opened.provider, each.opened.node) == (provider, node)
        ]

    def open(self, opened: Opened) -> bool:
        """Begin a lease; whether it was not known yet. On return it is on the disk. Raises OSError."""
        if opened.uid in self._leases:
            return False
        self._log.append(opened)
        _apply(self._leases, opened)
        return True

    def close(self, uid: str, ended: float, reason: str = "") -> bool:
        """End a lease; whether it was open. It ends no earlier than it began or was seen, whatever a clock says. Raises OSError."""
        lease = self._leases.get(uid)
        if lease is None or lease.ended is not None:
            return False
        closed = Closed(uid, max(ended, lease.opened.started), reason)
        self._log.append(closed)
        _apply(self._leases, closed)
        return True

    def seen(self, provider: str, node: str, at: float) -> None:
        """All open leases of a node were alive at a time. Raises OSError."""
        if any(each.seen < at for each in self.open_leases(provider, node)):
            record = Seen(provider, node, at)
            self._log.append(record)
            _apply(self._leases, record)

    def reconcile(self, provider: str, node: str, runs: Iterable[tuple[Opened, float | None]]) -> int:
        """Bring a node's leases in line with what its provider has, after a restart or a disconnect; how many changed.

        Args:
            provider: whose leases, and
            node: on which of its nodes.
            runs: every pod that the provider has started and not yet forgotten, and when it ended (None where it runs).

        Raises:
            OSError: the ledger cannot be written; what was not written is done by the next call.
        """
        changed, known = 0, set()
        for opened, ended in runs:
            known.add(opened.uid)
            changed += self.open(opened)
            if ended is not None:
                changed += self.close(opened.uid, ended)
        for lease in self.open_leases(provider, node):
            if lease.opened.uid not in known:
                changed += self.close(lease.opened.uid, lease.seen, GONE)
        return changed

    def shut(self) -> None:
        """Let go of the ledger."""
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shut()


def leases_of(
    directory: str | Path, *, on_corrupt: Callable[[Corrupt], object] | None = None, since: int = 0
) -> dict[str, Lease]:
    """The leases in a directory's ledger by UID, in the order they were opened; lines that cannot be read go to `on_corrupt`."""
    leases: dict[str, Lease] = {}
    for seq, body in read(directory, NAME, since=since, on_corrupt=on_corrupt):
        try:
            _apply(leases, msgspec.convert(body, Record))
        except msgspec.ValidationError as error:
            if on_corrupt is not None:
                on_corrupt(Corrupt(str(directory), 0, f"record {seq}: {error}"))
    return leases


def _apply(leases: dict[str, Lease], record: Record) -> None:
    """What a record changes; one that repeats another changes nothing."""
    if isinstance(record, Opened):
        leases.setdefault(record.uid, Lease(record, None, record.started))
    elif isinstance(record, Closed):
        lease = leases.get(record.uid)
        if lease is not None and lease.ended is None:
            leases[record.uid] = lease._replace(ended=max(record.ended, lease.opened.started), reason=record.reason)
    else:
        for uid, lease in leases.items():
            if lease.ended is None and (lease.opened.provider, lease.opened.node) == (record.provider, record.node):
                leases[uid] = lease._replace(seen=max(lease.seen, record.at))
