"""Where pods could be: on virtual nodes, on the real ones that there are now, and on those that will be free or could be bought."""

from collections.abc import Callable, Mapping
from math import inf

import numpy as np

from neaptide.model.actions import Reason
from neaptide.model.derived import NODES
from neaptide.model.offerings import Offering
from neaptide.model.selectors import tolerates
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.nodes import Nodes
from neaptide.placement.place import Placement
from neaptide.placement.profile import Profile
from neaptide.policies.protection import come_with_node

KEY = "virtual-kubelet.io/provider"
"""The taint of virtual nodes."""
_FILTERS_ONLY = Profile(scores=())
_FULL = Reason("VirtualFull", "no virtual node has room for it")
_NOT_THERE = Reason("NotForVirtual", "what it asks of a node (selector, affinity) no virtual node has")


def usable(snapshot: ClusterSnapshot) -> list[int]:
    """Rows of the virtual nodes that are ready."""
    nodes = snapshot.nodes
    return [row for row in _virtual(snapshot) if nodes.ready[row] and not nodes.unschedulable[row]]


def _virtual(snapshot: ClusterSnapshot) -> list[int]:
    """Rows of the virtual nodes, whatever state they are in; to be read only."""

    def look() -> list[int]:
        rows = snapshot.nodes.indices().tolist()
        return [row for row in rows if any(each.key == KEY for each in snapshot.node_taints(row))]

    return snapshot.derived.of("virtual nodes", (NODES,), look)


class Rooms:
    """A cluster as it is in one cycle. What is decided takes its room from what is decided later.

    Attributes:
        virtual: rows of the virtual nodes that are ready.
    """

    def __init__(self, snapshot: ClusterSnapshot) -> None:
        self._snapshot = snapshot
        nodes = snapshot.nodes
        self._is_virtual = np.zeros(nodes.rows, dtype=np.bool_)
        self._is_virtual[_virtual(snapshot)] = True
        self.virtual = usable(snapshot)
        self._free = snapshot.free().copy()
        self._placement = Placement(snapshot, _FILTERS_ONLY)
        self._nodes = Nodes(snapshot)
        self._nodes.refresh(range(nodes.rows))
        self._verdicts: dict[int, np.ndarray] = {}

    def away(self) -> list[int]:
        """Rows of the unfinished pods on virtual nodes, DaemonSets' left out."""
        rows = np.array(
            [pod for row in np.flatnonzero(self._is_virtual).tolist() for pod in self._snapshot.pods_on(row)],
            dtype=np.int64,
        )
        if not len(rows):
            return []
        found: list[int] = sorted(rows[~come_with_node(self._snapshot, rows)].tolist())
        return found

    def requests(self, pod: int) -> dict[str, int]:
        """What a pod asks for, by resource."""
        amounts = self._snapshot.pod_requests(pod).tolist()
        return {name: amount for name, amount in zip(self._snapshot.resources, amounts, strict=True) if amount}

    def tolerates(self, pod: int) -> bool:
        """Whether a pod may go to any virtual node by its tolerations already."""
        tolerations = self._snapshot.shape_of_pod(pod).requirements.tolerations
        taints = [each for row in self.virtual for each in self._snapshot.node_taints(row) if each.key == KEY]
        return any(any(tolerates(each, taint) for each in tolerations) for taint in taints)

    def fits_now(self, pod: int) -> bool:
        """Whether a real node would take a pod now, by the scheduler's filters and after what was decided before."""
        return self._home(pod) is not None

    def obstacle(self, pod: int) -> Reason | None:
        """Why no virtual node could take a pod; None where one could."""
        matching = self._matching(pod)
        if not any(matching[row] for row in self.virtual):
            return _NOT_THERE
        return None if self._virtual_for(pod) is not None else _FULL

    def take(self, pod: int) -> None:
        """Count a pod on a virtual node."""
        row = self._virtual_for(pod)
        if row is not None:
            self._free[:, row] -= self._snapshot.pod_requests(pod)

    def take_home(self, pod: int) -> int | None:
        """Count a pod on a real node; its row, None where none has room any more."""
        row = self._home(pod)
        if row is not None:
            self._free[:, row] -= self._snapshot.pod_requests(pod)
        return row

    def expected(
        self, pod: int, now: float, ends: Callable[[int], float | None], *, node_start: float | None
    ) -> tuple[float | None, float]:
        """(seconds until a real node takes a pod, dollars per hour of what it takes of a node that is bought for it).

        The earlier of: enough pods of a real node have ended by forecast (that node costs nothing more), and a node that is on offer and
        holds the pod has been bought. None where neither will be.
        """
        freed = self._freed(pod, ends) - now
        price, buys = self._cheapest(pod)
        bought = node_start if buys and node_start is not None else inf
        if min(freed, bought) == inf:
            return None, 0.0
        return (max(freed, 0.0), 0.0) if freed <= bought else (bought, price)

    def _home(self, pod: int) -> int | None:
        cls = int(self._snapshot.pods.cls[pod])
        if cls not in self._verdicts:
            self._verdicts[cls] = self._placement.verdict(pod).feasible & ~self._is_virtual
        asked = self._snapshot.pod_requests(pod)
        for row in np.flatnonzero(self._verdicts[cls]).tolist():
            if (self._free[asked > 0, row] >= asked[asked > 0]).all():
                return int(row)
        return None

    def _virtual_for(self, pod: int) -> int | None:
        matching, asked = self._matching(pod), self._snapshot.pod_requests(pod)
        return next(
            (row for row in self.virtual if matching[row] and (self._free[asked > 0, row] >= asked[asked > 0]).all()),
            None,
        )

    def _matching(self, pod: int) -> np.ndarray:
        shape = int(self._snapshot.classes.shape[int(self._snapshot.pods.cls[pod])])
        found: np.ndarray = self._nodes.matching(shape, self._snapshot.shape_facts.values[shape].requirements)
        return found

    def _freed(self, pod: int, ends: Callable[[int], float | None]) -> float:
        """When the first real node will have room for a pod; infinity where none will by what is known."""
        snapshot = self._snapshot
        shape = int(snapshot.classes.shape[int(snapshot.pods.cls[pod])])
        requirements = snapshot.shape_facts.values[shape].requirements
        open_to = (
            self._matching(pod) & self._nodes.tolerable(shape, requirements) & ~self._is_virtual[: snapshot.nodes.rows]
        )
        asked, earliest = snapshot.pod_requests(pod), inf
        for row in np.flatnonzero(open_to).tolist():
            if not snapshot.nodes.ready[row] or snapshot.nodes.unschedulable[row]:
                continue
            free = self._free[:, row].copy()
            due = sorted((end, each) for each in snapshot.pods_on(row) if (end := ends(each)) is not None)
            for end, each in due:
                free += snapshot.pod_requests(each)
                if end >= earliest:
                    break
                if (free[asked > 0] >= asked[asked > 0]).all():
                    earliest = end
                    break
        return earliest

    def _cheapest(self, pod: int) -> tuple[float, bool]:
        """Dollars per hour of a pod's part of the cheapest node on offer that holds it, and whether there is any."""
        asked = self.requests(pod)
        prices = [_share(each, asked) for each in self._snapshot.offerings]
        known = [price for price in prices if price is not None]
        return (min(known), True) if known else (0.0, False)


def _share(offering: Offering, asked: Mapping[str, int]) -> float | None:
    """A pod's part of a node's price by its largest resource; None where the node does not hold it or its price is unknown."""
    room = offering.allocatable
    if offering.price_per_hour is None or any(amount > room.get(name, 0) for name, amount in asked.items()):
        return None
    return offering.price_per_hour * max(
        (asked.get(name, 0) / room[name] for name in ("cpu", "memory") if room.get(name)), default=1.0
    )
