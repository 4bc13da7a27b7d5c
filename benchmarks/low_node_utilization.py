"""descheduler's LowNodeUtilization with metrics, its rules re-implemented as a policy: what hot spots are compared with.

Source of the rules: kubernetes-sigs/descheduler v0.36, plugins nodeutilization and defaultevictor. Nodes below all thresholds are
under-utilised (as are those at them), those above any target threshold over-utilised; while there are both, pods leave the most used nodes first, the
lowest priority and QoS class first (equals in no order that is defined; here by UID), until the node is below the target threshold or the room of all under-utilised nodes
together, up to their target thresholds, is used up. No node is watched first, and no pod is asked where it would go.
"""

import zlib

import numpy as np
from msgspec import Struct

from neaptide.model.actions import Evict, Plan, Reason
from neaptide.model.columns import Bools, Floats
from neaptide.model.scope import Covers, everything
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.protection import SYSTEM_CRITICAL, comes_with_node

NAME = "low-node-utilization"
_WHY = Reason("LowNodeUtilization", "its node is over-utilised")


class LowNodeUtilizationSpec(Struct, frozen=True):
    """Percent of the allocatable in use: CPU, memory."""

    thresholds: tuple[float, float] = (45.0, 60.0)
    target_thresholds: tuple[float, float] = (65.0, 80.0)


class NoMemory(Struct):
    """It remembers nothing."""


class LowNodeUtilization:
    """The policy."""

    name = NAME
    spec_type = LowNodeUtilizationSpec
    memory_type = NoMemory

    def plan(
        self,
        snapshot: ClusterSnapshot,
        spec: LowNodeUtilizationSpec,
        memory: NoMemory,
        now: float,
        covers: Covers = everything,
    ) -> tuple[Plan, NoMemory]:
        """Who is evicted now."""
        del now, covers
        nodes, rows = snapshot.nodes, snapshot.nodes.rows
        use = np.array([nodes.usage_cpu[:rows], nodes.usage_memory[:rows]])
        allocatable = nodes.allocatable[:2, :rows]
        known = nodes.alive[:rows] & nodes.ready[:rows] & ~np.isnan(use).any(axis=0)
        below, above = (
            np.array(each)[:, None] / 100 * allocatable for each in (spec.thresholds, spec.target_thresholds)
        )
        under = known & (use <= below).all(axis=0) & ~nodes.unschedulable[:rows]
        over = known & (use > above).any(axis=0)
        if not under.any() or not over.any() or under[known].all():
            return Plan(NAME), memory
        room = (above - use)[:, under].sum(axis=1)
        total = use.sum(axis=0)  # milli-CPU and bytes in one sum, so that memory decides
        actions = [
            action
            for row in sorted(np.flatnonzero(over).tolist(), key=lambda row: (-total[row], row))
            for action in _evictions(snapshot, row, use[:, row], above[:, row], room)
        ]
        return Plan(NAME, tuple(actions)), memory


def _evictions(snapshot: ClusterSnapshot, node: int, use: Floats, target: Floats, room: Floats) -> list[Evict]:
    """Who leaves a node; `use` and `room` go down by what they use."""
    table, found = snapshot.pods, []
    pods = np.fromiter(snapshot.pods_on(node), dtype=np.int64)
    pods = pods[_evictable(snapshot, pods)]
    uids = np.array([zlib.crc32(table.uids[pod].encode()) for pod in pods.tolist()], dtype=np.int64)
    for at in np.lexsort((uids, -snapshot.classes.qos[table.cls[pods]], table.priority[pods])).tolist():
        if not (use > target).any() or (room <= 0).any():
            break
        pod = int(pods[at])
        left = np.nan_to_num([table.usage_cpu[pod], table.usage_memory[pod]])
        use -= left
        room -= left
        ref, name = snapshot.pod_ref(pod), snapshot.nodes.names[node]
        found.append(Evict(policy=NAME, target=ref, reason=_WHY, node=name, workload=snapshot.workload_of(pod)))
    return found


def _evictable(snapshot: ClusterSnapshot, pods: np.ndarray) -> Bools:
    """defaultevictor: pods that a controller makes again elsewhere, and that are not critical to the system."""
    owned = [snapshot.pods.owner[pod] >= 0 and not comes_with_node(snapshot, pod) for pod in pods.tolist()]
    critical = snapshot.pods.priority[pods] >= SYSTEM_CRITICAL
    free: Bools = np.array(owned, dtype=np.bool_) & ~critical & np.isnan(snapshot.pods.deleted[pods])
    return free
