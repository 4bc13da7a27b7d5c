"""Policy `protected`: nodes that protected pods hold stop taking others where that is cheaper, and go the moment the last of them ends.

A node's state stands on the node: the taint says that it has stopped, and since when. So nothing is lost in a crash, and every taint of
this policy is looked at in every cycle: it is kept with a reason, or taken off.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct, field

from neaptide.model.actions import (
    AnyAction,
    Cordon,
    Declined,
    DeleteNode,
    Effect,
    Evict,
    Plan,
    Precondition,
    Reason,
    Taint,
    Uncordon,
    Untaint,
)
from neaptide.model.scope import Covers, everything
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.consolidation_rooms import Rooms, waiting
from neaptide.policies.protected_choice import Held, costs, held_nodes, hosts, scarcity
from neaptide.policies.protected_grace import ended_by_force
from neaptide.policies.protected_pods import History, holders, holding, learnt
from neaptide.policies.protected_spec import ProtectedSpec
from neaptide.policies.protection import DO_NOT_DISRUPT, comes_with_node, is_over, protection

NAME = "protected"
TAINT = "neaptide.io/protected"
_SCALE_DOWN_DISABLED = "cluster-autoscaler.kubernetes.io/scale-down-disabled"
_OWNER = "neaptide."


class ProtectedMemory(Struct):
    """What outlives a cycle: how long protected pods ran, and when a node was last decided, by its name."""

    history: History = field(default_factory=History)
    decided: dict[str, float] = field(default_factory=dict)


class Protected:
    """The policy."""

    name = NAME
    spec_type = ProtectedSpec
    memory_type = ProtectedMemory

    def plan(
        self,
        snapshot: ClusterSnapshot,
        spec: ProtectedSpec,
        memory: ProtectedMemory,
        now: float,
        covers: Covers = everything,
    ) -> tuple[Plan, ProtectedMemory]:
        """Which nodes stop or go on filling, and which go."""
        pods = holding(snapshot, now).tolist()
        history = learnt(snapshot, pods, memory.history, now, spec.window_seconds)
        marked = {node: since for node, since in _marked(snapshot, now) if covers(snapshot.node_ref(node))}
        if not pods and not marked:
            return Plan(NAME), ProtectedMemory(history)
        turn = _Turn(snapshot, spec, history, memory.decided, marked, now)
        held = held_nodes(snapshot, holders(snapshot, pods, history, now, spec.unknown_seconds))
        turn.fill([each for each in held if covers(snapshot.node_ref(each.node))])
        turn.release({each.node for each in held})
        return Plan(NAME, tuple(turn.actions), tuple(turn.declined)), ProtectedMemory(history, turn.decided)


class _Turn:
    """One cycle. `actions`, `declined` and `decided` are its result."""

    def __init__(
        self,
        snapshot: ClusterSnapshot,
        spec: ProtectedSpec,
        history: History,
        decided: dict[str, float],
        marked: dict[int, float],
        now: float,
    ) -> None:
        self.snapshot, self.spec, self.history, self.marked, self.now = snapshot, spec, history, marked, now
        self.actions: list[AnyAction] = []
        self.declined: list[Declined] = []
        self.decided = {name: at for name, at in decided.items() if now - at < spec.minimum_seconds}

    def fill(self, held: Sequence[Held]) -> None:
        """Stop filling nodes, or fill them on, the one that is held longest first."""
        spec, snapshot = self.spec, self.snapshot
        keep = hosts(held, snapshot, spec)
        lacking = next(waiting(snapshot), None) is not None
        scarce = 1.0 if lacking else scarcity(snapshot, held, self.marked, keep, self.history, self.now)
        filling = int(np.count_nonzero(snapshot.nodes.ready[snapshot.nodes.indices()])) - len(self.marked)
        stopping = 0
        for each in held:
            reason, stop = self._choice(each, filling, scarce, is_host=each.node in keep)
            if each.node in self.marked:
                if not stop and self._may_change(each):
                    self._fill_on(each.node, reason)
                else:
                    self._hold(each, reason)
            elif stop and stopping < spec.stopping_at_once and self._may_change(each):
                stopping += 1
                filling -= 1
                self._stop(each, reason)
            else:
                self.declined.append(Declined(snapshot.node_ref(each.node), reason))

    def release(self, held: set[int]) -> None:
        """Empty and give back nodes whose last protected pod has ended."""
        snapshot, spec = self.snapshot, self.spec
        free = [node for node in self.marked if node not in held]
        if not free:
            return
        rooms = Rooms(snapshot, free)
        lacking = [pod for pod in waiting(snapshot) if not rooms.take([pod])]
        emptying = 0
        moving = {node: _moving(snapshot, node) for node in free}
        for node in sorted(free, key=lambda each: _dearest_for_its_pods(snapshot, each, moving[each])):
            pods = moving[node]
            reason = self._reason_to_stay(node, pods)
            if reason is None and (lacking or not rooms.take(pods)):
                reason = Reason("NoRoom", "its pods have no room elsewhere, so it is filled again")
            if reason is not None:
                self._fill_on(node, reason)
            elif not pods and next(_staying(snapshot, node), None) is None:
                self._delete(node)
            elif emptying < spec.releasing_at_once:
                emptying += 1
                self.actions += [self._eviction(pod, node) for pod in pods]

    def _choice(self, each: Held, filling: int, scarce: float, *, is_host: bool) -> tuple[Reason, bool]:
        """Whether a node is to stop filling, and why."""
        snapshot = self.snapshot
        annotations = snapshot.node_annotations(each.node)
        if annotations.get(DO_NOT_DISRUPT) == "true" or annotations.get(_SCALE_DOWN_DISABLED) == "true":
            return Reason("NodeKept", "an annotation of the node keeps it, whatever runs there"), False
        if np.isnan(each.price):
            return Reason("UnknownPrice", "what it costs is not known"), False
        if is_host:
            why = f"it is held longest, {each.seconds:.0f} s as expected: new protected pods find others here that end as late"
            return Reason("Host", why), False
        either = costs(each, self.history, self.spec, filling=filling, scarce=scarce, now=self.now)
        money = f"filling on is expected to cost {either.filling:.4f} USD, stopping {either.stopping:.4f}"
        of = f"{len(each.holders)} protected pods hold it for {each.seconds:.0f} s as expected ({each.holders[0].left.source})"
        stopped = each.node in self.marked
        bar = self.spec.margin if not stopped else 1 / self.spec.margin
        if either.filling > either.stopping * bar:
            return Reason("StopFilling", f"{of}; {money}"), True
        return Reason("KeepPacking", f"{of}; {money}: the hold outlasts what stopping would save"), False

    def _may_change(self, each: Held) -> bool:
        return self.snapshot.nodes.names[each.node] not in self.decided

    def _stop(self, each: Held, reason: Reason) -> None:
        target = self.snapshot.node_ref(each.node)
        self.decided[target.name] = self.now
        self.actions.append(
            Taint(
                policy=NAME,
                target=target,
                reason=reason,
                expected=Effect(0.0),
                key=TAINT,
                value=f"{_OWNER}{self.now:.0f}",
                effect=self.spec.effect,
            )
        )

    def _hold(self, each: Held, reason: Reason) -> None:
        """A node that has stopped: cordon it where that is wanted, and end what has had its time."""
        snapshot, target = self.snapshot, self.snapshot.node_ref(each.node)
        self.declined.append(Declined(target, reason))
        if self.spec.cordon and not snapshot.nodes.unschedulable[each.node]:
            self.actions.append(Cordon(policy=NAME, target=target, reason=reason))
        self.actions += ended_by_force(snapshot, self.spec.grace, each, self.marked[each.node], self.now)

    def _fill_on(self, node: int, reason: Reason) -> None:
        snapshot, target = self.snapshot, self.snapshot.node_ref(node)
        self.decided[target.name] = self.now
        if self.spec.cordon and snapshot.nodes.unschedulable[node]:
            self.actions.append(Uncordon(policy=NAME, target=target, reason=reason))  # and the taint in the next cycle
        else:
            self.actions.append(Untaint(policy=NAME, target=target, reason=reason, key=TAINT))

    def _reason_to_stay(self, node: int, pods: Sequence[int]) -> Reason | None:
        if not self.spec.release:
            return Reason("Released", "its last protected pod has ended, and it is not to be given back")
        if not self.snapshot.nodes.ready[node]:
            return Reason("NotReady", "it is not ready")
        for pod in pods:
            kept = protection(self.snapshot, pod, self.now)
            if kept is not None:
                return Reason(kept.code, f"{self.snapshot.pods.keys[pod]}: {kept.message}")
        return None

    def _eviction(self, pod: int, node: int) -> Evict:
        name = self.snapshot.nodes.names[node]
        return Evict(
            policy=NAME,
            target=self.snapshot.pod_ref(pod),
            reason=Reason("Release", f"the last protected pod on node {name} has ended, and there is room elsewhere"),
            preconditions=(Precondition("spec.nodeName", name),),
            node=name,
            workload=self.snapshot.workload_of(pod),
        )

    def _delete(self, node: int) -> None:
        price = float(self.snapshot.nodes.price[node])
        reason = Reason("Release", "its last protected pod has ended, and it is empty")
        effect = Effect(None if np.isnan(price) else -price)
        self.actions.append(
            DeleteNode(policy=NAME, target=self.snapshot.node_ref(node), reason=reason, expected=effect)
        )


def _dearest_for_its_pods(snapshot: ClusterSnapshot, node: int, pods: Sequence[int]) -> tuple[float, str]:
    """For sorting: the node first that saves most for each pod that has to move."""
    return -float(np.nan_to_num(snapshot.nodes.price[node])) / (1 + len(pods)), snapshot.nodes.names[node]


def _marked(snapshot: ClusterSnapshot, now: float) -> Iterator[tuple[int, float]]:
    """The nodes (rows) with this policy's taint, and since when they have it."""
    ours = [
        number for number, taints in enumerate(snapshot.taint_sets.values) if any(each.key == TAINT for each in taints)
    ]
    if not ours:
        return
    rows = snapshot.nodes.indices()
    for node in rows[np.isin(snapshot.nodes.taints[rows], ours)].tolist():
        value = next(each.value for each in snapshot.node_taints(node) if each.key == TAINT)
        text = value.removeprefix(_OWNER)
        yield node, float(text) if text.isdecimal() else now


def _staying(snapshot: ClusterSnapshot, node: int) -> Iterator[int]:
    """The pods (rows) that keep a node from being given back, those that are going included."""
    return (pod for pod in snapshot.pods_on(node) if not is_over(snapshot, pod) and not comes_with_node(snapshot, pod))


def _moving(snapshot: ClusterSnapshot, node: int) -> list[int]:
    """Those of them that have to go elsewhere and are not going yet."""
    return [pod for pod in _staying(snapshot, node) if np.isnan(snapshot.pods.deleted[pod])]
