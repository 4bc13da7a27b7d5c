"""Room that was made for pods by preemption: who is nominated where, and which pods are on their way out for them.

While pods are tried, every nominated pod of their rank or above stands on its node in the snapshot, so that nobody takes
its room; between cycles it does not.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from neaptide.model.columns import NO_NODE
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.cycle.changes import Change, Kind
from neaptide.placement.cycle.queue import Waiting

Rank = tuple[int, int]
"""Band, then priority."""


def rank_of(snapshot: ClusterSnapshot, pod: int) -> Rank:
    """A pod's rank; the larger is the more important."""
    return int(snapshot.pods.band[pod]), int(snapshot.pods.priority[pod])


class Nominations:
    """Nominated pods by `namespace/name`, and the victims that make room for each."""

    def __init__(self, snapshot: ClusterSnapshot) -> None:
        self._snapshot = snapshot
        self._pods: dict[str, tuple[Waiting, str]] = {}
        self._victims: dict[str, str] = {}

    def take_over(self, before: "Nominations") -> None:
        """Go on where others have ended."""
        self._pods, self._victims = before._pods, before._victims

    def add(self, pod: Waiting, node: str, victims: tuple[str, ...] = ()) -> None:
        """Nominate a pod to a node, for which these pods (keys) are to go."""
        self._pods[pod.key] = pod, node
        self._victims |= dict.fromkeys(victims, pod.key)

    def drop(self, key: str) -> Change | None:
        """A pod is nominated no longer; what that is to others, for its room is theirs now. None where it was not nominated."""
        if key not in self._pods:
            return None
        change = Change(Kind.POD_LEFT, self.node_of(key))
        del self._pods[key]
        self._victims = {victim: preemptor for victim, preemptor in self._victims.items() if preemptor != key}
        return change

    def gone(self, victim: str) -> None:
        """A pod is gone."""
        self._victims.pop(victim, None)

    def node_of(self, key: str) -> int:
        """The row of the node that a pod is nominated to; NO_NODE for none."""
        found = self._pods.get(key)
        return NO_NODE if found is None else self._snapshot.nodes.by_name.get(found[1], NO_NODE)

    def is_victim(self, key: str) -> bool:
        """Whether a pod is to go already."""
        return key in self._victims

    def waits_for(self, key: str) -> bool:
        """Whether a pod's victims are not gone yet."""
        return key in self._victims.values()

    def pods(self) -> list[tuple[str, str]]:
        """Who is nominated where."""
        return [(key, node) for key, (_, node) in self._pods.items()]

    def ahead(self, rank: Rank, key: str) -> list[int]:
        """The pods (rows) that are nominated and go before one of this rank."""
        return [row for row, _ in self._ahead(rank, {key})]

    def victims(self) -> list[int]:
        """The pods (rows) that are to go."""
        by_key = self._snapshot.pods.by_key
        return [by_key[key] for key in self._victims if key in by_key]

    @contextmanager
    def held(self, rank: Rank, trying: set[str]) -> Iterator[None]:
        """Inside, the pods of this rank or above that are nominated, and not tried themselves, stand on their nodes."""
        placed = self._ahead(rank, trying)
        for row, node in placed:
            self._snapshot.assign(row, node)
        try:
            yield
        finally:
            for row, node in placed:
                if self._snapshot.pods.node[row] == node:
                    self._snapshot.unassign(row)

    def _ahead(self, rank: Rank, trying: set[str]) -> list[tuple[int, int]]:
        found = []
        for key, (pod, _) in self._pods.items():
            node = self.node_of(key)
            if key in trying or node < 0 or self._snapshot.pods.node[pod.row] != NO_NODE:
                continue
            if rank_of(self._snapshot, pod.row) >= rank:
                found.append((pod.row, node))
        return found
