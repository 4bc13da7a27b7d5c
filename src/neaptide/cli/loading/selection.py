"""Which pods a selector means, and the selector that means exactly an owner's own: by it a controller adopts them, and no others."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from neaptide.cli.loading.pods import hashed
from neaptide.model.objects import LabelSelector
from neaptide.model.selectors import labels_match


class Labelled:
    """Labels of things by their place in a list, found by selectors."""

    def __init__(self, things: Iterable[tuple[str, Mapping[str, str]]]) -> None:
        """Each thing's namespace and labels."""
        self._labels: list[Mapping[str, str]] = []
        self._by_pair: defaultdict[tuple[str, str, str], set[int]] = defaultdict(set)
        for place, (namespace, labels) in enumerate(things):
            self._labels.append(labels)
            for key, value in labels.items():
                self._by_pair[namespace, key, value].add(place)

    def selects_only(self, namespace: str, selector: LabelSelector | None, own: Sequence[int]) -> bool:
        """Whether a selector by labels means these things and no others of the namespace."""
        if selector is None or not selector.match_labels:
            return False
        sets = sorted((self._by_pair[namespace, *pair] for pair in selector.match_labels.items()), key=len)
        chosen = [place for place in set.intersection(*sets) if labels_match(selector, self._labels[place])]
        return set(chosen) == set(own)


def mark(kind: str, namespace: str, name: str) -> dict[str, str]:
    """The label of what no selector of its owner would tell from others."""
    return {f"neaptide.io/loaded-{kind.lower()}": hashed(f"{namespace}/{name}")}
