"""A snapshot that can tell what was written into it: as a watch tells it to a scheduler that keeps a snapshot of its own.

All pods are told as the default scheduler's, for one schedules them all here.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
from msgspec.structs import replace

from neaptide.model import objects
from neaptide.model.any_object import AnyObject
from neaptide.model.columns import PHASES, Longs
from neaptide.model.pod_row import pod_key
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import timestamp
from neaptide.placement.cycle import events

_READY = {state: objects.Condition("Ready", state) for state in ("True", "False")}


class WatchedSnapshot(ClusterSnapshot):
    """A cluster whose changes `news` tells, each object once and as it is then. What a what-if tries is no news."""

    def __init__(self) -> None:
        super().__init__()
        self._pods: dict[str, objects.Pod] = {}
        self._nodes: dict[str, objects.Node] = {}
        self._others: list[events.AnyEvent] = []
        self._changed_pods: dict[str, None] = {}
        self._changed_nodes: dict[str, None] = {}
        self._trying = 0

    def news(self) -> Iterator[events.AnyEvent]:
        """What has changed since the last call: nodes, then other objects, then pods."""
        nodes, others, pods = self._changed_nodes, self._others, self._changed_pods
        self._changed_nodes, self._others, self._changed_pods = {}, [], {}
        for name in nodes:
            yield events.Applied(self._nodes[name]) if name in self._nodes else events.Removed("Node", name)
        yield from others
        for key in pods:
            row = self.pods.by_key.get(key)
            if row is not None:
                yield events.Applied(self._pod(key, row))
                continue
            self._pods.pop(key, None)
            namespace, _, name = key.partition("/")
            yield events.Removed("Pod", name, namespace)

    def what_if(self) -> AbstractContextManager[None]:
        return self._tried()

    # -- what is written -----------------------------------------------------------------------------------------------

    def set(self, item: AnyObject) -> None:
        super().set(item)
        if not self._trying and not isinstance(item, objects.Pod | objects.Node):
            self._others.append(events.Applied(item))

    def remove(self, kind: str, name: str, namespace: str = "") -> None:
        super().remove(kind, name, namespace)
        if not self._trying and kind not in ("Pod", "Node"):
            self._others.append(events.Removed(kind, name, namespace))

    def set_node(self, node: objects.Node) -> int:
        row = super().set_node(node)
        self._note_node(node.metadata.name, node)
        return row

    def remove_node(self, name: str) -> None:
        super().remove_node(name)
        if not self._trying:
            self._nodes.pop(name, None)
            self._changed_nodes[name] = None

    def set_node_resources(self, node: int, resources: dict[str, int | None]) -> None:  # type: ignore[override] # simulated
        super().set_node_resources(node, resources)
        name = self.nodes.names[node]
        known = self._nodes.get(name)
        if known is not None:
            status = known.status
            amounts = (_with(each, resources) for each in (status.allocatable, status.capacity))
            allocatable, capacity = amounts
            self._note_node(name, replace(known, status=replace(status, allocatable=allocatable, capacity=capacity)))

    def set_pod(self, pod: objects.Pod) -> int:
        row = super().set_pod(pod)
        if not self._trying:
            key = pod_key(pod.metadata)
            self._pods[key] = pod
            self._changed_pods[key] = None
        return row

    def remove_pod(self, key: str) -> None:
        super().remove_pod(key)
        if not self._trying:
            self._changed_pods[key] = None

    def assign(self, pod: int, node: int) -> None:
        super().assign(pod, node)
        self._note_pod(pod)

    def assign_all(self, pods: Longs, nodes: Longs) -> None:
        super().assign_all(pods, nodes)
        for pod in pods.tolist():
            self._note_pod(pod)

    def unassign(self, pod: int) -> None:
        super().unassign(pod)
        self._note_pod(pod)

    def set_pod_status(self, pod: int, *, phase: int, ready: bool, started: float) -> None:
        super().set_pod_status(pod, phase=phase, ready=ready, started=started)
        self._note_pod(pod)

    def set_pod_deleted(self, pod: int, time: float) -> None:
        super().set_pod_deleted(pod, time)
        self._note_pod(pod)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _note_pod(self, row: int) -> None:
        if not self._trying:
            self._changed_pods[self.pods.keys[row]] = None

    def _note_node(self, name: str, node: objects.Node) -> None:
        if not self._trying:
            self._nodes[name] = node
            self._changed_nodes[name] = None

    def _pod(self, key: str, row: int) -> objects.Pod:
        """A pod's object with the node and the status that its row says."""
        pod, table = self._pods[key], self.pods
        node, started, deleted = int(table.node[row]), float(table.started[row]), float(table.deleted[row])
        metadata = pod.metadata if np.isnan(deleted) else replace(pod.metadata, deletion_timestamp=timestamp(deleted))
        status = objects.PodStatus(
            phase=PHASES[int(table.phase[row])],
            start_time=None if np.isnan(started) else timestamp(started),
            conditions=(_READY["True" if table.ready[row] else "False"],),
        )
        spec = replace(pod.spec, node_name=self.nodes.names[node] if node >= 0 else "", scheduler_name="")
        return objects.Pod(metadata, spec, status)

    @contextmanager
    def _tried(self) -> Iterator[None]:
        self._trying += 1
        try:
            with super().what_if():
                yield
        finally:
            self._trying -= 1


def _with(amounts: dict[str, str], resources: dict[str, int | None]) -> dict[str, str]:
    """Amounts with some set, and without those that are None."""
    kept = {name: text for name, text in amounts.items() if resources.get(name, 0) is not None}
    return kept | {name: str(amount) for name, amount in resources.items() if amount is not None}
