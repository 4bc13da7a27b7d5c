"""What every controller of workloads shares: its object in the snapshot, and the owner reference of its pods."""

from collections.abc import Mapping
from typing import ClassVar

from neaptide.model import objects
from neaptide.model.actions import Ref
from neaptide.model.times import timestamp
from neaptide.model.workloads import SUSPEND_RUNNING
from neaptide.simulator.cluster import Cluster


class Owner:
    """A workload's object: written again whenever its spec changes; its status when somebody looks."""

    kind: ClassVar[str]

    def __init__(
        self,
        cluster: Cluster,
        *,
        name: str,
        namespace: str,
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
        above: objects.OwnerReference | None = None,
    ) -> None:
        self.cluster = cluster
        self.meta = objects.Metadata(
            name=name,
            namespace=namespace,
            uid=cluster.uid(),
            labels=dict(labels),
            annotations=({SUSPEND_RUNNING: "true"} if self.kind == "Job" else {}) | dict(annotations),
            owner_references=() if above is None else (above,),
            creation_timestamp=timestamp(cluster.clock.now),
        )
        self.ref = Ref(self.kind, name, namespace, self.meta.uid)
        self.root = self.ref if above is None else Ref(above.kind, above.name, namespace, above.uid)

    @property
    def reference(self) -> objects.OwnerReference:
        """How what it makes refers to it."""
        return reference(self.ref)

    def write(self, spec: objects.WorkloadSpec, status: objects.WorkloadStatus, **annotations: str) -> None:
        """Put the object into the snapshot, with annotations added."""
        meta = objects.Metadata(
            name=self.meta.name,
            namespace=self.meta.namespace,
            uid=self.meta.uid,
            labels=self.meta.labels,
            annotations=self.meta.annotations | annotations,
            owner_references=self.meta.owner_references,
            creation_timestamp=self.meta.creation_timestamp,
        )
        self.cluster.snapshot.workloads.set(objects.Workload(self.kind, meta, spec, status))


def reference(ref: Ref) -> objects.OwnerReference:
    """A controller's owner reference."""
    return objects.OwnerReference(kind=ref.kind, name=ref.name, uid=ref.uid, controller=True)
