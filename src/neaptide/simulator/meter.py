"""What pods use: CPU shared on every node at every tick, work done counted exactly in between, memory, and metrics."""

from collections.abc import Callable

import numpy as np

from neaptide.model.columns import Bools, Floats, Longs
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.simulator.columns import NodeSide, PodSide, total
from neaptide.simulator.curves import CurveTable
from neaptide.simulator.ledger import Ledger
from neaptide.simulator.sharing import share

ENOUGH = 0.999
"""A pod that gets less than this part of the CPU it wants is short of it."""

LimitOf = Callable[[Floats, Floats], Floats]
"""(CPU of other pods, CPU that best-effort pods want), by node, to what best-effort pods may use."""


class Meter:
    """CPU is given out at ticks. A pod that starts between two gets what its node has idle; what a pod leaves is idle."""

    def __init__(
        self, snapshot: ClusterSnapshot, pods: PodSide, nodes: NodeSide, curves: CurveTable, ledger: Ledger
    ) -> None:
        self._snapshot, self._pods, self._nodes, self._ledger = snapshot, pods, nodes, ledger
        self.curves = curves
        self._time = np.nan
        self._curves_at_tick: Floats = np.empty(0)

    # -- one pod -------------------------------------------------------------------------------------------------------

    def start(self, pod: int, now: float) -> None:
        """A pod on a node begins to run."""
        pods, nodes, node = self._pods, self._nodes, int(self._snapshot.pods.node[pod])
        demand = min(float(pods.cpu[pod] * self._level(int(pods.cpu_curve[pod]), now)), float(pods.cpu_limit[pod]))
        room = float(nodes.idle[node])
        if pods.best_effort[pod]:
            room = min(room, float(nodes.best_effort_idle[node]))
        given = min(demand, max(room, 0.0))
        self._take(pod, node, given)
        pods.running[pod], pods.demand[pod], pods.given[pod], pods.since[pod] = True, demand, given, now
        pods.memory_used[pod] = pods.memory[pod] * self._level(int(pods.memory_curve[pod]), now)

    def stop(self, pod: int, now: float) -> None:
        """A pod no longer runs; what it did is counted."""
        pods = self._pods
        if not pods.running[pod]:
            return
        self.settle(now, np.array([pod]))
        self._take(pod, int(self._snapshot.pods.node[pod]), -float(pods.given[pod]))
        pods.running[pod], pods.demand[pod], pods.given[pod], pods.memory_used[pod] = False, 0.0, 0.0, 0.0

    def seconds_left(self, pod: int) -> float:
        """When a running pod's work will be done if nothing changes; infinite where it gets nothing."""
        pods = self._pods
        left = max(float(pods.duration[pod] - pods.progress[pod]), 0.0)
        demand, given = float(pods.demand[pod]), float(pods.given[pod])
        if demand <= 0:
            return left
        return left * demand / given if given > 0 else np.inf

    # -- all pods ------------------------------------------------------------------------------------------------------

    def settle(self, now: float, rows: Longs | None = None) -> None:
        """Count what pods (all, unless rows are given) have used up to now."""
        pods = self._pods
        rows = self.running() if rows is None else rows
        passed, demand, given = now - pods.since[rows], pods.demand[rows], pods.given[rows]
        speed = np.divide(given, demand, out=np.ones(len(rows)), where=demand > 0)
        pods.progress[rows] += speed * passed
        pods.since[rows] = now
        seconds, service, offline = given * passed / 1000, pods.service[rows], pods.offline[rows]
        self._ledger.count("offline_cpu_seconds", float(seconds[offline].sum()))
        self._ledger.count("service_cpu_seconds", float(seconds[service].sum()))
        short = service & (given < demand * ENOUGH)
        self._ledger.count("contention_minutes", float(passed[short].sum()) / 60)

    def share(self, now: float, limit_of: LimitOf | None) -> None:
        """Give the CPU of every node to its pods: best-effort pods get what all others leave, up to a limit."""
        pods, nodes, rows = self._pods, self._nodes, self.running()
        count = self._snapshot.nodes.rows
        self._time, self._curves_at_tick = now, self.curves.at(now)
        node = self._snapshot.pods.node[rows]
        demand = np.minimum(pods.cpu[rows] * self._curves_at_tick[pods.cpu_curve[rows]], pods.cpu_limit[rows])
        room = np.where(nodes.up[:count], nodes.cpu[:count] - nodes.system_cpu[:count], 0.0)
        last, weight = pods.best_effort[rows], pods.weight[rows]
        given = np.zeros(len(rows))
        given[~last] = share(demand[~last], weight[~last], node[~last], room)
        others = total(given[~last], node[~last], count)
        wanted = total(demand[last], node[last], count)
        limit = np.full(count, np.inf) if limit_of is None else limit_of(others, wanted)
        left = np.minimum(room - others, limit)
        given[last] = share(demand[last], weight[last], node[last], left)
        lent = total(given[last], node[last], count)
        nodes.best_effort_limit[:count] = limit
        nodes.idle[:count], nodes.best_effort_idle[:count] = room - others - lent, left - lent
        pods.demand[rows], pods.given[rows], pods.since[rows] = demand, given, now
        pods.memory_used[rows] = pods.memory[rows] * self._curves_at_tick[pods.memory_curve[rows]]

    def measure(self, now: float, *, missing: Bools, stale: Bools) -> None:
        """Write metrics into the snapshot: of nodes (by row) neither missing nor stale; missing ones become unknown."""
        snapshot, pods, nodes = self._snapshot, self._pods, self._nodes
        count, rows = snapshot.nodes.rows, self.running()
        node, given, memory = snapshot.pods.node[rows], pods.given[rows], pods.memory_used[rows]
        cpu = total(given, node, count) + nodes.system_cpu[:count]
        used = total(memory, node, count) + nodes.system_memory[:count]
        written = snapshot.nodes.alive[:count] & nodes.up[:count] & ~stale
        seen = np.flatnonzero(written)
        gone = missing[seen]
        snapshot.set_node_usage(
            seen,
            np.where(gone, np.nan, cpu[seen]),
            np.where(gone, np.nan, used[seen]),
            np.where(gone, np.nan, now),
        )
        kept = written[node]
        gone = missing[node[kept]]
        snapshot.set_pod_usage(rows[kept], np.where(gone, np.nan, given[kept]), np.where(gone, np.nan, memory[kept]))

    def running(self) -> Longs:
        """Rows of the pods that run."""
        return np.flatnonzero(self._pods.running[: self._snapshot.pods.rows])

    def _take(self, pod: int, node: int, amount: float) -> None:
        if node >= 0:
            self._nodes.idle[node] -= amount
            if self._pods.best_effort[pod]:
                self._nodes.best_effort_idle[node] -= amount

    def _level(self, curve: int, now: float) -> float:
        """A curve at the last tick; at `now` where there was none yet, or the curve is newer."""
        if curve >= len(self._curves_at_tick):
            self._curves_at_tick = self.curves.at(now if np.isnan(self._time) else self._time)
        return float(self._curves_at_tick[curve])
