"""Reads tariffs from files: the user's, and those that come with the package.

A tariff is used whole or not at all: with a size left out a pod would be charged for a larger one.
"""

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from neaptide.model.yaml_text import YamlError, texts
from neaptide.pricing.billing import Billing
from neaptide.pricing.tariff import Size, Tariff, in_order

SHIPPED = ("eci", "fargate")
"""The names of the tariffs in the package."""

_MIB_PER_GIB = 1024
_MOST_STEPS = 10_000

_Positive = Annotated[float, Meta(gt=0, le=1e6)]
_Price = Annotated[float, Meta(ge=0, le=1e6)]
_Count = Annotated[int, Meta(ge=0, le=10**9)]


class TariffError(ValueError):
    """A file that is no tariff; its message names the file, the field, and what is accepted."""


class _Steps(Struct, frozen=True, forbid_unknown_fields=True, rename={"first": "from", "last": "to"}):
    first: _Positive
    last: _Positive
    step: _Positive


class _Row(Struct, frozen=True, forbid_unknown_fields=True):
    vcpu: _Positive
    gib: list[_Positive] | _Steps


class _Unset(Struct, frozen=True, forbid_unknown_fields=True):
    cpu_milli: _Count = 0
    memory_mib: _Count = 0


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    sizes: Annotated[list[_Row], Meta(min_length=1)]
    sizes_source: str = ""
    price_source: str = ""
    date: str = ""
    overhead_mib: _Count = 0
    unset: _Unset = _Unset()
    granularity_seconds: Annotated[int, Meta(ge=1, le=86400)] = 1
    minimum_seconds: Annotated[int, Meta(ge=0, le=86400)] = 60
    price_per_vcpu_hour: _Price | None = None
    price_per_gib_hour: _Price | None = None
    spot_share: Annotated[float, Meta(ge=0, le=1)] | None = None


def parse(text: str, file: str) -> Tariff:
    """A tariff from the text of a YAML file.

    Raises:
        TariffError: it is none.
    """
    try:
        read = msgspec.convert(texts(text), _File, strict=False)
    except YamlError as error:
        raise TariffError(f"{file}: {error}; accepted: one YAML document") from error
    except msgspec.ValidationError as error:
        fields = ", ".join(field.encode_name for field in msgspec.structs.fields(_File))
        raise TariffError(f"{file}: {error}; accepted: a mapping with {fields}") from error
    sizes = tuple(
        Size(round(row.vcpu * 1000), round(gib * _MIB_PER_GIB)) for row in read.sizes for gib in _gib(row, file)
    )
    return Tariff(
        name=read.name,
        sizes=in_order(sizes, read.price_per_vcpu_hour, read.price_per_gib_hour),
        overhead_mib=read.overhead_mib,
        unset=Size(read.unset.cpu_milli, read.unset.memory_mib),
        billing=Billing(read.granularity_seconds, read.minimum_seconds),
        price_per_vcpu_hour=read.price_per_vcpu_hour,
        price_per_gib_hour=read.price_per_gib_hour,
        spot_share=read.spot_share,
        source="; ".join(part for part in (read.sizes_source, read.price_source) if part),
        date=read.date,
    )


def load(name_or_path: str | Path) -> Tariff:
    """A tariff of the package by its name, or one of a file.

    Raises:
        TariffError: there is none, or the file is none.
    """
    if str(name_or_path) in SHIPPED:
        return shipped(str(name_or_path))
    try:
        text = Path(name_or_path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TariffError(f"{name_or_path}: {error}; accepted: {', '.join(SHIPPED)}, or a YAML file") from error
    return parse(text, str(name_or_path))


@cache
def shipped(name: str) -> Tariff:
    """A tariff that comes with the package; the file says where its figures are from."""
    file = resources.files("neaptide.pricing") / "tariffs" / f"{name}.yaml"
    return parse(file.read_text(encoding="utf-8"), f"{name}.yaml")


def _gib(row: _Row, file: str) -> list[float]:
    if not isinstance(row.gib, _Steps):
        return row.gib
    first, last, step = row.gib.first, row.gib.last, row.gib.step
    steps = (last - first) / step
    if steps < 0 or steps > _MOST_STEPS:
        raise TariffError(f"{file}: sizes of {row.vcpu:g} vCPU: from {first:g} to {last:g} by {step:g} are no sizes")
    return [first + number * step for number in range(int(steps) + 1)]
