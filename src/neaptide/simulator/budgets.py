"""PodDisruptionBudgets: the disruption controller's status, and what the eviction API makes of it.

Sources: kubernetes/pkg/controller/disruption/disruption.go, pkg/registry/core/pod/storage/eviction.go.
"""

from collections.abc import Iterable

import numpy as np
from msgspec.structs import replace

from neaptide.model.actions import Reason
from neaptide.model.columns import RUNNING, Longs
from neaptide.model.objects import DisruptionBudgetStatus, PodDisruptionBudget
from neaptide.model.problems import FieldError
from neaptide.model.selectors import labels_match
from neaptide.simulator.cluster import Cluster

KIND = "PodDisruptionBudget"


class DisruptionBudgets:
    """All budgets of a cluster."""

    _classes: dict[str, list[int]]
    _budgets_of_class: dict[int, list[str]]
    _seen: int
    _before: Longs
    """What `_counts` gave the last time."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._snapshot = cluster, cluster.snapshot
        self._forget()

    def add(self, budgets: Iterable[PodDisruptionBudget]) -> None:
        """Put budgets into the snapshot. Raises FieldError where they do not tell how many pods they mean."""
        for budget in budgets:
            for name in ("min_available", "max_unavailable"):
                scaled(getattr(budget.spec, name), 0, field=f"spec.{name}")
            self._snapshot.set(budget)
        self._forget()

    def publish(self) -> None:
        """Bring the status of the budgets in the snapshot up to date whose pods have changed."""
        known = self._snapshot.others.get(KIND, {})
        if not known:
            return
        self._match_new_classes()
        counts = self._counts()
        before = np.full_like(counts, -1)
        before[:, : self._before.shape[1]] = self._before
        self._before = counts
        changed = np.flatnonzero((counts != before).any(axis=0)).tolist()
        for key in dict.fromkeys(key for cls in changed for key in self._budgets_of_class.get(cls, ())):
            status = self._status(known[key], self._classes[key], counts)
            if status != known[key].status:
                self._snapshot.set(replace(known[key], status=status))

    def refusal(self, pod: int) -> Reason | None:
        """Why the eviction API refuses to evict a pod (row) now."""
        table = self._snapshot.pods
        if table.phase[pod] != RUNNING:
            return None
        self.publish()
        cls = int(table.cls[pod])
        found = self._budgets_of_class.get(cls, [])
        if len(found) > 1:
            return Reason("SeveralBudgets", "the eviction API refuses pods that several PodDisruptionBudgets select")
        for key in found:
            budget: PodDisruptionBudget = self._snapshot.others[KIND][key]
            if not table.ready[pod] and self._may_go_unready(budget):
                continue
            if budget.status.disruptions_allowed <= 0:
                return Reason(
                    "TooManyRequests", f"429: PodDisruptionBudget {key} allows no disruption now: {_explain(budget)}"
                )
        return None

    def _may_go_unready(self, budget: PodDisruptionBudget) -> bool:
        status = budget.status
        healthy = status.current_healthy >= status.desired_healthy and status.desired_healthy > 0
        return healthy or budget.spec.unhealthy_pod_eviction_policy == "AlwaysAllow"

    def _forget(self) -> None:
        self._classes, self._budgets_of_class = {}, {}
        self._seen = 0
        self._before = np.empty((2, 0), dtype=np.int64)

    def _match_new_classes(self) -> None:
        snapshot = self._snapshot
        for cls in range(self._seen, snapshot.classes.rows):
            labels = snapshot.label_sets.values[int(snapshot.classes.labels[cls])]
            namespace = snapshot.namespaces.values[int(snapshot.classes.namespace[cls])]
            for key, budget in snapshot.others[KIND].items():
                if (budget.metadata.namespace or "default") == namespace and labels_match(budget.spec.selector, labels):
                    self._classes.setdefault(key, []).append(cls)
                    self._budgets_of_class.setdefault(cls, []).append(key)
        self._seen = snapshot.classes.rows

    def _counts(self) -> Longs:
        """int64[2, classes]: the pods that are ready and stay, and all that stay."""
        table = self._snapshot.pods
        rows = table.indices()
        rows = rows[np.isnan(table.deleted[rows])]
        classes = self._snapshot.classes.rows
        ready = rows[table.ready[rows]]
        return np.array([np.bincount(table.cls[each], minlength=classes) for each in (ready, rows)], dtype=np.int64)

    def _status(self, budget: PodDisruptionBudget, classes: list[int], counts: Longs) -> DisruptionBudgetStatus:
        current, pods = counts[:, classes].sum(axis=1).tolist()
        wanted = sum(self._cluster.wanted_of_class.get(cls, lambda: 0)() for cls in classes)
        expected = wanted or pods
        if budget.spec.max_unavailable is not None:
            desired = max(expected - scaled(budget.spec.max_unavailable, expected), 0)
        else:
            desired = scaled(budget.spec.min_available, expected)
        allowed = max(current - desired, 0) if expected > 0 else 0
        return DisruptionBudgetStatus(
            disruptions_allowed=allowed,
            current_healthy=current,
            desired_healthy=desired,
            expected_pods=expected,
            observed_generation=budget.metadata.generation,
        )


def scaled(amount: int | str | None, of: int, *, field: str = "") -> int:
    """A number, or a percentage of `of` rounded up; 1 where there is none, the API's default. Raises FieldError."""
    if amount is None:
        return 1
    text = str(amount)
    number = text.removesuffix("%")
    if not number.isdigit():
        raise FieldError(field, amount, "a number of pods or a percentage such as 25%")
    return -(-int(number) * of // 100) if text.endswith("%") else int(number)


def _explain(budget: PodDisruptionBudget) -> str:
    status = budget.status
    return f"{status.current_healthy} pods are healthy, {status.desired_healthy} must be"
