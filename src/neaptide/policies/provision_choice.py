"""Which nodes to buy so that pods which have none find room: the cheapest mix, by a linear programme and a search around it.

Pods that others have a say in (affinity, spreading, volumes) are not part of that: they are placed in the result by the scheduler's
filters, and what still finds no room gets the cheapest node that would take it, one after the other.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from neaptide.model.columns import Bools, Floats, Longs
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.packing.problem import useful_offerings
from neaptide.placement.place import Placement
from neaptide.policies.consolidation_market import overhead
from neaptide.policies.consolidation_rooms import RULES, Asking
from neaptide.policies.provision_market import Article

_ONE_BY_ONE = 200
"""How many nodes may be found one after the other in a cycle."""


class Bought(NamedTuple):
    """What to buy, in order; by pod (row) the place in `articles` that is meant for it; the pods that nothing on sale would take."""

    articles: list[Article]
    meant: dict[int, int]
    left: list[int]


class _Kinds(NamedTuple):
    """Pods that ask for the same and may go to the same articles: [resources, kinds], [kinds, articles], [kinds], and by class the kind."""

    request: Longs
    fits: Bools
    bound: Bools
    kind_of: dict[int, int]


def choose(
    snapshot: ClusterSnapshot,
    pods: Sequence[int],
    offered: Sequence[Article],
    *,
    reserve: float,
    toll: float,
    most: int,
) -> Bought:
    """What to buy for pods (rows) that have no node, at most so many nodes. The snapshot is changed: call it inside `what_if`.

    Args:
        snapshot: what is bought is added to it, and the pods put there.
        pods: rows.
        offered: what may be bought.
        reserve: the part of each node's room that is left free.
        toll: what a node costs besides its price, in US dollars per hour.
        most: how many nodes may be bought.
    """
    rows = [snapshot.set_node(each.node(f"neaptide-article-{number}")) for number, each in enumerate(offered)]
    kinds = _kinds_of(snapshot, pods, rows)
    asked = np.flatnonzero(kinds.request.any(axis=1))
    bare = snapshot.nodes.allocatable[:, rows] - overhead(snapshot, [each.node("") for each in offered]).T
    for name in [snapshot.nodes.names[row] for row in rows]:
        snapshot.remove_node(name)
    whole = np.maximum(bare[asked].T, 0).astype(np.float64)
    request = np.ascontiguousarray(kinds.request[asked].T.astype(np.float64))
    holds = kinds.fits & (request[:, None, :] <= whole[None, :, :]).all(axis=2)
    room = np.minimum(np.maximum(np.floor(whole * (1 - reserve)), _largest(request, holds)), whole)
    able = [pod for pod in pods if holds[kinds.kind_of[int(snapshot.pods.cls[pod])]].any()]
    hopeless = sorted(set(pods) - set(able))
    articles, meant = _mix(snapshot, able, offered, kinds._replace(fits=holds), request, room, toll, most)
    sold = [offered[each] for each in np.flatnonzero(holds.any(axis=0)).tolist()]
    left = _admit(snapshot, able, articles, meant, sold, most)
    return Bought(articles, meant, [*hopeless, *left])


def _largest(request: Floats, holds: Bools) -> Floats:
    """[articles, resources]: no reserve keeps a pod out that would have the whole node."""
    largest: Floats = np.where(holds[:, :, None], request[:, None, :], 0.0).max(axis=0, initial=0.0)
    return largest


def _kinds_of(snapshot: ClusterSnapshot, pods: Sequence[int], rows: Sequence[int]) -> _Kinds:
    asking = Asking(Placement(snapshot, RULES).view)
    numbers: dict[tuple[bytes, bytes, int], int] = {}
    kind_of: dict[int, int] = {}
    requests: list[Longs] = []
    fits: list[Bools] = []
    bound: list[bool] = []
    for cls in np.unique(snapshot.pods.cls[list(pods)]).tolist():
        ask, request = asking.of(cls), snapshot.shapes.request[:, int(snapshot.classes.shape[cls])]
        allowed = ask.allowed[list(rows)]
        key = (request.tobytes(), allowed.tobytes(), cls if ask.bound else -1)
        kind_of[cls] = numbers.setdefault(key, len(numbers))
        if kind_of[cls] == len(requests):
            requests.append(request)
            fits.append(allowed)
            bound.append(ask.bound)
    shape = (len(fits), len(rows))
    return _Kinds(
        np.stack(requests, axis=1),
        np.array(fits, dtype=np.bool_).reshape(shape),
        np.array(bound, dtype=np.bool_),
        kind_of,
    )


def _mix(
    snapshot: ClusterSnapshot,
    pods: Sequence[int],
    offered: Sequence[Article],
    kinds: _Kinds,
    request: Floats,
    room: Floats,
    toll: float,
    most: int,
) -> tuple[list[Article], dict[int, int]]:
    """What to buy, the best filled first, and by pod its place there; pods in whose place others have a say are not in it."""
    from neaptide.placement.packing.hosting import hosts  # noqa: PLC0415 - scipy and numba take a second to import

    of_kind: list[list[int]] = [[] for _ in request]
    for pod in pods:
        kind = kinds.kind_of[int(snapshot.pods.cls[pod])]
        if not kinds.bound[kind]:
            of_kind[kind].append(pod)
    counts = np.array([len(each) for each in of_kind], dtype=np.int64)
    if not counts.any():
        return [], {}
    price = np.array([each.price + toll for each in offered], dtype=np.float64)
    kept = useful_offerings(kinds.fits, room, price, np.zeros(len(offered), dtype=np.int64))
    found = hosts(request, kinds.fits[:, kept], room[kept], price[kept], counts)
    if found is None:
        return [], {}
    filled = (found.guests @ request / np.maximum(room[kept][found.bought], 1.0)).max(axis=1)
    best = np.argsort(-filled, kind="stable")[:most]
    meant = {}
    for place, bin_ in enumerate(best.tolist()):
        for kind in np.flatnonzero(found.guests[bin_]).tolist():
            for _ in range(int(found.guests[bin_, kind])):
                meant[of_kind[kind].pop()] = place
    return [offered[int(kept[found.bought[each]])] for each in best.tolist()], meant


def _admit(
    snapshot: ClusterSnapshot,
    pods: Sequence[int],
    bought: list[Article],
    meant: dict[int, int],
    offered: Sequence[Article],
    most: int,
) -> list[int]:
    """Put pods where they are meant to be, the others where there is room, and buy more for those that find none; whom that does not help."""
    rows = [snapshot.set_node(each.node(f"neaptide-bought-{number}")) for number, each in enumerate(bought)]
    for pod, place in meant.items():
        snapshot.assign(pod, rows[place])
    placement = Placement(snapshot, RULES)
    places = {row: place for place, row in enumerate(rows)}
    left = _unplaced(placement, [pod for pod in pods if pod not in meant], places, meant)
    helpless: list[int] = []
    cheapest = sorted(offered, key=lambda each: each.price)
    for _ in range(_ONE_BY_ONE):
        if not left or len(bought) >= most:
            break
        article = next(_taking(snapshot, left[0], cheapest), None)
        if article is None:
            helpless.append(left.pop(0))
            continue
        places[snapshot.set_node(article.node(f"neaptide-bought-{len(bought)}"))] = len(bought)
        bought.append(article)
        left = _unplaced(placement, left, places, meant)
    return [*helpless, *left]


def _taking(snapshot: ClusterSnapshot, pod: int, cheapest: Sequence[Article]) -> Iterator[Article]:
    """The articles that would take a pod as things stand, the cheapest first."""
    with snapshot.what_if():
        rows = [snapshot.set_node(each.node(f"neaptide-tried-{number}")) for number, each in enumerate(cheapest)]
        feasible = Placement(snapshot, RULES).feasible(pod)[rows]
    yield from (cheapest[number] for number in np.flatnonzero(feasible).tolist())


def _unplaced(placement: Placement, pods: Sequence[int], places: dict[int, int], meant: dict[int, int]) -> list[int]:
    """Place pods; those that find no node. Who comes to a bought node is meant for it."""
    left = []
    for each in placement.schedule(pods):
        if each.node is None:
            left.append(each.pod)
        elif each.node in places:
            meant[each.pod] = places[each.node]
    return left
