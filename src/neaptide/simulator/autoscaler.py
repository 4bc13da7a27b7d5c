"""Nodes on demand, as cluster-autoscaler does it: buys what the waiting pods need at the lowest price, returns empty nodes.

What to buy is tried out inside `what_if`: the nodes that are coming are taken as there, then every offering is tried on the
pods that still find no place. The one that places them at the lowest price for what they ask for wins.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from neaptide.model.columns import Floats
from neaptide.model.offerings import Offering
from neaptide.model.times import go_duration
from neaptide.simulator.cluster import Cluster
from neaptide.simulator.controllers.daemonset import DaemonSetController
from neaptide.simulator.machines import POOL_LABEL, Machines, node_of
from neaptide.simulator.scheduling import FailedPods, Placer
from neaptide.simulator.templates import Period, Seconds, Several

MAX_ROUNDS = 8
"""Different offerings that one pass may choose."""
BYTES_PER_CORE = 4 * 2**30
SCALE_UP_DELAY = "cluster-autoscaler.kubernetes.io/pod-scale-up-delay"
"""Annotation of a pod: nothing is bought for it while it is younger."""


class AutoscalerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When nodes are bought and given back; times in seconds."""

    enabled: bool = True
    buy_period: Period = 10.0
    give_back_period: Period = 60.0
    empty_seconds: Seconds = 600.0
    """A node that has had no pods but those of DaemonSets for so long is given back."""
    unready_seconds: Seconds = 1200.0
    """So is a node that does not answer."""
    nodes_per_pass: Several = 100
    """Of one offering."""


class Option(NamedTuple):
    """What buying `nodes` of an offering would do: the pods (rows) that it places, and how much of the demand they are."""

    offering: Offering
    nodes: int
    pods: tuple[int, ...]
    worth: float

    def rank(self) -> tuple[bool, float, int, str]:
        """Cheapest for what it places; unknown prices last."""
        price = self.offering.price_per_hour
        cost = self.nodes * (0.0 if price is None else price) / self.worth
        return price is None, cost, self.nodes, self.offering.instance_type


class Autoscaler:
    """Its two halves are called every `buy_period` and `give_back_period` seconds."""

    def __init__(
        self,
        cluster: Cluster,
        machines: Machines,
        scheduler: FailedPods,
        placer: Placer,
        daemon_sets: Callable[[], Sequence[DaemonSetController]],
        settings: AutoscalerSettings,
    ) -> None:
        self._cluster, self._machines, self._scheduler, self._placer = cluster, machines, scheduler, placer
        self._daemon_sets, self._settings = daemon_sets, settings
        self._hopeless: dict[int, tuple[int, ...]] = {}
        """Classes of pods that no offering places, and how large the pools were when that was found."""
        self._down_since: dict[str, float] = {}

    def buy(self) -> None:
        """Buy what the pods need that found no node. Whom nothing helps is asked about again when there are other nodes."""
        sizes = tuple(self._machines.sizes)
        classes = [cls for cls in self._scheduler.failed_classes() if self._hopeless.get(cls) != sizes]
        if not classes:
            return
        waiting = self._due(self._scheduler.waiting_of(classes))
        options, left = self._options(waiting) if waiting else ([], [])
        for option in options:
            for _ in range(option.nodes):
                self._machines.buy(option.offering)
        known = np.unique(self._cluster.snapshot.pods.cls[left]).tolist() if left else []
        self._hopeless |= dict.fromkeys(known, tuple(self._machines.sizes))

    def give_back(self) -> None:
        """Give back nodes that were empty, or did not answer, for long enough; dear ones first."""
        snapshot, now = self._cluster.snapshot, self._cluster.clock.now
        due = self._since_empty(now) >= self._settings.empty_seconds
        names = [snapshot.nodes.names[row] for row in np.flatnonzero(due).tolist()] + self._unready(now)
        for name in sorted(set(names), key=self._dearest_first):
            pool = self._machines.by_name[name].pool
            if self._machines.sizes[pool] > self._machines.pools[pool].minimum:
                self._machines.delete(name)

    def _due(self, pods: list[int]) -> list[int]:
        """The pods that have waited as long as they say that they can (a Go duration; what is none counts as nothing)."""
        snapshot, rows = self._cluster.snapshot, np.array(pods, dtype=np.int64)
        sets, which = np.unique(snapshot.pods.annotations[rows], return_inverse=True)
        texts = (snapshot.annotation_sets.values[number].get(SCALE_UP_DELAY, "") for number in sets.tolist())
        patience = np.array([go_duration(text) or 0.0 for text in texts])[which]
        found: list[int] = rows[self._cluster.clock.now - snapshot.pods.created[rows] >= patience].tolist()
        return found

    def _options(self, waiting: list[int]) -> tuple[list[Option], list[int]]:
        """What to buy so that pods find a place, and the pods that nothing helps."""
        snapshot = self._cluster.snapshot
        chosen: list[Option] = []
        bought = np.zeros(len(self._machines.pools), dtype=np.int64)
        with snapshot.what_if():
            for machine in self._machines.on_the_way.values():
                snapshot.set_node(machine.node)
            left = self._unplaced(waiting)
            for _ in range(MAX_ROUNDS):
                tried = (self._try(offering, left, bought) for offering in self._machines.offerings())
                options = [option for option in tried if option is not None] if left else []
                if not options:
                    return chosen, left
                best = min(options, key=Option.rank)
                chosen.append(best)
                bought[self._pool(best.offering)] += best.nodes
                placed = set(best.pods)
                left = [pod for pod in left if pod not in placed]
        return chosen, []

    def _unplaced(self, pods: list[int]) -> list[int]:
        if not self._machines.on_the_way:
            return pods
        return [placed.pod for placed in self._placer.schedule(pods) if placed.node is None]

    def _try(self, offering: Offering, pods: list[int], bought: np.ndarray) -> Option | None:
        """Buy nodes of one offering, more as long as that places more pods."""
        pool = self._pool(offering)
        spec = self._machines.pools[pool]
        most = min(spec.maximum - self._machines.sizes[pool] - int(bought[pool]), self._settings.nodes_per_pass)
        snapshot, left = self._cluster.snapshot, list(pods)
        placed: list[int] = []
        new: set[int] = set()
        used: set[int] = set()
        with snapshot.what_if():
            while left and len(new) < most:
                more = min(max(self._nodes_for(left, offering), 1), most - len(new))
                new |= {self._add(pool, offering, len(new) + each) for each in range(more)}
                found = {each.pod: each.node for each in self._placer.schedule(left) if each.node is not None}
                if not found:
                    break
                used |= new.intersection(found.values())
                placed += found
                left = [pod for pod in left if pod not in found]
        return Option(offering, len(used), tuple(placed), self._worth(placed)) if used else None

    def _add(self, pool: int, offering: Offering, number: int) -> int:
        """A node of an offering with the pods of DaemonSets on it, as far as room goes; its row."""
        spec, snapshot = self._machines.pools[pool], self._cluster.snapshot
        node = node_of(spec, offering, f"{spec.name}-{offering.instance_type}-option-{number}", "", 0.0)
        row = snapshot.set_node(node)
        for daemon_set in self._daemon_sets():
            if daemon_set.admits(node.metadata.labels, node.spec.taints, node.metadata.name):
                daemon_set.reserve(row)
        return row

    def _nodes_for(self, pods: list[int], offering: Offering) -> int:
        """The fewest nodes that could hold what pods ask for."""
        snapshot = self._cluster.snapshot
        asked = snapshot.pod_requests(pods).sum(axis=1)
        return max(
            (
                -(-int(amount) // offering.allocatable[name])
                for name, amount in zip(snapshot.resources, asked.tolist(), strict=True)
                if offering.allocatable.get(name)
            ),
            default=1,
        )

    def _worth(self, pods: list[int]) -> float:
        """What pods ask for in cores, 4 GiB of memory counting as one."""
        requests = self._cluster.snapshot.pod_requests(pods)[:2].sum(axis=1).astype(np.float64)
        return float(requests[0] / 1000 + requests[1] / BYTES_PER_CORE) or float(len(pods))

    def _pool(self, offering: Offering) -> int:
        return next(row for row, pool in enumerate(self._machines.pools) if pool.name == offering.labels[POOL_LABEL])

    def _since_empty(self, now: float) -> Floats:
        """float64[nodes]: for how long each has had no pods but those of DaemonSets; nan where it has some."""
        snapshot, nodes = self._cluster.snapshot, self._cluster.nodes
        table, count = snapshot.pods, snapshot.nodes.rows
        pods = np.flatnonzero(table.alive[: table.rows] & (table.node[: table.rows] >= 0))
        pods = pods[~self._cluster.pods.daemon[pods]]
        busy = np.bincount(table.node[pods], minlength=count) > 0
        empty = snapshot.nodes.alive[:count] & (nodes.pool[:count] >= 0) & ~busy
        since = nodes.empty_since[:count]
        nodes.empty_since[:count] = np.where(empty, np.where(np.isnan(since), now, since), np.nan)
        passed: Floats = now - nodes.empty_since[:count]
        return passed

    def _unready(self, now: float) -> list[str]:
        nodes = self._cluster.snapshot.nodes
        down = np.flatnonzero(nodes.alive[: nodes.rows] & ~nodes.ready[: nodes.rows]).tolist()
        self._down_since = {nodes.names[row]: self._down_since.get(nodes.names[row], now) for row in down}
        return [name for name, since in self._down_since.items() if now - since >= self._settings.unready_seconds]

    def _dearest_first(self, name: str) -> tuple[float, str]:
        price = self._machines.by_name[name].offering.price_per_hour
        return (-price if price is not None else -np.inf), name
