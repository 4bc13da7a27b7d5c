"""Who has to go so that plugins which refuse a pod whatever the nodes let it pass: no more than that takes."""

from bisect import bisect_left
from collections.abc import Sequence

from neaptide.placement.cycle.plugin import Plugin


class Debts:
    """What is owed to one pod.

    Attributes:
        plugins: those that refuse it.
        pods: who may go (rows), the least important first.
    """

    def __init__(
        self, pod: int, plugins: Sequence[Plugin], pods: Sequence[int], gone: Sequence[int], come: Sequence[int]
    ) -> None:
        self.plugins, self.pods = tuple(plugins), tuple(pods)
        self._pod, self._gone, self._come = pod, gone, come

    def least(self, victims: Sequence[int]) -> tuple[int, ...] | None:
        """Who has to go besides these victims, the least important of all that would do; None where all together do not suffice."""
        others = [each for each in self.pods if each not in victims]
        count = bisect_left(range(len(others) + 1), True, key=lambda count: self._passes(victims, others[:count]))
        if count > len(others):
            return None
        found = others[:count]
        for each in reversed(found):
            without = [other for other in found if other != each]
            if self._passes(victims, without):
                found = without
        return tuple(found)

    def _passes(self, victims: Sequence[int], others: Sequence[int]) -> bool:
        gone = (*self._gone, *victims, *others)
        return all(each.passes(self._pod, gone, self._come) for each in self.plugins)
