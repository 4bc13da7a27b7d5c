"""Reservation objects: names, phases, expiry, what is wrong with one, and the pod that stands for it. Names are Koordinator's."""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from msgspec.structs import replace

from neaptide.model import objects
from neaptide.model.objects import LabelSelector, Requirement
from neaptide.model.pod_row import pod_key
from neaptide.model.problems import FieldError
from neaptide.model.requests import Amounts, effective_requests
from neaptide.model.scheduling_objects import Reservation, ReservationOwner, ReservationStatus
from neaptide.model.selectors import labels_match, requirement_matches
from neaptide.model.times import go_duration, seconds
from neaptide.placement.cycle.actions import AnyCycleAction, Bind, Nominate, SetReservation, SetUnscheduled

KIND = "Reservation"
PREFIX = "reservation/"
"""Of the names of the pods that stand for reservations; no real pod has a slash in its name."""
ALLOCATED = "scheduling.koordinator.sh/reservation-allocated"
AFFINITY = "scheduling.koordinator.sh/reservation-affinity"
PENDING, AVAILABLE, SUCCEEDED, FAILED = "Pending", "Available", "Succeeded", "Failed"
TTL_SECONDS = 24 * 3600.0
POLICIES = ("", "Default", "Aligned", "Restricted")


class _Affinity(msgspec.Struct, rename="camel", gc=False):
    name: str = ""
    reservation_selector: dict[str, str] = {}
    required_during_scheduling_ignored_during_execution: "_Required | None" = None


class _Required(msgspec.Struct, rename="camel", gc=False):
    reservation_selector_terms: tuple["_Term", ...] = ()


class _Term(msgspec.Struct, rename="camel", gc=False):
    match_expressions: tuple[Requirement, ...] = ()


def admits(affinity: str | None, item: Reservation) -> bool:
    """Whether a pod's reservation affinity, as its annotation has it, admits a reservation."""
    if affinity is None:
        return True
    try:
        wish = msgspec.json.decode(affinity, type=_Affinity)
    except msgspec.MsgspecError:
        return False
    labels, required = item.metadata.labels, wish.required_during_scheduling_ignored_during_execution
    return (
        wish.name in ("", item.metadata.name)
        and labels_match(LabelSelector(wish.reservation_selector), labels)
        and (
            required is None
            or any(
                all(requirement_matches(each, labels) for each in term.match_expressions)
                for term in required.reservation_selector_terms
            )
        )
    )


def expiry(item: Reservation, now: float) -> float:
    """When a reservation ends; infinity for never."""
    if item.spec.expires is not None:
        return seconds(item.spec.expires)
    ttl = go_duration(item.spec.ttl) if item.spec.ttl else TTL_SECONDS
    created = seconds(item.metadata.creation_timestamp)
    if ttl is None or ttl <= 0:
        return float("inf")
    return (now if np.isnan(created) else created) + ttl


def is_stand_in(key: str) -> bool:
    """Whether a pod (`namespace/name`) stands for a reservation."""
    return key.partition("/")[2].startswith(PREFIX)


def translated(actions: Sequence[AnyCycleAction], known: Mapping[str, Reservation]) -> list[AnyCycleAction]:
    """Actions with those about stand-ins turned into what they mean for their reservations."""
    found: list[AnyCycleAction] = []
    for action in actions:
        if not isinstance(action, Bind | SetUnscheduled | Nominate) or not action.pod.name.startswith(PREFIX):
            found.append(action)
            continue
        name = action.pod.name.removeprefix(PREFIX)
        item = known.get(name)
        if item is None:
            continue
        if isinstance(action, Bind):
            allocatable = texts(effective_requests(item.spec.template.spec))
            found.append(SetReservation(name, ReservationStatus(AVAILABLE, action.node, allocatable)))
        elif isinstance(action, SetUnscheduled):
            found.append(SetReservation(name, ReservationStatus(PENDING), action.message))
    return found


def problem_of(item: Reservation) -> str:
    """What is wrong with a reservation; empty where nothing is."""
    spec = item.spec
    if not any(owner != ReservationOwner() for owner in spec.owners):
        return "spec.owners names nobody; accepted: an object, a controller or a labelSelector"
    if spec.allocate_policy not in POLICIES:
        return f"spec.allocatePolicy {spec.allocate_policy} is not known; accepted: Aligned, Restricted"
    if spec.ttl and go_duration(spec.ttl) is None:
        return f"spec.ttl {spec.ttl} is no duration; accepted: one such as 24h"
    try:
        effective_requests(spec.template.spec)
        seconds(spec.expires)
    except FieldError as error:
        return str(error)
    return ""


def pending(item: Reservation) -> objects.Pod:
    spec = replace(item.spec.template.spec, scheduler_name="", node_name="")
    return objects.Pod(stand_in_meta(item), spec, objects.PodStatus())


def stand_in_meta(item: Reservation) -> objects.Metadata:
    meta = item.metadata
    return objects.Metadata(
        name=PREFIX + meta.name,
        namespace=item.spec.template.metadata.namespace or "default",
        uid=meta.uid,
        creation_timestamp=meta.creation_timestamp,
    )


def stand_in_key(item: Reservation) -> str:
    return pod_key(stand_in_meta(item))


def texts(amounts: Amounts) -> dict[str, str]:
    return {
        resource: f"{amount}m" if resource == "cpu" else str(amount)
        for resource, amount in sorted(amounts.items())
        if resource != "pods"
    }
