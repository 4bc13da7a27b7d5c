"""What every simulated node does for itself at a tick: `neaptide.noderules`, and the kubelet's own eviction.

The rules are called only for nodes where they can change something; that is told from columns, for all nodes at once.
"""

from typing import NamedTuple

import msgspec
import numpy as np

from neaptide.model.columns import Floats, Longs
from neaptide.model.qos import explicit_qos
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.noderules.cpu_evict import BestEffortUse, CpuEvictReading, CpuEvictSettings, cpu_evict
from neaptide.noderules.cpu_suppress import (
    CFS_PERIOD_US,
    UNLIMITED,
    CpuReading,
    SuppressSettings,
    best_effort_limit,
    next_quota,
)
from neaptide.noderules.cpuset import cpus_wanted
from neaptide.noderules.evict import Decision, PodReading
from neaptide.noderules.memory_evict import MemoryEvictSettings, MemoryReading, memory_evict
from neaptide.simulator.columns import NodeSide, PodSide, total

HARD_EVICTION_BYTES = 100 * 2**20
"""The kubelet's `memory.available<100Mi`."""

EVICTION_PRIORITY = "koordinator.sh/eviction-priority"
EVICTION_POLICY = "koordinator.sh/eviction-policy"
EVICTION_ENABLED = "koordinator.sh/eviction-enabled"
LABEL_PRIORITY = "koordinator.sh/priority"


class Rules(NamedTuple):
    """Settings of the rules that are switched on."""

    suppress: SuppressSettings | None = None
    cpu_evict: CpuEvictSettings | None = None
    memory_evict: MemoryEvictSettings | None = None


class Stop(NamedTuple):
    """A pod (row) that its node stops, and why. Only the kubelet's own eviction leaves no grace."""

    pod: int
    code: str
    message: str
    hard: bool = False


class Agents:
    """The agents of all nodes."""

    def __init__(self, rules: Rules, snapshot: ClusterSnapshot, pods: PodSide, nodes: NodeSide) -> None:
        self._rules, self._snapshot, self._pods, self._nodes = rules, snapshot, pods, nodes
        self._last: dict[tuple[str, str], float] = {}

    def limits(self, others: Floats, wanted: Floats) -> Floats:
        """What best-effort pods may use on each node, infinite where the rule would not bind them.

        A node whose pods all get what they want below the threshold is one where they stay below the limit.
        """
        settings, nodes, count = self._rules.suppress, self._nodes, len(others)
        limits = np.full(count, np.inf)
        if settings is None or not settings.enabled:
            return limits
        cpu, system = nodes.cpu[:count], nodes.system_cpu[:count]
        threshold = cpu * settings.threshold_percent / 100
        reserved = self._reserved()
        bound = np.flatnonzero((wanted > 0) & (others + wanted + np.maximum(system, reserved) > threshold - 2))
        for node, capacity, other, own, kept in zip(
            bound.tolist(),
            cpu[bound].astype(int).tolist(),
            others[bound].tolist(),
            system[bound].tolist(),
            reserved[bound].tolist(),
            strict=True,
        ):
            reading = CpuReading(capacity, other + own, 0.0, other, reserved=kept)
            limits[node] = _in_force(settings, reading)
        return limits

    def evictions(self, now: float) -> list[Stop]:
        """The pods that give way now, in order: those of the rules, then those that the kubelet evicts."""
        count = self._snapshot.nodes.rows
        rows = np.flatnonzero(self._pods.running[: self._snapshot.pods.rows])
        node = self._snapshot.pods.node[rows]
        memory = total(self._pods.memory_used[rows], node, count)
        memory += self._nodes.system_memory[:count]
        stops = self._by_memory(memory, now) + self._by_cpu(rows, now)
        full = np.flatnonzero((memory > self._nodes.memory[:count] - HARD_EVICTION_BYTES) & self._nodes.up[:count])
        return stops + [stop for each in full.tolist() for stop in self._by_kubelet(each, float(memory[each]), stops)]

    def _by_memory(self, memory: Floats, now: float) -> list[Stop]:
        settings = self._rules.memory_evict
        if settings is None:
            return []
        capacity = self._nodes.memory[: len(memory)]
        passed = (memory * 100 >= capacity * settings.threshold_percent) & self._nodes.up[: len(memory)]
        stops = []
        for node in np.flatnonzero(passed).tolist():
            reading = MemoryReading(int(capacity[node]), int(memory[node]))
            last = self._last.get(("memory", self._snapshot.nodes.names[node]))
            decision = memory_evict(settings, reading, self._readings(node), now=now, last_eviction=last)
            stops += self._stops("memory", node, decision, now)
        return stops

    def _by_cpu(self, rows: Longs, now: float) -> list[Stop]:
        """The averages of the window are the usage since the tick: in between, nothing changes."""
        settings, snapshot, pods, nodes = self._rules.cpu_evict, self._snapshot, self._pods, self._nodes
        if settings is None:
            return []
        count = snapshot.nodes.rows
        node, last = snapshot.pods.node[rows], pods.best_effort[rows]
        used = total(pods.given[rows], node, count) + nodes.system_cpu[:count]
        lent = total(pods.given[rows[last]], node[last], count)
        asked = total(pods.cpu_request[rows[last]], node[last], count)
        limit = np.minimum(nodes.best_effort_limit[:count], nodes.cpu[:count])
        batch = snapshot.resource_row("kubernetes.io/batch-cpu")
        below = asked * (settings.satisfaction_lower_percent or 0) >= limit * 100
        if settings.policy != "evictByRealLimit":
            below[:] = True
        above = used * 100 >= nodes.cpu[:count] * (settings.threshold_percent or 101)
        stops = []
        for each in np.flatnonzero(nodes.up[:count] & (((asked > 0) & below) | above)).tolist():
            use = BestEffortUse(float(lent[each]), float(asked[each]), float(limit[each]))
            reading = CpuEvictReading(
                int(nodes.cpu[each]),
                float(used[each]),
                use,
                use,
                settings.window_seconds,
                None if batch is None else int(snapshot.nodes.allocatable[batch, each]),
            )
            evicted = self._last.get(("cpu", snapshot.nodes.names[each]))
            decision = cpu_evict(settings, reading, self._readings(each), now=now, last_eviction=evicted)
            stops += self._stops("cpu", each, decision, now)
        return stops

    def _by_kubelet(self, node: int, memory: float, going: list[Stop]) -> list[Stop]:
        """Node-pressure eviction: pods above their request first, then by priority, then by how much they are above it."""
        pods, table = self._pods, self._snapshot.pods
        running = [pod for pod in self._snapshot.pods_on(node) if pods.running[pod]]
        leaving = {stop.pod for stop in going}
        row = self._snapshot.resource_row("memory")
        requested = self._snapshot.pod_requests(running)[row].tolist()
        excess = {pod: float(pods.memory_used[pod]) - request for pod, request in zip(running, requested, strict=True)}
        order = sorted(running, key=lambda pod: (excess[pod] <= 0, int(table.priority[pod]), -excess[pod], pod))
        most = float(self._nodes.memory[node]) - HARD_EVICTION_BYTES
        memory -= sum(float(pods.memory_used[pod]) for pod in running if pod in leaving)
        stops = []
        for pod in order:
            if memory <= most:
                break
            if pod in leaving or pods.memory_used[pod] <= 0:
                continue
            memory -= float(pods.memory_used[pod])
            stops.append(Stop(pod, "NodePressure", "the node was low on memory", hard=True))
        return stops

    def _stops(self, rule: str, node: int, decision: Decision, now: float) -> list[Stop]:
        if decision.victims:
            self._last[rule, self._snapshot.nodes.names[node]] = now
        rows = self._snapshot.pods.by_key
        return [
            Stop(rows[victim.pod.name], victim.reason.partition(":")[0], victim.reason) for victim in decision.victims
        ]

    def _readings(self, node: int) -> list[PodReading]:
        return [self._reading(pod) for pod in self._snapshot.pods_on(node) if self._pods.running[pod]]

    def _reading(self, pod: int) -> PodReading:
        snapshot, pods = self._snapshot, self._pods
        labels, annotations = snapshot.pod_labels(pod), snapshot.pod_annotations(pod)
        named = explicit_qos(labels)
        return PodReading(
            name=snapshot.pods.keys[pod],
            qos="" if named is None else named.name,
            band=int(snapshot.pods.band[pod]),
            priority=int(snapshot.pods.priority[pod]),
            label_priority=_integer(labels.get(LABEL_PRIORITY)),
            eviction_priority=_integer(annotations.get(EVICTION_PRIORITY)) or 0,
            eviction_enabled=labels.get(EVICTION_ENABLED) == "true",
            eviction_policies=_names(annotations.get(EVICTION_POLICY)),
            evicted=not np.isnan(snapshot.pods.deleted[pod]),
            cpu_request=int(pods.cpu_request[pod]),
            cpu_used=float(pods.given[pod]),
            memory_used=int(pods.memory_used[pod]),
        )

    def _reserved(self) -> Longs:
        """Milli-CPU by node that capacity has and allocatable has not."""
        table, count = self._snapshot.nodes, self._snapshot.nodes.rows
        kept: Longs = table.capacity[0, :count] - table.allocatable[0, :count]
        return kept


def _in_force(settings: SuppressSettings, reading: CpuReading) -> float:
    """Milli-CPU where the rule has come to rest: it rises by a tenth of the node every second, a tick is longer."""
    limit = best_effort_limit(settings, reading)
    if limit is None:
        return np.inf
    if settings.policy == "cfsQuota":
        quota = next_quota(limit.milli, current_us=UNLIMITED, capacity_milli=reading.capacity)
        return quota * 1000 / CFS_PERIOD_US
    cpus = -(-reading.capacity // 1000)
    return min(cpus_wanted(limit.milli, total=cpus, current=0), cpus) * 1000.0


def _names(text: str | None) -> tuple[str, ...] | None:
    """A JSON list of names; None for all, also where there is no such list."""
    try:
        return None if text is None else msgspec.json.decode(text, type=tuple[str, ...])
    except msgspec.MsgspecError:
        return None


def _integer(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
