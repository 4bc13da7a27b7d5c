"""What follows for a pod that found no node: room is made for it where that is allowed, its status says why, and it waits."""

from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.cycle.actions import AnyCycleAction, Nominate, Preempt, SetUnscheduled
from neaptide.placement.cycle.attempts import Attempt
from neaptide.placement.cycle.nominations import Nominations
from neaptide.placement.cycle.preemption import LEAVING, Made, Preemptor
from neaptide.placement.cycle.queue import Queue, Waiting

UNSCHEDULABLE = "Unschedulable"


class Refusals:
    """Appends the actions that follow to `out`."""

    def __init__(
        self,
        snapshot: ClusterSnapshot,
        queue: Queue,
        nominations: Nominations,
        preemptor: Preemptor,
        out: list[AnyCycleAction],
    ) -> None:
        self._snapshot, self._queue, self._nominations = snapshot, queue, nominations
        self._preemptor, self._out = preemptor, out

    def refuse(self, pod: Waiting, attempt: Attempt, now: float) -> None:
        """No node can take a pod as things are."""
        message = attempt.message
        if attempt.may_be_helped and self._nominations.waits_for(pod.key):
            message = f"{message} {self._preemptor.said(LEAVING)}"
        elif attempt.may_be_helped:
            made = self._preemptor.plan(pod, attempt.verdict, now)
            if made.node is None:
                message = f"{message} {made.message}".rstrip()
                self.renounce(pod, now)
            else:
                self.nominate(pod, made)
        self.leave(pod, attempt.plugins, message, now)

    def leave(self, pod: Waiting, plugins: frozenset[str], message: str, now: float) -> None:
        """Let a pod wait for a change that helps against those that refused it."""
        self._out.append(SetUnscheduled(self._snapshot.pod_ref(pod.row), UNSCHEDULABLE, message))
        self._queue.refused(pod.key, plugins, message, now)

    def nominate(self, pod: Waiting, made: Made) -> None:
        """Keep room for a pod on a node, and have the victims evicted."""
        if made.node is None:
            return
        name, ref = self._snapshot.nodes.names[made.node], self._snapshot.pod_ref(pod.row)
        self._nominations.add(pod, name, tuple(self._snapshot.pods.keys[each] for each in made.victims))
        self._out.append(Nominate(ref, name))
        if made.victims:
            self._out.append(Preempt(ref, name, self._preemptor.evictions(pod, made)))

    def renounce(self, pod: Waiting, now: float) -> None:
        """Keep room for a pod no longer, and say so."""
        change = self._nominations.drop(pod.key)
        if change is not None:
            self._out.append(Nominate(self._snapshot.pod_ref(pod.row), ""))
            self._queue.changed(change, now)

    def settled(self, pod: Waiting, node: int, now: float) -> None:
        """A pod has got a node, perhaps another than the one that room was made on."""
        change = self._nominations.drop(pod.key)
        if change is not None and change.node != node:
            self._queue.changed(change, now)
