"""Virtual nodes: room that is no machine, as the pod provider `simulated` gives it, and paid for by the second of each pod.

A pod is paid for from its binding (or, where the provider was out of stock, from when its turn came) to its end, on its request rounded up to a size of the
tariff, as the ledger of real virtual nodes bills it.
"""

from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct

from neaptide.model import objects
from neaptide.model.times import timestamp
from neaptide.model.virtual_names import TAINT, TYPE, VIRTUAL
from neaptide.pricing.tariff import Size, Tariff
from neaptide.pricing.tariff_files import shipped
from neaptide.simulator.cluster import Cause, Cluster
from neaptide.simulator.ledger import VirtualBill
from neaptide.simulator.templates import Rate, Seconds, Several

PROVIDER = "simulated"


class VirtualNodeSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One virtual node.

    Attributes:
        name: of the node; labels: besides those that every virtual node has.
        cpu_milli, memory_bytes, pods: its capacity.
        tariff: sizes and prices; spot: whether it is sold as spot capacity.
        start_seconds: in the middle, from the provider's turn to the image; drawn from its half to its double. No image is there before.
        rate, burst: starts that the provider takes, a second and at once.
        stock: pods that can be had at the same time; those beyond wait for their turn on the node, and cost nothing.
        reclaim_seconds: with spot, in the mean, until a pod is told that it is taken back; None: none is.
        notice_seconds: from that notice to its end.
    """

    name: str
    labels: dict[str, str] = {}
    cpu_milli: int = 3_000_000
    memory_bytes: int = 12 * 2**40
    pods: Several = 3000
    tariff: Literal["eci", "fargate"] = "eci"
    spot: bool = False
    start_seconds: Seconds = 30.0
    rate: Annotated[Rate, Meta(gt=0)] = 20.0
    burst: Several = 100
    stock: Several = 1_000_000
    reclaim_seconds: Annotated[Seconds, Meta(gt=0)] | None = None
    notice_seconds: Seconds = 180.0


class _Lease(NamedTuple):
    """What a pod has had since when; no size where none that is sold holds it."""

    since: float
    size: Size | None


class VirtualNode:
    """A node that runs pods without being a machine (`cluster.Host`)."""

    def __init__(self, cluster: Cluster, settings: VirtualNodeSettings) -> None:
        self._cluster, self._settings = cluster, settings
        self._tariff: Tariff = shipped(settings.tariff)
        self._leases: dict[int, _Lease] = {}
        self._queue: dict[int, None] = {}
        """The pods that wait for stock, the first one first."""
        self._empty_at = -float("inf")
        self._join()

    def took(self, pod: int) -> None:
        """A pod is bound to it."""
        if len(self._leases) < self._settings.stock:
            self._begin(pod)
        else:
            self._queue[pod] = None

    def gave(self, pod: int) -> None:
        """A pod is no longer there: its bill is written, and the next one has its turn."""
        if pod in self._queue:
            del self._queue[pod]
            return
        self._bill(pod)
        if self._queue:
            following = next(iter(self._queue))
            del self._queue[following]
            self._begin(following)

    def money_per_hour(self) -> float:
        """US dollars of what runs now; nan where a price is unknown."""
        prices = [
            None if each.size is None else self._tariff.price_per_hour(each.size, spot=self._settings.spot)
            for each in self._leases.values()
        ]
        return sum(float("nan") if price is None else price for price in prices)

    def close(self) -> None:
        """Bill what still runs."""
        for pod in list(self._leases):
            self._bill(pod)

    def _begin(self, pod: int) -> None:
        settings, cluster, now = self._settings, self._cluster, self._cluster.clock.now
        lease = _Lease(now, self._tariff.size_for(cluster.snapshot.shape_of_pod(pod).requests))
        self._leases[pod] = lease
        self._empty_at = max(self._empty_at, now - settings.burst / settings.rate) + 1 / settings.rate
        drawn: float = settings.start_seconds * 2.0 ** cluster.random.uniform(-1, 1)
        cluster.starts(pod, max(self._empty_at - now, 0.0) + drawn)
        if settings.spot and settings.reclaim_seconds is not None:
            end = cluster.random.exponential(settings.reclaim_seconds) + settings.notice_seconds
            cluster.clock.after(end, lambda: self._reclaim(pod, lease))

    def _reclaim(self, pod: int, lease: _Lease) -> None:
        """Take a pod's capacity back, if it still has it; its controller makes another."""
        if self._leases.get(pod) is lease:
            self._cluster.lose(pod, Cause("cloud", "BidFailed", "the spot capacity was taken back"))

    def _bill(self, pod: int) -> None:
        lease, settings, now = self._leases.pop(pod), self._settings, self._cluster.clock.now
        size, snapshot = lease.size, self._cluster.snapshot
        self._cluster.ledger.virtual_bills.append(
            VirtualBill(
                snapshot.pods.keys[pod],
                self._cluster.controllers[pod].root,
                settings.name,
                lease.since,
                now,
                "" if size is None else str(size),
                None if size is None else self._tariff.cost(size, now - lease.since, spot=settings.spot),
            )
        )

    def _join(self) -> None:
        cluster, settings = self._cluster, self._settings
        row = cluster.snapshot.set_node(_node(settings, cluster.uid(), cluster.clock.now))
        nodes = cluster.nodes
        nodes.reserve(cluster.snapshot.nodes.rows)
        nodes.clear(row)
        nodes.up[row] = True
        nodes.cpu[row], nodes.memory[row] = settings.cpu_milli, settings.memory_bytes
        nodes.idle[row] = nodes.best_effort_idle[row] = settings.cpu_milli
        cluster.hosts[row] = self
        cluster.room_grew()


def _node(settings: VirtualNodeSettings, uid: str, now: float) -> objects.Node:
    labels = {TYPE: VIRTUAL, TAINT: PROVIDER, "kubernetes.io/hostname": settings.name} | settings.labels
    amounts = {"cpu": f"{settings.cpu_milli}m", "memory": str(settings.memory_bytes), "pods": str(settings.pods)}
    return objects.Node(
        objects.Metadata(name=settings.name, uid=uid, labels=labels, creation_timestamp=timestamp(now)),
        objects.NodeSpec(taints=(objects.Taint(key=TAINT, value=PROVIDER, effect="NoSchedule"),)),
        objects.NodeStatus(
            allocatable=amounts,
            capacity=amounts,
            conditions=(objects.NodeCondition(type="Ready", status="True"),),
        ),
    )
