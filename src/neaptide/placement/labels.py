"""Labels of many rows as columns, so that a selector is asked once for each distinct value and not once for each row."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from neaptide.model.columns import Bools, Ints, Longs
from neaptide.model.objects import LabelSelector, Requirement
from neaptide.model.selectors import requirement_matches

MISSING = -1


class LabelColumns:
    """For every label key that was asked for: the number of its value in each row, MISSING where the row lacks the key.

    A value keeps its number for good, so that numbers may index tables (topology domains do).
    """

    def __init__(self, labels_of: Callable[[int], Mapping[str, str]]) -> None:
        self._labels_of = labels_of
        self._rows = 0
        self._numbers: dict[str, dict[str, int]] = {}
        self._values: dict[str, list[str]] = {}
        self._columns: dict[str, Ints] = {}

    def refresh(self, rows: Iterable[int], size: int) -> None:
        """Read rows again, all below `size`, the number of rows from now on."""
        if size != self._rows:
            spare = np.full(max(size - self._rows, 0), MISSING, dtype=np.int32)
            self._columns = {key: np.concatenate([column[:size], spare]) for key, column in self._columns.items()}
            self._rows = size
        for row in rows if self._columns else ():
            labels = self._labels_of(row)
            for key, column in self._columns.items():
                column[row] = self._number(key, labels.get(key))

    def column(self, key: str) -> Ints:
        """int32[rows], to be read only."""
        if key not in self._columns:
            self._numbers[key], self._values[key] = {}, []
            found = (self._number(key, self._labels_of(row).get(key)) for row in range(self._rows))
            self._columns[key] = np.fromiter(found, dtype=np.int32, count=self._rows)
        return self._columns[key]

    def values(self, key: str) -> list[str]:
        """The values of a key by number, those that no row has any more included; to be read only."""
        self.column(key)
        return self._values[key]

    def meets(self, requirement: Requirement, rows: Longs) -> Bools:
        """bool[len(rows)]: which rows meet one expression of a label or node selector."""
        key = requirement.key
        numbers = self.column(key)[rows]
        values = self._values[key]
        present = np.zeros(len(values) + 1, dtype=np.bool_)
        present[numbers] = True  # MISSING is the last
        truth = np.zeros(len(values) + 1, dtype=np.bool_)
        for number in np.flatnonzero(present).tolist():
            labels = {key: values[number]} if number < len(values) else {}
            truth[number] = requirement_matches(requirement, labels)
        return truth[numbers]

    def selected(self, selector: LabelSelector | None, rows: Longs) -> Bools:
        """bool[len(rows)]: which rows a label selector selects; none selects nothing, an empty one everything."""
        if selector is None:
            return np.zeros(len(rows), dtype=np.bool_)
        exact = (Requirement(key, "In", (value,)) for key, value in selector.match_labels.items())
        return self.meets_all((*exact, *selector.match_expressions), rows)

    def meets_all(self, requirements: Iterable[Requirement], rows: Longs) -> Bools:
        """bool[len(rows)]: which rows meet every expression."""
        met = np.ones(len(rows), dtype=np.bool_)
        for requirement in requirements:
            met &= self.meets(requirement, rows)
        return met

    def _number(self, key: str, value: str | None) -> int:
        if value is None:
            return MISSING
        number = self._numbers[key].setdefault(value, len(self._values[key]))
        if number == len(self._values[key]):
            self._values[key].append(value)
        return number
