"""Writes that can be taken back: while a mark is open, every write records what it replaced.

Arrays, lists and dicts are written through one `Undo`, so that rolling back costs as much as the change did and leaves
every byte as it was, including arrays that grew in between (the smaller array itself comes back).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

_ABSENT = object()


class Undo:
    """The record of what writes replaced; empty and free of cost while no mark is open."""

    def __init__(self) -> None:
        self._replaced: list[tuple[Any, Any, Any]] = []
        self._marks = 0

    @contextmanager
    def mark(self) -> Iterator[None]:
        """Everything written inside is taken back at the end. Marks nest."""
        start = len(self._replaced)
        self._marks += 1
        try:
            yield
        finally:
            self._marks -= 1
            self._roll_back(start)

    @property
    def open(self) -> bool:
        """Whether writes are being recorded."""
        return self._marks > 0

    def put(self, container: Any, key: Any, value: Any) -> None:  # noqa: ANN401 - arrays, lists and dicts alike
        """`container[key] = value`, recorded."""
        if self._marks:
            if isinstance(container, dict):
                old = container.get(key, _ABSENT)
            else:
                old = container[key]
                if isinstance(old, np.ndarray):
                    old = old.copy()
            self._replaced.append((container, key, old))
        container[key] = value

    def add(self, array: Any, key: Any, amounts: Any) -> None:  # noqa: ANN401 - an array, its index, an array
        """`array[key] += amounts`, recorded."""
        if self._marks:
            self._replaced.append((array, key, array[key].copy()))
        array[key] += amounts

    def update(self, container: dict[Any, Any], items: Iterable[tuple[Any, Any]]) -> None:
        """`container.update(items)`, recorded."""
        if self._marks:
            for key, value in items:
                self.put(container, key, value)
        else:
            container.update(items)

    def drop(self, container: dict[Any, Any], key: Any) -> None:  # noqa: ANN401 - any hashable
        """`del container[key]`, recorded."""
        if self._marks:
            self._replaced.append((container, key, container[key]))
        del container[key]

    def append(self, container: list[Any], value: Any) -> None:  # noqa: ANN401 - any item
        """`container.append(value)`, recorded."""
        if self._marks:
            self._replaced.append((container, len(container), _ABSENT))
        container.append(value)

    def extend(self, container: list[Any], values: Sequence[Any]) -> None:
        """`container.extend(values)`, recorded."""
        if self._marks:
            self._replaced.append((container, slice(len(container), None), _ABSENT))
        container.extend(values)

    def pop(self, container: list[Any]) -> Any:  # noqa: ANN401 - the item's own type
        """`container.pop()`, recorded."""
        value = container.pop()
        if self._marks:
            self._replaced.append((container, _ABSENT, value))
        return value

    def _roll_back(self, start: int) -> None:
        while len(self._replaced) > start:
            container, key, old = self._replaced.pop()
            if key is _ABSENT:
                container.append(old)
            elif old is _ABSENT:
                del container[key]
            else:
                container[key] = old
