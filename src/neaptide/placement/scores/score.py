"""What a score is."""

from abc import abstractmethod

from msgspec import Struct

from neaptide.model.columns import Longs
from neaptide.placement.view import Pod, View

LARGEST = 100
"""The most that a score gives a node, before its weight."""
LARGEST_WEIGHT = 2**31 - 1


class Score(Struct, frozen=True, kw_only=True, rename="camel", tag_field="name", forbid_unknown_fields=True):
    """A preference among the nodes that can take a pod. `weight` multiplies it; other fields are its parameters."""

    weight: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.weight <= LARGEST_WEIGHT:
            raise ValueError(f"weight must be in 1..{LARGEST_WEIGHT}")

    @property
    def name(self) -> str:
        """As profiles name it."""
        return str(self.__struct_config__.tag)

    @abstractmethod
    def scores(self, view: View, pod: Pod, rows: Longs) -> Longs | None:
        """int64[len(rows)], 0..100: of each of the feasible nodes, before the weight; None where the score has no say.

        Args:
            view: the cluster.
            pod: the pod to place.
            rows: the feasible nodes, ascending; normalisation is over them.
        """


def normalized(raw: Longs, *, reverse: bool = False) -> Longs:
    """int64: raw scores of 0 or more as parts of the largest one, 0..100; with `reverse` 0 is the best."""
    largest = int(raw.max(initial=0))
    scaled = LARGEST * raw // largest if largest else raw
    return LARGEST - scaled if reverse else scaled
