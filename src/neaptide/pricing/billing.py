"""How long a node is paid for, given how long it ran."""

import math

import msgspec

_CLOCK_DIGITS = 3  # a sum of floats that is a thousandth of a second too long begins no new hour


class Billing(msgspec.Struct, frozen=True, gc=False):
    """Time is billed in whole `granularity_seconds`, and at least `minimum_seconds` once a node has run at all."""

    granularity_seconds: int = 1
    minimum_seconds: int = 60


PER_SECOND = Billing()
"""By the second, a minute at least: Amazon EC2 for Linux, Google Compute Engine, Azure."""

PER_HOUR = Billing(granularity_seconds=3600, minimum_seconds=3600)
"""Every hour begun counts."""


def billed_seconds(ran_seconds: float, billing: Billing = PER_SECOND) -> int:
    """The seconds that are paid for; 0 for a node that never ran.

    Raises:
        ValueError: the time is negative, infinite or not a number.
    """
    if not (math.isfinite(ran_seconds) and ran_seconds >= 0):
        raise ValueError(f"a node runs for a finite time of 0 seconds or more, not {ran_seconds}")
    rounded = round(ran_seconds, _CLOCK_DIGITS)
    if rounded == 0:
        return 0
    whole = math.ceil(rounded / billing.granularity_seconds) * billing.granularity_seconds
    return max(whole, billing.minimum_seconds)


def cost(price_per_hour: float | None, ran_seconds: float, billing: Billing = PER_SECOND) -> float | None:
    """US dollars for a node's time; None where its price is unknown."""
    return None if price_per_hour is None else price_per_hour * billed_seconds(ran_seconds, billing) / 3600
