"""Classes of pods as placement meets them: what a class's number stands for, checked against what-ifs that took it back."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from neaptide.model.shapes import Requirements
from neaptide.model.snapshot import ClusterSnapshot


class PodClass(NamedTuple):
    """Pods that no filter and no score can tell apart, but for the name and the gates of each."""

    number: int
    shape: int
    requirements: Requirements
    namespace: str
    labels: dict[str, str]


class PodClasses:
    """The classes that were met so far.

    A what-if that ends takes the numbers of its new classes back, and other classes may get them. So a number is looked
    at again whenever pods with it turn up: `meet` returns the class as it is now and tells the listeners of a new one.
    """

    def __init__(self, snapshot: ClusterSnapshot) -> None:
        self._snapshot = snapshot
        self._known: dict[int, PodClass] = {}
        self.listeners: list[Callable[[PodClass], None]] = []

    def meet(self, number: int) -> PodClass:
        """The class of a row of the snapshot's `classes`."""
        classes, old = self._snapshot.classes, self._known.get(number)
        shape = int(classes.shape[number])
        requirements = self._snapshot.shape_facts.values[shape].requirements
        labels = self._snapshot.label_sets.values[int(classes.labels[number])]
        namespace = self._snapshot.namespaces.values[int(classes.namespace[number])]
        if (
            old is not None
            and old.requirements is requirements
            and old.labels is labels
            and old.namespace == namespace
            and old.shape == shape
        ):
            return old
        new = self._known[number] = PodClass(number, shape, requirements, namespace, labels)
        for listener in self.listeners:
            listener(new)
        return new

    def meet_all(self, numbers: Iterable[int]) -> None:
        """Meet several classes."""
        for number in numbers:
            self.meet(number)

    def known(self) -> Iterable[PodClass]:
        """The classes met so far."""
        return self._known.values()
