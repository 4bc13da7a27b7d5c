"""What a month of work costs on nodes for its peak, on nodes that an autoscaler buys, on virtual nodes alone, and on a few nodes and virtual ones.

Each is played event by event on the same work; nodes are of one type, billed by the second, and placed by best fit, device by device where pods ask for
GPUs. "Ours" decides by the very rules of the policy `burst`: who goes to virtual nodes, and who comes home.
"""

import heapq
from collections.abc import Sequence
from itertools import count

from neaptide.pricing.tariff import Tariff
from neaptide.simulator.month_nodes import Autoscaled, Fixed
from neaptide.simulator.month_parts import Node, NodeType, Outcome, Times, Work, best


def for_the_peak(work: Sequence[Work], node: NodeType, seconds: float) -> Outcome:
    """So many nodes, all the time, that nothing ever waits."""
    nodes: list[Node] = []
    ends: list[tuple[float, int, int, Work]] = []
    numbers = count()
    for each in sorted(work):
        while ends and ends[0][0] <= each.arrival:
            _, _, at, done = heapq.heappop(ends)
            nodes[at].give(done)
        place = best(nodes, each)
        if place is None:
            nodes.append(Node(node))
            place = len(nodes) - 1
        nodes[place].take(each)
        heapq.heappush(ends, (each.arrival + each.run, next(numbers), place, each))
    return Outcome(len(nodes) * node.price * seconds / 3600, 0.0, len(nodes), 0, (0.0,) * len(work))


def with_an_autoscaler(work: Sequence[Work], node: NodeType, times: Times = Times()) -> Outcome:  # noqa: B008 - immutable
    """Nodes are bought when something waits, and given back when they have been empty for long enough."""
    return _autoscaled(work, Autoscaled(node, times, None))


def with_an_autoscaler_and_burst(
    work: Sequence[Work],
    node: NodeType,
    tariff: Tariff,
    times: Times = Times(),  # noqa: B008 - immutable
) -> Outcome:
    """A pod that no node has room for bursts where that costs less than the node that would be bought; what is not sold gets a node."""
    return _autoscaled(work, Autoscaled(node, times, tariff))


def _autoscaled(work: Sequence[Work], play: Autoscaled) -> Outcome:
    play.close(play.play(work))
    return play.outcome(play.dollars, play.most)


def virtual_only(work: Sequence[Work], tariff: Tariff, times: Times = Times()) -> Outcome:  # noqa: B008 - immutable
    """Everything is bought by the second; what no size holds is left out, and counted."""
    dollars, sold = 0.0, 0
    for each in work:
        size = tariff.size_for(each.requests)
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
    play = Fixed(node, nodes, times, tariff)
    play.play(work)
    play.unsold = len(play.queue)
    return play.outcome(nodes * node.price * seconds / 3600, nodes)


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


def slices(times: Sequence[float], demand: Sequence[float], *, cpu: int, memory: int, owner: str) -> list[Work]:
    """A demand in pods over time as a service's work: the n-th pod runs while more than n - 1 are wanted. `times` in seconds, one longer than `demand`."""
    found = []
    for number in range(int(max(demand, default=0.0) + 1)):
        begun: float | None = None
        for at, wanted in enumerate(demand):
            if wanted > number and begun is None:
                begun = times[at]
            elif wanted <= number and begun is not None:
                found.append(Work(begun, times[at] - begun, cpu, memory, owner, service=True))
                begun = None
        if begun is not None:
            found.append(Work(begun, times[len(demand)] - begun, cpu, memory, owner, service=True))
    return found
