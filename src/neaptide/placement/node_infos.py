"""What snapshots know of nodes beside their CPU and memory (model/node_info.py), as columns."""

from collections.abc import Callable, Hashable

import numpy as np

from neaptide.model.columns import Bools, Floats
from neaptide.model.node_info import NodeInfo
from neaptide.model.snapshot import ClusterSnapshot

Read = Callable[[NodeInfo], float | None]


class NodeInfos:
    """Columns over the rows of a snapshot's nodes, each made when it is first asked for, until `forget`."""

    def __init__(self, snapshot: ClusterSnapshot) -> None:
        self._snapshot = snapshot
        self._columns: dict[Hashable, Floats] = {}

    def forget(self) -> None:
        """Read every column anew when it is asked for."""
        self._columns.clear()

    def of(self, what: Hashable, read: Read) -> Floats:
        """float64[node rows], to be read only: what `read` finds, which `what` names; nan where nothing is known."""
        column = self._columns.get(what)
        if column is None or len(column) != self._snapshot.nodes.rows:
            column = np.full(self._snapshot.nodes.rows, np.nan)
            by_name = self._snapshot.nodes.by_name
            infos: dict[str, NodeInfo] = self._snapshot.others.get("NodeInfo", {})
            for name, info in infos.items():
                value = read(info) if name in by_name else None
                if value is not None:
                    column[by_name[name]] = value
            self._columns[what] = column
        return column

    def fresh(self, now: float, expiration: float) -> Bools:
        """bool[node rows]: nodes that were looked at within `expiration` seconds."""
        return now - self.of("time", lambda info: info.time) <= expiration
