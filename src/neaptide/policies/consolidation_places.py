"""Where the pods of nodes that go are to be: as it was planned, and mended where the cluster has changed since.

A place is the name of a node, or what the plan calls a node that is bought. Pods that are there already or wait for a node have their
room first; then the pods that were promised a place, in order; what is left is for those that lost theirs.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from neaptide.model.actions import FOR_LABEL
from neaptide.model.columns import Longs
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.consolidation_rooms import Rooms, waiting

COMING = -1
"""The node of a place that was bought and is not there yet."""


class Guest(NamedTuple):
    """A pod (row) that is to move, the node that it leaves by name, its place by name, and the node (row) that this is."""

    pod: int
    source: str
    place: str
    node: int


class Places:
    """The room of nodes, less what is promised.

    Attributes:
        guests: by source, where its pods go; filled by `settle`.
        lacking: the pods (rows) that wait for a node and find none.
        free: int64[resources, rows], the room before anything is promised to guests.
    """

    def __init__(
        self, snapshot: ClusterSnapshot, rooms: Rooms, coming: Collection[str], opened: Collection[str]
    ) -> None:
        """Look at the usable nodes of `rooms`; `coming` are bought nodes that are awaited, `opened` places where waiting pods are expected."""
        self._snapshot, self._rooms, self._coming = snapshot, rooms, coming
        self._rows = _rows(snapshot, rooms)
        self.free: Longs = snapshot.free()
        self.guests: dict[str, list[Guest]] = {}
        self.lacking: list[int] = []
        self.expected = 0
        first = {self._rows[each] for each in opened if each in self._rows}
        for pod in waiting(snapshot):
            self._expect(pod, first)
        self._left = self.free.copy()

    def settle(self, wanted: Mapping[str, tuple[Sequence[int], Mapping[str, str]]]) -> list[str]:
        """Give the pods of each source their places, those that were planned where that can be; the sources that cannot go.

        Args:
            wanted: by source in order, its pods (rows) and their places as planned, by the pods' names.
        """
        homeless: dict[str, list[int]] = {}
        for name, (pods, planned) in wanted.items():
            self.guests[name] = []
            for pod in pods:
                place = planned.get(self._snapshot.pods.keys[pod], "")
                if place in self._coming:
                    self.guests[name].append(Guest(pod, name, place, COMING))
                elif place in self._rows and self._take(pod, self._rows[place]):
                    self.guests[name].append(Guest(pod, name, place, self._rows[place]))
                else:
                    homeless.setdefault(name, []).append(pod)
        return [name for name, pods in homeless.items() if not self._rehouse(name, pods)]

    def another(self, guest: Guest) -> Guest | None:
        """Another place for a guest whose own does not admit it now; None where there is none."""
        self._left[:, guest.node] += self._rooms.request(guest.pod)
        able = self._rooms.able(guest.pod, self._left)
        if not len(able):
            self._left[:, guest.node] -= self._rooms.request(guest.pod)
            return None
        return self._housed(guest.pod, guest.source, able)

    def give_up(self, name: str) -> None:
        """A source stays, and what its pods were promised is for others."""
        for guest in self.guests.pop(name, ()):
            if guest.node != COMING:
                self._left[:, guest.node] += self._rooms.request(guest.pod)

    def by_place(self) -> dict[str, list[Guest]]:
        """The guests of every place that is there."""
        found: defaultdict[str, list[Guest]] = defaultdict(list)
        for guests in self.guests.values():
            for guest in guests:
                if guest.node != COMING:
                    found[guest.place].append(guest)
        return dict(found)

    def _expect(self, pod: int, first: Collection[int]) -> None:
        able = self._rooms.able(pod, self.free)
        if not len(able):
            self.lacking.append(pod)
            return
        self.expected += 1
        likely = [row for row in able.tolist() if row in first] or able
        self.free[:, _tightest(self.free, np.asarray(likely))] -= self._rooms.request(pod)

    def _take(self, pod: int, row: int) -> bool:
        request = self._rooms.request(pod)
        if not self._rooms.may(pod, row) or ((self._left[:, row] < request) & (request > 0)).any():
            return False
        self._left[:, row] -= request
        return True

    def _rehouse(self, name: str, pods: Sequence[int]) -> bool:
        for pod in sorted(pods, key=self._rooms.ease):
            able = self._rooms.able(pod, self._left)
            if not len(able):
                self.give_up(name)
                return False
            self.guests[name].append(self._housed(pod, name, able))
        return True

    def _housed(self, pod: int, source: str, able: Longs) -> Guest:
        row = _tightest(self._left, able)
        self._left[:, row] -= self._rooms.request(pod)
        return Guest(pod, source, self._snapshot.nodes.names[row], row)


def _tightest(free: Longs, rows: Longs) -> int:
    """Of some nodes, that with the least CPU left."""
    return int(rows[np.argmin(free[0, rows])])


def _rows(snapshot: ClusterSnapshot, rooms: Rooms) -> dict[str, int]:
    """The usable nodes by their names and by what a plan called them."""
    found: dict[str, int] = {}
    for row in np.flatnonzero(rooms.usable).tolist():
        found[snapshot.nodes.names[row]] = row
        called = snapshot.node_labels(row).get(FOR_LABEL)
        if called:
            found[called] = row
    return found
