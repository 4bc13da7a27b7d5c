"""What virtual capacity costs: a pod's request rounded up to a size that is sold, priced by the second.

A tariff is data: which sizes there are, what is added to a request before it is rounded, and what a vCPU and a GiB cost. A pod's request is
the larger of what its init containers need and the sum of its containers, as kube-scheduler counts it (`model.requests.effective_requests`).
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from neaptide.pricing.billing import Billing, billed_seconds

_MIB = 2**20
_MIB_PER_GIB = 1024
_MILLI = 1000
_COUNTED = ("cpu", "memory")
_FREE_OF_CHARGE = ("pods", "ephemeral-storage")


class Size(NamedTuple):
    """What is sold, or asked for, in one piece."""

    cpu_milli: int
    memory_mib: int

    def __str__(self) -> str:
        return f"{self.cpu_milli / _MILLI:g} vCPU and {self.memory_mib / _MIB_PER_GIB:g} GiB"


class Tariff(msgspec.Struct, frozen=True):
    """One provider's sizes and prices, in US dollars.

    Attributes:
        sizes: in order of their price, then of their vCPUs and memory.
        overhead_mib: added to what a pod asks for.
        unset: what a pod counts at that asks for neither CPU nor memory; of one that asks for one of them, the smallest size that holds it.
        price_per_vcpu_hour, price_per_gib_hour: None where unknown.
        spot_share: what spot capacity costs, as a share of the price; None where there is none or its price is unknown.
        source, date: of sizes and prices.
    """

    name: str
    sizes: tuple[Size, ...]
    overhead_mib: int = 0
    unset: Size = Size(0, 0)
    billing: Billing = Billing()
    price_per_vcpu_hour: float | None = None
    price_per_gib_hour: float | None = None
    spot_share: float | None = None
    source: str = ""
    date: str = ""

    def size_for(self, requests: Mapping[str, int]) -> Size | None:
        """The cheapest size that holds a pod; None where none is large enough or the pod asks for what is not sold (a GPU, say).

        Args:
            requests: by resource, in milli-CPU, bytes and counts.
        """
        if any(amount for resource, amount in requests.items() if resource not in (*_COUNTED, *_FREE_OF_CHARGE)):
            return None
        cpu, memory = requests.get("cpu", 0), -(-requests.get("memory", 0) // _MIB)
        if not cpu and not memory:
            cpu, memory = self.unset
        memory += self.overhead_mib
        return next((size for size in self.sizes if size.cpu_milli >= cpu and size.memory_mib >= memory), None)

    def price_per_hour(self, size: Size, *, spot: bool = False) -> float | None:
        """Dollars per hour of a size; None where it is unknown."""
        if self.price_per_vcpu_hour is None or self.price_per_gib_hour is None:
            return None
        share = self.spot_share if spot else 1.0
        if share is None:
            return None
        cpu = self.price_per_vcpu_hour * size.cpu_milli / _MILLI
        return share * (cpu + self.price_per_gib_hour * size.memory_mib / _MIB_PER_GIB)

    def with_prices(self, vcpu_hour: float, gib_hour: float) -> "Tariff":
        """The same sizes at other prices."""
        return replace(
            self,
            price_per_vcpu_hour=vcpu_hour,
            price_per_gib_hour=gib_hour,
            sizes=in_order(self.sizes, vcpu_hour, gib_hour),
        )

    def cost(self, size: Size, ran_seconds: float, *, spot: bool = False) -> float | None:
        """Dollars for a time; None where the price is unknown. Raises ValueError for a time that cannot be."""
        price = self.price_per_hour(size, spot=spot)
        return None if price is None else price * billed_seconds(ran_seconds, self.billing) / 3600


def in_order(sizes: tuple[Size, ...], cpu_price: float | None, memory_price: float | None) -> tuple[Size, ...]:
    """Sizes from the cheapest on; where prices are unknown, from the fewest vCPUs on, which the tariffs here make the same."""

    def price(size: Size) -> float:
        if cpu_price is None or memory_price is None:
            return 0.0
        return cpu_price * size.cpu_milli * _MIB_PER_GIB + memory_price * size.memory_mib * _MILLI

    return tuple(sorted(set(sizes), key=lambda size: (price(size), size)))
