"""What the scheduling cycle wants done. The glue to a cluster carries actions out in order and answers with events."""

from msgspec import Struct

from neaptide.model.actions import Evict, Ref
from neaptide.model.scheduling_objects import Reservation, ReservationStatus

SCHEDULER = "scheduler"
"""The policy that preemptions are planned by, as the arbiter knows it."""


class CycleAction(Struct, frozen=True, gc=False, tag_field="kind"):
    """What every kind of action is."""


class Bind(CycleAction, frozen=True, tag="Bind"):
    """Bind a pod to a node and put annotations on it. Answered by Bound or BindFailed."""

    pod: Ref
    node: str
    annotations: dict[str, str] = {}


class SetUnscheduled(CycleAction, frozen=True, tag="SetUnscheduled"):
    """Set the pod's condition PodScheduled to False, and emit the event FailedScheduling where `reason` is not SchedulingGated.

    `reason` is Unschedulable, SchedulingGated or SchedulerError.
    """

    pod: Ref
    reason: str
    message: str


class Nominate(CycleAction, frozen=True, tag="Nominate"):
    """Set the pod's status.nominatedNodeName; an empty one clears it."""

    pod: Ref
    node: str


class Preempt(CycleAction, frozen=True, tag="Preempt"):
    """Evict pods from a node so that the pod, which is nominated to it, fits. Only all of them together are of use."""

    pod: Ref
    node: str
    evictions: tuple[Evict, ...]


class SelectNode(CycleAction, frozen=True, tag="SelectNode"):
    """Annotate a claim with the node that its volume is to be provisioned for (volume.kubernetes.io/selected-node)."""

    claim: Ref
    node: str


class ClaimVolume(CycleAction, frozen=True, tag="ClaimVolume"):
    """Write a claim into a volume's spec.claimRef; the volume controller completes the binding."""

    volume: str
    claim: Ref


class Emit(CycleAction, frozen=True, tag="Emit"):
    """Emit an event about an object. `type` is Normal or Warning."""

    about: Ref
    type: str
    reason: str
    message: str


class SetReservation(CycleAction, frozen=True, tag="SetReservation"):
    """Write a reservation's status."""

    reservation: str
    status: ReservationStatus
    message: str = ""


class CreateReservation(CycleAction, frozen=True, tag="CreateReservation"):
    """Create a reservation; its room is kept from now on."""

    reservation: Reservation


class DeleteReservation(CycleAction, frozen=True, tag="DeleteReservation"):
    """Delete a reservation that was made for a rolling update and has ended."""

    reservation: str


class SetQuota(CycleAction, frozen=True, tag="SetQuota"):
    """Write what a quota uses into its status, and annotations (runtime, request) on it."""

    quota: Ref
    used: dict[str, str]
    annotations: dict[str, str] = {}


class SetPodGroup(CycleAction, frozen=True, tag="SetPodGroup"):
    """Write a PodGroup's status."""

    group: Ref
    phase: str
    scheduled: int


AnyCycleAction = (
    Bind
    | SetUnscheduled
    | Nominate
    | Preempt
    | SelectNode
    | ClaimVolume
    | Emit
    | SetReservation
    | CreateReservation
    | DeleteReservation
    | SetQuota
    | SetPodGroup
)
