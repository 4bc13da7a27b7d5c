"""How the cloud behaves that kwok plays: what it sells, in which pools, how fast and how reliably."""

from typing import Annotated

from msgspec import Meta, Struct

from neaptide.model.cloud import Shortage
from neaptide.model.objects import Taint
from neaptide.model.offerings import Offering
from neaptide.model.problems import FieldError
from neaptide.pricing.catalogue import Catalogue
from neaptide.pricing.offerings import offerings

UNLIMITED = 1_000_000
_Seconds = Annotated[float, Meta(ge=0, le=10**6, description="seconds from 0 to 1000000")]
_Share = Annotated[float, Meta(ge=0, le=1, description="a number from 0 to 1")]


class KwokPool(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What the nodes of a pool have in common, and how many there may be."""

    name: str
    labels: dict[str, str] = {}
    taints: tuple[Taint, ...] = ()
    maximum: Annotated[int, Meta(ge=0, description="an integer from 0 on")] = UNLIMITED


class KwokSettings(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The cloud.

    Attributes:
        instance_types: what of the price catalogue is sold; all whose size it states, where none is named.
        zones: where types are sold that the catalogue prices for all zones.
        spot_price: types without a spot price are sold as spot at this part of the on-demand price; 0 sells none.
        pools: the pools that have labels, taints or a limit; others are taken as they are asked for.
        delay_seconds: from the order to the Node object.
        failing: this share of the orders never becomes a Node.
        never_ready: this share becomes a Node that nobody answers for, so that it is never Ready.
        shortages: what cannot be had.
        seed: the same seed draws the same failures.
    """

    instance_types: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    spot_price: _Share = 0.0
    pools: tuple[KwokPool, ...] = ()
    delay_seconds: _Seconds = 0.0
    failing: _Share = 0.0
    never_ready: _Share = 0.0
    shortages: tuple[Shortage, ...] = ()
    seed: int = 1


def sold(catalogue: Catalogue, settings: KwokSettings) -> list[Offering]:
    """What the cloud sells at a catalogue's prices. Raises FieldError for types that the catalogue does not state in full."""
    stated = offerings(catalogue)
    known = {each.instance_type for each in stated}
    unknown = next((each for each in settings.instance_types if each not in known), None)
    if unknown is not None:
        raise FieldError(
            "instanceTypes", unknown, "instance types that the price catalogue states with cpu, memory and pods"
        )
    listed = [each for each in stated if not settings.instance_types or each.instance_type in settings.instance_types]
    zonal = [one for each in listed for one in _in_zones(each, settings.zones)]
    spot = {(each.instance_type, each.zone) for each in zonal if each.capacity_type == "spot"}
    added = [
        _as_spot(each, settings.spot_price)
        for each in zonal
        if settings.spot_price and each.capacity_type == "on-demand" and (each.instance_type, each.zone) not in spot
    ]
    return [*zonal, *added]


def _in_zones(offering: Offering, zones: tuple[str, ...]) -> list[Offering]:
    if offering.zone or not zones:
        return [offering]
    return [_changed(offering, zone=zone) for zone in zones]


def _as_spot(offering: Offering, share: float) -> Offering:
    price = offering.price_per_hour
    return _changed(offering, capacity_type="spot", price=None if price is None else round(price * share, 6))


def _changed(offering: Offering, *, zone: str = "", capacity_type: str = "", price: float | None = None) -> Offering:
    zone, capacity_type = zone or offering.zone, capacity_type or offering.capacity_type
    labels = {"karpenter.sh/capacity-type": capacity_type} | ({"topology.kubernetes.io/zone": zone} if zone else {})
    return Offering(
        offering.instance_type,
        capacity_type,
        zone,
        offering.price_per_hour if price is None else price,
        offering.allocatable,
        offering.labels | labels,
    )
