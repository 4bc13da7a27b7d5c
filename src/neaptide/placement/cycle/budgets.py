"""Which disruption budgets a set of victims would violate, as kube-scheduler counts it for preemption.

A budget's `status.disruptionsAllowed` is used up victim by victim; a victim beyond it is a violation.
"""

from collections.abc import Iterable

from neaptide.model.objects import PodDisruptionBudget
from neaptide.model.selectors import labels_match
from neaptide.model.snapshot import ClusterSnapshot


class DisruptionBudgets:
    """The budgets of a snapshot as they are now, matched class by class."""

    def __init__(self, snapshot: ClusterSnapshot) -> None:
        self._snapshot = snapshot
        self._of_class: dict[int, tuple[str, ...]] = {}
        self._allowed: dict[str, int] = {}
        self._known: dict[str, PodDisruptionBudget] = {}
        self.refresh()

    def refresh(self) -> None:
        """Look at the budgets again."""
        self._known = dict(self._snapshot.others.get("PodDisruptionBudget", {}))
        self._allowed = {key: each.status.disruptions_allowed for key, each in self._known.items()}
        self._of_class = {}

    def use(self, pod: int) -> None:
        """Count a pod that is to go."""
        for key in self._budgets(pod):
            self._allowed[key] -= 1

    def violators(self, pods: Iterable[int]) -> set[int]:
        """Of pods (rows), in order, those whose eviction would violate a budget if all before them went."""
        if not self._known:
            return set()
        left = dict(self._allowed)
        found = set()
        for pod in pods:
            for key in self._budgets(pod):
                left[key] -= 1
                if left[key] < 0:
                    found.add(pod)
        return found

    def _budgets(self, pod: int) -> tuple[str, ...]:
        cls = int(self._snapshot.pods.cls[pod])
        if cls not in self._of_class:
            namespace, labels = self._snapshot.pod_namespace(pod), self._snapshot.pod_labels(pod)
            self._of_class[cls] = tuple(
                key
                for key, each in self._known.items()
                if (each.metadata.namespace or "default") == namespace and labels_match(each.spec.selector, labels)
            )
        return self._of_class[cls]
