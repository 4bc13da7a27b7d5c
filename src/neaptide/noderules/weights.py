"""CPU weights of both versions of control groups: shares 2..262144, weights 1..10000.

weight = 1 + (shares - 2) * 9999 / 262142, rounded down; and back. Source: KEP-2254, koordinator util/system/cgroup2.go.
"""

_SHARES = range(2, 262_144 + 1)
_WEIGHTS = range(1, 10_000 + 1)

LEAST_SHARES = _SHARES[0]


def weight_of_shares(shares: int) -> int:
    """Raises ValueError where the kernel would refuse `shares`."""
    if shares not in _SHARES:
        raise ValueError(f"shares are 2 to 262144, not {shares}")
    return 1 + (shares - 2) * 9999 // 262_142


def shares_of_weight(weight: int) -> int:
    """Raises ValueError where the kernel would refuse `weight`."""
    if weight not in _WEIGHTS:
        raise ValueError(f"weights are 1 to 10000, not {weight}")
    return 2 + (weight - 1) * 262_142 // 9999
