"""Waves: which pods move at once, so that a scheduler that knows nothing of the plan puts them where the plan wants them.

Nodes whose promised pods have not come yet carry a soft taint (`ROOM`), so the scheduler keeps away from them as long as it can. A wave opens
the nodes that come next and evicts the pods that were promised them. Which pod then comes to which of the opened nodes is the
scheduler's choice, so nodes are opened together only where all of their pods find room whichever way it chooses.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from msgspec import Struct, field

from neaptide.model.columns import Longs
from neaptide.policies.consolidation_places import Guest
from neaptide.policies.consolidation_rooms import Rooms

ROOM = "neaptide.io/consolidation-room"
"""The key of the soft taint."""
LONGEST = 30.0
"""Seconds after which a wave that has not ended is left behind."""
_TRIES = 40
_SHUFFLES = 4
"""Orders at random in which the pods of a wave may come."""


class Waves(Struct):
    """What is remembered of waves.

    Attributes:
        opened: when each place whose pods have not all left their nodes was opened last.
        since: when the last wave began.
        ready: how many pods were ready at most since then: fewer are ready as long as a wave is under way.
        steering: whether the soft taint is used, for not all pods can move in one wave.
    """

    opened: dict[str, float] = field(default_factory=dict)
    since: float = -1e9
    ready: int = 0
    steering: bool = False

    def current(self) -> list[str]:
        """The places that the last wave opened."""
        return [place for place, time in self.opened.items() if time == self.since]


def chosen(
    rooms: Rooms,
    free: Longs,
    by_place: Mapping[str, Sequence[Guest]],
    partial: set[str],
    opened: Mapping[str, float],
    most: int,
) -> tuple[list[str], list[Guest]]:
    """The places of the next wave, and its guests, hardest to place first; `most` pods at most.

    A place that has not been opened for longest comes first, then that with the most guests. One place alone is always safe, so it may be
    filled in parts; and those that more guests come to later (`partial`) are opened alone, lest others take the room of these.
    """
    order = sorted(
        by_place, key=lambda place: (opened.get(place, -np.inf), place in partial, -len(by_place[place]), place)
    )
    places: list[str] = []
    guests: list[Guest] = []
    misses = 0
    for place in order:
        more = sorted(by_place[place], key=lambda guest: rooms.ease(guest.pod))
        if not places and most > 0:
            places, guests = [place], more[:most]
        elif (
            partial.isdisjoint((place, places[0]))
            and len(guests) + len(more) <= most
            and _is_safe(rooms, free, [*guests, *more])
        ):
            places.append(place)
            guests += more
        else:
            misses += 1
        if misses >= _TRIES or len(guests) >= most:
            break
    return places, sorted(guests, key=lambda guest: rooms.ease(guest.pod))


def _is_safe(rooms: Rooms, free: Longs, guests: Sequence[Guest]) -> bool:
    """Whether pods, the hardest to place first, all find room on their nodes, whether the fullest is filled first or the emptiest."""
    rows = np.unique([guest.node for guest in guests])
    allocatable = np.maximum(rooms.snapshot.nodes.allocatable[:2, rows], 1)
    hardest_first = sorted((guest.pod for guest in guests), key=rooms.ease)
    for pods in _orders(hardest_first):
        for sign in (1, -1):
            left = free[:, rows].copy()
            for pod in pods:
                request, may = rooms.request(pod), rooms.allowed(pod)[rows]
                able = np.flatnonzero(may & ((left >= request[:, None]) | (request[:, None] == 0)).all(axis=0))
                if not len(able):
                    return False
                share = (left[:2, able] / allocatable[:, able]).sum(axis=0)
                left[:, able[np.argmin(sign * share)]] -= request
    return True


def _orders(pods: list[int]) -> Iterator[list[int]]:
    """Orders in which pods may come to the scheduler: as they are evicted, the other way round, and at random."""
    yield pods
    yield pods[::-1]
    draw = np.random.default_rng(len(pods))  # the same each time
    for _ in range(_SHUFFLES):
        yield [pods[each] for each in draw.permutation(len(pods)).tolist()]
