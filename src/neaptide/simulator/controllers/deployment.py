"""Deployment and its ReplicaSet: any pod is as good as another, and a pod that is leaving counts as gone.

One template, so one ReplicaSet; roll-outs are not simulated.
"""

from collections import Counter
from zlib import crc32

import numpy as np
from msgspec.structs import replace

from neaptide.model import objects
from neaptide.model.actions import Ref
from neaptide.model.columns import PENDING, RUNNING
from neaptide.model.workloads import HASH_LABEL, SUSPENDED_REPLICAS
from neaptide.simulator.cluster import LETTERS, Birth, Cause, Cluster
from neaptide.simulator.controllers.base import Owner, reference
from neaptide.simulator.templates import Service

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


class DeploymentController(Owner):
    """Keeps `replicas` pods."""

    kind = "Deployment"

    def __init__(self, cluster: Cluster, service: Service) -> None:
        super().__init__(
            cluster,
            name=service.name,
            namespace=service.namespace,
            labels=service.labels,
            annotations=service.annotations,
        )
        hash_ = _hash(service)
        labels = (service.template.labels or {"app": service.name}) | {HASH_LABEL: hash_}
        self._template = replace(service.template, labels=labels)
        self._selector = objects.LabelSelector({key: labels[key] for key in labels if key != HASH_LABEL})
        self._replica_set = Ref("ReplicaSet", f"{service.name}-{hash_}", service.namespace, cluster.uid())
        self.replicas, self.suspended = service.replicas, False
        self.pods: dict[int, None] = {}
        self.publish()
        self._reconcile()

    def scale(self, replicas: int) -> None:
        """Want another number of pods; while suspended, once it is resumed."""
        self.replicas = replicas
        self.publish()
        self._reconcile()

    def scaled(self) -> int:
        """How many pods it wants unless it is suspended."""
        return self.replicas

    def suspend(self, cause: Cause) -> None:
        """Keep the replicas aside and stop the pods."""
        self.suspended = True
        self.publish()
        self._let_go(list(self.pods), cause)

    def resume(self) -> None:
        self.suspended = False
        self.publish()
        self._reconcile()

    def desired(self) -> int:
        """How many pods there should be now."""
        return 0 if self.suspended else self.replicas

    def publish(self) -> None:
        """Write the Deployment and its ReplicaSet into the snapshot."""
        ready = sum(bool(self.cluster.snapshot.pods.ready[pod]) for pod in self.pods)
        spec = objects.WorkloadSpec(replicas=self.desired(), selector=self._selector)
        status = objects.WorkloadStatus(replicas=len(self.pods), ready_replicas=ready)
        self.write(spec, status, **({SUSPENDED_REPLICAS: str(self.replicas)} if self.suspended else {}))
        meta = objects.Metadata(
            name=self._replica_set.name,
            namespace=self._replica_set.namespace,
            uid=self._replica_set.uid,
            owner_references=(self.reference,),
        )
        self.cluster.snapshot.workloads.set(objects.Workload("ReplicaSet", meta, spec, status))

    def started(self, pod: int) -> None:
        del pod

    def finished(self, pod: int, *, failed: bool, saved: float) -> None:
        raise AssertionError(f"row {pod}: a service's pod does not end (failed: {failed}, saved: {saved})")

    def stopping(self, pod: int, *, saved: float) -> None:
        del saved
        self.pods.pop(pod, None)
        self._reconcile()

    def gone(self, pod: int) -> None:
        del pod

    def _reconcile(self) -> None:
        wanted = self.desired()
        while len(self.pods) < wanted:
            birth = Birth(
                f"{self._replica_set.name}-{self.cluster.suffix()}",
                self.meta.namespace,
                reference(self._replica_set),
                self.cluster.clock.now,
            )
            self.pods[self.cluster.create(self._template, birth, self)] = None
        if len(self.pods) > wanted:
            self._let_go(self._in_order_of_deletion()[: len(self.pods) - wanted], None)

    def _let_go(self, pods: list[int], cause: Cause | None) -> None:
        for pod in pods:
            del self.pods[pod]
        for pod in pods:
            self.cluster.stop(pod, cause)

    def _in_order_of_deletion(self) -> list[int]:
        """As the ReplicaSet controller: unbound, pending, unready, low deletion cost, crowded on a node, newest first."""
        snapshot = self.cluster.snapshot
        table = snapshot.pods
        crowd = Counter(int(table.node[pod]) for pod in self.pods)

        def key(pod: int) -> tuple[float, ...]:
            cost = snapshot.pod_annotations(pod).get(DELETION_COST, "0")
            phase, started = int(table.phase[pod]), float(table.started[pod])
            return (
                table.node[pod] >= 0,
                {PENDING: 0, RUNNING: 2}.get(phase, 1),
                bool(table.ready[pod]),
                int(cost) if cost.lstrip("+-").isdigit() else 0,
                -crowd[int(table.node[pod])],
                0.0 if np.isnan(started) else -started,
                -float(self.cluster.pods.token[pod]),
            )

        return sorted(self.pods, key=key)


def _hash(service: Service) -> str:
    """A pod-template-hash: ten letters that the name and the template give."""
    number, letters = crc32(repr((service.name, service.template.labels, service.template.spec)).encode()), ""
    for _ in range(10):
        number, letter = divmod(number * 31 + 7, len(LETTERS))
        letters += LETTERS[letter]
    return letters
