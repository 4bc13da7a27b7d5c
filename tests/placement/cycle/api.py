"""A cluster's API in a dict: what a scheduling cycle is driven by, and what its actions change."""

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace
from tests.builders import pod as any_pod

from neaptide.model import objects as o
from neaptide.model.actions import Reason
from neaptide.model.any_object import AnyObject
from neaptide.model.pod_row import pod_key
from neaptide.model.quantity import for_resource
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.cycle import actions as a
from neaptide.placement.cycle import events as e
from neaptide.placement.cycle.machine import SchedulingCycle
from neaptide.placement.cycle.profile import CycleProfile

PROTECTED = "karpenter.sh/do-not-disrupt"


def protects(snapshot: ClusterSnapshot, pod: int, _now: float) -> Reason | None:
    """Pods that say so are protected."""
    return Reason("DoNotDisrupt", "") if snapshot.pod_annotations(pod).get(PROTECTED) == "true" else None


def pod(name: str, *, priority: int = 0, **extra: Any) -> o.Pod:
    """A pod for this scheduler."""
    spec = {"scheduler_name": "neaptide", "priority": priority, **extra.pop("spec", {})}
    return any_pod(name, spec=spec, **extra)


class Api:
    """Objects by kind and key. `refuse_binds` makes it refuse bindings of these pods, once each."""

    def __init__(self, items: Iterable[AnyObject] = (), profile: CycleProfile | None = None) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.profile = profile or CycleProfile()
        self.now = 1000.0
        self.bound: list[tuple[str, str]] = []
        self.evicted: list[str] = []
        self.said: dict[str, str] = {}
        self.annotations: dict[str, dict[str, str]] = {}
        self.actions: list[a.AnyCycleAction] = []
        self.refuse_binds: set[str] = set()
        self.refuse_evictions = False
        self.lazy = False
        for item in items:
            self._put(item)
        self.restart()

    def restart(self) -> None:
        """A new scheduler takes over, which knows nothing but what the API has."""
        self.machine = SchedulingCycle(self.profile, protects=protects)
        self.step(e.Listed(tuple(each for known in self.objects.values() for each in known.values())))

    def renew(self) -> None:
        """The scheduler lets go of what nothing refers to any more."""
        self.machine = SchedulingCycle(self.profile, protects=protects, before=self.machine)

    def apply(self, *items: AnyObject) -> None:
        for item in items:
            self._put(item)
            self.step(e.Applied(item))

    def delete(self, kind: str, key: str) -> None:
        self.objects[kind].pop(key)
        namespace, _, name = key.rpartition("/")
        self.step(e.Removed(kind, name, namespace))

    def cycle(self, *, after: float = 0.0) -> list[a.AnyCycleAction]:
        """A cycle and all that follows; what the cycle itself wanted done."""
        self.now += after
        wanted = self.machine.step(e.Cycle(), self.now)
        if not self.lazy:
            self.carry_out(wanted)
        return wanted

    def settle(self, *, rounds: int = 50) -> None:
        """Cycles until nothing is due within a minute."""
        for _ in range(rounds):
            self.cycle()
            due = self.machine.due(self.now)
            if due > self.now + 60:
                return
            self.now = max(due, self.now)

    def step(self, event: e.AnyEvent) -> None:
        self.carry_out(self.machine.step(event, self.now))

    def carry_out(self, wanted: Iterable[a.AnyCycleAction]) -> None:
        for action in wanted:
            self.actions.append(action)
            match action:
                case a.Bind():
                    self._bind(action)
                case a.SetUnscheduled():
                    self.said[f"{action.pod.namespace}/{action.pod.name}"] = action.message
                case a.Preempt():
                    self._preempt(action)
                case a.Nominate():
                    self._nominate(action)
                case a.SetReservation():
                    self._set_reservation(action)
                case a.CreateReservation(reservation):
                    self.apply(replace(reservation, status=type(reservation.status)()))  # a status is written apart
                case a.DeleteReservation():
                    self.delete("Reservation", action.reservation)
                case _:
                    pass

    def node_of(self, name: str) -> str:
        found: o.Pod = self.objects["Pod"][f"default/{name}"]
        return found.spec.node_name

    def nodes_of(self, *names: str) -> list[str]:
        return [self.node_of(each) for each in names]

    def over_committed(self) -> list[str]:
        """Nodes whose pods ask for more than there is, by the API's own view."""
        found = []
        for node in self.objects.get("Node", {}).values():
            on_node = [
                each for each in self.objects.get("Pod", {}).values() if each.spec.node_name == node.metadata.name
            ]
            for resource, amount in node.status.allocatable.items():
                wanted = sum(
                    1 if resource == "pods" else for_resource(resource, container.resources.requests.get(resource, "0"))
                    for each in on_node
                    for container in each.spec.containers
                )
                if wanted > for_resource(resource, amount):
                    found.append(node.metadata.name)
        return found

    def _put(self, item: AnyObject) -> None:
        kind = item.kind if isinstance(item, o.Workload) else type(item).__name__
        meta = item.metadata
        key = pod_key(meta) if kind == "Pod" else f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name
        self.objects.setdefault(kind, {})[key] = item

    def _bind(self, action: a.Bind) -> None:
        key = f"{action.pod.namespace}/{action.pod.name}"
        found: o.Pod | None = self.objects["Pod"].get(key)
        if key in self.refuse_binds:
            self.refuse_binds.discard(key)
            self.step(e.BindFailed(key, action.pod.uid, "Conflict", "the room was taken"))
        elif found is None or found.metadata.uid != action.pod.uid:
            self.step(e.BindFailed(key, action.pod.uid, "NotFound", "the pod is gone"))
        elif found.spec.node_name:
            self.step(e.BindFailed(key, action.pod.uid, "Conflict", "already bound"))
        else:
            self.bound.append((key, action.node))
            self.annotations[key] = action.annotations
            meta = replace(found.metadata, annotations=found.metadata.annotations | action.annotations)
            status = replace(found.status, phase="Running", start_time="2026-01-01T00:00:00Z")
            self.step(e.Bound(key, action.pod.uid))
            self.apply(o.Pod(meta, replace(found.spec, node_name=action.node), status))

    def _preempt(self, action: a.Preempt) -> None:
        key = f"{action.pod.namespace}/{action.pod.name}"
        if self.refuse_evictions:
            self.step(e.PreemptionRefused(key, action.pod.uid, "a budget is spent"))
            return
        for each in action.evictions:
            victim = f"{each.target.namespace}/{each.target.name}"
            self.evicted.append(victim)
            self.delete("Pod", victim)

    def _nominate(self, action: a.Nominate) -> None:
        key = f"{action.pod.namespace}/{action.pod.name}"
        found = self.objects["Pod"].get(key)
        if found is not None:
            self.apply(replace(found, status=replace(found.status, nominated_node_name=action.node)))

    def _set_reservation(self, action: a.SetReservation) -> None:
        found = self.objects["Reservation"].get(action.reservation)
        if found is not None:
            self.apply(replace(found, status=action.status))
