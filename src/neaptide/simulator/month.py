"""What a month of work costs on nodes for its peak, on nodes that an autoscaler buys, on virtual nodes alone, and on a few nodes and virtual ones.

Each is played event by event on the same work; nodes are of one type, billed by the second, and placed by best fit. "Ours" decides by the very rule
of the policy `burst` (policies/burst_costs.py) and knows run times as the policy does: from what the same owner's earlier work took.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import count
from math import inf
from typing import NamedTuple

from neaptide.forecast.runtimes import run_time, with_run
from neaptide.policies.burst_costs import Choice, decide
from neaptide.pricing.billing import cost
from neaptide.pricing.tariff import Tariff


class Work(NamedTuple):
    """A pod: when it comes (seconds), how long it runs, what it asks for (milli-CPU, bytes), and whose it is."""

    arrival: float
    run: float
    cpu: int
    memory: int
    owner: str


class NodeType(NamedTuple):
    """A node's allocatable and its price in US dollars per hour."""

    name: str
    cpu: int
    memory: int
    price: float


class Times(NamedTuple):
    """Seconds and money that all set-ups share; the defaults are those of the policy `burst`."""

    node_start: float = 150.0
    virtual_start: float = 30.0
    give_back: float = 600.0
    default_run: float = 3600.0
    waiting_cost_per_hour: float = 1.0


class Outcome(NamedTuple):
    """What became of a month: dollars of nodes and of virtual pods, the most nodes at once, pods that burst, and each pod's wait in seconds.

    `unsold` are the pods that no virtual size holds and that had to wait for a node, or never ran.
    """

    nodes_dollars: float
    virtual_dollars: float
    nodes: int
    burst: int
    waits: tuple[float, ...]
    unsold: int = 0

    @property
    def dollars(self) -> float:
        return self.nodes_dollars + self.virtual_dollars

    def with_waiting(self, cost_per_hour: float = Times().waiting_cost_per_hour) -> float:
        """Dollars with what the pods' waiting is worth."""
        return self.dollars + sum(self.waits) * cost_per_hour / 3600

    def wait_percentile(self, fraction: float) -> float:
        """Of the pods that ran."""
        return sorted(self.waits)[min(int(fraction * len(self.waits)), len(self.waits) - 1)] if self.waits else 0.0


def for_the_peak(work: Sequence[Work], node: NodeType, seconds: float) -> Outcome:
    """So many nodes, all the time, that nothing ever waits."""
    nodes: list[_Node] = []
    ends: list[tuple[float, int, int, Work]] = []
    numbers = count()
    for each in sorted(work):
        while ends and ends[0][0] <= each.arrival:
            _, _, at, done = heapq.heappop(ends)
            nodes[at].give(done)
        place = _best(nodes, each)
        if place is None:
            nodes.append(_Node(node))
            place = len(nodes) - 1
        nodes[place].take(each)
        heapq.heappush(ends, (each.arrival + each.run, next(numbers), place, each))
    return Outcome(len(nodes) * node.price * seconds / 3600, 0.0, len(nodes), 0, (0.0,) * len(work))


def with_an_autoscaler(work: Sequence[Work], node: NodeType, times: Times = Times()) -> Outcome:  # noqa: B008 - immutable
    """Nodes are bought when something waits, and given back when they have been empty for long enough."""
    play = _Autoscaler(node, times)
    return play.run(work)


def with_an_autoscaler_and_burst(
    work: Sequence[Work],
    node: NodeType,
    tariff: Tariff,
    times: Times = Times(),  # noqa: B008 - immutable
) -> Outcome:
    """A pod that no node has room for bursts where that costs less than the node that would be bought; what is not sold gets a node."""
    return _Autoscaler(node, times, tariff).run(work)


def virtual_only(work: Sequence[Work], tariff: Tariff, times: Times = Times()) -> Outcome:  # noqa: B008 - immutable
    """Everything is bought by the second; what no size holds is left out, and counted."""
    dollars, sold = 0.0, 0
    for each in work:
        size = tariff.size_for({"cpu": each.cpu, "memory": each.memory})
        paid = None if size is None else tariff.cost(size, each.run)
        if paid is not None:
            dollars, sold = dollars + paid, sold + 1
    return Outcome(0.0, dollars, 0, sold, (times.virtual_start,) * sold, len(work) - sold)


def with_burst(
    work: Sequence[Work],
    node: NodeType,
    nodes: int,
    tariff: Tariff,
    seconds: float,
    times: Times = Times(),  # noqa: B008 - immutable
) -> Outcome:
    """A fixed number of nodes, and virtual ones where waiting would cost more."""
    return _Burst(node, nodes, tariff, times).run(work, seconds)


def best_burst(
    work: Sequence[Work],
    node: NodeType,
    tariff: Tariff,
    seconds: float,
    *,
    most: int,
    times: Times = Times(),  # noqa: B008 - immutable
) -> Outcome:
    """With the number of nodes, up to `most`, that makes it cheapest, waiting included."""
    tried = [with_burst(work, node, nodes, tariff, seconds, times) for nodes in range(most + 1)]
    whole = [each for each in tried if len(each.waits) == max(len(other.waits) for other in tried)]
    return min(whole, key=lambda each: each.with_waiting(times.waiting_cost_per_hour))


class _Node:
    """What a node has left, who runs there and until when they are expected to."""

    def __init__(self, kind: NodeType) -> None:
        self.cpu, self.memory = kind.cpu, kind.memory
        self.running: dict[int, tuple[Work, float]] = {}

    def fits(self, work: Work) -> bool:
        return self.cpu >= work.cpu and self.memory >= work.memory

    def take(self, work: Work) -> None:
        self.cpu, self.memory = self.cpu - work.cpu, self.memory - work.memory

    def give(self, work: Work) -> None:
        self.cpu, self.memory = self.cpu + work.cpu, self.memory + work.memory


def _best(nodes: Sequence[_Node], work: Work) -> int | None:
    """The node that is left with the least CPU."""
    fitting = [(each.cpu, at) for at, each in enumerate(nodes) if each.fits(work)]
    return min(fitting)[1] if fitting else None


class _Autoscaler:
    def __init__(self, node: NodeType, times: Times, tariff: Tariff | None = None) -> None:
        self._kind, self._times, self._tariff = node, times, tariff
        self._virtual, self._bursts = 0.0, 0
        self._runs: defaultdict[str, tuple[float, ...]] = defaultdict(tuple)
        self._nodes: dict[int, _Node] = {}
        self._bought: dict[int, float] = {}
        self._empty: dict[int, float] = {}
        self._coming = 0
        self._queue: list[Work] = []
        self._events: list[tuple[float, int, str, tuple[int, Work | None]]] = []
        self._numbers = count()
        self._dollars, self._most = 0.0, 0
        self._waits: list[float] = []
        self._unsold = 0

    def run(self, work: Sequence[Work]) -> Outcome:
        for each in work:
            self._later(each.arrival, "arrives", (0, each))
        now = 0.0
        while self._events:
            now, _, what, (number, whose) = heapq.heappop(self._events)
            if what == "empty":
                self._give_back(number, now)
            elif what == "joins":
                self._coming -= 1
                self._nodes[number] = _Node(self._kind)
                self._schedule(now)
                self._idle(number, now)
            elif whose is not None and what == "ends":
                self._runs[whose.owner] = with_run(self._runs[whose.owner], whose.run)
                if number < 0:  # on a virtual node
                    continue
                self._nodes[number].give(whose)
                self._schedule(now)
                self._idle(number, now)
            elif whose is not None:
                self._arrive(whose, now)
        for bought in self._bought.values():
            self._dollars += cost(self._kind.price, now - bought) or 0.0
        return Outcome(self._dollars, self._virtual, self._most, self._bursts, tuple(self._waits), self._unsold)

    def _arrive(self, work: Work, now: float) -> None:
        if self._tariff is not None and _best(list(self._nodes.values()), work) is None and self._goes(work, now):
            return
        if work.cpu > self._kind.cpu or work.memory > self._kind.memory:
            self._unsold += 1
            return
        self._queue.append(work)
        self._schedule(now)
        wanted = self._wanted() - self._coming
        for _ in range(wanted):
            number = next(self._numbers)
            self._bought[number] = now
            self._coming += 1
            self._later(now + self._times.node_start, "joins", (number, None))
        self._most = max(self._most, len(self._nodes) + self._coming)

    def _goes(self, work: Work, now: float) -> bool:
        """Whether it bursts, by the policy's rule, in place of the node that would be bought for it."""
        tariff = self._tariff
        size = None if tariff is None else tariff.size_for({"cpu": work.cpu, "memory": work.memory})
        if tariff is None or size is None:
            return False
        known = run_time(self._runs[work.owner])
        holds = work.cpu <= self._kind.cpu and work.memory <= self._kind.memory
        choice = Choice(
            waited=0.0,
            run=self._times.default_run if known is None else known,
            virtual_price=tariff.price_per_hour(size),
            wait=self._times.node_start if holds else None,
            real_price=self._kind.price * max(work.cpu / self._kind.cpu, work.memory / self._kind.memory),
            overhead=self._times.node_start + self._times.give_back,
        )
        decision = decide(
            choice,
            virtual_start=self._times.virtual_start,
            waiting_cost_per_hour=self._times.waiting_cost_per_hour,
            deadline=None,
        )
        if decision.burst:
            self._virtual += tariff.cost(size, work.run) or 0.0
            self._bursts += 1
            self._waits.append(self._times.virtual_start)
            self._later(now + self._times.virtual_start + work.run, "ends", (-1, work))
        return decision.burst

    def _wanted(self) -> int:
        """How many new nodes the queue would fill."""
        new: list[_Node] = []
        for each in self._queue:
            place = _best(new, each)
            if place is None:
                new.append(_Node(self._kind))
                place = len(new) - 1
            new[place].take(each)
        return len(new)

    def _schedule(self, now: float) -> None:
        left = []
        numbers = list(self._nodes)
        nodes = [self._nodes[number] for number in numbers]
        for each in self._queue:
            place = _best(nodes, each)
            if place is None:
                left.append(each)
                continue
            nodes[place].take(each)
            self._empty.pop(numbers[place], None)
            self._waits.append(now - each.arrival)
            self._later(now + each.run, "ends", (numbers[place], each))
        self._queue = left

    def _idle(self, number: int, now: float) -> None:
        if self._nodes[number].cpu == self._kind.cpu and self._nodes[number].memory == self._kind.memory:
            self._empty[number] = now
            self._later(now + self._times.give_back, "empty", (number, None))

    def _give_back(self, number: int, now: float) -> None:
        if now - self._empty.get(number, inf) >= self._times.give_back:
            del self._nodes[number], self._empty[number]
            self._dollars += cost(self._kind.price, now - self._bought.pop(number)) or 0.0

    def _later(self, when: float, what: str, about: tuple[int, Work | None]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), what, about))


class _Burst:
    def __init__(self, node: NodeType, nodes: int, tariff: Tariff, times: Times) -> None:
        self._kind, self._tariff, self._times = node, tariff, times
        self._nodes = [_Node(node) for _ in range(nodes)]
        self._runs: defaultdict[str, tuple[float, ...]] = defaultdict(tuple)
        self._queue: list[Work] = []
        self._ends: list[tuple[float, int, int, Work]] = []
        self._numbers = count()
        self._dollars, self._bursts, self._unsold = 0.0, 0, 0
        self._waits: list[float] = []

    def run(self, work: Sequence[Work], seconds: float) -> Outcome:
        arrivals = iter(sorted(work))
        for now, come in self._moments(arrivals):
            if come is not None:
                self._queue.append(come)
            self._queue = [each for each in self._queue if not self._placed(each, now)]
        self._unsold = len(self._queue)
        dollars = len(self._nodes) * self._kind.price * seconds / 3600
        return Outcome(dollars, self._dollars, len(self._nodes), self._bursts, tuple(self._waits), self._unsold)

    def _moments(self, arrivals: Iterator[Work]) -> Iterator[tuple[float, Work | None]]:
        """Arrivals and ends in order of time; ends first."""
        upcoming = next(arrivals, None)
        while upcoming is not None or self._ends:
            if self._ends and (upcoming is None or self._ends[0][0] <= upcoming.arrival):
                now, number, at, done = heapq.heappop(self._ends)
                if at >= 0:
                    self._nodes[at].give(done)
                    del self._nodes[at].running[number]
                self._runs[done.owner] = with_run(self._runs[done.owner], done.run)
                yield now, None
            elif upcoming is not None:
                come, upcoming = upcoming, next(arrivals, None)
                yield come.arrival, come

    def _placed(self, work: Work, now: float) -> bool:
        place = _best(self._nodes, work)
        number = next(self._numbers)
        if place is not None:
            self._nodes[place].take(work)
            self._nodes[place].running[number] = (work, now)
            heapq.heappush(self._ends, (now + work.run, number, place, work))
            self._waits.append(now - work.arrival)
            return True
        size = self._tariff.size_for({"cpu": work.cpu, "memory": work.memory})
        price = None if size is None else self._tariff.price_per_hour(size)
        known = run_time(self._runs[work.owner])
        run = self._times.default_run if known is None else known
        freed = min((self._freed(each, work, now) for each in self._nodes), default=inf)
        choice = Choice(now - work.arrival, run, price, None if freed == inf else freed - now, 0.0)
        decision = decide(
            choice,
            virtual_start=self._times.virtual_start,
            waiting_cost_per_hour=self._times.waiting_cost_per_hour,
            deadline=None,
        )
        if not decision.burst or size is None:
            return False
        self._dollars += self._tariff.cost(size, work.run) or 0.0
        self._bursts += 1
        self._waits.append(now - work.arrival + self._times.virtual_start)
        heapq.heappush(self._ends, (now + self._times.virtual_start + work.run, number, -1, work))
        return True

    def _freed(self, node: _Node, work: Work, now: float) -> float:
        """When a node is expected to have room; infinity where that is not known."""
        if work.cpu > self._kind.cpu or work.memory > self._kind.memory:
            return inf
        cpu, memory = node.cpu, node.memory
        due = sorted(
            (end, each.cpu, each.memory)
            for each, since in node.running.values()
            if (end := self._expected_end(each, since, now)) is not None
        )
        for end, freed_cpu, freed_memory in due:
            cpu, memory = cpu + freed_cpu, memory + freed_memory
            if cpu >= work.cpu and memory >= work.memory:
                return end
        return inf

    def _expected_end(self, work: Work, since: float, now: float) -> float | None:
        known = run_time(self._runs[work.owner])
        return None if known is None or since + known <= now else since + known


def slices(times: Sequence[float], demand: Sequence[float], *, cpu: int, memory: int, owner: str) -> list[Work]:
    """A demand in pods over time as work: the n-th pod runs while more than n - 1 are wanted. `times` in seconds, one longer than `demand`."""
    found = []
    for number in range(int(max(demand, default=0.0) + 1)):
        begun: float | None = None
        for at, wanted in enumerate(demand):
            if wanted > number and begun is None:
                begun = times[at]
            elif wanted <= number and begun is not None:
                found.append(Work(begun, times[at] - begun, cpu, memory, owner))
                begun = None
        if begun is not None:
            found.append(Work(begun, times[len(demand)] - begun, cpu, memory, owner))
    return found
