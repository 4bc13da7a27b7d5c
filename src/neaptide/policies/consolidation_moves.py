"""From a choice of nodes to pods that move, in an order in which every pod finds the room that it is promised."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from neaptide.model.columns import Floats
from neaptide.model.objects import Node
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.packing.problem import Choice
from neaptide.placement.place import Placement
from neaptide.policies.consolidation_market import HOSTNAME
from neaptide.policies.consolidation_rooms import RULES
from neaptide.policies.consolidation_survey import Survey


class Departure(NamedTuple):
    """A node that is given back: its place among the candidates, and by pod (row) the bin that it goes to.

    Bins are the candidates, and behind them what is bought, as in `Choice.guests`.
    """

    node: int
    moves: dict[int, int]


def departures(snapshot: ClusterSnapshot, found: Survey, choice: Choice) -> list[Departure]:
    """The nodes that go, those first that save most for each pod that moves; room that is there is filled before what is bought.

    A node one of whose pods the scheduler's filters would not let in anywhere, after the moves before it, stays.
    """
    price, pods = found.problem.price, found.problem.pods
    going = np.flatnonzero(~choice.kept).tolist()
    going.sort(key=lambda node: (-price[node] / (1 + pods[node]), node))
    slots = [_slots(choice, kind) for kind in range(len(found.bound))]
    wanted = []
    for node in going:
        moves = {}
        for pod in found.candidates[node].pods:
            kind = found.kind_of[int(snapshot.pods.cls[pod])]
            moves[pod] = slots[kind].pop()
        wanted.append(Departure(node, moves))
    return _admitted(snapshot, found, choice, wanted) if found.bound.any() else wanted


def _slots(choice: Choice, kind: int) -> list[int]:
    """The bin of every pod of a kind that moves, to be taken from the end: what is there stands behind what is bought."""
    bins = np.flatnonzero(choice.guests[:, kind])
    slots: list[int] = np.repeat(bins, choice.guests[bins, kind])[::-1].tolist()
    return slots


class _Replay:
    """A cluster in which departures are tried one after the other."""

    def __init__(self, snapshot: ClusterSnapshot, found: Survey, choice: Choice, going: Sequence[int]) -> None:
        self.snapshot, self.found = snapshot, found
        here = [each.node for each in found.candidates]
        bought = [found.articles[column - len(here)] for column in choice.bought.tolist()]
        self.rows = here + [snapshot.set_node(_renamed(article.node, number)) for number, article in enumerate(bought)]
        columns = np.concatenate([np.arange(len(here)), choice.bought])
        self.spare: Floats = found.problem.room[columns] - choice.guests @ found.problem.request
        self.open = np.ones(len(self.rows), dtype=np.bool_)
        self.open[list(going)] = False
        self.placement = Placement(snapshot, RULES)

    def attempt(self, wanted: Departure) -> Departure | None:
        """Move a node's pods, where need be elsewhere than was wanted; None, and nothing has moved, where one has no place."""
        home = self.rows[wanted.node]
        for pod in wanted.moves:
            self.snapshot.unassign(pod)
        moves: dict[int, int] = {}
        for pod, bin_ in wanted.moves.items():
            to = self._bin_for(pod, bin_)
            if to < 0:
                self._take_back(wanted, moves, home)
                return None
            self._promise(pod, bin_, to)
            self.snapshot.assign(pod, self.rows[to])
            moves[pod] = to
        return Departure(wanted.node, moves)

    def _bin_for(self, pod: int, wanted: int) -> int:
        kind = self.found.kind_of[int(self.snapshot.pods.cls[pod])]
        if not self.found.bound[kind]:
            return wanted
        able = self.placement.feasible(pod)[self.rows]
        if able[wanted]:
            return wanted
        enough = (self.spare >= self.found.problem.request[kind]).all(axis=1)
        others = np.flatnonzero(able & self.open & enough)
        return int(others[0]) if len(others) else -1

    def _promise(self, pod: int, instead_of: int, to: int) -> None:
        request = self.found.problem.request[self.found.kind_of[int(self.snapshot.pods.cls[pod])]]
        self.spare[instead_of] += request
        self.spare[to] -= request

    def _take_back(self, wanted: Departure, moves: dict[int, int], home: int) -> None:
        for pod, to in moves.items():
            self.snapshot.unassign(pod)
            self._promise(pod, to, wanted.moves[pod])
        for pod in wanted.moves:
            self.snapshot.assign(pod, home)


def _admitted(snapshot: ClusterSnapshot, found: Survey, choice: Choice, wanted: Sequence[Departure]) -> list[Departure]:
    with snapshot.what_if():
        replay = _Replay(snapshot, found, choice, [each.node for each in wanted])
        tried = [replay.attempt(each) for each in wanted]
    return [each for each in tried if each is not None]


def _renamed(node: Node, number: int) -> Node:
    name = f"neaptide-bought-{number}"
    labels = node.metadata.labels | {HOSTNAME: name}
    return replace(node, metadata=replace(node.metadata, name=name, labels=labels))
