"""Rolling updates: the room of a pod that leaves is kept for its successor, where the workload asks for it.

A workload asks by the annotation `neaptide.io/reserve-on-update: "true"`. When one of its pods leaves a node and fewer are on
nodes than it wants, a reservation for it holds the pod's room there for five minutes, or until the successor has come.
"""

import numpy as np

from neaptide.model.columns import FAILED, SUCCEEDED
from neaptide.model.objects import Metadata, PodSpec
from neaptide.model.scheduling_objects import (
    ControllerReference,
    Reservation,
    ReservationOwner,
    ReservationSpec,
    ReservationStatus,
    ReservedTemplate,
)
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import timestamp
from neaptide.placement.cycle.reservation_objects import AVAILABLE, texts

ASKS = "neaptide.io/reserve-on-update"
AUTOMATIC = "neaptide.io/automatic"
"""Label of reservations made so; they are deleted once they have ended."""
TTL = "5m"


def for_successor(snapshot: ClusterSnapshot, pod: int, now: float) -> Reservation | None:
    """The reservation that is to take the place of a pod (row) which leaves its node; None where none is asked for."""
    root, node = snapshot.workloads.root(int(snapshot.pods.owner[pod])), int(snapshot.pods.node[pod])
    workload = snapshot.workloads.objects[root] if root >= 0 else None
    if workload is None or node < 0 or workload.metadata.annotations.get(ASKS) != "true":
        return None
    if _others(snapshot, pod, root) >= (1 if workload.spec.replicas is None else workload.spec.replicas):
        return None
    shape, ref = snapshot.shape_of_pod(pod), snapshot.pod_ref(pod)
    parts = shape.requirements
    spec = PodSpec(
        containers=parts.containers,
        init_containers=parts.init_containers,
        overhead=parts.overhead,
        resources=parts.resources,
        priority=int(snapshot.pods.priority[pod]),
    )
    owner = ControllerReference(workload.kind, workload.metadata.name, namespace=ref.namespace)
    return Reservation(
        Metadata(name=f"{ref.namespace}-{ref.name}", labels={AUTOMATIC: "true"}, creation_timestamp=timestamp(now)),
        ReservationSpec(
            ReservedTemplate(Metadata(namespace=ref.namespace), spec),
            owners=(ReservationOwner(controller=owner),),
            ttl=TTL,
        ),
        ReservationStatus(AVAILABLE, snapshot.nodes.names[node], texts(shape.requests)),
    )


def _others(snapshot: ClusterSnapshot, pod: int, root: int) -> int:
    """How many other pods of a workload are on nodes and stay."""
    pods = snapshot.pods
    rows = pods.indices()
    rows = rows[(pods.owner[rows] >= 0) & (pods.node[rows] >= 0) & np.isnan(pods.deleted[rows]) & (rows != pod)]
    rows = rows[~np.isin(pods.phase[rows], (SUCCEEDED, FAILED))]
    return int(np.count_nonzero(snapshot.workloads.roots()[pods.owner[rows]] == root))
