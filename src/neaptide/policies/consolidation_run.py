"""One cycle of a consolidation that is under way: what can be done now for every node on its way out, and what follows."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from neaptide.model import objects
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
from neaptide.policies.consolidation_places import COMING, Guest, Places
from neaptide.policies.consolidation_pools import Pools
from neaptide.policies.consolidation_rooms import Rooms
from neaptide.policies.consolidation_spec import ConsolidationSpec
from neaptide.policies.consolidation_waves import LONGEST, ROOM, Waves, chosen
from neaptide.policies.protection import comes_with_node, is_over

NAME = "consolidation"
_NO_ROOM = Reason("NoRoom", "its pods fit nowhere any more")
_PASSING = "DisruptionBudget"
"""An objection that a node on its way out waits for: other pods of the budget are coming back."""
_JOINING = 60.0
"""Seconds for which no wave begins after nodes were bought, unless they come before."""


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
        waves: Waves,
    ) -> None:
        self.snapshot, self.spec, self.now, self._covers = snapshot, spec, now, covers
        self.sources, self.orders = dict(sources), dict(orders)
        self.actions: list[AnyAction] = []
        self.later: list[AnyAction] = []
        self.declined: list[Declined] = []
        self.waves = waves
        self.cut = 0
        """How many pods stay because they, or others of their node, find no room."""
        self._shown: set[str] = set()
        self._held: set[str] = set()
        """Nodes whose pods find no room now, and may once others have moved."""

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
        rooms = Rooms(snapshot, [looked[name].node for name in self.sources])
        places = self._placed(rooms, looked)
        nodes = snapshot.nodes.indices()
        leaving = int(np.count_nonzero(~snapshot.nodes.ready[nodes]))
        begun = {looked[name].node for name in self.sources if is_marked(snapshot, looked[name].node)}
        leaving += len(begun)
        pools = Pools(snapshot, begun, self.now)
        ready: list[str] = []
        for name, source in tuple(self.sources.items()):
            candidate = looked[name]
            is_begun = candidate.node in begun
            allowed = is_begun or (
                leaving < spec.allowed(source.reason, len(nodes), self.now)
                and pools.take(candidate.node, source.reason)
            )
            leaving += allowed and not is_begun
            if next(staying(snapshot, candidate.node), None) is None:
                self._delete(candidate, source, now=allowed)
            elif not is_begun:
                self._announce(candidate, source, now=allowed)
            elif name not in self._held and self._is_ready(source, candidate, places.guests.get(name, ())):
                ready.append(name)
        self._move(ready, looked, rooms, places)
        self.orders = {name: order for name, order in self.orders.items() if order.since or name in self._shown}
        self._untaint_others()

    def _placed(self, rooms: Rooms, looked: Mapping[str, Candidate]) -> Places:
        """The places of all pods that are to move.

        A node one of whose pods has none stays; but as long as pods of other nodes move, a tainted one is held: where these come to is not
        always where they were to, and were it to take pods again, more of them would come to it.
        """
        places = Places(self.snapshot, rooms, self.orders, self.waves.current())
        stuck = places.settle({name: (looked[name].pods, each.places) for name, each in self.sources.items()})
        begun = [name for name in self.sources if is_marked(self.snapshot, looked[name].node)]
        if self._is_needed([looked[name].node for name in self.sources], places.lacking):
            for name in begun:
                if looked[name].pods:
                    self._keep(name, looked[name], _NO_ROOM)
                    places.give_up(name)
        if any(places.guests.get(name) for name in begun):
            self._held = set(stuck).intersection(begun)
        for name in stuck:
            if name not in self._held:
                self._keep(name, looked[name], _NO_ROOM)
        return places

    def _is_needed(self, going: Sequence[int], lacking: Sequence[int]) -> bool:
        """Whether some pod waits for a node in vain that would have room on the nodes (rows) that are to go."""
        free = self.snapshot.free()[:, list(going)]
        return any((free >= self.snapshot.pod_requests([pod])).all(axis=0).any() for pod in lacking) if going else False

    def _is_ready(self, source: Source, candidate: Candidate, guests: Sequence[Guest]) -> bool:
        """Whether a tainted node's pods may leave: what they go to is bought first, and awaited."""
        for order in self._unsent(source):
            self.actions.append(self._purchase(order))
            self.orders[order] = replace(self.orders[order], since=self.now)
        self._delete(candidate, source, now=False)
        return not any(guest.node == COMING for guest in guests) and candidate.objection is None

    def _move(self, ready: Sequence[str], looked: Mapping[str, Candidate], rooms: Rooms, places: Places) -> None:
        """Evict the pods of a wave, and keep the scheduler off the nodes whose pods come later."""
        guests = [guest for name in ready for guest in places.guests.get(name, ())]
        wave = self._wave(guests, rooms, places)
        self._steer(rooms, places, wave)
        moved = {guest.pod for guest in wave}
        marked = [name for name in self.sources if is_marked(self.snapshot, looked[name].node)]
        self.actions += [self._eviction(guest.pod, looked[guest.source].node) for guest in wave]
        for name in marked:
            left = [pod for pod in looked[name].pods if pod not in moved]
            self.later += [self._eviction(pod, looked[name].node) for pod in left]
        if guests and not wave and self.waves.since < self.now and self._is_stuck(places):
            self._keep(guests[0].source, looked[guests[0].source], _NO_ROOM)

    def _is_stuck(self, places: Places) -> bool:
        """Whether nothing is awaited that would let the next wave begin."""
        return not self._awaits_nodes() and not self._on_their_way(places) and self.now - self.waves.since > LONGEST

    def _wave(self, guests: Sequence[Guest], rooms: Rooms, places: Places) -> list[Guest]:
        """Whom to evict now: what is left of the last wave, or, when nobody is on the way any more, the next one."""
        pods = self.snapshot.pods
        most = self.spec.at_once(len(pods.indices())) - self._on_their_way(places)
        admitted = [guest for each in guests if (guest := self._admitted(each, rooms, places)) is not None]
        current = set(self.waves.current())
        left = sorted((each for each in admitted if each.place in current), key=lambda each: rooms.ease(each.pod))
        late = self.now - self.waves.since > LONGEST
        if left and not late:
            return left[: max(most, 0)]
        if most <= 0 or not admitted or self._awaits_nodes():
            return []
        if not late and (places.expected or (self.waves.opened and self._is_unsteered(places))):
            return []
        by_place: dict[str, list[Guest]] = {}
        for guest in admitted:
            by_place.setdefault(guest.place, []).append(guest)
        expected = places.by_place()
        partial = {place for place, found in by_place.items() if len(found) < len(expected.get(place, found))}
        opened, wave = chosen(rooms, places.free, by_place, partial, self.waves.opened, most)
        self.waves.since = self.now
        self.waves.opened |= dict.fromkeys(opened, self.now)
        return wave

    def _awaits_nodes(self) -> bool:
        """Whether bought nodes are likely to join soon: until the soft taint is on them, pods of others would come to them."""
        sent = [order.since for order in self.orders.values() if order.since is not None]
        return bool(sent) and self.now - max(sent) < _JOINING

    def _is_unsteered(self, places: Places) -> bool:
        """Whether the scheduler is not kept yet off nodes whose pods come later, as it is not off nodes that have just joined."""
        expected = {place: guests[0].node for place, guests in places.by_place().items()}
        now_open = set(expected.values()).difference(marked(self.snapshot, ROOM))
        return len(now_open) > 1 and bool(
            now_open - {expected[each] for each in self.waves.current() if each in expected}
        )

    def _admitted(self, guest: Guest, rooms: Rooms, places: Places) -> Guest | None:
        """A guest at a place whose filters admit it now; None where there is none."""
        return guest if rooms.admits(guest.pod, guest.node) else places.another(guest)

    def _on_their_way(self, places: Places) -> int:
        """How many pods are not ready now that were when the waves began."""
        pods = self.snapshot.pods
        rows = pods.indices()
        ready = int(np.count_nonzero(pods.ready[rows] & (pods.node[rows] >= 0) & np.isnan(pods.deleted[rows])))
        late = self.now - self.waves.since > LONGEST
        self.waves.ready = ready if late else max(self.waves.ready, ready)
        return max(self.waves.ready - ready, places.expected)

    def _is_one_wave(self, rooms: Rooms, places: Places) -> bool:
        """Whether all pods may move at once, so that there is nobody to be kept off anything."""
        expected = places.by_place()
        most = self.spec.at_once(len(self.snapshot.pods.indices()))
        _, guests = chosen(rooms, places.free, expected, set(), {}, most)
        return not self.waves.opened and len(guests) == sum(map(len, places.guests.values()))

    def _steer(self, rooms: Rooms, places: Places, wave: Sequence[Guest]) -> None:
        """Put the soft taint on the nodes whose pods come later, and take it off the others."""
        self.waves.steering = not self._is_one_wave(rooms, places)
        expected = places.by_place() if self.waves.steering else {}
        self.waves.opened = {
            place: time for place, time in self.waves.opened.items() if time == self.waves.since or place in expected
        }
        open_ = set(self.waves.current())
        moving = {guest.pod for guest in wave}
        later = {
            guests[0].node
            for place, guests in expected.items()
            if place not in open_ and any(guest.pod not in moving for guest in guests)
        }
        tainted = set(marked(self.snapshot, ROOM))
        for node in sorted(tainted ^ later):
            target = self.snapshot.node_ref(node)
            if not self._covers(target):
                continue
            if node in later:
                reason = Reason("Steering", "pods of nodes that go are expected here later")
                self.actions.append(
                    Taint(policy=NAME, target=target, reason=reason, key=ROOM, value=NAME, effect="PreferNoSchedule")
                )
            else:
                reason = Reason("Steering", "the pods that were expected here may come")
                self.actions.append(Untaint(policy=NAME, target=target, reason=reason, key=ROOM))

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
            self.cut += len(candidate.pods) if reason is _NO_ROOM else 0
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
            taints=(objects.Taint(key=ROOM, value=NAME, effect="PreferNoSchedule"),) if self.waves.steering else (),
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
        """Take taints off nodes that stay, whoever left them there."""
        for node in marked(self.snapshot):
            self._untaint(node, TAINT, Reason("Stays", "it is not given back"))
        for node in marked(self.snapshot, ROOM) if not self.sources else ():
            self._untaint(node, ROOM, Reason("Steering", "no pod is expected here any more"))

    def _untaint(self, node: int, key: str, reason: Reason) -> None:
        target = self.snapshot.node_ref(node)
        if target.name not in self.sources and self._covers(target):
            self.actions.append(Untaint(policy=NAME, target=target, reason=reason, key=key))
