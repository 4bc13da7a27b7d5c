"""How much of a resource each of some sibling quotas may use now: what is guaranteed to it, and its share of what others leave.

    base_i    = max(min_i, guarantee_i), scaled down in proportion where the bases exceed the total
    runtime_i = request_i <= base_i ? (lends_i ? request_i : base_i) : base_i + its share of the remainder

The remainder is divided by weight, rounded to whole units by largest remainder (ties by name), and what a quota gets beyond
its request is divided again. Source: Koordinator, elasticquota/core/runtime_quota_calculator.go.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Claimant(NamedTuple):
    """One quota and one resource, in integer units. `request` is what its pods want, no more than its maximum."""

    name: str
    weight: int
    request: int
    minimum: int
    guarantee: int = 0
    lends: bool = True


def runtimes(total: int, quotas: Sequence[Claimant]) -> list[int]:
    """By quota, what it may use. The sum is at most `total`, and all of it where enough is asked for by some with a weight."""
    bases = _scaled([max(each.minimum, each.guarantee) for each in quotas], total)
    found = [
        base if each.request > base or not each.lends else each.request
        for each, base in zip(quotas, bases, strict=True)
    ]
    left = total - sum(found)
    while left > 0:
        open_ = [place for place, each in enumerate(quotas) if found[place] < each.request and each.weight > 0]
        if not open_:
            break
        gains = _divided(left, [(quotas[place].weight, quotas[place].name) for place in open_])
        for place, gain in zip(open_, gains, strict=True):
            taken = min(gain, quotas[place].request - found[place])
            found[place] += taken
            left -= taken
    return found


def _scaled(amounts: list[int], total: int) -> list[int]:
    wanted = sum(amounts)
    return amounts if wanted <= total else [each * max(total, 0) // wanted for each in amounts]


def _divided(amount: int, shares: Sequence[tuple[int, str]]) -> list[int]:
    """An amount divided by weight; the units that are left over go to the largest remainders, then by name."""
    weights = sum(weight for weight, _ in shares)
    gains = [amount * weight // weights for weight, _ in shares]
    order = sorted(range(len(shares)), key=lambda each: (-(amount * shares[each][0] % weights), shares[each][1]))
    for place in order[: amount - sum(gains)]:
        gains[place] += 1
    return gains
