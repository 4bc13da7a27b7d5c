"""Pods that others took from their nodes: kubelets under pressure, taints, preemption. The loop counts them against its budgets."""

from neaptide.model.actions import Ref
from neaptide.model.objects import Pod
from neaptide.model.snapshot import ClusterSnapshot

_CONDITION = "DisruptionTarget"
_BY_EVICTION_API = "EvictionByEvictionAPI"
"""The condition's reason where somebody, perhaps this process, asked for the eviction: outcomes count those."""


class Disruptions:
    """Collects the workloads of disrupted pods, once per pod, from the condition `DisruptionTarget` that the API server shows."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], str] = {}
        self._fresh: list[Ref] = []

    def saw(self, pod: Pod, snapshot: ClusterSnapshot, *, fresh: bool) -> None:
        """Look at a pod that is in the snapshot; what a first list shows is not `fresh`, and does not count."""
        if not any(each.type == _CONDITION and each.status == "True" for each in pod.status.conditions):
            return
        meta = pod.metadata
        key = ("Pod", meta.namespace, meta.name)
        if self._known.get(key) == meta.uid:
            return
        self._known[key] = meta.uid
        asked_for = any(each.reason == _BY_EVICTION_API for each in pod.status.conditions if each.type == _CONDITION)
        workload = snapshot.workload_of(snapshot.pods.by_key[f"{meta.namespace}/{meta.name}"])
        if fresh and not asked_for and workload is not None:
            self._fresh.append(workload)

    def count(self, workload: Ref) -> None:
        """This process has disrupted a pod of a workload beside the loop: to make room for another."""
        self._fresh.append(workload)

    def forget(self, key: tuple[str, str, str]) -> None:
        """A pod is gone."""
        self._known.pop(key, None)

    def take(self) -> list[Ref]:
        """The workloads since the last call."""
        taken, self._fresh = self._fresh, []
        return taken
