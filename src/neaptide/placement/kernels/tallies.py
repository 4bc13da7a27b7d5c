"""Builds a Problem's Census: which pods are counted where, by which topology key."""

from collections.abc import Hashable, Sequence

import numpy as np

from neaptide.model.columns import Bools, Ints, Longs
from neaptide.placement.kernels.problem import NEVER, Census


class Tallies:
    """The tallies of a batch; equal ones are kept once.

    Attributes:
        who: of each tally, bool[classes]: the classes whose pods it counts.
    """

    def __init__(self, domains: Sequence[Ints], nodes: int) -> None:
        """Take the domains of every topology key, int32[nodes] each, below 0 where a node has none."""
        self._domain = np.array(domains, dtype=np.int32).reshape(len(domains), nodes)
        self._sizes = [max(int(row.max(initial=-1)) + 1, 1) for row in self._domain]
        self._numbers: dict[Hashable, int] = {}
        self._masks: dict[bytes, int] = {}
        self._looked_at: list[Bools] = []
        self._rows: list[tuple[int, int, int]] = []
        self._pods: list[Ints] = []
        self._exists: list[Bools] = []
        self._least: list[tuple[int, int]] = []
        self._sums: dict[Hashable, int] = {}
        self._totals: list[int] = []
        self.who: list[Bools] = []

    def add(
        self,
        name: Hashable,
        key: int,
        on_node: Ints,
        who: Bools,
        *,
        looked_at: Bools | None = None,
        least: bool = False,
        sum_of: Hashable = None,
    ) -> int:
        """The number of a tally.

        Args:
            name: what is counted; with all other arguments but `on_node` and `who` it identifies the tally.
            key: the number of the topology key.
            on_node: int32[nodes]: such pods now.
            who: bool[classes]: the classes whose pods are such.
            looked_at: bool[nodes]: only pods on these nodes count; None for all.
            least: whether the least count is asked for.
            sum_of: tallies of the same name and `sum_of` share their sum.
        """
        among = np.ones(len(on_node), dtype=np.bool_) if looked_at is None else looked_at
        mask = self._masks.setdefault(among.tobytes(), len(self._looked_at))
        if mask == len(self._looked_at):
            self._looked_at.append(among)
        number = self._numbers.setdefault((name, key, mask, least, sum_of), len(self._rows))
        if number < len(self._rows):
            return number
        domain = self._domain[key]
        among = among & (domain >= 0)
        pods = np.bincount(domain[among], weights=on_node[among], minlength=self._sizes[key]).astype(np.int32)
        exists = np.zeros(self._sizes[key], dtype=np.bool_)
        exists[domain[among]] = True
        lowest = int(pods[exists].min(initial=np.iinfo(np.int32).max)) if least else 0
        self._least.append((lowest, int(np.count_nonzero(pods[exists] == lowest)) if least else NEVER))
        total = self._sums.setdefault((name, number if sum_of is None else None, sum_of), len(self._totals))
        if total == len(self._totals):
            self._totals.append(0)
        self._totals[total] += int(pods.sum())
        self._rows.append((key, mask, total))
        self._pods.append(pods)
        self._exists.append(exists)
        self.who.append(who)
        return number

    def domains_looked_at(self, tally: int) -> int:
        """How many domains of a tally have a node that it looks at."""
        return int(np.count_nonzero(self._exists[tally]))

    def census(self) -> Census:
        """The tallies as arrays."""
        rows = np.array(self._rows, dtype=np.int64).reshape(-1, 3).T.copy()
        least = np.array(self._least, dtype=np.int64).reshape(-1, 2).T.copy()
        nodes = self._domain.shape[1]
        return Census(
            domain=self._domain,
            key=rows[0],
            looked_at=np.array(self._looked_at, dtype=np.bool_).reshape(-1, nodes),
            mask=rows[1],
            offset=np.cumsum([0, *(len(pods) for pods in self._pods)], dtype=np.int64),
            exists=_joined(self._exists, np.bool_),
            pods=_joined(self._pods, np.int32),
            least=least[0],
            at_least=least[1],
            sum_of=rows[2],
            total=np.array(self._totals, dtype=np.int64),
        )


def cells(domains: Sequence[Ints], nodes: int) -> tuple[Longs, Longs]:
    """The nodes in the order of their cells (a cell for every combination of domains, its nodes in their own order), and each cell's first."""
    numbers = np.zeros(nodes, dtype=np.int64)
    for domain in domains:
        numbers = np.unique(numbers * (int(domain.max(initial=-1)) + 2) + domain + 1, return_inverse=True)[1].reshape(
            -1
        )
    order = np.argsort(numbers, kind="stable")
    first = np.flatnonzero(np.append(True, numbers[order][1:] != numbers[order][:-1]))
    return order, np.append(first, nodes)


def _joined(parts: Sequence[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=kind)
