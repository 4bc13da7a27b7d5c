"""How much offline work a service's latency bears: fast to shrink, slow to grow.

The error is the logarithm of latency over its objective, so that twice as slow and half as slow weigh alike. Source: Katalyst's rama
(policy_rama.go, helper/pid.go), whose regions grow for the service; here the share of the node's CPU that offline work may have is what shrinks.
"""

from math import log
from typing import NamedTuple


class SloSettings(NamedTuple):
    """How a share follows an error.

    Attributes:
        shrink, grow: parts of the node by which the share changes for an error of 1, above and below the objective.
        above, below: errors within these bounds change nothing.
        most_shrink, most_grow: bounds on one step, in parts of the node.
        grow_seconds: between two steps up.
        least, most: bounds on the share.
    """

    shrink: float = 0.5
    grow: float = 0.05
    above: float = 0.0
    below: float = 0.2
    most_shrink: float = 0.5
    most_grow: float = 0.02
    grow_seconds: float = 30.0
    least: float = 0.0
    most: float = 1.0


class Share(NamedTuple):
    """The part of a node's CPU that offline work may have, and when it last grew."""

    part: float
    grown: float


IDLE_PART = 0.01
"""Of the node: pods that use less of it are not why a service is slow."""


def share_in_use(share: Share, used: float) -> Share | None:
    """The share to shrink from: what is used of it, so that the first step bites; None where next to nothing is, and shrinking cannot help.

    `used` is the part of the node's CPU that offline work has now.
    """
    return share._replace(part=min(share.part, used)) if used >= IDLE_PART else None


def next_share(settings: SloSettings, share: Share, latency: float, objective: float, now: float) -> Share:
    """The share from now on; both latencies in one unit, above 0. What is not above 0 is no latency, and changes nothing."""
    if not (latency > 0 and objective > 0):
        return share
    error = log(latency) - log(objective)  # their quotient may be too small for a float
    if error > settings.above:
        part = share.part - min(settings.shrink * error, settings.most_shrink)
        return Share(max(part, settings.least), now)  # it grows again only after a pause
    if error < -settings.below and now - share.grown >= settings.grow_seconds:
        part = share.part + min(settings.grow * -error, settings.most_grow)
        return Share(min(part, settings.most), now)
    return share
