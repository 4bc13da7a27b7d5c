"""One row of a price catalogue, from text to a struct; every field that is wrong is named with what is accepted."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, NamedTuple, get_args

from neaptide.model.problems import LeftOut
from neaptide.pricing.catalogue import CapacityType, GpuPrice, InstancePrice, UnitPrice

ACCEPTED_PRICE = "a number of US dollars per hour, from 0 to 1000000"

_MAX_PRICE = 1e6
_MAX_AMOUNT = 10**12
_ARCHITECTURES = ("amd64", "arm64", "arm", "ppc64le", "riscv64", "s390x")
_NOTHING = ("", "~", "null")
_SHOWN_CHARACTERS = 80


def parse_price(text: str) -> float:
    """Dollars per hour from text; ValueError for what is not in ACCEPTED_PRICE."""
    price = float(text)
    if not 0 <= price <= _MAX_PRICE or "_" in text:
        raise ValueError(text)
    return price


class Field(NamedTuple):
    """How a field is read: `parse` raises ValueError for what is not accepted. An optional field may be missing or empty."""

    parse: Callable[[Any], object]
    accepted: str
    required: bool = False


class Form(NamedTuple):
    """What the rows of one kind consist of, and the fields of which each may stand once."""

    struct: type[Any]
    fields: Mapping[str, Field]
    key: tuple[str, ...]


def parse_row(row: Mapping[str, object], form: Form, *, file: str, name: str) -> tuple[Any, list[LeftOut]]:
    """The row's struct, or None and what is wrong with it. Fields that the form does not know are for the caller to report."""
    values: dict[str, object] = {}
    wrong: list[LeftOut] = []
    for field, (parse, accepted, required) in form.fields.items():
        raw = row.get(field)
        given = raw.strip() if isinstance(raw, str) else raw
        if given is None or (isinstance(given, str) and given in _NOTHING):
            if required:
                wrong.append(LeftOut(file, name, field, "", accepted))
            continue
        try:
            values[field] = parse(given)
        except (ValueError, TypeError):
            wrong.append(LeftOut(file, name, field, show(given), accepted))
    return (None, wrong) if wrong else (form.struct(**values), [])


def show(value: object) -> str:
    """A value as a report shows it, however large it is."""
    if not isinstance(value, str):
        return (
            f"a {'list' if isinstance(value, list) else 'mapping' if isinstance(value, dict) else type(value).__name__}"
        )
    return value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "..."


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or "\ufffd" in value:
        raise ValueError(value)
    return value


def _price(value: object) -> float:
    return parse_price(_text(value))


def _one_of(*accepted: str) -> Field:
    def parse(value: object) -> str:
        if value not in accepted:
            raise ValueError(value)
        return str(value)

    return Field(parse, " or ".join(accepted))


def _whole(low: int) -> Field:
    def parse(value: object) -> int:
        number = int(_text(value))
        if not low <= number <= _MAX_AMOUNT or "_" in str(value):
            raise ValueError(value)
        return number

    return Field(parse, f"a whole number from {low} to {_MAX_AMOUNT}")


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(value)
    return tuple(_text(name) for name in value)


_NAME = Field(_text, "a name of printable characters")
_PLACE_AND_SOURCE = {
    "capacity_type": _one_of(*get_args(CapacityType))._replace(required=True),
    "zone": _NAME,
    "source": Field(_text, "printable text"),
    "date": Field(lambda value: date.fromisoformat(_text(value)).isoformat(), "a date as 2026-01-31"),
}
_MONEY = Field(_price, ACCEPTED_PRICE, required=True)

INSTANCE = Form(
    InstancePrice,
    {
        "instance_type": _NAME._replace(required=True),
        "price_per_hour": _MONEY,
        "cpu_milli": _whole(1),
        "memory_mib": _whole(1),
        "pods": _whole(1),
        "arch": _one_of(*_ARCHITECTURES),
        "gpu": _whole(0),
        "gpu_model": _NAME,
        **_PLACE_AND_SOURCE,
    },
    key=("instance_type", "capacity_type", "zone"),
)
UNIT = Form(
    UnitPrice,
    {
        "family": Field(_text, "a family of instance types, as m5 or n1; * for every node", required=True),
        "price_per_vcpu_hour": _MONEY,
        "price_per_gib_hour": _MONEY,
        **_PLACE_AND_SOURCE,
    },
    key=("family", "capacity_type", "zone"),
)
GPU = Form(
    GpuPrice,
    {
        "gpu_model": _NAME._replace(required=True),
        "price_per_gpu_hour": _MONEY,
        "also": Field(_names, "a list of names"),
        **_PLACE_AND_SOURCE,
    },
    key=("gpu_model", "capacity_type", "zone"),
)
