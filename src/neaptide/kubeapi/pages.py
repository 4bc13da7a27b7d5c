"""The objects of a list as the API server sends it."""

from typing import Any, Generic, TypeVar, overload

import msgspec
from msgspec import Raw, Struct

T = TypeVar("T")


class _List(Struct, Generic[T], gc=False):
    items: list[T] = []


_raws = msgspec.json.Decoder(_List[Raw])


@overload
def items_of(page: bytes | Raw) -> list[Raw]: ...


@overload
def items_of(page: bytes | Raw, kind: type[T]) -> list[T]: ...


def items_of(page: bytes | Raw, kind: Any = Raw) -> list[Any]:
    """Each object of a list: its JSON, or what `kind` says to read of it. Raises msgspec.DecodeError."""
    return _raws.decode(page).items if kind is Raw else msgspec.json.decode(page, type=_List[kind]).items
