"""Which point of the frontier of money against evictions is chosen, and whether it is worth its evictions."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from neaptide.model.offerings import Offering
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.packing.problem import Choice, Problem
from neaptide.policies.consolidation_moves import Departure, departures
from neaptide.policies.consolidation_spec import ConsolidationSpec, ReasonName
from neaptide.policies.consolidation_survey import Survey

_ATTEMPTS = 6
"""Searches for the fewest evictions."""
_AHEAD = 1.1
"""What an eviction is worth falls in steps as there are more of them, and nodes are emptied whole: just before a step, the worth beyond it serves the
search better. So it starts, too, from what the linear programme does with so many times the evictions."""


class Source(Struct, frozen=True):
    """A node that is on its way out.

    Attributes:
        reason: Underutilized, or Empty.
        since: when that was decided.
        awaits: the bought nodes (as the plan calls them) that some of its pods go to.
        pods: how many pods it had when it was last seen.
        places: by the names of its pods, where they are to go: a node, or what the plan calls one that is bought.
    """

    reason: ReasonName
    since: float
    awaits: tuple[str, ...] = ()
    pods: int = 0
    places: dict[str, str] = {}


class Order(Struct, frozen=True):
    """A node that is bought; `since` is when it was asked for, None as long as it was not."""

    offering: Offering
    pool: str = ""
    since: float | None = None


class Decision(NamedTuple):
    """By name, in the order in which things are done."""

    sources: dict[str, Source]
    orders: dict[str, Order]


def decide(
    snapshot: ClusterSnapshot,
    found: Survey,
    spec: ConsolidationSpec,
    evictions: int,
    now: float,
    *,
    mends: bool = False,
) -> Decision:
    """What is to be done with a cluster, at the cost of at most so many evictions.

    A plan that `mends` one which was worth its evictions, and has not come to what it promised, needs to save no part of what is paid.
    """
    problem = found.problem
    if not problem.may_go.any():
        return Decision({}, {})
    choice = _choose(problem, spec, evictions, _others(snapshot, found))
    moves = [] if choice is None else departures(snapshot, found, choice)
    if choice is None or not _is_worth_it(snapshot, found, spec, choice, moves, mends=mends):
        empty = np.flatnonzero(problem.may_go & (problem.pods == 0)).tolist()
        return Decision({_name(snapshot, found, node): Source("Empty", now) for node in empty}, {})
    return _decision(snapshot, found, choice, moves, now)


def _choose(problem: Problem, spec: ConsolidationSpec, evictions: int, others: float) -> Choice | None:
    """The choice of the goal: the cheapest, or the one with the fewest evictions that reaches the target."""
    evictions = min(evictions, int(problem.pods.sum()))
    choice = _cheapest(problem, spec, evictions)
    target = spec.target_money_per_hour
    if spec.goal == "LeastMoney" or target is None or choice is None or choice.money + others > target:
        return choice
    least, most = 0, choice.evictions
    for _ in range(_ATTEMPTS):
        middle = (least + most) // 2
        found = _cheapest(problem, spec, middle)
        if found is not None and found.money + others <= target:
            choice, most = found, min(middle, found.evictions)
        else:
            least = middle + 1
        if least >= most:
            break
    return choice


def _cheapest(problem: Problem, spec: ConsolidationSpec, evictions: int) -> Choice | None:
    """The cheapest choice that is found; where evictions are scarce, from two starts."""
    starts = (1.0, _AHEAD) if evictions < int(problem.pods.sum()) else (1.0,)
    found = [_searched(problem, spec, evictions, evictions * ahead) for ahead in starts]
    toll = spec.minimum_saving_per_eviction
    return min(filter(None, found), key=lambda each: each.money + toll * each.evictions, default=None)


def _searched(problem: Problem, spec: ConsolidationSpec, evictions: int, relaxed_to: float) -> Choice | None:
    from neaptide.placement.packing.relaxation import relaxed  # noqa: PLC0415 - scipy takes a second to import
    from neaptide.placement.packing.search import search  # noqa: PLC0415 - as numba does

    prices = relaxed(problem, toll=spec.minimum_saving_per_eviction, evictions=relaxed_to)
    return None if prices is None else search(problem, prices, evictions=evictions)


def _others(snapshot: ClusterSnapshot, found: Survey) -> float:
    """What the nodes cost that may not go, as far as it is known."""
    rows = [each.node for each in found.candidates if each.objection is not None]
    return float(np.nansum(snapshot.nodes.price[rows])) if rows else 0.0


def _is_worth_it(
    snapshot: ClusterSnapshot,
    found: Survey,
    spec: ConsolidationSpec,
    choice: Choice,
    moves: Sequence[Departure],
    *,
    mends: bool,
) -> bool:
    """Whether what is saved beyond the nodes that are empty anyway is enough, and enough for each eviction."""
    problem = found.problem
    evictions = sum(len(each.moves) for each in moves)
    if not evictions:
        return False
    bought = {to for each in moves for to in each.moves.values() if to >= problem.nodes}
    paid = sum(float(problem.price[choice.bought[to - problem.nodes]]) for to in bought)
    empty = problem.may_go & (problem.pods == 0)
    saved = (
        sum(float(problem.price[each.node]) for each in moves)
        - paid
        - float(problem.price[: problem.nodes][empty].sum())
    )
    now = float(problem.price[: problem.nodes].sum()) + _others(snapshot, found)
    part = 0.0 if mends else spec.minimum_saving_percent / 100
    return saved > 0 and saved >= max(spec.minimum_saving_per_eviction * evictions, part * now)


def _decision(
    snapshot: ClusterSnapshot, found: Survey, choice: Choice, moves: Sequence[Departure], now: float
) -> Decision:
    nodes = found.problem.nodes
    names: dict[int, str] = {}
    for to in (to for each in moves for to in each.moves.values() if to >= nodes):
        names.setdefault(to, f"consolidated-{now:.0f}-{len(names)}")
    orders = {}
    for to, name in names.items():
        article = found.articles[int(choice.bought[to - nodes]) - nodes]
        orders[name] = Order(article.offering, article.pool)
    sources = {}
    for each in moves:
        awaits = tuple(dict.fromkeys(names[to] for to in each.moves.values() if to >= nodes))
        reason: ReasonName = "Underutilized" if each.moves else "Empty"
        places = {
            snapshot.pods.keys[pod]: names[to] if to >= nodes else _name(snapshot, found, to)
            for pod, to in each.moves.items()
        }
        sources[_name(snapshot, found, each.node)] = Source(reason, now, awaits, len(each.moves), places)
    return Decision(sources, orders)


def _name(snapshot: ClusterSnapshot, found: Survey, node: int) -> str:
    return snapshot.nodes.names[found.candidates[node].node]
