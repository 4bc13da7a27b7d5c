"""Building blocks of the snapshot: interned values, and columns that grow together."""

from collections.abc import Hashable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from neaptide.model.undo import Undo

Value = TypeVar("Value")


class Interner(Generic[Value]):
    """Gives every distinct value a small number, in order of first appearance; numbers are never reused."""

    def __init__(self, undo: Undo) -> None:
        self.values: list[Value] = []
        self._numbers: dict[Hashable, int] = {}
        self._undo = undo

    def __len__(self) -> int:
        return len(self.values)

    def get(self, key: Hashable) -> int | None:
        """The number of a key that was seen before."""
        return self._numbers.get(key)

    def add(self, key: Hashable, value: Value) -> int:
        """A new key's number; `key` is hashable and identifies `value`."""
        number = len(self.values)
        self._undo.put(self._numbers, key, number)
        self._undo.append(self.values, value)
        return number

    def keys(self) -> list[Hashable]:
        """The key of every number."""
        return list(self._numbers)

    def take(self, other: "Interner[Value]", numbers: NDArray[np.int32]) -> NDArray[np.int32]:
        """Give the values that have these numbers in another interner numbers here.

        Returns:
            int32[len(other) + 1]: by number there the one here, -1 where it was not asked for; the last entry, -1, stands for -1.
        """
        here = np.full(len(other) + 1, -1, dtype=np.int32)
        keys = other.keys()
        for number in np.unique(numbers[numbers >= 0]).tolist():
            known = self.get(keys[number])
            here[number] = self.add(keys[number], other.values[number]) if known is None else known
        return here


class Columns:
    """Arrays of one length that grow together. Row `i` is free or alive; free rows are reused, last freed first.

    A column is an attribute: an array of shape [rows], or [width, rows] for the matrices in `wide`. Rows beyond `rows`
    are spare capacity; a free row holds the column's empty value.
    """

    rows: int
    alive: np.ndarray

    def __init__(self, undo: Undo, narrow: dict[str, tuple[type, Any]], wide: dict[str, int]) -> None:
        self._undo = undo
        self._empty = {"alive": (np.bool_, False), **narrow}
        self._wide = wide
        self.rows = 0
        self._free: list[int] = []
        for name, (kind, empty) in self._empty.items():
            setattr(self, name, np.full(16, empty, dtype=kind))
        for name, width in wide.items():
            setattr(self, name, np.zeros((width, 16), dtype=np.int64))

    def indices(self) -> np.ndarray:
        """The rows that are alive, ascending."""
        return np.flatnonzero(self.alive[: self.rows])

    def allocate(self) -> int:
        """A row to fill: a free one, or a new one at the end."""
        if self._free:
            row: int = self._undo.pop(self._free)
        else:
            row = self.rows
            if row == len(self.alive):
                self.reserve(2 * row)
            self._undo.put(vars(self), "rows", row + 1)
        self._undo.put(self.alive, row, True)
        return row

    def extend(self, count: int) -> slice:
        """`count` new rows at the end."""
        start = self.rows
        self.reserve(max(start + count, 2 * len(self.alive)) if start + count > len(self.alive) else 0)
        block = slice(start, start + count)
        self._undo.put(vars(self), "rows", start + count)
        self._undo.put(self.alive, block, True)
        return block

    def fill(self, row: int, names: Sequence[str], values: Sequence[Any]) -> None:
        """Write several columns of one row."""
        columns = vars(self)
        if self._undo.open:
            for name, value in zip(names, values, strict=True):
                self._undo.put(columns[name], row, value)
        else:
            for name, value in zip(names, values, strict=True):
                columns[name][row] = value

    def release(self, row: int) -> None:
        """Empty a row and keep it for reuse."""
        for name, (_, empty) in self._empty.items():
            self._undo.put(vars(self)[name], row, empty)
        for name in self._wide:
            self._undo.put(vars(self)[name], (slice(None), row), 0)
        self._undo.append(self._free, row)

    def reserve(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        spare = capacity - len(self.alive)
        if spare <= 0:
            return
        for name, (kind, empty) in self._empty.items():
            grown = np.concatenate([vars(self)[name], np.full(spare, empty, dtype=kind)])
            self._undo.put(vars(self), name, grown)
        for name in self._wide:
            self._undo.put(vars(self), name, np.pad(vars(self)[name], ((0, 0), (0, spare))))

    def take(self, other: "Columns", rows: NDArray[np.int64] | None = None) -> None:
        """Become a copy of the rows of another table, in their order; of all where none are named, the free ones kept for reuse."""
        chosen = np.arange(other.rows) if rows is None else rows
        self.rows = len(chosen)
        for name in self._wide:
            self.widen(name, len(vars(other)[name]))
        self.reserve(self.rows)
        for name in (*self._empty, *self._wide):
            vars(self)[name][..., : self.rows] = vars(other)[name][..., chosen]
        self._free = np.flatnonzero(~self.alive[: self.rows])[::-1].tolist()

    def widen(self, name: str, width: int) -> None:
        """Give a matrix more columns of its own: [width, rows]."""
        array = vars(self)[name]
        if width > len(array):
            self._undo.put(vars(self), name, np.pad(array, ((0, width - len(array)), (0, 0))))
            self._undo.put(self._wide, name, width)

    def column_names(self) -> list[str]:
        """The names of the columns, matrices last."""
        return [*self._empty, *self._wide]

    def bytes_of(self, name: str) -> bytes:
        """A column's bytes."""
        content: bytes = vars(self)[name][..., : self.rows].tobytes()
        return content

    def contents(self) -> dict[str, bytes]:
        """Every column's bytes, for comparing two states exactly."""
        return {name: self.bytes_of(name) for name in self.column_names()}
