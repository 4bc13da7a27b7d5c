"""The scheduling cycle in the simulator: the machine that schedules on a cluster, told what happens as a watch tells it.

It has a snapshot of its own, as there. Between two of its cycles at least a period passes; bindings succeed at once unless pod or node are gone.
"""

from collections.abc import Callable, Sequence

import numpy as np
from msgspec.structs import replace

from neaptide.model.actions import AnyAction, Outcome
from neaptide.model.node_info import NodeInfo
from neaptide.placement.cycle import events
from neaptide.placement.cycle.actions import (
    AnyCycleAction,
    Bind,
    CreateReservation,
    DeleteReservation,
    Preempt,
    SetReservation,
    SetUnscheduled,
)
from neaptide.placement.cycle.machine import SchedulingCycle
from neaptide.placement.cycle.profile import CycleProfile
from neaptide.policies import preemptions
from neaptide.policies.arbiter import ArbiterMemory
from neaptide.policies.protection import protection
from neaptide.simulator.cluster import Cluster
from neaptide.simulator.watched import WatchedSnapshot

_EVERYBODY = "default-scheduler"
_GOING = ("Terminating", "NotFound")


class CycleScheduler:
    """Schedules all pods of a simulated cluster.

    Args:
        cluster: with a snapshot that tells its changes.
        profile: what decides; the pods' schedulerName is taken for its own.
        act: carries evictions out.
        period: seconds from one cycle to the next, at least.

    Attributes:
        memory: the arbiter's, of the loop beside it.
    """

    def __init__(
        self,
        cluster: Cluster,
        snapshot: WatchedSnapshot,
        profile: CycleProfile,
        act: Callable[[Sequence[AnyAction]], list[Outcome]],
        *,
        period: float = 1.0,
    ) -> None:
        self._cluster, self._snapshot, self._act, self._period = cluster, snapshot, act, period
        self.machine = SchedulingCycle(replace(profile, scheduler_name=_EVERYBODY), protects=protection)
        self._asks_for_usage = profile.asks_for_usage
        self.memory: Callable[[], ArbiterMemory] = ArbiterMemory
        self._reasons: dict[str, str] = {}
        self._due = np.inf
        cluster.pod_queued = cluster.room_grew = self._wake

    def failed_classes(self) -> list[int]:
        """Classes of pods that were tried and found no node."""
        found: list[int] = np.unique(self._snapshot.pods.cls[self._failed()]).tolist()
        return found

    def waiting_of(self, classes: Sequence[int]) -> list[int]:
        """Rows of the pods of some classes that wait for a node."""
        rows = np.fromiter(self._cluster.pending, dtype=np.int64, count=len(self._cluster.pending))
        found: list[int] = rows[np.isin(self._snapshot.pods.cls[rows], classes)].tolist()
        return found

    def reason(self, pod: int) -> str:
        """Why a pod has no node; empty where it was not tried."""
        return self._reasons.get(self._snapshot.pods.keys[pod], "")

    def measured(self, infos: Callable[[], dict[str, NodeInfo]]) -> None:
        """Tell what nodes and pods were measured to use, and what else is seen of nodes, where the profile has something that asks."""
        if not self._asks_for_usage:
            return
        ours, theirs = self.machine.snapshot, self._snapshot
        for mine, table, columns in (
            (ours.nodes.by_name, theirs.nodes.by_name, ("usage_cpu", "usage_memory", "usage_time")),
            (ours.pods.by_key, theirs.pods.by_key, ("usage_cpu", "usage_memory")),
        ):
            shared = [name for name in mine if name in table]
            to, of = (np.array([rows[name] for name in shared], dtype=np.int64) for rows in (mine, table))
            if "usage_time" in columns:
                ours.set_node_usage(to, *(getattr(theirs.nodes, column)[of] for column in columns))
            else:
                ours.set_pod_usage(to, *(getattr(theirs.pods, column)[of] for column in columns))
        ours.others[NodeInfo.__name__] = dict(infos())
        self._step(events.Measured())

    def cycle(self) -> None:
        """Hear what has happened, and try the pods whose turn it is."""
        for event in self._snapshot.news():
            self._step(event)
        now = self._cluster.clock.now
        if self.machine.due(now) <= now:
            self._step(events.Cycle())
            for event in self._snapshot.news():  # the bindings
                self._step(event)
        self._wake_at(max(self.machine.due(now), now + self._period))

    # -- inside --------------------------------------------------------------------------------------------------------

    def _failed(self) -> list[int]:
        by_key = self._snapshot.pods.by_key
        tried = (each.key for each in self.machine.waiting() if each.message)
        return [row for key in tried if (row := by_key.get(key)) is not None]

    def _step(self, event: events.AnyEvent) -> None:
        for action in self.machine.step(event, self._cluster.clock.now):
            self._carry_out(action)

    def _carry_out(self, action: AnyCycleAction) -> None:
        match action:
            case Bind():
                self._bind(action)
            case SetUnscheduled(pod, _, message):
                self._reasons[f"{pod.namespace}/{pod.name}"] = message
            case Preempt():
                self._preempt(action)
            case CreateReservation(reservation):
                self._snapshot.set(reservation)
            case SetReservation(name, status):
                known = self._snapshot.others.get("Reservation", {}).get(name)
                if known is not None and known.status != status:
                    self._snapshot.set(replace(known, status=status))
            case DeleteReservation(name):
                self._snapshot.remove("Reservation", name)
            case _:  # nominations, Events, and the status of gangs and quotas are for people
                pass

    def _bind(self, action: Bind) -> None:
        snapshot, key = self._snapshot, f"{action.pod.namespace}/{action.pod.name}"
        row, node = snapshot.pods.by_key.get(key), snapshot.nodes.by_name.get(action.node)
        if row is None or snapshot.pods.uids[row] != action.pod.uid or not np.isnan(snapshot.pods.deleted[row]):
            self._step(events.BindFailed(key, action.pod.uid, "NotFound", "404: the pod is gone"))
        elif node is None:
            self._step(events.BindFailed(key, action.pod.uid, "NotFound", f"404: the node {action.node} is gone"))
        else:
            snapshot.assign(row, node)
            self._reasons.pop(key, None)
            self._cluster.bound(row)
            self._step(events.Bound(key, action.pod.uid))

    def _preempt(self, action: Preempt) -> None:
        """Evict all victims, as far as the arbiter and budgets let them go; else the machine is told."""
        pod = action.pod
        reason = preemptions.refusal(action, self.machine.snapshot, self.memory(), self._cluster.clock.now)
        if reason is None:
            left = [each for each in self._act(action.evictions) if each.result != "Done"]
            reason = next((each.reason for each in left if each.reason.code not in _GOING), None)
        if reason is not None:
            self._step(events.PreemptionRefused(f"{pod.namespace}/{pod.name}", pod.uid, reason.message))

    def _wake(self) -> None:
        self._wake_at(self._cluster.clock.now)

    def _wake_at(self, time: float) -> None:
        """A cycle at the next whole period from `time` on, unless one comes before."""
        if time == np.inf:
            return
        due = -(-time // self._period) * self._period
        if due < self._due:
            self._due = due
            self._cluster.clock.at(due, lambda: self._run(due))

    def _run(self, due: float) -> None:
        if due == self._due:
            self._due = np.inf
            self.cycle()
