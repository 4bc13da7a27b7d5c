"""Memory QoS: what a container has asked for stays with it, and what it has beyond that is reclaimed before it reaches its limit.

min  = request * min_percent / 100                                            never reclaimed
low  = max(request * low_percent / 100, min)                                  reclaimed when nothing else is left
high = request + throttling_percent / 100 * ((limit or allocatable) - request)   above it allocations are slowed; none at 0 %

All rounded down to pages, as the kernel does. A pod has the sums of its containers' min and low, and so has every group above it: the
kernel protects no group by more than those above it are. Source: KEP-2570, koordinator resmanager cgreconcile (defaults 0: inactive).
"""

from collections.abc import Iterable
from typing import NamedTuple


class MemoryShares(NamedTuple):
    """Percentages of one class, 0 to 100."""

    min_percent: int = 0
    low_percent: int = 0
    throttling_percent: int = 0

    @property
    def active(self) -> bool:
        return any(self)


class MemoryQosSettings(NamedTuple):
    """`lsr` is for LSE and LSR pods, `ls` for all other services, `be` for pods that give way."""

    lsr: MemoryShares = MemoryShares()
    ls: MemoryShares = MemoryShares()
    be: MemoryShares = MemoryShares()


class MemoryClaim(NamedTuple):
    """What a container requests in bytes, and its limit; None for none."""

    request: int
    limit: int | None


class MemoryProtection(NamedTuple):
    """Bytes; `high` is None for no such threshold."""

    min: int = 0
    low: int = 0
    high: int | None = None


def memory_protection(shares: MemoryShares, claim: MemoryClaim, *, allocatable: int, page: int) -> MemoryProtection:
    """A container's. `allocatable` is the node's, in bytes, and stands for a limit that is not there; `page` is the kernel's page size."""
    request = max(claim.request, 0)
    least = request * shares.min_percent // 100
    low = max(request * shares.low_percent // 100, least)
    high = None
    if shares.throttling_percent:
        most = allocatable if claim.limit is None else claim.limit
        high = _paged(request + max(most - request, 0) * shares.throttling_percent // 100, page)
    return MemoryProtection(_paged(least, page), _paged(low, page), high or None)


def protected_together(parts: Iterable[MemoryProtection]) -> MemoryProtection:
    """What a group above has so that all below it are protected."""
    there = list(parts)
    return MemoryProtection(sum(part.min for part in there), sum(part.low for part in there))


def _paged(amount: int, page: int) -> int:
    return amount // page * page
