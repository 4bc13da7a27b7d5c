"""What filters and scores read: the snapshot, and what was derived from it, kept in step with it."""

from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.classes import PodClass
from neaptide.placement.nodes import Nodes
from neaptide.placement.topology import Topology
from neaptide.placement.volumes import Volumes


class View:
    """A snapshot as filters and scores see it. `refresh` must be called after the snapshot was changed.

    Attributes:
        snapshot: the snapshot.
        nodes: what pods do not change.
        topology: constraints on topology and the counts they are judged by; replaced when namespaces change.
        volumes: the claims of pods.
    """

    def __init__(self, snapshot: ClusterSnapshot) -> None:
        self.snapshot = snapshot
        self.nodes = Nodes(snapshot)
        self.volumes = Volumes(snapshot, self.nodes)
        self._position = len(snapshot.changed_nodes)
        self._namespaces = dict(snapshot.others.get("Namespace", {}))
        self.nodes.refresh(range(snapshot.nodes.rows))
        self.topology = Topology(snapshot, self.nodes)

    def refresh(self) -> None:
        """Catch up with the snapshot, at a cost that depends on what has changed."""
        snapshot = self.snapshot
        touched = set(snapshot.changed_nodes[self._position :])
        self._position = len(snapshot.changed_nodes)
        if touched:
            self.nodes.refresh(touched)
        namespaces = snapshot.others.get("Namespace", {})
        if namespaces != self._namespaces:
            self._namespaces = dict(namespaces)
            if self.topology.asks_namespaces:
                self.topology = Topology(snapshot, self.nodes)
        if touched:
            self.topology.refresh(touched)

    def meet(self, pod: int) -> PodClass:
        """The class of a pod, given by its row."""
        return self.topology.classes.meet(int(self.snapshot.pods.cls[pod]))
