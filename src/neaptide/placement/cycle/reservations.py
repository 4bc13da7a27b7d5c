"""Reservation: room kept on a node for pods yet to come.

A reservation stands in the snapshot as a pod of its own (`namespace/reservation/NAME`): while it is pending it is scheduled
like any other, and once it is available it holds what its owners have not taken yet. An owner is tried on the nodes of its
reservations first, as if they were not there; what it takes is taken off them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Self

import msgspec
import numpy as np
from msgspec.structs import replace

from neaptide.model import objects
from neaptide.model.columns import Bools
from neaptide.model.requests import Amounts, amounts_in, effective_requests
from neaptide.model.scheduling_objects import ObjectReference, Reservation, ReservationOwner, ReservationStatus
from neaptide.model.selectors import labels_match
from neaptide.placement.cycle.actions import AnyCycleAction, SetReservation
from neaptide.placement.cycle.plugin import Plugin, PluginSpec
from neaptide.placement.cycle.reservation_objects import (
    AFFINITY,
    ALLOCATED,
    AVAILABLE,
    FAILED,
    KIND,
    SUCCEEDED,
    admits,
    expiry,
    pending,
    problem_of,
    stand_in_key,
    stand_in_meta,
    texts,
)
from neaptide.placement.view import View

UNMATCHED = "node(s) no reservations match reservation affinity"


class ReservationSpec(PluginSpec, frozen=True, tag="Reservation"):
    """Keeps room and gives it to its owners."""

    def plugin(self, view: View) -> Plugin:
        return Reservations(view)


class Room(NamedTuple):
    """An available reservation: where, and what it started with."""

    item: Reservation
    node: str
    allocatable: Amounts


class Reservations(Plugin):
    """The reservations of a snapshot, by name, and what their owners have taken of each."""

    name = KIND

    def __init__(self, view: View) -> None:
        self._view, self._snapshot = view, view.snapshot
        self.rooms: dict[str, Room] = {}
        self._taken: dict[str, dict[str, Amounts]] = {}
        self._of_pod: dict[str, str] = {}
        self._matching: dict[tuple[int, int, int], tuple[str, ...]] = {}

    def take_over(self, before: Self) -> None:
        self.rooms, self._taken, self._of_pod = before.rooms, before._taken, before._of_pod

    # -- phases --------------------------------------------------------------------------------------------------------

    def concerns(self, pod: int) -> bool:
        if not self.rooms:
            return AFFINITY in self._snapshot.pod_annotations(pod)
        return bool(self._matches(pod)) or AFFINITY in self._snapshot.pod_annotations(pod)

    def pre_filter(self, pod: int, now: float) -> str:
        del now
        return UNMATCHED if AFFINITY in self._snapshot.pod_annotations(pod) and not self._matches(pod) else ""

    @contextmanager
    def lifted(self, pod: int) -> Iterator[Bools | None]:
        """Inside, the reservations that a pod may use are not there; bool[nodes] where that makes room for it, None for nowhere."""
        usable = [name for name in self._matches(pod) if self._allows(name, pod)]
        nodes = np.zeros(self._snapshot.nodes.rows, dtype=np.bool_)
        with self._snapshot.what_if():
            for name in usable:
                node = self._snapshot.nodes.by_name.get(self.rooms[name].node)
                row = self._snapshot.pods.by_key.get(stand_in_key(self.rooms[name].item))
                if node is not None and not nodes[node]:
                    nodes[node] = True
                    if row is not None and self._snapshot.pods.node[row] == node:
                        self._snapshot.unassign(row)
            yield nodes if nodes.any() else None

    def only_kept(self, pod: int) -> bool:
        return AFFINITY in self._snapshot.pod_annotations(pod)

    def reserve(self, pod: int, node: int, now: float) -> dict[str, str]:
        del now
        where = self._snapshot.nodes.names[node]
        for name in self._matches(pod):
            room = self.rooms[name]
            if room.node == where and self._allows(name, pod):
                self._take(name, self._snapshot.pods.keys[pod], self._requests(pod))
                meta = room.item.metadata
                return {ALLOCATED: msgspec.json.encode({"name": meta.name, "uid": meta.uid}).decode()}
        return {}

    def unreserve(self, pod: int, node: int) -> None:
        del node
        self._give_back(self._snapshot.pods.keys[pod])

    def pod_changed(self, key: str) -> None:
        """Owners are known by their annotation; one that is gone gives its part back."""
        row = self._snapshot.pods.by_key.get(key)
        text = None if row is None else self._snapshot.pod_annotations(row).get(ALLOCATED)
        gone = row is None or self._snapshot.pods.node[row] == -1
        if gone:
            self._give_back(key)
        elif text is not None and row is not None and key not in self._of_pod:
            try:
                name = msgspec.json.decode(text, type=dict[str, str]).get("name", "")
            except msgspec.MsgspecError:
                return
            self._take(name, key, self._requests(row))

    def report(self) -> list[AnyCycleAction]:
        """The status of the reservations whose owners have changed."""
        found: list[AnyCycleAction] = []
        for name, room in self.rooms.items():
            status = self._status(name, room)
            if status != room.item.status:
                self.rooms[name] = room._replace(item=replace(room.item, status=status))
                found.append(SetReservation(name, status))
        return found

    # -- the objects ---------------------------------------------------------------------------------------------------

    def stand_in(self, name: str, now: float) -> tuple[objects.Pod | None, str]:
        """The pod that stands for a reservation as it is now, None for none; and why it must fail, empty where it need not."""
        item: Reservation | None = self._snapshot.others.get(KIND, {}).get(name)
        self._matching.clear()
        self.rooms.pop(name, None)
        if item is None or item.status.phase in (SUCCEEDED, FAILED):
            return None, ""
        problem = problem_of(item) or ("it has expired" if expiry(item, now) <= now else "")
        if problem:
            return None, problem
        if item.status.phase != AVAILABLE:
            return pending(item), ""
        allocatable = item.status.allocatable or texts(effective_requests(item.spec.template.spec))
        self.rooms[name] = Room(item, item.status.node_name, amounts_in("status.allocatable", allocatable))
        used_up = item.spec.allocate_once and self._taken.get(name)
        return None if used_up else self._placed(name), ""

    def expired(self, now: float) -> list[str]:
        """The reservations whose time is over."""
        return [name for name, room in self.rooms.items() if expiry(room.item, now) <= now]

    def due(self, now: float) -> float:
        """When the next one expires."""
        return min((expiry(room.item, now) for room in self.rooms.values()), default=float("inf"))

    def on_node(self, node: str) -> list[str]:
        """The reservations of a node."""
        return [name for name, room in self.rooms.items() if room.node == node]

    # -- inside --------------------------------------------------------------------------------------------------------

    def _matches(self, pod: int) -> tuple[str, ...]:
        """The available reservations that a pod may use, by name."""
        pods = self._snapshot.pods
        place = int(pods.cls[pod]), int(pods.owner[pod]), int(pods.annotations[pod])
        if place not in self._matching:
            self._matching[place] = tuple(
                name for name in sorted(self.rooms) if self._may_use(pod, self.rooms[name].item, by_object=False)
            )
        found = self._matching[place]
        named = [
            name
            for name, room in self.rooms.items()
            if any(owner.object is not None for owner in room.item.spec.owners)
            and name not in found
            and self._may_use(pod, room.item, by_object=True)
        ]
        return (*found, *sorted(named))

    def _may_use(self, pod: int, item: Reservation, *, by_object: bool) -> bool:
        owners = [each for each in item.spec.owners if (each.object is not None) == by_object]
        return (
            not item.spec.unschedulable
            and any(self._is_owner(pod, each) for each in owners)
            and admits(self._snapshot.pod_annotations(pod).get(AFFINITY), item)
        )

    def _is_owner(self, pod: int, owner: ReservationOwner) -> bool:
        namespace, snapshot = self._snapshot.pod_namespace(pod), self._snapshot
        if owner.object is not None:
            known = snapshot.pod_ref(pod)
            named, wanted = (
                (known.name, known.namespace),
                (owner.object.name, owner.object.namespace or known.namespace),
            )
            if (owner.object.name and named != wanted) or owner.object.uid not in ("", known.uid):
                return False
        if owner.controller is not None:
            direct = int(snapshot.pods.owner[pod])
            chain = {direct, snapshot.workloads.root(direct)} - {-1}
            wanted = owner.controller.kind, owner.controller.name
            found = [(snapshot.workloads.refs[each].kind, snapshot.workloads.refs[each].name) for each in chain]
            if wanted not in found or owner.controller.namespace not in ("", namespace):
                return False
        if owner.label_selector is not None and not labels_match(owner.label_selector, snapshot.pod_labels(pod)):
            return False
        return owner != ReservationOwner()

    def _allows(self, name: str, pod: int) -> bool:
        """Whether what is left of a reservation is for such a pod: all of it where it is Restricted, something otherwise."""
        room, taken = self.rooms[name], self._taken.get(name, {})
        if room.item.spec.allocate_once and taken:
            return False
        left, wanted = self._left(name), self._requests(pod)
        if room.item.spec.allocate_policy == "Restricted":
            return all(wanted.get(resource, 0) <= amount for resource, amount in left.items())
        return any(left.values())

    def _left(self, name: str) -> Amounts:
        room = self.rooms[name]
        taken = self._taken.get(name, {}).values()
        return {
            resource: max(amount - sum(each.get(resource, 0) for each in taken), 0)
            for resource, amount in room.allocatable.items()
        }

    def _take(self, name: str, key: str, requests: Amounts) -> None:
        self._taken.setdefault(name, {})[key] = requests
        self._of_pod[key] = name
        self._resize(name)

    def _give_back(self, key: str) -> None:
        name = self._of_pod.pop(key, None)
        if name is not None:
            self._taken[name].pop(key, None)
            if not self._taken[name]:
                del self._taken[name]
            self._resize(name)

    def _resize(self, name: str) -> None:
        """Let the stand-in hold what is left."""
        room = self.rooms.get(name)
        if room is None:
            return
        if room.item.spec.allocate_once and self._taken.get(name):
            self._snapshot.remove_pod(stand_in_key(room.item))
        else:
            self._snapshot.set_pod(self._placed(name))

    def _placed(self, name: str) -> objects.Pod:
        room = self.rooms[name]
        left = {resource: amount for resource, amount in self._left(name).items() if resource != "pods"}
        container = objects.Container(name="reserved", resources=objects.Resources(requests=texts(left)))
        template = room.item.spec.template.spec
        spec = objects.PodSpec(containers=(container,), node_name=room.node, priority=template.priority)
        return objects.Pod(stand_in_meta(room.item), spec, objects.PodStatus(phase="Running"))

    def _requests(self, pod: int) -> Amounts:
        return {name: amount for name, amount in self._snapshot.shape_of_pod(pod).requests.items() if name != "pods"}

    def _status(self, name: str, room: Room) -> ReservationStatus:
        taken = self._taken.get(name, {})
        total = {resource: sum(each.get(resource, 0) for each in taken.values()) for resource in room.allocatable}
        owners = []
        for key in sorted(taken):
            row = self._snapshot.pods.by_key.get(key)
            namespace, _, pod = key.partition("/")
            owners.append(ObjectReference("Pod", namespace, pod, "" if row is None else self._snapshot.pods.uids[row]))
        return ReservationStatus(
            phase=SUCCEEDED if room.item.spec.allocate_once and taken else AVAILABLE,
            node_name=room.node,
            allocatable=texts(room.allocatable),
            allocated=texts(total) if taken else {},
            current_owners=tuple(owners),
        )
