"""Prices that cannot be meant: a feed that slips by two digits would have one type bought for everything, or all its nodes given back."""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple

from neaptide.pricing.catalogue import EVERY_FAMILY, InstancePrice, families

_FACTOR = 20.0
"""Sizes, zones and generations of GPUs of one family differ by less than four times for each CPU in the shipped catalogue; digits slip by a hundred."""
_FEWEST = 3
"""Prices of which most can be right."""


class Outlier(NamedTuple):
    """A price, and what most others of its family say for its number of CPUs (US dollars per hour)."""

    price: InstancePrice
    expected: float


def outliers(prices: Sequence[InstancePrice]) -> Iterator[Outlier]:
    """Those that differ from the median of their family and capacity type, for each CPU, by more than twenty times; where sizes are known."""
    groups: dict[tuple[str, str], list[InstancePrice]] = {}
    for each in prices:
        if each.cpu_milli and each.price_per_hour:
            groups.setdefault((_family(each.instance_type), each.capacity_type), []).append(each)
    for group in groups.values():
        if len(group) < _FEWEST:
            continue
        usual = median(each.price_per_hour / (each.cpu_milli or 1) for each in group)
        for each in group:
            expected = usual * (each.cpu_milli or 1)
            if not expected / _FACTOR <= each.price_per_hour <= expected * _FACTOR:
                yield Outlier(each, expected)


def _family(instance_type: str) -> str:
    """m5 of m5.large and n1-standard of n1-standard-4; a type whose name has no parts is a family of its own."""
    _, family, *_ = families(instance_type)
    return instance_type if family == EVERY_FAMILY else family
