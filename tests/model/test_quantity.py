"""Quantities are read as the API server reads them."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.model.quantity import QuantityError, milli, value


@pytest.mark.parametrize(
    ("text", "thousandths", "units"),
    [
        ("100m", 100, 1),
        ("1.5", 1500, 2),
        ("2Gi", 2 * 2**30 * 1000, 2 * 2**30),
        ("1e3", 1_000_000, 1000),
        ("1E3", 1_000_000, 1000),
        ("1E", 10**21, 10**18),
        ("128974848", 128974848000, 128974848),
        ("0", 0, 0),
        (".5", 500, 1),
        ("5.", 5000, 5),
        ("1n", 1, 1),
        ("0.1m", 1, 1),
        ("1500u", 2, 1),
        ("1.5Ki", 1536000, 1536),
        ("123e-3", 123, 1),
        ("+2k", 2_000_000, 2000),
        ("-100m", -100, -1),
        ("-1.5", -1500, -2),
        ("100E", None, 2**63 - 1),
    ],
)
def test_a_quantity_becomes_an_integer_rounded_away_from_zero(text: str, thousandths: int | None, units: int) -> None:
    assert value(text) == units
    if thousandths is not None:
        assert milli(text) == min(thousandths, 2**63 - 1)


@pytest.mark.parametrize("text", ["", "1 Gi", "Gi", "1gi", "1.2.3", "0x10", "1e", "NaN", "inf", "--1", "1mm", "\u0661"])
def test_what_is_no_quantity_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(QuantityError, match=r"accepted is a Kubernetes quantity"):
        value(text)


@given(st.integers(0, 10**12), st.sampled_from(["", "k", "M", "Ki", "Mi", "m", "u"]))
def test_rounding_is_up_and_by_less_than_one_unit(number: int, suffix: str) -> None:
    scales = {"": "1", "k": "1000", "M": "1000000", "Ki": "1024", "Mi": "1048576", "m": "1/1000", "u": "1/1000000"}
    exact = number * Fraction(scales[suffix])
    assert exact <= value(f"{number}{suffix}") < exact + 1
