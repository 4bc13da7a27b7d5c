"""What a cloud sells: kinds of nodes."""

from msgspec import Struct


class Offering(Struct, frozen=True, gc=False):
    """A kind of node that a provider sells. `price_per_hour` is in US dollars, None where unknown; amounts are allocatable."""

    instance_type: str
    capacity_type: str
    zone: str
    price_per_hour: float | None
    allocatable: dict[str, int]
    labels: dict[str, str] = {}
