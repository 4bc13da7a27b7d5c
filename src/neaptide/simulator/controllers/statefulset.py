"""StatefulSet with ordered pod management: pods are numbered, start one after the other and leave from the last."""

from msgspec.structs import replace

from neaptide.model import objects
from neaptide.model.workloads import SUSPENDED_REPLICAS
from neaptide.simulator.cluster import Birth, Cause, Cluster
from neaptide.simulator.controllers.base import Owner
from neaptide.simulator.templates import Service


class StatefulSetController(Owner):
    """Keeps pods 0 to replicas - 1; a number is free again only when its pod is gone."""

    kind = "StatefulSet"

    def __init__(self, cluster: Cluster, service: Service) -> None:
        super().__init__(
            cluster,
            name=service.name,
            namespace=service.namespace,
            labels=service.labels,
            annotations=service.annotations,
        )
        labels = service.template.labels or {"app": service.name}
        self._template = replace(service.template, labels=labels)
        self._selector = objects.LabelSelector(dict(labels))
        self.replicas, self.suspended = service.replicas, False
        self._by_number: dict[int, int] = {}
        self._since: dict[int, float] = {}
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
        """Keep the replicas aside and stop the pods, all at once."""
        self.suspended = True
        self.publish()
        for number in sorted(self._by_number, reverse=True):
            self.cluster.stop(self._by_number[number], cause)

    def resume(self) -> None:
        self.suspended = False
        self.publish()
        self._reconcile()

    def desired(self) -> int:
        """How many pods there should be now."""
        return 0 if self.suspended else self.replicas

    def publish(self) -> None:
        """Write the object into the snapshot."""
        ready = sum(bool(self.cluster.snapshot.pods.ready[pod]) for pod in self._by_number.values())
        spec = objects.WorkloadSpec(replicas=self.desired(), selector=self._selector)
        status = objects.WorkloadStatus(replicas=len(self._by_number), ready_replicas=ready)
        self.write(spec, status, **({SUSPENDED_REPLICAS: str(self.replicas)} if self.suspended else {}))

    def started(self, pod: int) -> None:
        del pod
        self._reconcile()

    def finished(self, pod: int, *, failed: bool, saved: float) -> None:
        raise AssertionError(f"row {pod}: a service's pod does not end (failed: {failed}, saved: {saved})")

    def stopping(self, pod: int, *, saved: float) -> None:
        del saved
        self._since[self._number(pod)] = self.cluster.clock.now

    def gone(self, pod: int) -> None:
        del self._by_number[self._number(pod)]
        self._reconcile()

    def _reconcile(self) -> None:
        """The first number without a ready pod is all that may be worked on, then the last one too many."""
        if self.suspended:
            return
        wanted, ready = self.replicas, self.cluster.snapshot.pods.ready
        for number in range(wanted):
            if number not in self._by_number:
                birth = Birth(
                    f"{self.meta.name}-{number}",
                    self.meta.namespace,
                    self.reference,
                    self._since.pop(number, self.cluster.clock.now),
                )
                self._by_number[number] = self.cluster.create(self._template, birth, self)
                return
            if not ready[self._by_number[number]]:
                return
        last = max(self._by_number, default=-1)
        if last >= wanted:
            self.cluster.stop(self._by_number[last], None)

    def _number(self, pod: int) -> int:
        return next(number for number, row in self._by_number.items() if row == pod)
