"""What filters and scores read: the snapshot, and what was derived from it, kept in step with it."""

from collections.abc import Callable
from typing import NamedTuple

from neaptide.model.columns import Floats, Longs
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.classes import PodClass
from neaptide.placement.node_infos import NodeInfos
from neaptide.placement.nodes import Nodes
from neaptide.placement.preferences import Preferences
from neaptide.placement.sums import PodSums
from neaptide.placement.topology import Topology
from neaptide.placement.volumes import Volumes

Profiled = Callable[[Longs], Floats]
"""float64[pods]: the milli-CPU that pods (rows) are expected to use, nan where nobody knows."""


class Pod(NamedTuple):
    """A pod to place: its row in the snapshot's `pods`, or -1 for any pod of its class, and its class."""

    row: int
    cls: PodClass


class View:
    """A snapshot as filters and scores see it. `refresh` must be called after the snapshot was changed.

    Attributes:
        snapshot: the snapshot.
        nodes: what pods do not change.
        topology: constraints on topology and the counts they are judged by; replaced when namespaces change.
        volumes: the claims of pods.
        now: the time in seconds since the epoch; nan where nobody has told it.
        infos: what is measured of nodes beside CPU and memory.
        sums: what the pods of each node come to by the rules of some filters and scores.
        profiled: what pods are expected to use, where somebody predicts it.
        namespaces_changed: how often some namespace was found to be another than before.
    """

    def __init__(self, snapshot: ClusterSnapshot) -> None:
        self.snapshot = snapshot
        self.nodes = Nodes(snapshot)
        self.volumes = Volumes(snapshot, self.nodes)
        self._position = len(snapshot.changed_nodes)
        self._namespaces = dict(snapshot.others.get("Namespace", {}))
        self.nodes.refresh(range(snapshot.nodes.rows))
        self.topology = Topology(snapshot, self.nodes)
        self._preferences: Preferences | None = None
        self.now = float("nan")
        self.infos, self.sums = NodeInfos(snapshot), PodSums(snapshot)
        self.profiled: Profiled | None = None
        self.namespaces_changed = 0

    def at(self, now: float) -> None:
        """Tell the time. To be called whenever it has passed, or usage was measured."""
        self.now = now
        self.infos.forget()
        self.sums.forget()

    def refresh(self) -> None:
        """Catch up with the snapshot, at a cost that depends on what has changed."""
        snapshot = self.snapshot
        touched = set(snapshot.changed_nodes[self._position :])
        self._position = len(snapshot.changed_nodes)
        if touched:
            self.nodes.refresh(touched)
            self.sums.touch(touched)
        namespaces = snapshot.others.get("Namespace", {})
        if namespaces != self._namespaces:
            self._namespaces = dict(namespaces)
            self.namespaces_changed += 1
            if self.topology.asks_namespaces:
                self.topology, self._preferences = Topology(snapshot, self.nodes), None
        if touched:
            self.topology.refresh(touched)

    @property
    def preferences(self) -> Preferences:
        """The preferred affinity terms of the classes met so far; kept from the first time they are asked for."""
        if self._preferences is None:
            self._preferences = Preferences(self.topology)
        return self._preferences

    def pod(self, row: int) -> Pod:
        """A pod to place, given by its row."""
        return Pod(row, self.topology.classes.meet(int(self.snapshot.pods.cls[row])))

    def any_pod(self, cls: int) -> Pod:
        """Any pod of a class, given by its row in the snapshot's `classes`."""
        return Pod(-1, self.topology.classes.meet(cls))
