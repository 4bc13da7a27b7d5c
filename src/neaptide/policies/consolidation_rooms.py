"""Where pods could go as things stand: the room of nodes, less what has been promised, under the scheduler's filters."""

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from neaptide.model.columns import FAILED, NO_NODE, SUCCEEDED, Bools, Longs
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.asks import allowed_to, asks_of
from neaptide.placement.place import Placement
from neaptide.placement.profile import Profile
from neaptide.placement.view import View

RULES = Profile(scores=())
"""The scheduler's filters; what it would prefer plays no part."""


class Ask(NamedTuple):
    """What a class of pods asks: on which nodes (bool[rows]) it may ever be, and whether other pods have a say in it."""

    allowed: Bools
    bound: bool


class Asking:
    """What classes of pods ask, remembered."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._known: dict[int, Ask] = {}
        view.topology.classes.meet_all(np.unique(view.snapshot.pods.cls[view.snapshot.pods.indices()]).tolist())

    def of(self, cls: int) -> Ask:
        """What a class (row) asks."""
        if cls not in self._known:
            pod = self._view.any_pod(cls)
            allowed = allowed_to(self._view, RULES, pod)
            rules = asks_of(self._view, RULES, pod, allowed).rules
            self._known[cls] = Ask(allowed, bool(rules) or bool(self._view.volumes.claims(pod.cls)))
        return self._known[cls]


class Rooms:
    """The room of nodes. What `take` finds is taken; the snapshot stays as it is."""

    def __init__(self, snapshot: ClusterSnapshot, without: Collection[int]) -> None:
        """Look at the nodes (rows) that are ready and not in `without`."""
        self.snapshot = snapshot
        self._placement = Placement(snapshot, RULES)
        self._asking = Asking(self._placement.view)
        self.usable = snapshot.nodes.ready[: snapshot.nodes.rows] & snapshot.nodes.alive[: snapshot.nodes.rows]
        self.usable[list(without)] = False
        self.free: Longs = snapshot.free()

    def take(self, pods: Iterable[int]) -> bool:
        """Find room for all pods (rows) or for none; whether there was."""
        taken: list[tuple[int, Longs]] = []
        for pod in pods:
            node, request = self._find(pod)
            if node < 0:
                for earlier, amounts in taken:
                    self.free[:, earlier] += amounts
                return False
            self.free[:, node] -= request
            taken.append((node, request))
        return True

    def _find(self, pod: int) -> tuple[int, Longs]:
        """The usable node with the least CPU free that can take a pod, -1 for none, and what the pod asks for."""
        request = self.snapshot.pod_requests([pod])[:, 0]
        asked = np.flatnonzero(request)
        ask = self._asking.of(int(self.snapshot.pods.cls[pod]))
        able = self.usable & ask.allowed
        if ask.bound:
            able = able & self._placement.feasible(pod)
        able = able & (self.free[asked] >= request[asked, None]).all(axis=0)
        rows = np.flatnonzero(able)
        return (int(rows[self.free[0, rows].argmin()]) if len(rows) else -1), request


def waiting(snapshot: ClusterSnapshot) -> Iterator[int]:
    """The pods (rows) that wait for a node."""
    pods = snapshot.pods
    rows = pods.indices()
    rows = rows[(pods.node[rows] == NO_NODE) & ~pods.gated[rows] & np.isnan(pods.deleted[rows])]
    yield from rows[~np.isin(pods.phase[rows], (SUCCEEDED, FAILED))].tolist()
