"""A snapshot as the problem that the search is about: kinds of pods, the room of nodes, and what could be bought."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neaptide.model.actions import Reason
from neaptide.model.columns import Bools, Floats, Longs
from neaptide.model.scope import Covers
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.packing.problem import Problem, useful_offerings
from neaptide.placement.view import View
from neaptide.policies.consolidation_candidates import Candidate, candidates
from neaptide.policies.consolidation_market import Article, articles, overhead
from neaptide.policies.consolidation_rooms import Asking, Rooms, waiting
from neaptide.policies.consolidation_spec import ConsolidationSpec

_EXPECTED = Reason("Nominated", "a pod that waits for a node is expected there")


class Survey(NamedTuple):
    """The problem, and what its numbers stand for.

    Attributes:
        problem: for the search.
        candidates: the nodes, in the order of the problem's columns.
        articles: the offerings, in the order of the columns behind them.
        kind_of: by class of pods (row), its kind.
        bound: [kinds], whether other pods or volumes have a say in where such pods may be.
    """

    problem: Problem
    candidates: list[Candidate]
    articles: list[Article]
    kind_of: dict[int, int]
    bound: Bools


class _Kinds(NamedTuple):
    kind_of: dict[int, int]
    request: Longs
    """[resources, kinds]."""
    allowed: Bools
    """[kinds, rows]."""
    bound: Bools


def survey(snapshot: ClusterSnapshot, spec: ConsolidationSpec, now: float, covers: Covers) -> Survey:
    """Look at a cluster."""
    nodes = snapshot.nodes.indices()
    rooms = Rooms(snapshot, ())
    for pod in waiting(snapshot):
        rooms.take([pod])
    nominated = {snapshot.nodes.by_name.get(name) for name in snapshot.pods.nominated.values()}
    found = [
        each._replace(objection=_EXPECTED)
        if each.objection is None and (each.node in rooms.promised or each.node in nominated)
        else each
        for each in candidates(snapshot, nodes.tolist(), covers, after=spec.consolidate_after_seconds, now=now)
    ]
    going = [each for each in found if each.objection is None]
    classes = np.unique(snapshot.pods.cls[[pod for each in going for pod in each.pods]]).tolist() if going else []
    offered = articles(snapshot, spec.capacity_types) if spec.replace else []
    with snapshot.what_if():
        rows = np.array([snapshot.set_node(each.node) for each in offered], dtype=np.int64)
        covered = np.array([covers(snapshot.node_ref(row)) for row in rows.tolist()], dtype=np.bool_)
        kinds = _kinds(snapshot, classes)
        asked = np.flatnonzero(kinds.request.any(axis=1))
        extra = overhead(snapshot, [each.node for each in offered])
        bare = snapshot.nodes.allocatable[:, rows] - extra.T
    here = np.zeros((len(snapshot.resources), len(nodes)), dtype=np.int64)
    here[: len(rooms.free)] = rooms.free[:, nodes]
    room = np.concatenate([here, bare[: len(here)]], axis=1)[asked].T.astype(np.float64)
    fits = np.concatenate([kinds.allowed[:, nodes] & rooms.usable[nodes], kinds.allowed[:, rows] & covered], axis=1)
    price = np.array([each.offering.price_per_hour for each in offered], dtype=np.float64)
    kept = useful_offerings(
        fits[:, len(nodes) :], room[len(nodes) :], price, _groups(offered, apart=bool(kinds.bound.any()))
    )
    columns = np.concatenate([np.arange(len(nodes)), len(nodes) + kept])
    may_go = np.array([each.objection is None for each in found], dtype=np.bool_)
    prices: Floats = np.concatenate([np.where(may_go, snapshot.nodes.price[nodes], 0.0), price[kept]])
    problem = Problem(
        request=np.ascontiguousarray(kinds.request[asked].T.astype(np.float64)),
        fits=np.ascontiguousarray(fits[:, columns]),
        room=np.ascontiguousarray(room[columns]),
        price=prices,
        held=_held(snapshot, found, kinds),
        may_go=may_go,
    )
    return Survey(problem, found, [offered[each] for each in kept.tolist()], kinds.kind_of, kinds.bound)


def _kinds(snapshot: ClusterSnapshot, classes: Sequence[int]) -> _Kinds:
    """Classes that ask for the same and may go to the same nodes are one kind, unless other pods have a say."""
    asking = Asking(View(snapshot))
    numbers: dict[tuple[bytes, bytes, int], int] = {}
    kind_of: dict[int, int] = {}
    first: list[int] = []
    for cls in classes:
        ask = asking.of(cls)
        request = snapshot.shapes.request[:, int(snapshot.classes.shape[cls])]
        key = (request.tobytes(), np.packbits(ask.allowed).tobytes(), cls if ask.bound else -1)
        kind_of[cls] = numbers.setdefault(key, len(numbers))
        if kind_of[cls] == len(first):
            first.append(cls)
    asks = [asking.of(cls) for cls in first]
    return _Kinds(
        kind_of,
        snapshot.shapes.request[:, snapshot.classes.shape[first]],
        np.array([ask.allowed for ask in asks], dtype=np.bool_).reshape(len(asks), snapshot.nodes.rows),
        np.array([ask.bound for ask in asks], dtype=np.bool_),
    )


def _held(snapshot: ClusterSnapshot, found: Sequence[Candidate], kinds: _Kinds) -> Longs:
    held: Longs = np.zeros((len(found), len(kinds.bound)), dtype=np.int64)
    for row, each in enumerate(found):
        if each.objection is None:
            for pod in each.pods:
                held[row, kinds.kind_of[int(snapshot.pods.cls[pod])]] += 1
    return held


def _groups(offered: Sequence[Article], *, apart: bool) -> Longs:
    """A number for each offering's zone, where zones may matter; else one for all."""
    zones: dict[str, int] = {}
    return np.array(
        [zones.setdefault(each.offering.zone if apart else "", len(zones)) for each in offered], dtype=np.int64
    )
