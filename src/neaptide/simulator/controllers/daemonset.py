"""DaemonSet: one pod on each node that its selector, affinity and tolerations admit.

The pods are bound to their nodes at once where their requests fit, as the DaemonSet controller did before it left that to
the scheduler: a class of pods for each node would cost more than it tells.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from neaptide.model import objects
from neaptide.model.selectors import labels_match, node_matches, untolerated
from neaptide.simulator.cluster import Birth, Cluster
from neaptide.simulator.controllers.base import Owner
from neaptide.simulator.templates import PodTemplate, Service

TOLERATED = tuple(
    objects.Toleration(key=f"node.kubernetes.io/{key}", operator="Exists", effect=effect)
    for key, effect in (
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    )
)


class DaemonSetController(Owner):
    """Keeps a pod on every node that it may be on."""

    kind = "DaemonSet"

    def __init__(self, cluster: Cluster, service: Service) -> None:
        super().__init__(
            cluster,
            name=service.name,
            namespace=service.namespace,
            labels=service.labels,
            annotations=service.annotations,
        )
        labels = service.template.labels or {"app": service.name}
        spec = replace(service.template.spec, tolerations=service.template.spec.tolerations + TOLERATED)
        self.template: PodTemplate = replace(service.template, labels=labels, spec=spec)
        self._selector = objects.LabelSelector(dict(labels))
        self._pods: dict[str, int] = {}
        self._missing: dict[str, None] = {}
        self.publish()
        self.reconcile(cluster.snapshot.nodes.indices().tolist())

    def admits(self, labels: dict[str, str], taints: tuple[objects.Taint, ...], name: str) -> bool:
        """Whether a node is one of its own."""
        spec = self.template.spec
        affinity = spec.affinity.node_affinity if spec.affinity else None
        required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
        return (
            labels_match(objects.LabelSelector(spec.node_selector), labels)
            and node_matches(required, labels, name)
            and untolerated(taints, spec.tolerations, ("NoSchedule", "NoExecute")) is None
        )

    def reconcile(self, nodes: Iterable[int]) -> None:
        """Make the pods that are missing on nodes (rows), where there is room; elsewhere `retry` will."""
        snapshot = self.cluster.snapshot
        for node in nodes:
            name = snapshot.nodes.names[node]
            if name in self._pods or not self.cluster.nodes.up[node]:
                continue
            if self.admits(snapshot.node_labels(node), snapshot.node_taints(node), name):
                self._place(node, name)

    def retry(self) -> None:
        """Try again where there was no room."""
        if self._missing:
            missing, self._missing = self._missing, {}
            rows = self.cluster.snapshot.nodes.by_name
            self.reconcile([rows[name] for name in missing if name in rows])

    def desired(self) -> int:
        """How many pods there should be now."""
        return len(self._pods)

    def publish(self) -> None:
        """Write the object into the snapshot."""
        ready = sum(bool(self.cluster.snapshot.pods.ready[pod]) for pod in self._pods.values())
        status = objects.WorkloadStatus(replicas=len(self._pods), ready_replicas=ready)
        self.write(objects.WorkloadSpec(selector=self._selector), status)

    def started(self, pod: int) -> None:
        del pod

    def finished(self, pod: int, *, failed: bool, saved: float) -> None:
        raise AssertionError(f"row {pod}: a service's pod does not end (failed: {failed}, saved: {saved})")

    def stopping(self, pod: int, *, saved: float) -> None:
        del pod, saved

    def gone(self, pod: int) -> None:
        name = next(name for name, row in self._pods.items() if row == pod)
        del self._pods[name]
        if name in self.cluster.snapshot.nodes.by_name:
            self._missing[name] = None

    def reserve(self, node: int) -> bool:
        """Put a pod on a node (row) where it fits; for use inside `what_if`."""
        snapshot = self.cluster.snapshot
        meta = objects.Metadata(
            name=f"{self.meta.name}-{snapshot.nodes.names[node]}",
            namespace=self.meta.namespace,
            labels=self.template.labels,
            owner_references=(self.reference,),
        )
        pod = snapshot.set_pod(objects.Pod(meta, self.template.spec))
        fits = bool((snapshot.pod_requests(pod) <= snapshot.free()[:, node]).all())
        if fits:
            snapshot.assign(pod, node)
        return fits

    def _place(self, node: int, name: str) -> None:
        with self.cluster.snapshot.what_if():
            fits = self.reserve(node)
        if not fits:
            self._missing[name] = None
            return
        birth = Birth(
            f"{self.meta.name}-{self.cluster.suffix()}", self.meta.namespace, self.reference, self.cluster.clock.now
        )
        self._pods[name] = self.cluster.create(self.template, birth, self, node=node)
