"""What a scheduler reads besides pods and nodes: gangs, quotas and reservations, as their CRDs have them.

PodGroup and ElasticQuota are scheduler-plugins' (scheduling.sigs.k8s.io/v1alpha1), Reservation is Koordinator's
(scheduling.koordinator.sh/v1alpha1).
"""

from msgspec import field

from neaptide.model.objects import ApiStruct, Int32, LabelSelector, Metadata, PodSpec, Taint


class PodGroupSpec(ApiStruct, frozen=True):
    min_member: Int32 = 1
    schedule_timeout_seconds: Int32 | None = None


class PodGroupStatus(ApiStruct, frozen=True):
    phase: str = ""
    scheduled: Int32 = 0


class PodGroup(ApiStruct, frozen=True):
    """Pods that are of use only together: at least `min_member` of them."""

    metadata: Metadata = Metadata()
    spec: PodGroupSpec = PodGroupSpec()
    status: PodGroupStatus = PodGroupStatus()


class ElasticQuotaSpec(ApiStruct, frozen=True):
    """`min` is guaranteed, `max` never exceeded, quantities by resource; a resource that `max` lacks is unlimited."""

    min: dict[str, str] = field(default_factory=dict)
    max: dict[str, str] = field(default_factory=dict)


class ElasticQuotaStatus(ApiStruct, frozen=True):
    used: dict[str, str] = field(default_factory=dict)


class ElasticQuota(ApiStruct, frozen=True):
    metadata: Metadata = Metadata()
    spec: ElasticQuotaSpec = ElasticQuotaSpec()
    status: ElasticQuotaStatus = ElasticQuotaStatus()


class ObjectReference(ApiStruct, frozen=True):
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class ControllerReference(ApiStruct, frozen=True):
    kind: str = ""
    name: str = ""
    uid: str = ""
    namespace: str = ""


class ReservationOwner(ApiStruct, frozen=True):
    """Whose room it is: all that is given must match."""

    object: ObjectReference | None = None
    controller: ControllerReference | None = None
    label_selector: LabelSelector | None = None


class ReservedTemplate(ApiStruct, frozen=True):
    """The pod that room is kept for."""

    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()


class ReservationSpec(ApiStruct, frozen=True):
    template: ReservedTemplate = ReservedTemplate()
    owners: tuple[ReservationOwner, ...] = ()
    ttl: str = ""
    """A Go duration from its creation; empty is a day, 0 for ever."""
    expires: str | None = None
    allocate_once: bool = True
    allocate_policy: str = ""
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class ReservationStatus(ApiStruct, frozen=True):
    phase: str = ""
    node_name: str = ""
    allocatable: dict[str, str] = field(default_factory=dict)
    allocated: dict[str, str] = field(default_factory=dict)
    current_owners: tuple[ObjectReference, ...] = ()


class Reservation(ApiStruct, frozen=True):
    """Room kept on a node for pods yet to come."""

    metadata: Metadata = Metadata()
    spec: ReservationSpec = ReservationSpec()
    status: ReservationStatus = ReservationStatus()
