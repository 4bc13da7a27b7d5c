"""Where pods could go as things stand: the room of nodes, less what has been promised, under the scheduler's filters."""

from collections.abc import Callable, Collection, Iterator, Sequence
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
    """The room of nodes. What `take` finds is taken; the snapshot stays as it is.

    Whether a scheduler fills the fullest node first or the emptiest is not known, so pods have room only if they find it both ways.

    Attributes:
        usable: bool[rows], the nodes whose room counts.
        free: int64[resources, rows], what is left where the fullest node is filled first.
        promised: the nodes (rows) on which room was taken, that way.
    """

    def __init__(self, snapshot: ClusterSnapshot, without: Collection[int]) -> None:
        """Look at the nodes (rows) that are ready and not in `without`."""
        self.snapshot = snapshot
        self._placement = Placement(snapshot, RULES)
        self._asking = Asking(self._placement.view)
        self.usable = snapshot.nodes.ready[: snapshot.nodes.rows] & snapshot.nodes.alive[: snapshot.nodes.rows]
        self.usable[list(without)] = False
        self.free: Longs = snapshot.free()
        self._spread: Longs = self.free.copy()
        self.promised: set[int] = set()
        self._requests: dict[int, Longs] = {}
        self._ease: dict[int, tuple[int, float]] = {}
        self._largest = np.maximum(snapshot.nodes.allocatable[:, np.flatnonzero(self.usable)].max(axis=1, initial=1), 1)

    def take(self, pods: Sequence[int]) -> bool:
        """Find room for all pods (rows) or for none; whether there was."""
        tight, loose = self._take(pods, self.free, np.argmin), self._take(pods, self._spread, np.argmax)
        for nodes, free, other in ((tight, self.free, loose), (loose, self._spread, tight)):
            if nodes is not None and other is None:
                for pod, node in zip(pods, nodes, strict=True):
                    free[:, node] += self.request(pod)
        if tight is None or loose is None:
            return False
        self.promised.update(tight)
        return True

    def ease(self, pod: int) -> tuple[int, float]:
        """How easily a pod (row) finds a node, for sorting: by the nodes that may take it, the larger pod first."""
        cls = int(self.snapshot.pods.cls[pod])
        if cls not in self._ease:
            share = float((self.request(pod) / self._largest).max(initial=0.0))
            self._ease[cls] = int(np.count_nonzero(self.usable & self.allowed(pod))), -share
        return self._ease[cls]

    def allowed(self, pod: int) -> Bools:
        """bool[rows]: the nodes on which a pod (row) may ever be."""
        return self._asking.of(int(self.snapshot.pods.cls[pod])).allowed

    def is_bound(self, pod: int) -> bool:
        """Whether other pods or volumes have a say in where a pod (row) may be."""
        return self._asking.of(int(self.snapshot.pods.cls[pod])).bound

    def may(self, pod: int, node: int) -> bool:
        """Whether a pod (row) may ever be on a node (row) that counts."""
        return bool(self.usable[node] and self.allowed(pod)[node])

    def admits(self, pod: int, node: int) -> bool:
        """Whether a node (row) admits a pod (row) now, its room aside, as far as other pods and volumes have a say."""
        return not self.is_bound(pod) or bool(self._placement.feasible(pod)[node])

    def request(self, pod: int) -> Longs:
        """What a pod (row) asks for, int64[resources]."""
        cls = int(self.snapshot.pods.cls[pod])
        if cls not in self._requests:
            self._requests[cls] = self.snapshot.pod_requests([pod])[:, 0]
        return self._requests[cls]

    def _take(self, pods: Sequence[int], free: Longs, choose: Callable[[Longs], np.intp]) -> list[int] | None:
        """The node (row) of each pod, whose room is taken; None, and nothing is taken, where one has none."""
        found: list[int] = []
        for pod in pods:
            rows = self.able(pod, free)
            if not len(rows):
                for earlier, node in zip(pods, found, strict=False):
                    free[:, node] += self.request(earlier)
                return None
            node = int(rows[choose(free[0, rows])])
            free[:, node] -= self.request(pod)
            found.append(node)
        return found

    def able(self, pod: int, free: Longs) -> Longs:
        """The usable nodes (rows) that can take a pod (row), of whose room so much is `free`."""
        request = self.request(pod)
        asked = np.flatnonzero(request)
        ask = self._asking.of(int(self.snapshot.pods.cls[pod]))
        able = self.usable & ask.allowed
        if ask.bound:
            able = able & self._placement.feasible(pod)
        return np.flatnonzero(able & (free[asked] >= request[asked, None]).all(axis=0))


def waiting(snapshot: ClusterSnapshot) -> Iterator[int]:
    """The pods (rows) that wait for a node."""
    pods = snapshot.pods
    rows = pods.indices()
    rows = rows[(pods.node[rows] == NO_NODE) & ~pods.gated[rows] & np.isnan(pods.deleted[rows])]
    yield from rows[~np.isin(pods.phase[rows], (SUCCEEDED, FAILED))].tolist()
