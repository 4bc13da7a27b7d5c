"""The default profile of `spot-rescheduler`: several nodes at once, by money, onto the cheapest and least risky room, and back at once.

A pass tries everything out in one `what_if`, so that each decision stands on those before it: pods that wait for a node get theirs
first, then those that must leave interrupted nodes, then those of drains under way, then the nodes that are drained next.
"""

from collections.abc import Iterable
from functools import cached_property

import numpy as np
from msgspec.structs import replace

from neaptide.model.actions import AnyAction, Declined, Plan, Reason, Taint, Untaint
from neaptide.model.columns import Bools
from neaptide.model.scope import Covers
from neaptide.model.selectors import untolerated
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.filters.taint_toleration import TaintToleration
from neaptide.placement.place import Placement
from neaptide.placement.profile import Profile
from neaptide.policies.protection import DO_NOT_DISRUPT
from neaptide.policies.spot_rescheduler_classic import FILTERS_ONLY, Move, unplaced
from neaptide.policies.spot_rescheduler_nodes import (
    DRAIN_FAILED,
    DRAINED,
    TAINT,
    draining,
    eviction,
    labelled,
    mark,
    on_it,
    saved,
    unmark,
    usable,
)
from neaptide.policies.spot_rescheduler_rules import NO_PLACE, Census, Rules, Targets, pool_name
from neaptide.policies.spot_rescheduler_spec import NAME, SpotReschedulerMemory, SpotReschedulerSpec
from neaptide.policies.spot_rescheduler_surge import PATIENCE, Surge

PREFER_SPOT = "neaptide.io/prefer-spot"
"""The key of the soft taint on on-demand nodes."""
_SOFT = "PreferNoSchedule"
NEEDED = "NeededAgain"
_INTERRUPTED = (
    "aws-node-termination-handler/",
    "karpenter.sh/disrupted",
    "cloud.google.com/impending-node-termination",
)
"""How the keys of taints begin that say of a spot node that it is about to go."""
_SCALE_DOWN_DISABLED = "cluster-autoscaler.kubernetes.io/scale-down-disabled"
_UNTAINTED = Profile(
    filters=tuple(each for each in FILTERS_ONLY.filters if not isinstance(each, TaintToleration)), scores=()
)
_TRIES = 200
"""Nodes that one pass looks at for draining."""
_SOFT_TAINTS = 50
"""Soft taints that one pass puts on or takes off."""


def default(
    snapshot: ClusterSnapshot, spec: SpotReschedulerSpec, memory: SpotReschedulerMemory, now: float, covers: Covers
) -> tuple[Plan, SpotReschedulerMemory]:
    """One pass."""
    with snapshot.what_if():
        found = _Pass(snapshot, spec, memory, now, covers)
        found.fall_back()
        found.go_on()
        found.end_surges()
        if spec.goal == "Release":
            found.begin()
        else:
            found.relieve()
        found.prefer_spot()
        plan = Plan(NAME, tuple(found.actions), tuple(found.declined), tuple(found.later))
    return plan, found.memory


class _Pass:
    """What one pass sees and decides. To be used inside `what_if`."""

    def __init__(
        self,
        snapshot: ClusterSnapshot,
        spec: SpotReschedulerSpec,
        memory: SpotReschedulerMemory,
        now: float,
        covers: Covers,
    ) -> None:
        self.actions: list[AnyAction] = []
        self.declined: list[Declined] = []
        self.later: list[AnyAction] = []
        self._snapshot, self._spec, self._now, self._covers = snapshot, spec, now, covers
        self._labelled = labelled(snapshot, spec)
        self._noticed = {each.node for each in snapshot.interruptions if each.notice == "Interruption"}
        self._usable = usable(snapshot, self._labelled)
        self._going = draining(snapshot, covers)
        self._leaving = np.zeros(snapshot.nodes.rows, dtype=np.bool_)
        self._leaving[[row for row in np.flatnonzero(self._labelled.spot).tolist() if self._is_interrupted(row)]] = True
        sources = np.flatnonzero(self._usable.on_demand | self._leaving).tolist()
        self._pods = {row: on_it(snapshot, row, now) for row in {*sources, *self._going}}
        self.memory = self._remembered(memory)
        self._placement = Placement(snapshot, FILTERS_ONLY)
        self._census = Census(snapshot, self._labelled.spot, self._labelled.on_demand)
        self._surge = Surge(snapshot, memory.surged, now)
        self._rules = Rules(snapshot, spec, self._census, self.memory.fell_back, now, covers, self._surge)
        caps = spec if spec.goal == "Release" else replace(spec, max_pool_share=1.0)
        self._targets = Targets(
            self._placement, self._usable, self._census, self._rules, caps, self._avoided(), self._in_use()
        )
        self._starved = self._make_room()
        self._left = spec.evictions_per_pass

    # -- what is seen --------------------------------------------------------------------------------------------------

    def _remembered(self, memory: SpotReschedulerMemory) -> SpotReschedulerMemory:
        """What still matters, and what has just been seen: interruptions, and nodes that are empty."""
        snapshot, spec, now, names = self._snapshot, self._spec, self._now, self._snapshot.nodes.names
        after = SpotReschedulerMemory(memory.passed, memory.resume)
        after.failed = {
            name: time for name, time in memory.failed.items() if now - time < spec.node_drain_delay_seconds
        }
        for old, new in ((memory.fell_back, after.fell_back), (memory.avoided, after.avoided)):
            new |= {name: time for name, time in old.items() if now - time < spec.return_after_seconds}
        for row in np.flatnonzero(self._leaving).tolist():
            after.avoided[pool_name(snapshot.node_labels(row))] = now
            workloads = (snapshot.workload_of(pod) for pod in self._pods[row])
            after.fell_back |= {str(workload): now for workload in workloads if workload is not None}
        empty = [names[row] for row in self._going if not self._of(row)]
        after.emptied = {name: memory.emptied.get(name, now) for name in empty}
        return after

    def _is_interrupted(self, node: int) -> bool:
        if self._snapshot.nodes.names[node] in self._noticed:
            return True
        return any(taint.key.startswith(_INTERRUPTED) for taint in self._snapshot.node_taints(node))

    def _avoided(self) -> Bools:
        """bool[nodes]: nodes of capacity pools that were interrupted a short while ago, and those that are about to go."""
        snapshot, found = self._snapshot, self._leaving.copy()
        if self.memory.avoided:
            for row in snapshot.nodes.indices().tolist():
                found[row] |= pool_name(snapshot.node_labels(row)) in self.memory.avoided
        return found

    def _in_use(self) -> Bools:
        """bool[nodes]: on-demand nodes that stay while others are released: those that have pods. To be relieved, none."""
        found = np.zeros(self._snapshot.nodes.rows, dtype=np.bool_)
        if self._spec.goal == "Release":
            rows = [row for row in np.flatnonzero(self._usable.on_demand).tolist() if row not in self._going]
            found[[row for row in rows if self._of(row)]] = True
        return found

    def _make_room(self) -> list[int]:
        """Pause pods make room, pods that wait take theirs; those that find none, though they have not waited for long."""
        snapshot, table = self._snapshot, self._snapshot.pods
        rows = table.indices()
        for pod in rows[(table.priority[rows] <= self._spec.pause_priority) & (table.node[rows] >= 0)].tolist():
            snapshot.unassign(pod)
        left = unplaced(self._placement, above=self._spec.pause_priority + 1)
        return [pod for pod in left if not self._now - table.created[pod] > self._spec.pending_patience_seconds]

    def _is_pause(self, pod: int) -> bool:
        return bool(self._snapshot.pods.priority[pod] <= self._spec.pause_priority)

    def _of(self, node: int) -> list[int]:
        """The pods that a drain moves, pause pods left out."""
        return [pod for pod in self._pods[node] if not self._is_pause(pod)]

    def _largest_first(self, pods: Iterable[int]) -> list[int]:
        """Pods that are not terminating already, by the largest share of a node that they ask for."""
        snapshot = self._snapshot
        rows = np.array([pod for pod in pods if np.isnan(snapshot.pods.deleted[pod])], dtype=np.int64)
        largest = np.maximum(snapshot.nodes.allocatable.max(axis=1, initial=1), 1)[:, None]
        share = (snapshot.pod_requests(rows) / largest).max(axis=0, initial=0.0)
        return [int(each) for each in rows[np.lexsort((rows, -share))]]

    def _staying(self, node: int) -> list[int]:
        """The pods that a drain has still to move, the largest first."""
        return self._largest_first(self._of(node))

    def _has_room(self, node: int) -> str:
        return f"{self._snapshot.nodes.names[node]} has room for it"

    # -- what is decided -----------------------------------------------------------------------------------------------

    def fall_back(self) -> None:
        """Pods leave spot nodes that are about to go: to other spot nodes, else to on-demand nodes."""
        snapshot = self._snapshot
        pods = [pod for node in np.flatnonzero(self._leaving).tolist() for pod in self._of(node)]
        for pod in self._largest_first(pods):
            node = int(snapshot.pods.node[pod])
            why = self._rules.protection(pod)
            fits = self._placement.feasible(pod) & ~self._leaving
            rows = np.flatnonzero(fits & self._usable.spot)
            rows = rows if len(rows) else np.flatnonzero(fits)
            if why is None and not len(rows):
                self._starved.append(pod)
                why = Reason("NoRoom", "its spot node is about to go, and no other node can take it")
            if why is not None:
                self.declined.append(Declined(snapshot.pod_ref(pod), why))
                continue
            snapshot.unassign(pod)
            snapshot.assign(pod, int(rows[0]))
            said = f"spot node {snapshot.nodes.names[node]} is about to go; {self._has_room(int(rows[0]))}"
            self.actions.append(eviction(snapshot, pod, node, Reason("Interrupted", said), self._spec))

    def go_on(self) -> None:
        """Drains under way: their pods leave, or the node is kept empty, or it is given back to all."""
        for node, since in sorted(self._going.items(), key=lambda each: (each[1], each[0])):
            end = self._needed(node) or (self._empty(node) if not self._of(node) else self._drain(node, since))
            if end is not None:
                self.actions.append(unmark(self._snapshot, node, end))
                if end.code != DRAINED:
                    self.memory.failed[self._snapshot.nodes.names[node]] = self._now

    @cached_property
    def _untainted(self) -> Placement:
        """Where pods could go if no node had a taint."""
        return Placement(self._snapshot, _UNTAINTED)

    def _empty(self, node: int) -> Reason | None:
        """A drained node: pause pods leave it too, and it is held for a while for its owner to take away."""
        snapshot, name = self._snapshot, self._snapshot.nodes.names[node]
        held = self._now - self.memory.emptied[name]
        if self._spec.goal == "Relieve" or held >= self._spec.hold_seconds:
            return Reason(DRAINED, f"it has been empty for {held:.0f} s, and nobody has taken it away")
        for pod in self._pods[node]:
            self._evict(node, pod, "pause pods do not keep a node")
        said = f"it is empty and may go; it is held for {self._spec.hold_seconds - held:.0f} s more"
        self.declined.append(Declined(snapshot.node_ref(node), Reason("Held", said)))
        return None

    def _drain(self, node: int, since: float) -> Reason | None:
        """Evict what may be evicted now, if all that is left has a place; else why the drain ends."""
        if self._spec.goal == "Relieve":
            return Reason(DRAIN_FAILED, "no node is to be released")
        if self._now >= since + self._spec.timeout:
            return Reason(DRAIN_FAILED, f"{len(self._of(node))} pods have not left in time")
        snapshot, pods = self._snapshot, self._staying(node)
        held = set()
        for pod in pods:
            why = self._rules.protection(pod)
            if why is not None and why.code == "DisruptionBudget":
                held.add(pod)
            elif why is not None:
                return Reason(DRAIN_FAILED, f"{snapshot.pod_ref(pod)} must stay: {why.message}")
        pods = self._with_twins(node, pods, held)
        late = next((pod for pod in held if self._surge.is_late(pod)), None)
        if late is not None:
            return Reason(DRAIN_FAILED, f"{snapshot.pod_ref(late)} has no ready twin after {PATIENCE:.0f} s")
        moves = self._targets.take(pods, merge=True)
        if isinstance(moves, tuple):
            return Reason(DRAIN_FAILED, f"{snapshot.pod_ref(moves[0])} has lost its place: {moves[1].message}")
        for move in moves:
            if move.pod not in held:
                self._evict(node, move.pod, self._has_room(move.node))
        return None

    def _with_twins(self, node: int, pods: list[int], held: set[int]) -> list[int]:
        """The pods that need a place: those whose twin is there need none. Twins are started, and who waits for one is held."""
        rest = []
        for pod in pods:
            name = str(self._snapshot.workload_of(pod))
            if self._spec.single_replicas != "Surge" or not (name in self._surge.since or self._rules.is_single(pod)):
                rest.append(pod)
            elif self._rules.is_single(pod):
                held.add(pod)
                rest += [] if name in self._surge.since else [pod]
                begun = self._surge.begin(pod) if self._surge.may(pod) else None
                self.actions += [] if begun is None else [begun]
            elif pod not in held:
                self._evict(node, pod, "its twin is ready")
        return rest

    def end_surges(self) -> None:
        """Scale back the workloads whose pod has gone, for its twin has taken over."""
        snapshot = self._snapshot
        leaving = [pod for node in self._going for pod in self._of(node)]
        self.actions += self._surge.end(leaving, lambda pod: bool(np.isnan(snapshot.pods.deleted[pod])))
        self.memory.surged = self._surge.since

    def _evict(self, node: int, pod: int, why: str) -> None:
        if self._left > 0 and np.isnan(self._snapshot.pods.deleted[pod]):
            self._left -= 1
            self.actions.append(eviction(self._snapshot, pod, node, Reason("Release", why), self._spec))

    def _needed(self, node: int) -> Reason | None:
        """Whether a pod that finds no node could go to this one if it were not for our taint."""
        snapshot = self._snapshot
        others = [taint for taint in snapshot.node_taints(node) if taint.key != TAINT]
        for pod in self._starved:
            tolerations = snapshot.shape_of_pod(pod).requirements.tolerations
            if (
                untolerated(others, tolerations, ("NoSchedule", "NoExecute")) is None
                and self._untainted.feasible(pod)[node]
            ):
                return Reason(NEEDED, f"{snapshot.pod_ref(pod)} finds no other node")
        return None

    def begin(self) -> None:
        """Mark the nodes that are drained next: those first that save the most money for each pod that moves."""
        snapshot = self._snapshot
        if self._starved:
            pod = snapshot.pod_ref(self._starved[0])
            self.declined.append(Declined(pod, Reason("Unschedulable", "it finds no node: nothing is made worse")))
            return
        room = self._spec.nodes_per_pass - sum(bool(self._of(node)) for node in self._going)
        candidates = [row for row in np.flatnonzero(self._usable.on_demand).tolist() if row not in self._going]
        candidates = [row for row in candidates if self._of(row) and self._covers(snapshot.node_ref(row))]
        stuck: list[tuple[int, Reason]] = []
        for node in sorted(candidates, key=self._dearest_first)[:_TRIES]:
            if room <= 0:
                break
            moves = self._moves(node)
            if not isinstance(moves, Reason):
                room -= 1
                self._begin(node, moves)
            elif moves.code in NO_PLACE:
                stuck.append((node, moves))
            else:
                self.declined.append(Declined(snapshot.node_ref(node), moves))
        for node, why in stuck:
            merged = self._targets.merge(self._staying(node)) if room > 0 else ()
            if isinstance(merged, tuple):
                self.declined.append(Declined(snapshot.node_ref(node), why))
            else:
                room -= 1
                self._begin(node, merged)

    def _begin(self, node: int, moves: list[Move]) -> None:
        """Mark a node all of whose pods have a place; they follow once it is marked."""
        snapshot = self._snapshot
        on_spot = sum(bool(self._usable.spot[move.node]) for move in moves)
        said = f"its {len(moves)} pods have a place on spot nodes"
        if on_spot < len(moves):
            said = (
                f"{on_spot} of its {len(moves)} pods have a place on spot nodes, the others on on-demand nodes in use"
            )
        self.actions.append(mark(snapshot, node, Reason("Release", said), self._now, saved(snapshot, node)))
        for move in moves:
            follow = Reason("Release", self._has_room(move.node))
            self.later.append(eviction(snapshot, move.pod, node, follow, self._spec))

    def _gain(self, node: int) -> float:
        """US dollars per hour that leaving a node saves for each pod that moves; nan where its price is unknown."""
        return float(self._snapshot.nodes.price[node]) / max(len(self._of(node)), 1)

    def _dearest_first(self, node: int) -> tuple[float, int, str]:
        gain = self._gain(node)
        return (np.inf if np.isnan(gain) else -gain, len(self._of(node)), self._snapshot.nodes.names[node])

    def _moves(self, node: int) -> list[Move] | Reason:
        """The places that all pods of a node have taken, or why it is not drained now."""
        snapshot, name = self._snapshot, self._snapshot.nodes.names[node]
        annotations = snapshot.node_annotations(node)
        if "true" in (annotations.get(DO_NOT_DISRUPT), annotations.get(_SCALE_DOWN_DISABLED)):
            return Reason("NodeProtected", "its annotations keep it")
        if name in self.memory.failed:
            return Reason("TriedBefore", "a drain of it ended in vain a short while ago")
        if self._gain(node) < self._spec.minimum_gain_per_eviction:
            return Reason("SmallGain", f"leaving it saves {self._gain(node):.4f} US dollars per hour and pod")
        pods = self._staying(node)
        for pod in pods:
            why = self._rules.hindrance(pod)
            if why is not None:
                return replace(why, message=f"{snapshot.pod_ref(pod)}: {why.message}")
        moves = self._targets.take(pods)
        if isinstance(moves, tuple):
            return replace(moves[1], message=f"{snapshot.pod_ref(moves[0])}: {moves[1].message}")
        return moves

    def relieve(self) -> None:
        """Single pods leave for wherever there is room, from nodes that new pods keep off already."""
        snapshot = self._snapshot
        for node in np.flatnonzero(self._usable.on_demand).tolist():
            if self._starved or node in self._going or not self._covers(snapshot.node_ref(node)):
                continue
            follow = self._spec.prefer_spot and not self._has_soft(node)
            for pod in self._staying(node):
                if self._left <= 0:
                    return
                why = self._rules.hindrance(pod)
                moves = self._targets.take([pod]) if why is None else (pod, why)
                if isinstance(moves, tuple):
                    self.declined.append(Declined(snapshot.pod_ref(pod), moves[1]))
                    continue
                self._left -= 1
                reason = Reason("Relieve", self._has_room(moves[0].node))
                (self.later if follow else self.actions).append(eviction(snapshot, pod, node, reason, self._spec))

    # -- the soft taint ------------------------------------------------------------------------------------------------

    def prefer_spot(self) -> None:
        """Have new pods prefer spot nodes, as long as there are any; nodes that something else is done to come later."""
        snapshot = self._snapshot
        busy = {each.target.name for each in self.actions} | {snapshot.nodes.names[row] for row in self._going}
        wanted = self._spec.prefer_spot and bool(self._labelled.spot.any())
        left = _SOFT_TAINTS
        for node in snapshot.nodes.indices().tolist():
            wants = wanted and bool(self._labelled.on_demand[node])
            ref = snapshot.node_ref(node)
            if left == 0 or wants == self._has_soft(node) or ref.name in busy or not self._covers(ref):
                continue
            left -= 1
            if wants:
                why = Reason("PreferSpot", "new pods are to prefer spot nodes")
                self.actions.append(
                    Taint(policy=NAME, target=ref, reason=why, key=PREFER_SPOT, value=NAME, effect=_SOFT)
                )
            else:
                why = Reason("NoLongerPreferred", "there are no spot nodes, or it is no on-demand node")
                self.actions.append(Untaint(policy=NAME, target=ref, reason=why, key=PREFER_SPOT, effect=_SOFT))

    def _has_soft(self, node: int) -> bool:
        return any(taint.key == PREFER_SPOT and taint.value == NAME for taint in self._snapshot.node_taints(node))
