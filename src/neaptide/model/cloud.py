"""What a cloud says besides what it sells: that it has none, what it has begun to make, and what it takes back."""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from msgspec import Struct

from neaptide.model import objects
from neaptide.model.offerings import Offering

OUT_OF_STOCK_SECONDS = 180.0
"""How long Karpenter leaves an offering alone that could not be had."""

Notice = Literal["Interruption", "Rebalance", "Maintenance"]


class Order(Struct, frozen=True, kw_only=True):
    """A node that is wanted.

    Attributes:
        name: what the plan calls it; asking twice for one name gives one node.
        offering: its kind; `offering.labels` will be the node's.
        node_pool: the pool that it belongs to, empty where there are none.
        taints: what the node has from its first moment.
    """

    name: str
    offering: Offering
    node_pool: str = ""
    taints: tuple[objects.Taint, ...] = ()


class Coming(Struct, frozen=True):
    """A node that was ordered at `since` (seconds since the epoch) and has not joined yet."""

    order: Order
    since: float


class Interruption(Struct, frozen=True, gc=False):
    """What a cloud says of a node: that it takes it back at `ends` (seconds since the epoch, None where it does not say when).

    A Rebalance only says that this has become likelier; Maintenance is announced hours or days ahead. `source` says who told it.
    """

    node: str
    notice: Notice = "Interruption"
    ends: float | None = None
    source: str = ""


class OutOfCapacityError(Exception):
    """The cloud has no node of that kind now, or the pool may have no more."""


class CloudError(Exception):
    """The cloud refuses an order for good, or gave no answer: `str()` says why."""


class _Kind(NamedTuple):
    instance_type: str
    capacity_type: str
    zone: str


class Shortage(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a cloud has none of; an empty field stands for all."""

    instance_type: str = ""
    capacity_type: str = ""
    zone: str = ""

    def covers(self, offering: Offering) -> bool:
        """Whether that offering cannot be had."""
        pairs = (
            (self.instance_type, offering.instance_type),
            (self.capacity_type, offering.capacity_type),
            (self.zone, offering.zone),
        )
        return all(wanted in ("", is_) for wanted, is_ in pairs)


class Stock:
    """Remembers which offerings could not be had, and until when they are not asked for again."""

    def __init__(self) -> None:
        self._until: dict[_Kind, float] = {}

    def ran_out(self, offering: Offering, now: float, seconds: float = OUT_OF_STOCK_SECONDS) -> None:
        """The cloud said that it has none, or took one back."""
        kind = _kind(offering)
        self._until[kind] = max(now + seconds, self._until.get(kind, 0.0))

    def available(self, offerings: Iterable[Offering], now: float) -> list[Offering]:
        """Those that may be asked for now."""
        self._until = {kind: until for kind, until in self._until.items() if until > now}
        return [each for each in offerings if _kind(each) not in self._until]


def offering_of(labels: Mapping[str, str]) -> Offering:
    """The kind of offering that a node (its labels) is."""
    kind, zone = labels.get("node.kubernetes.io/instance-type", ""), labels.get("topology.kubernetes.io/zone", "")
    return Offering(kind, labels.get("karpenter.sh/capacity-type", ""), zone, None, {})


def no_more(offering: Offering) -> str:
    """The sentence of a cloud that has run out."""
    return f"there is no {offering.capacity_type} {offering.instance_type} in {offering.zone or 'any zone'} now"


def _kind(offering: Offering) -> _Kind:
    return _Kind(offering.instance_type, offering.capacity_type, offering.zone)
