"""One cycle of a consolidation that is under way: what can be done now for every node on its way out, and what follows."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from neaptide.model.actions import (
    AnyAction,
    CreateNode,
    Declined,
    DeleteNode,
    Effect,
    Evict,
    Precondition,
    Reason,
    Ref,
    Taint,
    Untaint,
)
from neaptide.model.scope import Covers
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.consolidation_candidates import TAINT, Candidate, candidates, is_marked, marked
from neaptide.policies.consolidation_choice import Order, Source
from neaptide.policies.consolidation_rooms import Rooms, waiting
from neaptide.policies.consolidation_spec import ConsolidationSpec
from neaptide.policies.protection import comes_with_node, is_over

NAME = "consolidation"
_NO_ROOM = Reason("NoRoom", "its pods fit nowhere any more")
_PASSING = "DisruptionBudget"
"""An objection that a node on its way out waits for: other pods of the budget are coming back."""


def staying(snapshot: ClusterSnapshot, node: int) -> Iterator[int]:
    """The pods (rows) that keep a node from being given back, those that are terminating included."""
    return (pod for pod in snapshot.pods_on(node) if not is_over(snapshot, pod) and not comes_with_node(snapshot, pod))


class Run:
    """`advance` fills `actions`, `later` and `declined`, and leaves in `sources` and `orders` what is still under way."""

    def __init__(
        self,
        snapshot: ClusterSnapshot,
        spec: ConsolidationSpec,
        sources: dict[str, Source],
        orders: dict[str, Order],
        now: float,
        covers: Covers,
    ) -> None:
        self.snapshot, self.spec, self.now, self._covers = snapshot, spec, now, covers
        self.sources, self.orders = dict(sources), dict(orders)
        self.actions: list[AnyAction] = []
        self.later: list[AnyAction] = []
        self.declined: list[Declined] = []
        self._shown: set[str] = set()
        self._waiting: list[str] = []

    def advance(self) -> None:
        """Every node one step further, as far as budgets and room go."""
        if not self.sources and not self.orders:
            self._untaint_others()
            return
        snapshot, spec = self.snapshot, self.spec
        rows = [snapshot.nodes.by_name[name] for name in self.sources]
        looked = dict(zip(self.sources, candidates(snapshot, rows, self._covers, after=0.0, now=self.now), strict=True))
        self._drop_late_orders()
        for name, source in tuple(self.sources.items()):
            reason = self._reason_to_stay(source, looked[name])
            if reason is not None:
                self._keep(name, looked[name], reason)
        nodes = snapshot.nodes.indices()
        leaving = int(np.count_nonzero(~snapshot.nodes.ready[nodes]))
        leaving += sum(is_marked(snapshot, looked[name].node) for name in self.sources)
        rooms = Rooms(snapshot, [looked[name].node for name in self.sources])
        homeless = self._lacks_room(rooms, [candidate.node for candidate in looked.values()])
        for name, source in tuple(self.sources.items()):
            candidate = looked[name]
            allowed = is_marked(snapshot, candidate.node) or leaving < spec.allowed(source.reason, len(nodes), self.now)
            leaving += allowed and not is_marked(snapshot, candidate.node)
            if next(staying(snapshot, candidate.node), None) is None:
                self._delete(candidate, source, now=allowed)
            elif not is_marked(snapshot, candidate.node):
                self._announce(candidate, source, now=allowed)
            else:
                self._empty(name, candidate, source, rooms, short=homeless)
        self._try_harder(looked, rooms)
        self.orders = {name: order for name, order in self.orders.items() if order.since or name in self._shown}
        self._untaint_others()
        self._hardest_first(rooms)

    def _hardest_first(self, rooms: Rooms) -> None:
        """Evict first what may go to the fewest nodes, so that no other pod is there before it."""
        by_key = self.snapshot.pods.by_key
        evictions = [each for each in self.actions if isinstance(each, Evict)]
        others = [each for each in self.actions if not isinstance(each, Evict)]
        evictions.sort(key=lambda each: rooms.ease(by_key[f"{each.target.namespace}/{each.target.name}"]))
        self.actions = [*others, *evictions]

    def _lacks_room(self, rooms: Rooms, going: Sequence[int]) -> bool:
        """Whether some pod waits for a node in vain that would have room on the nodes (rows) that are to go."""
        lacking = [pod for pod in waiting(self.snapshot) if not rooms.take([pod])] if going else []
        free = self.snapshot.free()[:, list(going)]
        return any((free >= self.snapshot.pod_requests([pod])).all(axis=0).any() for pod in lacking)

    def _drop_late_orders(self) -> None:
        for name, order in tuple(self.orders.items()):
            if order.since is not None and self.now - order.since > self.spec.start_seconds:
                reason = Reason("NotStarted", f"it has not joined {self.spec.start_seconds:.0f} s after it was bought")
                self.declined.append(Declined(Ref("Node", name), reason))
                del self.orders[name]
                for node, source in tuple(self.sources.items()):
                    if name in source.awaits:
                        row = self.snapshot.nodes.by_name[node]
                        self._keep(node, Candidate(row, [], None), reason)

    def _reason_to_stay(self, source: Source, candidate: Candidate) -> Reason | None:
        """Why a node is not given back after all."""
        if self.now - source.since > self.spec.timeout_seconds:
            return Reason("TimedOut", f"it was not empty after {self.spec.timeout_seconds:.0f} s")
        objection = candidate.objection
        if objection and objection.code == _PASSING and is_marked(self.snapshot, candidate.node):
            return None
        return objection

    def _keep(self, name: str, candidate: Candidate, reason: Reason) -> None:
        if self.sources.pop(name, None) is not None:
            self.declined.append(Declined(self.snapshot.node_ref(candidate.node), reason))

    def _delete(self, candidate: Candidate, source: Source, *, now: bool) -> None:
        price = float(self.snapshot.nodes.price[candidate.node])
        action = DeleteNode(
            policy=NAME,
            target=self.snapshot.node_ref(candidate.node),
            reason=Reason(source.reason, f"it is not needed, and costs {price:.4f} USD/h"),
            expected=Effect(-price),
        )
        (self.actions if now else self.later).append(action)

    def _announce(self, candidate: Candidate, source: Source, *, now: bool) -> None:
        """Taint a node; all else follows when the taint is seen."""
        taint = Taint(
            policy=NAME,
            target=self.snapshot.node_ref(candidate.node),
            reason=Reason(source.reason, f"its {len(candidate.pods)} pods fit elsewhere for less"),
            key=TAINT,
            value=f"neaptide.{self.now:.0f}",
            preconditions=(Precondition("spec.unschedulable", "false"),),
        )
        (self.actions if now else self.later).append(taint)
        self.later += [self._purchase(name) for name in self._unsent(source)]
        self.later += [self._eviction(pod, candidate.node) for pod in candidate.pods]
        self._delete(candidate, source, now=False)

    def _empty(self, name: str, candidate: Candidate, source: Source, rooms: Rooms, *, short: bool) -> None:
        """Buy what a tainted node's pods wait for, and evict them when there is room for all of them."""
        for order in self._unsent(source):
            self.actions.append(self._purchase(order))
            self.orders[order] = replace(self.orders[order], since=self.now)
        coming = any(order in self.orders for order in source.awaits)
        if not coming and not short and rooms.take(candidate.pods):
            self.actions += self._evictions(candidate)
        elif coming or not short:
            self._waiting += [] if coming else [name]
            self.later += self._evictions(candidate)
        else:
            self._keep(name, candidate, _NO_ROOM)
            return
        self._delete(candidate, source, now=False)

    def _try_harder(self, looked: Mapping[str, Candidate], rooms: Rooms) -> None:
        """Where nothing moves, the first node whose pods may find room after all is emptied alone; those before it stay."""
        moving = any(isinstance(each, Evict | CreateNode | DeleteNode) for each in self.actions)
        if moving or any(order.since for order in self.orders.values()):
            return
        for name in self._waiting:
            candidate = looked[name]
            evictions = self._evictions(candidate)
            self.later = [each for each in self.later if each not in evictions]
            if rooms.take(candidate.pods, sure=False):
                self.actions += evictions
                return
            self._keep(name, candidate, _NO_ROOM)
            target = self.snapshot.node_ref(candidate.node)
            self.later = [each for each in self.later if each.target != target]

    def _evictions(self, candidate: Candidate) -> list[Evict]:
        return [self._eviction(pod, candidate.node) for pod in candidate.pods]

    def _unsent(self, source: Source) -> list[str]:
        """The purchases that a node needs, that have not been made, and that no node before it has named."""
        found = [
            name
            for name in source.awaits
            if name in self.orders and self.orders[name].since is None and name not in self._shown
        ]
        self._shown.update(found)
        return found

    def _purchase(self, name: str) -> CreateNode:
        order = self.orders[name]
        offering, price = order.offering, order.offering.price_per_hour
        return CreateNode(
            policy=NAME,
            target=Ref("Node", name),
            reason=Reason(
                "Replacement",
                f"{offering.capacity_type} {offering.instance_type} {offering.zone} hosts pods of dearer nodes",
            ),
            expected=Effect(price),
            offering=offering,
            node_pool=order.pool,
        )

    def _eviction(self, pod: int, node: int) -> Evict:
        name = self.snapshot.nodes.names[node]
        return Evict(
            policy=NAME,
            target=self.snapshot.pod_ref(pod),
            reason=Reason("Consolidation", f"node {name} is given back, and there is room elsewhere"),
            preconditions=(Precondition("spec.nodeName", name),),
            node=name,
            workload=self.snapshot.workload_of(pod),
        )

    def _untaint_others(self) -> None:
        """Take the taint off nodes that stay, whoever left it there."""
        for node in marked(self.snapshot):
            target = self.snapshot.node_ref(node)
            if target.name not in self.sources and self._covers(target):
                reason = Reason("Stays", "it is not given back")
                self.actions.append(Untaint(policy=NAME, target=target, reason=reason, key=TAINT))
