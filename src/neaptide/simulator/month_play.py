"""A month played event by event: pods come, wait for a node or burst, end, and those that have burst come home.

Who bursts and who comes home is decided by the very rules of the policy `burst` (policies/burst_costs.py), which knows run times as the policy does:
from what the same owner's earlier work took.
"""

import heapq
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

from neaptide.forecast.runtimes import run_time, with_run
from neaptide.policies.burst_costs import Choice, decide, pays_home
from neaptide.pricing.tariff import Size, Tariff
from neaptide.simulator.month_parts import Node, NodeType, Outcome, Times, Work, best


class _Stay(NamedTuple):
    """A pod on a virtual node: since when it is paid for, and at what size."""

    work: Work
    since: float
    size: Size


class Play(ABC):
    """One set-up; what nodes there are, and when, its kinds say.

    Args:
        kind: of all nodes.
        times: of starts and the like.
        tariff: of virtual nodes; None where there are none.
    """

    def __init__(self, kind: NodeType, times: Times, tariff: Tariff | None) -> None:
        self.kind, self.times, self.tariff = kind, times, tariff
        self.nodes: dict[int, Node] = {}
        self.queue: list[Work] = []
        self.running: dict[int, tuple[int, Work, float]] = {}
        """By number, who runs on which node, and since when."""
        self.waits: list[float] = []
        self.unsold = self.bursts = self.homes = 0
        self.virtual_dollars = self.redone = 0.0
        self._away: dict[int, _Stay] = {}
        self._staying: defaultdict[tuple[int, int], dict[int, None]] = defaultdict(dict)
        """Of those who are away, by what they ask for, whom nobody has asked home; the oldest first."""
        self._runs: defaultdict[str, tuple[float, ...]] = defaultdict(tuple)
        self._run_times: dict[str, float | None] = {}
        """What `run_time` says of them."""
        self._events: list[tuple[float, bool, int, str, int, Work | None]] = []
        self.numbers = count()

    def play(self, work: Sequence[Work]) -> float:
        """Everything, until the last event; its time."""
        for each in work:
            self.later(each.arrival, "comes", 0, each)
        now = 0.0
        while self._events:
            now, _, _, what, number, whose = heapq.heappop(self._events)
            if what == "comes" and whose is not None:
                self.comes(whose, now)
            elif what == "ends":
                self._ends(number, now)
            elif what == "home":
                self._comes_home(number, now)
            else:
                self.happens(what, number, now)
        return now

    def outcome(self, nodes_dollars: float, nodes: int) -> Outcome:
        """What became of it."""
        waits = tuple(self.waits)
        return Outcome(
            nodes_dollars, self.virtual_dollars, nodes, self.bursts, waits, self.unsold, self.homes, self.redone
        )

    # -- what kinds say ------------------------------------------------------------------------------------------------

    @abstractmethod
    def comes(self, work: Work, now: float) -> None:
        """A pod comes, and wants a place."""

    def happens(self, what: str, number: int, now: float) -> None:  # noqa: B027 - a kind may have none
        """An event of the kind's own."""

    @abstractmethod
    def freed(self, node: int, now: float) -> None:
        """A node has more room than before, once those who wait have been looked at."""

    @abstractmethod
    def choice(self, work: Work, now: float, run: float, price: float) -> Choice:
        """What a pod's burst and its wait would cost."""

    # -- what they share -----------------------------------------------------------------------------------------------

    def later(self, when: float, what: str, number: int, whose: Work | None = None) -> None:
        heapq.heappush(self._events, (when, what == "comes", next(self.numbers), what, number, whose))

    def placed(self, work: Work, now: float, seconds: float | None = None) -> bool:
        """Whether a node takes a pod, for what it runs or for so long."""
        numbers = list(self.nodes)
        at = best(list(self.nodes.values()), work)
        if at is None:
            return False
        node, number = numbers[at], next(self.numbers)
        self.nodes[node].take(work)
        self.running[number] = (node, work, now)
        self.later(now + (work.run if seconds is None else seconds), "ends", number)
        return True

    def goes(self, work: Work, now: float) -> bool:
        """Whether a pod bursts, and then it has."""
        size = None if self.tariff is None else self.tariff.size_for(work.requests)
        price = None if self.tariff is None or size is None else self.tariff.price_per_hour(size)
        if size is None or price is None:
            return False
        decision = decide(
            self.choice(work, now, self.run_of(work), price),
            virtual_start=self.times.virtual_start,
            waiting_cost_per_hour=self.times.waiting_cost_per_hour,
            deadline=None,
        )
        if decision.burst:
            number = next(self.numbers)
            self._away[number] = _Stay(work, now + self.times.virtual_start, size)
            self._staying[work.cpu, work.memory][number] = None
            self.bursts += 1
            self.waits.append(now - work.arrival + self.times.virtual_start)
            self.later(now + self.times.virtual_start + work.run, "ends", number)
        return decision.burst

    def run_of(self, work: Work) -> float:
        """How long it is expected to run."""
        known = self._run_times.get(work.owner)
        return self.times.default_run if known is None else known

    def expected_end(self, work: Work, since: float, now: float) -> float | None:
        """None where that is not known, or was expected before."""
        known = self._run_times.get(work.owner)
        return None if known is None or since + known <= now else since + known

    def has_room(self, node: int, now: float) -> None:
        """Ask so many of those who are away as would fit whether they come home once there has been room for long enough."""
        cpu, memory = self.nodes[node].cpu, self.nodes[node].memory
        for (asked_cpu, asked_memory), numbers in self._staying.items():
            while numbers and cpu >= asked_cpu and memory >= asked_memory:
                number = next(iter(numbers))
                del numbers[number]
                cpu, memory = cpu - asked_cpu, memory - asked_memory
                self.later(now + self.times.home_stable, "home", number)

    def _ends(self, number: int, now: float) -> None:
        if number in self._away:
            self._learns(self._leaves(number, now))
        elif number in self.running:
            node, work, _ = self.running.pop(number)
            self.nodes[node].give(work)
            self._learns(work)
            self.freed(node, now)

    def _learns(self, work: Work) -> None:
        self._runs[work.owner] = past = with_run(self._runs[work.owner], work.run)
        self._run_times[work.owner] = run_time(past)

    def _leaves(self, number: int, now: float) -> Work:
        """A pod is no longer on a virtual node, and paid."""
        stay = self._away.pop(number)
        self._staying[stay.work.cpu, stay.work.memory].pop(number, None)
        if self.tariff is not None:
            self.virtual_dollars += self.tariff.cost(stay.size, max(now - stay.since, 0.0)) or 0.0
        return stay.work

    def _comes_home(self, number: int, now: float) -> None:
        """Move a pod to a node that has had room for it, where that pays."""
        stay = self._away.get(number)
        if stay is None or self.tariff is None:
            return
        if best(list(self.nodes.values()), stay.work) is None:
            self._staying[stay.work.cpu, stay.work.memory][number] = None
            return
        work, elapsed, expected = stay.work, max(now - stay.since, 0.0), self.run_of(stay.work)
        pays = pays_home(
            remaining=max(expected, elapsed) if work.service else max(expected - elapsed, 0.0),
            elapsed=elapsed,
            restartable_from_start=not work.service,
            virtual_price=self.tariff.price_per_hour(stay.size) or 0.0,
            restart=self.times.virtual_start,
            waiting_cost_per_hour=self.times.waiting_cost_per_hour,
        )
        if pays:
            self._leaves(number, now)
            self.homes += 1
            self.redone += self.times.virtual_start + (0.0 if work.service else elapsed)
            left = work.run - elapsed if work.service else work.run
            self.placed(work, now, self.times.virtual_start + max(left, 0.0))
        elif work.service:  # it may pay when it has run for longer
            self._staying[work.cpu, work.memory][number] = None
