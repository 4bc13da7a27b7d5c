"""The scheduling cycle as a state machine: events in, actions out, and neither clock nor I/O.

The machine owns its snapshot and is the only one that writes to it: it applies what the cluster shows, and what it has
decided itself and the cluster does not show yet. All that it knows besides is derived from the cluster, so that a new machine
which is given the same objects goes on where the old one ended.
"""

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from neaptide.model import objects
from neaptide.model.actions import Ref
from neaptide.model.any_object import AnyObject
from neaptide.model.columns import FAILED, NO_NODE, SUCCEEDED
from neaptide.model.manifests import describe
from neaptide.model.pod_row import pod_key
from neaptide.model.problems import FieldError
from neaptide.model.renewal import renewed
from neaptide.model.scheduling_objects import Reservation
from neaptide.model.snapshot import ClusterSnapshot, object_key
from neaptide.placement.cycle import events
from neaptide.placement.cycle.actions import (
    AnyCycleAction,
    CreateReservation,
    DeleteReservation,
    Emit,
    SetReservation,
    SetUnscheduled,
)
from neaptide.placement.cycle.announcements import Announcements
from neaptide.placement.cycle.assumed import Assumptions, Stage
from neaptide.placement.cycle.attempts import Attempts
from neaptide.placement.cycle.changes import OF_OBJECTS, Change, Kind, node_state
from neaptide.placement.cycle.gang_attempts import GangAttempts
from neaptide.placement.cycle.gangs import Gangs
from neaptide.placement.cycle.nominations import Nominations
from neaptide.placement.cycle.order import Order
from neaptide.placement.cycle.planner import Planner
from neaptide.placement.cycle.preemption import Preemptor
from neaptide.placement.cycle.profile import CycleProfile
from neaptide.placement.cycle.protection import Protects, sparing_stand_ins
from neaptide.placement.cycle.queue import Queue, Waiting
from neaptide.placement.cycle.refusals import Refusals
from neaptide.placement.cycle.reservation_objects import FAILED as FAILED_RESERVATION
from neaptide.placement.cycle.reservation_objects import KIND as RESERVATION
from neaptide.placement.cycle.reservation_objects import SUCCEEDED as SUCCEEDED_RESERVATION
from neaptide.placement.cycle.reservation_objects import is_stand_in, translated
from neaptide.placement.cycle.reservations import Reservations
from neaptide.placement.cycle.rolling import AUTOMATIC, for_successor
from neaptide.placement.cycle.waits import Preview, Wait, longest, preview
from neaptide.placement.place import Placement


class SchedulingCycle:
    """Places the pods of one `schedulerName`.

    Attributes:
        snapshot: the cluster, with assumed pods on their nodes.
        left_out: objects that could not be used, by their name as in `describe`, and why.
    """

    def __init__(self, profile: CycleProfile, *, protects: Protects, before: "SchedulingCycle | None" = None) -> None:
        """Start with an empty cluster; the first events are those of a list.

        Args:
            profile: what decides.
            protects: why a pod must not be preempted (see protection.py).
            before: a machine to go on for, without what nothing refers to any more; it is not to be used after that.
        """
        self.snapshot: ClusterSnapshot = ClusterSnapshot() if before is None else renewed(before.snapshot)
        self.left_out: dict[str, FieldError] = {}
        self._profile, self._out = profile, list[AnyCycleAction]()
        placement = Placement(self.snapshot, profile)
        self._view = placement.view
        self._plugins = tuple(each.plugin(self._view) for each in profile.plugins)
        self._reservations = next((each for each in self._plugins if isinstance(each, Reservations)), None)
        self._stand_ins: dict[str, str] = {}
        self._attempts = Attempts(placement, self._plugins)
        self._queue = Queue(self._view, profile.backoff)
        self._order = Order(self.snapshot, profile.fairness)
        self._assumptions = Assumptions(self._view, self._queue, self._out)
        self._announcements = Announcements(self.snapshot, self._out)
        self._nominations, self._gangs = Nominations(self.snapshot), Gangs(self.snapshot)
        self._preemptor = Preemptor(
            self.snapshot,
            self._attempts,
            self._nominations,
            profile.preemption,
            sparing_stand_ins(protects),
            assumed=self._assumptions.pods.__contains__,
        )
        self._refusals = Refusals(self.snapshot, self._queue, self._nominations, self._preemptor, self._out)
        shared = (self._attempts, self._assumptions, self._nominations)
        gangs = GangAttempts(self.snapshot, self._queue, self._gangs, *shared, self._preemptor, self._refusals)
        self._planner = Planner(self.snapshot, self._queue, *shared, self._gangs, gangs, self._refusals)
        if before is not None:
            self._take_over(before)

    def step(self, event: events.AnyEvent, now: float) -> list[AnyCycleAction]:
        """Take one event in; what is to be done now, in order."""
        match event:
            case events.Applied():
                self._apply(event.item, now)
            case events.Listed():
                self._list(event.items, now)
            case events.Removed():
                self._remove(event, now)
            case events.Bound():
                self._announcements.bound(event.pod, event.uid)
            case events.BindFailed():
                self._bind_failed(event, now)
            case events.PreemptionRefused():
                self._preemption_refused(event, now)
            case events.Measured():
                self._view.refresh()
                self._queue.changed(Change(Kind.USAGE), now)
            case events.Cycle():
                self._cycle(now)
        actions = translated(self._out, self.snapshot.others.get(RESERVATION, {}))
        self._announcements.asked(actions)
        self._out.clear()
        return actions

    def due(self, now: float) -> float:
        """When the next Cycle is worth its while; infinity where only another event can bring something about."""
        kept = float("inf") if self._reservations is None else self._reservations.due(now)
        return min(self._queue.due(now), self._assumptions.due(), kept)

    def assumed(self) -> dict[str, str]:
        """By pod (`namespace/name`) that was given a node which the cluster does not show it on yet: that node."""
        return {key: each.node_name for key, each in self._assumptions.pods.items()}

    def nominated(self) -> list[tuple[str, str]]:
        """The pods that room was made for, and where."""
        return self._nominations.pods()

    def waiting(self) -> list[Waiting]:
        """The pods without a node, those apart whose scheduling gates are not gone, longest wait first."""
        return sorted(self._queue.waiting(), key=lambda each: (each.since, each.key))

    def longest_waits(self, now: float, *, count: int = 10) -> list[Wait]:
        """Who has waited longest, and why."""
        return longest(self.snapshot, self._queue.waiting(), now, count=count)

    def preview(self, key: str, now: float) -> Preview:
        """What a try of a waiting pod (`namespace/name`) would bring now; nothing is changed."""
        pod = self._queue.pods.get(key)
        if pod is None:
            return Preview(reason="the pod waits for no node of this scheduler")
        nominated = self._nominations.node_of(key)
        return preview(self.snapshot, pod, self._attempts, self._preemptor, now, nominated=nominated)

    def _take_over(self, before: "SchedulingCycle") -> None:
        self.left_out, self._stand_ins = before.left_out, before._stand_ins
        self._order.owed = before._order.owed
        for plugin, other in zip(self._plugins, before._plugins, strict=True):
            plugin.take_over(other)
        self._assumptions.take_over(before._assumptions, self._plugins)
        self._announcements.take_over(before._announcements)
        self._nominations.take_over(before._nominations)
        self._gangs.take_over(before._gangs)
        self._queue.take_over(before._queue)

    # -- what the cluster shows ----------------------------------------------------------------------------------------

    def _list(self, items: Sequence[AnyObject], now: float) -> None:
        """Nodes and all else before pods, and pods at once."""
        pods = [each for each in items if isinstance(each, objects.Pod)]
        for item in items:
            if not isinstance(item, objects.Pod):
                self._apply(item, now)
        known = set(self.snapshot.pods.by_key)
        new = [each for each in pods if pod_key(each.metadata) not in known]
        refused = {pod_key(pod.metadata): error for pod, error in self.snapshot.add_pods(new)}
        for pod in new:
            key = pod_key(pod.metadata)
            if key in refused:
                self._leave_out(pod, refused[key])
            else:
                self._saw_pod(key, pod, now, new=True)
        for pod in pods:
            if pod_key(pod.metadata) in known:
                self._apply(pod, now)

    def _apply(self, item: AnyObject, now: float) -> None:
        try:
            if isinstance(item, objects.Pod):
                self._apply_pod(item, now)
            elif isinstance(item, objects.Node):
                self._apply_node(item, now)
            else:
                self.snapshot.set(self._with_room(item) if isinstance(item, Reservation) else item)
                self._saw_other(type(item).__name__, object_key(item.metadata), now)
        except FieldError as error:
            self._leave_out(item, error)
        else:
            self.left_out.pop(describe(item), None)

    def _leave_out(self, item: AnyObject, error: FieldError) -> None:
        """An object cannot be used: a pod that wants a node gets that as its reason."""
        self.left_out[describe(item)] = error
        if isinstance(item, objects.Pod) and item.spec.scheduler_name == self._profile.scheduler_name:
            meta = item.metadata
            ref = Ref("Pod", meta.name, meta.namespace or "default", meta.uid)
            self._out.append(SetUnscheduled(ref, "SchedulerError", str(error)))

    def _remove(self, event: events.Removed, now: float) -> None:
        if event.kind == "Pod":
            self._forget_pod(f"{event.namespace or 'default'}/{event.name}", now)
        elif event.kind == "Node":
            self._forget_node(event.name, now)
        else:
            self.snapshot.remove(event.kind, event.name, event.namespace)
            key = f"{event.namespace}/{event.name}" if event.namespace else event.name
            self._saw_other(event.kind, key, now)

    def _saw_other(self, kind: str, key: str, now: float) -> None:
        for plugin in self._plugins:
            plugin.changed(kind, key)
        if kind == RESERVATION and self._reservations is not None:
            self._sync_reservation(self._reservations, key, now)
        if kind == "PersistentVolumeClaim":
            self._assumptions.claim_changed(key, now)
        if kind in OF_OBJECTS:
            self._view.refresh()
            self._queue.changed(Change(OF_OBJECTS[kind]), now)

    def _sync_reservation(self, reservations: Reservations, name: str, now: float) -> None:
        """Let the pod that stands for a reservation follow it."""
        pod, failed = reservations.stand_in(name, now)
        if pod is None:
            self._forget_pod(self._stand_ins.pop(name, ""), now)
        else:
            self._stand_ins[name] = pod_key(pod.metadata)
            self._apply_pod(pod, now)
        if failed:
            self._fail_reservation(name, failed, now)
            return
        item: Reservation | None = self.snapshot.others.get(RESERVATION, {}).get(name)
        if (
            item is not None
            and item.status.phase in (SUCCEEDED_RESERVATION, FAILED_RESERVATION)
            and AUTOMATIC in item.metadata.labels
        ):
            self._out.append(DeleteReservation(name))

    def _fail_reservation(self, name: str, message: str, now: float) -> None:
        """End a reservation: its room is free at once."""
        item: Reservation = self.snapshot.others[RESERVATION][name]
        status = replace(item.status, phase=FAILED_RESERVATION)
        self._out.append(SetReservation(name, status, message))
        self._apply(replace(item, status=status), now)

    def _apply_node(self, node: objects.Node, now: float) -> None:
        known = self.snapshot.nodes.by_name.get(node.metadata.name)
        before = None if known is None else node_state(self._view, known)
        row = self.snapshot.set_node(node)
        if node_state(self._view, row) == before:
            return
        for plugin in self._plugins:
            plugin.changed("Node", node.metadata.name)
        if node.spec.unschedulable:
            self._give_back(row, "the node was cordoned", now)
        self._view.refresh()
        self._queue.changed(Change(Kind.NODE_ADDED if before is None else Kind.NODE_CHANGED, row), now)

    def _forget_node(self, name: str, now: float) -> None:
        for key, each in list(self._assumptions.pods.items()):
            if each.node_name == name:
                self._assumptions.roll_back(key, now, f"the node {name} is gone")
        for reservation in self._reservations.on_node(name) if self._reservations is not None else ():
            self._fail_reservation(reservation, f"the node {name} is gone", now)
        self.snapshot.remove_node(name)
        for plugin in self._plugins:
            plugin.changed("Node", name)
        self._view.refresh()
        self._queue.changed(Change(Kind.NODE_REMOVED), now)

    def _give_back(self, node: int, message: str, now: float) -> None:
        """Take back the assumptions about a node that are not being bound yet."""
        for key, each in list(self._assumptions.pods.items()):
            if each.node == node and each.stage is not Stage.BINDING:
                self._assumptions.roll_back(key, now, message)

    # -- pods ----------------------------------------------------------------------------------------------------------

    def _apply_pod(self, pod: objects.Pod, now: float) -> None:
        key, pods = pod_key(pod.metadata), self.snapshot.pods
        row = pods.by_key.get(key)
        if row is not None and pods.uids[row] != pod.metadata.uid:
            self._forget_pod(key, now)
            row = None
        before = None if row is None else (int(pods.node[row]), int(pods.cls[row]))
        row = self.snapshot.set_pod(pod)
        assumed = self._assumptions.pods.get(key)
        if pods.node[row] != NO_NODE:
            self._announcements.shown(key)
        if assumed is not None:
            if pods.node[row] != NO_NODE:
                if self._assumptions.confirmed(key, int(pods.node[row]), now):
                    self._gangs.saw(key)
                    return
            elif self._is_wanted(row):
                self.snapshot.assign(row, assumed.node)
                return
            else:
                self._assumptions.roll_back(key, now)
        self._saw_pod(key, pod, now, new=before is None)
        if before is not None:
            self._compare_pod(row, before, now)

    def _saw_pod(self, key: str, pod: objects.Pod, now: float, *, new: bool) -> None:
        """A pod that is not assumed is there, or has changed."""
        row = self.snapshot.pods.by_key[key]
        for plugin in self._plugins:
            plugin.pod_changed(key)
        if self._gangs.saw(key) is not None:
            self._queue.changed(Change(Kind.POD_GROUP), now)
        if self.snapshot.pods.node[row] != NO_NODE:
            self._queue.drop(key)
            self._denominate(key, now)
            if new:
                self._arrived(row, now)
        elif self._is_wanted(row) and self._is_ours(row):
            self._wants_node(key, row, pod, now)
        else:
            self._queue.drop(key)
            self._denominate(key, now)

    def _wants_node(self, key: str, row: int, pod: objects.Pod, now: float) -> None:
        known = self._queue.pods.get(key)
        if known is None:
            created = float(self.snapshot.pods.created[row])
            since = now if np.isnan(created) else min(created, now)
            known = Waiting(key, pod.metadata.uid, row, since, preempts=pod.spec.preemption_policy != "Never")
            self._queue.add(known)
            if pod.status.nominated_node_name:
                self._nominations.add(known, pod.status.nominated_node_name)
        elif known.group is not None and known.group[0] != self.snapshot.pods.cls[row]:
            self._queue.activate(key, now)
        if pod.spec.scheduling_gates:
            self._queue.gate(key)
        elif self._queue.is_gated(key):
            self._queue.activate(key, now)

    def _compare_pod(self, row: int, before: tuple[int, int], now: float) -> None:
        """Wake those whom a change of a pod can help."""
        node, cls = before
        pods = self.snapshot.pods
        if node >= 0 and (pods.node[row] != node or not np.isnan(pods.deleted[row])):
            if pods.node[row] != node:
                self._left(node, cls, now)
        elif node < 0 <= pods.node[row]:
            self._arrived(row, now)
        elif node >= 0 and pods.cls[row] != cls:
            self._view.refresh()
            for kind in (Kind.POD_RELABELLED, Kind.POD_RESIZED):
                self._queue.changed(Change(kind, node, int(pods.cls[row])), now)

    def _arrived(self, row: int, now: float) -> None:
        """Somebody else has put a pod on a node: what was assumed there may not fit any more."""
        pods, nodes, node = self.snapshot.pods, self.snapshot.nodes, int(self.snapshot.pods.node[row])
        if node >= 0 and (nodes.used[:, node] > nodes.allocatable[:, node]).any():
            self._give_back(node, "another scheduler has taken the room", now)
        self._queue.changed(Change(Kind.POD_ARRIVED, node, int(pods.cls[row])), now)

    def _left(self, node: int, cls: int, now: float) -> None:
        self._view.refresh()
        self._queue.changed(Change(Kind.POD_LEFT, node, cls), now)

    def _forget_pod(self, key: str, now: float) -> None:
        row = self.snapshot.pods.by_key.get(key)
        if row is None:
            return
        if key in self._assumptions.pods:
            self._assumptions.roll_back(key, now)
        node, cls = int(self.snapshot.pods.node[row]), int(self.snapshot.pods.cls[row])
        kept = self._kept_room(row, now)
        self._gangs.gone(key)
        self._announcements.forget(key)
        self.snapshot.remove_pod(key)
        for plugin in self._plugins:
            plugin.pod_changed(key)
        self._queue.drop(key)
        self._nominations.gone(key)
        self._denominate(key, now)
        if kept is not None:
            self._out.append(CreateReservation(kept))
            self._apply(kept, now)
        if node >= 0:
            self._left(node, cls, now)
        else:
            self._queue.changed(Change(Kind.QUOTA), now)

    def _with_room(self, item: Reservation) -> Reservation:
        """A reservation that the API server shows as it was created, without the status that it was made with: that is to be written now."""
        room = None if self._reservations is None else self._reservations.rooms.get(item.metadata.name)
        if room is None or item.status.phase or AUTOMATIC not in item.metadata.labels:
            return item
        self._out.append(SetReservation(item.metadata.name, room.item.status))
        return replace(item, status=room.item.status)

    def _kept_room(self, row: int, now: float) -> Reservation | None:
        """What keeps the room of a pod that leaves its node for the next of its workload, unless it was made to go."""
        if self._reservations is None or self._nominations.is_victim(self.snapshot.pods.keys[row]):
            return None
        return for_successor(self.snapshot, row, now)

    def _denominate(self, key: str, now: float) -> None:
        """A pod needs the room no longer that was made for it."""
        change = self._nominations.drop(key)
        if change is not None:
            self._queue.changed(change, now)

    def _is_ours(self, row: int) -> bool:
        pods = self.snapshot.pods
        return pods.schedulers[row] == self._profile.scheduler_name or is_stand_in(pods.keys[row])

    def _is_wanted(self, row: int) -> bool:
        """Whether a pod that has no node is one that should get one."""
        pods = self.snapshot.pods
        return pods.phase[row] not in (SUCCEEDED, FAILED) and bool(np.isnan(pods.deleted[row]))

    # -- what became of actions ----------------------------------------------------------------------------------------

    def _bind_failed(self, event: events.BindFailed, now: float) -> None:
        self._announcements.forget(event.pod, event.uid)
        assumed = self._assumptions.pods.get(event.pod)
        if assumed is None or assumed.pod.uid != event.uid:
            return
        ref = self.snapshot.pod_ref(assumed.pod.row)
        self._assumptions.roll_back(event.pod, now, f"{event.reason}: {event.message}")
        self._out.append(Emit(ref, "Warning", "FailedScheduling", f"binding rejected: {event.message}"))

    def _preemption_refused(self, event: events.PreemptionRefused, now: float) -> None:
        pod = self._queue.pods.get(event.pod)
        if pod is not None and pod.uid == event.uid:
            self._refusals.renounce(pod, now)
            self._queue.activate(event.pod, now)

    def _cycle(self, now: float) -> None:
        for each in self._assumptions.expired(now):
            self._assumptions.roll_back(each.pod.key, now, f"gave its node back: it {each.stage.value} for too long")
        for name in self._reservations.expired(now) if self._reservations is not None else ():
            self._fail_reservation(name, "it has expired", now)
        self._preemptor.begin()
        self._planner.cycle(self._order.sorted(self._queue.take(now), now), now)
        for plugin in self._plugins:
            self._out.extend(plugin.report())
        self._out.extend(self._gangs.report(set(self._assumptions.pods)))
