"""Kubernetes quantities (`100m`, `1.5`, `2Gi`, `1e3`) as integers, rounded up as the API server does.

`milli` gives thousandths (CPU), `value` gives whole units (bytes, counts). Both are exact and cached: a cluster
repeats a few hundred spellings. Grammar and rounding: k8s.io/apimachinery/pkg/api/resource.
"""

import re
from fractions import Fraction
from functools import lru_cache

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
}
_GRAMMAR = re.compile(
    r"(?P<sign>[+-]?)(?P<number>\d+\.?\d*|\.\d+)(?:(?P<suffix>[numkMGTPE]|[KMGTPE]i)|[eE](?P<exponent>[+-]?\d{1,4}))?",
    re.ASCII,
)
_LARGEST = 2**63 - 1
LARGEST_AMOUNT = 2**53
"""The most that a snapshot counts for one object, 9 PB: floats hold it exactly, and sums of many stay within an int64."""
ACCEPTED = "a Kubernetes quantity such as 250m, 1.5, 2Gi, 1e3 or 128974848"


class QuantityError(ValueError):
    """A text that is no quantity; `str()` says what it was and what is accepted."""


@lru_cache(maxsize=1 << 16)
def milli(text: str) -> int:
    """Thousandths, rounded away from zero: `1.5` is 1500, `0.1m` is 1. Raises QuantityError."""
    return _round_up(_exact(text) * 1000)


@lru_cache(maxsize=1 << 16)
def value(text: str) -> int:
    """Whole units, rounded away from zero: `2Gi` is 2147483648, `100m` is 1. Raises QuantityError."""
    return _round_up(_exact(text))


def for_resource(resource: str, text: str) -> int:
    """The integer that the scheduler counts for a resource: thousandths for `cpu`, whole units for every other."""
    return milli(text) if resource == "cpu" else value(text)


def _exact(text: str) -> Fraction:
    match = _GRAMMAR.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise QuantityError(f"{text!r} is no quantity; accepted is {ACCEPTED}")
    number = Fraction(match["number"].rstrip("."))
    if match["exponent"] is not None:
        number *= Fraction(10) ** int(match["exponent"])
    elif match["suffix"] in _BINARY:
        number *= _BINARY[match["suffix"]]
    else:
        number *= _DECIMAL[match["suffix"] or ""]
    return -number if match["sign"] == "-" else number


def _round_up(number: Fraction) -> int:
    """Away from zero, as apimachinery rounds what it cannot hold, and capped at what an int64 holds."""
    size = -(-abs(number.numerator) // number.denominator)
    return min(size, _LARGEST) if number >= 0 else -min(size, _LARGEST)
