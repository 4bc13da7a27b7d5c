"""The run queues of simulated nodes, averaged over windows as Linux averages them, for profiles that ask for real-time data."""

from typing import NamedTuple

import numpy as np

from neaptide.model.columns import Floats
from neaptide.model.node_info import NodeInfo
from neaptide.model.objects import Metadata
from neaptide.model.real_time import LOADS
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.simulator.columns import NodeSide, PodSide, total

_SECONDS = np.array([60.0, 300.0, 900.0])[:, np.newaxis]
"""Of the windows that LOADS names."""


class _Seen(NamedTuple):
    """When, which nodes (by row), and what each one's averages were by then: float64[windows, rows]."""

    at: float
    names: list[str]
    averages: Floats


class Loads:
    """What the tasks of each node would use if they could, by its CPUs."""

    def __init__(self, snapshot: ClusterSnapshot, pods: PodSide, nodes: NodeSide) -> None:
        self._snapshot, self._pods, self._nodes = snapshot, pods, nodes
        self._before = _Seen(-np.inf, [], np.zeros((len(LOADS), 0)))

    def at(self, now: float) -> dict[str, NodeInfo]:
        """By node that was measured now, after CPU was shared out."""
        table, nodes, before = self._snapshot.nodes, self._nodes, self._before
        count = table.rows
        rows = np.flatnonzero(self._pods.running[: self._snapshot.pods.rows])
        wanted = total(self._pods.demand[rows], self._snapshot.pods.node[rows], count) + nodes.system_cpu[:count]
        current = np.divide(wanted, nodes.cpu[:count], out=np.zeros(count), where=nodes.cpu[:count] > 0)
        averages = np.tile(current, (len(LOADS), 1))
        same = [row for row, name in enumerate(before.names[:count]) if name == table.names[row]]
        kept = np.exp(-(now - before.at) / _SECONDS)
        averages[:, same] = kept * before.averages[:, same] + (1 - kept) * averages[:, same]
        self._before = _Seen(now, list(table.names[:count]), averages)
        measured = np.flatnonzero(table.alive[:count] & (table.usage_time[:count] == now)).tolist()
        return {
            table.names[row]: NodeInfo(
                Metadata(name=table.names[row]), now, dict(zip(LOADS, averages[:, row].tolist(), strict=True))
            )
            for row in measured
        }
