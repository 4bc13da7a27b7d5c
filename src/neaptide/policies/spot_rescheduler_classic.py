"""The profile `classic`: what the k8s-spot-rescheduler decides, with a taint key of its own and nothing protected evicted.

Source of the algorithm: pusher/k8s-spot-rescheduler v0.3.0 (rescheduler.go, nodes/nodes.go, scaler/scaler.go). It drains one node at a
time, the emptiest first; every pod must have a place on the spot nodes, the fullest of which is asked first. Requested CPU decides
both orders.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from neaptide.model.actions import AnyAction, Declined, Evict, Plan, Reason
from neaptide.model.columns import NO_NODE, PENDING
from neaptide.model.objects import Container
from neaptide.model.quantity import for_resource
from neaptide.model.scope import Covers
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.place import Placement
from neaptide.placement.profile import Profile
from neaptide.policies.spot_rescheduler_nodes import (
    DRAIN_FAILED,
    DRAINED,
    draining,
    eviction,
    kept,
    kinds,
    mark,
    on_it,
    saved,
    unmark,
)
from neaptide.policies.spot_rescheduler_spec import NAME, SpotReschedulerMemory, SpotReschedulerSpec

FILTERS_ONLY = Profile(scores=())
_CONFIRMATION = 5.0
"""After the last eviction was tried, pods may still need so long to be gone."""


class Move(NamedTuple):
    """A pod (row), and the node (row) that has a place for it."""

    pod: int
    node: int


class SpotNodes:
    """The spot nodes in the order in which they are asked. To be used inside `what_if`: pods that find a place take it."""

    def __init__(self, placement: Placement, nodes: Sequence[int]) -> None:
        self._placement, self._nodes = placement, np.array(nodes, dtype=np.int64)

    def find(self, pod: int) -> int | None:
        """The first node that can take a pod; None where none can."""
        fits = self._nodes[self._placement.feasible(pod)[self._nodes]] if len(self._nodes) else self._nodes
        return int(fits[0]) if len(fits) else None

    def take(self, pods: Iterable[int]) -> list[Move] | int:
        """A place for each pod, or the first pod that has none: then those before it have taken theirs all the same."""
        moves = []
        for pod in pods:
            node = self.find(pod)
            if node is None:
                return pod
            self._placement.snapshot.unassign(pod)
            self._placement.snapshot.assign(pod, node)
            moves.append(Move(pod, node))
        return moves


def pod_cpu(snapshot: ClusterSnapshot, pod: int) -> int:
    """Milli-CPU that a pod's containers ask for: neither init containers nor overhead count."""
    return _containers_cpu(snapshot.shape_of_pod(pod).requirements.containers)


@lru_cache(maxsize=1 << 12)
def _amount(text: str) -> int:
    return for_resource("cpu", text)


def _containers_cpu(containers: Sequence[Container]) -> int:
    return sum(_amount(each.resources.requests.get("cpu", "0")) for each in containers)


def requested_cpu(snapshot: ClusterSnapshot, node: int) -> int:
    """Milli-CPU that the pods on a node ask for."""
    return sum(pod_cpu(snapshot, pod) for pod in snapshot.pods_on(node))


def in_order(snapshot: ClusterSnapshot, nodes: Iterable[int], *, fullest_first: bool) -> list[int]:
    """Nodes by the CPU that is requested on them; of equals by name."""
    sign = -1 if fullest_first else 1
    return sorted(nodes, key=lambda node: (sign * requested_cpu(snapshot, node), snapshot.nodes.names[node]))


def dearest_first(snapshot: ClusterSnapshot, pods: Iterable[int]) -> list[int]:
    """Pods by the CPU that they ask for, the most first; of equals by name."""
    return sorted(pods, key=lambda pod: (-pod_cpu(snapshot, pod), snapshot.pods.keys[pod]))


def unplaced(placement: Placement, *, above: int = -(2**31)) -> list[int]:
    """Give every pod that waits for a node one, and return those for which there is none. To be used inside `what_if`.

    Pods of lower priority than `above` are not looked at.
    """
    pods = placement.snapshot.pods
    rows = pods.indices()
    waiting = rows[
        (pods.node[rows] == NO_NODE)
        & (pods.phase[rows] == PENDING)
        & (pods.priority[rows] >= above)
        & ~pods.gated[rows]
        & np.isnan(pods.deleted[rows])
    ]
    order = waiting[np.lexsort((waiting, -pods.priority[waiting]))]
    return [each.pod for each in placement.schedule(order.tolist()) if each.node is None]


def classic(
    snapshot: ClusterSnapshot, spec: SpotReschedulerSpec, memory: SpotReschedulerMemory, now: float, covers: Covers
) -> tuple[Plan, SpotReschedulerMemory]:
    """One pass: go on with a drain, or begin the first one that can be."""
    going_on = draining(snapshot, covers)
    if going_on:
        return _go_on(snapshot, going_on, spec, memory, now)
    if now < memory.resume:
        return Plan(NAME), memory
    placement = Placement(snapshot, FILTERS_ONLY)
    with snapshot.what_if():
        waiting = unplaced(placement)
    if waiting:
        why = Reason("Unschedulable", f"{snapshot.pod_ref(waiting[0])} finds no node: nothing is made worse")
        return Plan(NAME, declined=(Declined(snapshot.pod_ref(waiting[0]), why),)), memory
    return _begin(placement, spec, now, covers), memory


def _begin(placement: Placement, spec: SpotReschedulerSpec, now: float, covers: Covers) -> Plan:
    """Mark the first node all of whose pods have a place on spot nodes; they follow once it is marked."""
    snapshot, declined = placement.snapshot, []
    found = kinds(snapshot, spec)
    spot = in_order(snapshot, np.flatnonzero(found.spot).tolist(), fullest_first=True)
    for node in in_order(snapshot, np.flatnonzero(found.on_demand).tolist(), fullest_first=False):
        if not covers(snapshot.node_ref(node)):
            continue
        pods = dearest_first(snapshot, on_it(snapshot, node, now))
        if not pods:
            continue
        why = _hindrance(placement, spot, pods, spec, now)
        if why is not None:
            declined.append(Declined(snapshot.node_ref(node), why))
            continue
        reason = Reason("Reschedule", f"its {len(pods)} pods have a place on spot nodes")
        later = tuple(_leave(snapshot, pods, spec))
        return Plan(NAME, (mark(snapshot, node, reason, now, saved(snapshot, node)),), tuple(declined), later)
    return Plan(NAME, declined=tuple(declined))


def _hindrance(
    placement: Placement, spot: Sequence[int], pods: Sequence[int], spec: SpotReschedulerSpec, now: float
) -> Reason | None:
    """Why a node with these pods cannot be drained."""
    snapshot = placement.snapshot
    for pod in pods:
        why = kept(snapshot, pod, spec, now)
        if why is not None:
            return replace(why, message=f"{snapshot.pod_ref(pod)}: {why.message}")
    with snapshot.what_if():
        moves = SpotNodes(placement, spot).take(pods)
    if isinstance(moves, int):
        return Reason("NoRoom", f"no spot node has room for {snapshot.pod_ref(moves)}")
    return None


def _go_on(
    snapshot: ClusterSnapshot,
    going_on: dict[int, float],
    spec: SpotReschedulerSpec,
    memory: SpotReschedulerMemory,
    now: float,
) -> tuple[Plan, SpotReschedulerMemory]:
    """Evict, wait, and end drains: the evictions' time counts from the taint."""
    actions: list[AnyAction] = []
    ended = False
    for node, since in going_on.items():
        pods = dearest_first(snapshot, on_it(snapshot, node, now))
        protected = [why for pod in pods if (why := kept(snapshot, pod, spec, now)) is not None]
        end = None
        if not pods:
            end = Reason(DRAINED, "all of its pods have left")
        elif protected:
            end = Reason(DRAIN_FAILED, f"a pod came that must stay: {protected[0].message}")
        elif now >= since + spec.timeout + _CONFIRMATION:
            end = Reason(DRAIN_FAILED, f"{len(pods)} pods have not left in time")
        if end is not None:
            ended = True
            actions.append(unmark(snapshot, node, end))
        elif now < since + spec.timeout:
            actions += _leave(snapshot, pods, spec)
    resume = now + spec.node_drain_delay_seconds if ended else memory.resume
    return Plan(NAME, tuple(actions)), replace(memory, resume=resume)


def _leave(snapshot: ClusterSnapshot, pods: Iterable[int], spec: SpotReschedulerSpec) -> list[Evict]:
    why = Reason("Reschedule", "it leaves its on-demand node for a spot node")
    return [
        eviction(snapshot, pod, int(snapshot.pods.node[pod]), why, spec)
        for pod in pods
        if np.isnan(snapshot.pods.deleted[pod])
    ]
