"""The two ways to have nodes in a month that is played: so many all the time, or as an autoscaler buys them."""

from math import inf

from neaptide.policies.burst_costs import Choice
from neaptide.pricing.billing import cost
from neaptide.pricing.tariff import Tariff
from neaptide.simulator.month_parts import Node, NodeType, Times, Work, best
from neaptide.simulator.month_play import Play


class Fixed(Play):
    """So many nodes, all the time. Whoever waits is looked at again after each event."""

    def __init__(self, kind: NodeType, nodes: int, times: Times, tariff: Tariff) -> None:
        super().__init__(kind, times, tariff)
        self.nodes = {number: Node(kind) for number in range(nodes)}

    def comes(self, work: Work, now: float) -> None:
        self.queue.append(work)
        self._look(now)

    def freed(self, node: int, now: float) -> None:
        self._look(now)
        self.has_room(node, now)

    def choice(self, work: Work, now: float, run: float, price: float) -> Choice:
        due: dict[int, list[tuple[float, int, int]]] = {number: [] for number in self.nodes}
        for node, each, since in self.running.values():
            end = self.expected_end(each, since, now)
            if end is not None:
                due[node].append((end, each.cpu, each.memory))
        holds = self.kind.holds(work)
        freed = min((_freed(self.nodes[node], work, due[node]) for node in self.nodes), default=inf) if holds else inf
        return Choice(now - work.arrival, run, price, None if freed == inf else freed - now, 0.0)

    def _look(self, now: float) -> None:
        left = []
        for each in self.queue:
            if self.placed(each, now):
                self.waits.append(now - each.arrival)
            elif not self.goes(each, now):
                left.append(each)
        self.queue = left


def _freed(node: Node, work: Work, due: list[tuple[float, int, int]]) -> float:
    """When a node has room, by when its pods end; infinity where that is not known. (No virtual size has devices, so they do not count.)"""
    cpu, memory = node.cpu, node.memory
    for end, freed_cpu, freed_memory in sorted(due):
        cpu, memory = cpu + freed_cpu, memory + freed_memory
        if cpu >= work.cpu and memory >= work.memory:
            return end
    return inf


class Autoscaled(Play):
    """Nodes are bought when something waits, and given back when they have been empty for long enough.

    Attributes:
        dollars: of nodes that were given back; most: nodes at once.
    """

    def __init__(self, kind: NodeType, times: Times, tariff: Tariff | None) -> None:
        super().__init__(kind, times, tariff)
        self._bought: dict[int, float] = {}
        self._empty: dict[int, float] = {}
        self._coming = 0
        self.dollars, self.most = 0.0, 0

    def close(self, now: float) -> None:
        """Pay for the nodes that are still there."""
        for bought in self._bought.values():
            self.dollars += cost(self.kind.price, now - bought) or 0.0

    def comes(self, work: Work, now: float) -> None:
        if best(list(self.nodes.values()), work) is None and self.goes(work, now):
            return
        if not self.kind.holds(work):
            self.unsold += 1
            return
        self.queue.append(work)
        self._schedule(now)
        for _ in range(self._wanted() - self._coming):
            number = next(self.numbers)
            self._bought[number] = now
            self._coming += 1
            self.later(now + self.times.node_start, "joins", number)
        self.most = max(self.most, len(self.nodes) + self._coming)

    def happens(self, what: str, number: int, now: float) -> None:
        if what == "joins":
            self._coming -= 1
            self.nodes[number] = Node(self.kind)
            self.freed(number, now)
        elif now - self._empty.get(number, inf) >= self.times.give_back:
            del self.nodes[number], self._empty[number]
            self.dollars += cost(self.kind.price, now - self._bought.pop(number)) or 0.0

    def freed(self, node: int, now: float) -> None:
        self._schedule(now)
        self.has_room(node, now)
        if not self.nodes[node].pods:
            self._empty[node] = now
            self.later(now + self.times.give_back, "empty", node)

    def placed(self, work: Work, now: float, seconds: float | None = None) -> bool:
        done = super().placed(work, now, seconds)
        if done:
            self._empty = {number: since for number, since in self._empty.items() if not self.nodes[number].pods}
        return done

    def choice(self, work: Work, now: float, run: float, price: float) -> Choice:
        """Against the node that would be bought."""
        del now
        return Choice(
            waited=0.0,
            run=run,
            virtual_price=price,
            wait=self.times.node_start if self.kind.holds(work) else None,
            real_price=self.kind.price * self.kind.share(work),
            overhead=self.times.node_start + self.times.give_back,
        )

    def _wanted(self) -> int:
        """How many new nodes the queue would fill."""
        new: list[Node] = []
        for each in self.queue:
            at = best(new, each)
            if at is None:
                new.append(Node(self.kind))
                at = len(new) - 1
            new[at].take(each)
        return len(new)

    def _schedule(self, now: float) -> None:
        left = []
        for each in self.queue:
            if self.placed(each, now):
                self.waits.append(now - each.arrival)
            else:
                left.append(each)
        self.queue = left
