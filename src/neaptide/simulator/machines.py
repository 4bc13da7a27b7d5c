"""Machines and the cloud that sells them: provisioning, billing, notices, crashes, and what the API learns of it, and when.

A node object outlives its machine: it turns NotReady after `detect_seconds`, its pods are deleted `evict_seconds` later
(the API's default tolerations), and it goes when the cloud says that the machine is gone.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from neaptide.model import objects
from neaptide.model.actions import FOR_LABEL
from neaptide.model.cloud import CloudError, Coming, Interruption, Order, OutOfCapacityError, Shortage, Stock, no_more
from neaptide.model.offerings import Offering
from neaptide.model.times import timestamp
from neaptide.pricing.billing import PER_SECOND, Billing, cost
from neaptide.simulator.cluster import Cause, Cluster
from neaptide.simulator.ledger import Bill
from neaptide.simulator.templates import Rate, Seconds, Share

POOL_LABEL = "karpenter.sh/nodepool"
CAPACITY_TYPE_LABEL = "karpenter.sh/capacity-type"
INSTANCE_TYPE_LABEL = "node.kubernetes.io/instance-type"
ZONE_LABEL = "topology.kubernetes.io/zone"
HOSTNAME_LABEL = "kubernetes.io/hostname"
UNREACHABLE = tuple(
    objects.Taint(key="node.kubernetes.io/unreachable", effect=effect) for effect in ("NoSchedule", "NoExecute")
)
INTERRUPTED = objects.Taint(key="karpenter.sh/disrupted", effect="NoSchedule")


class Pool(Struct, frozen=True, kw_only=True):
    """Nodes of a kind that the autoscaler may buy and give back.

    Attributes:
        offerings: what may be bought, with the pool's labels on them (`POOL_LABEL` names the pool).
        taints: of its nodes.
        reserved: by resource, capacity less allocatable.
        system_cpu, system_memory: what a node uses besides its pods (milli, bytes).
        minimum, maximum: numbers of nodes.
    """

    name: str
    offerings: tuple[Offering, ...]
    taints: tuple[objects.Taint, ...] = ()
    reserved: dict[str, int] = {}
    system_cpu: int = 0
    system_memory: int = 0
    minimum: int = 0
    maximum: int = 1_000_000


class CloudSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How fast and how reliable the cloud is; times in seconds."""

    provision_seconds: Seconds = 90.0
    provision_spread: Share = 0.2
    """Provisioning takes that part more or less, drawn evenly."""
    spot_interruptions_per_hour: Rate = 0.0
    """Of each spot node; the times between are exponential."""
    notice_seconds: Seconds = 120.0
    drain_on_notice: bool = True
    detect_seconds: Seconds = 40.0
    evict_seconds: Seconds = 300.0
    billing: Billing = PER_SECOND


class Machine(Struct):
    """One node: what was bought, since when it is paid for, and its object as it joined.

    `extended` holds the resources that were set since, None for what was removed.
    """

    name: str
    pool: int
    offering: Offering
    launched: float
    node: objects.Node
    extended: dict[str, int | None] = field(default_factory=dict)
    order: Order | None = None
    ends: float | None = None
    """When the cloud takes it back, once it has given notice."""
    billed: bool = False

    def current(self) -> objects.Node:
        """The node's object with what was set since it joined."""
        gone = {name for name, amount in self.extended.items() if amount is None}
        added = {name: str(amount) for name, amount in self.extended.items() if amount is not None}
        allocatable, capacity = (
            {name: text for name, text in (amounts | added).items() if name not in gone}
            for amounts in (self.node.status.allocatable, self.node.status.capacity)
        )
        return replace(self.node, status=replace(self.node.status, allocatable=allocatable, capacity=capacity))


class Machines:
    """Every machine, and the CloudProvider that makes and removes them."""

    def __init__(self, cluster: Cluster, pools: Sequence[Pool], settings: CloudSettings) -> None:
        self.cluster, self.pools, self.settings = cluster, tuple(pools), settings
        self.by_name: dict[str, Machine] = {}
        self.on_the_way: dict[str, Machine] = {}
        """Bought and not yet a node."""
        self.shortages: list[Shortage] = []
        """What cannot be had, until it is taken off."""
        self.stillborn = 0
        """So many of the next machines never become nodes."""
        self.stock = Stock()
        self.taken: set[str] = set()
        """Nodes whose machine the cloud has taken back, and of which the API has not learnt yet."""
        self.sizes = [0] * len(self.pools)
        """How many nodes every pool has, those that are coming included."""
        self.node_joined: Callable[[int], None] = lambda _: None
        self._pool_rows = {pool.name: row for row, pool in enumerate(self.pools)}

    # -- the provider --------------------------------------------------------------------------------------------------

    def offerings(self) -> Sequence[Offering]:
        """What can be had now: of the pools that are not full, without what has run out."""
        sold = [
            offering
            for row, pool in enumerate(self.pools)
            if self.sizes[row] < pool.maximum
            for offering in pool.offerings
        ]
        return self.stock.available(sold, self.cluster.clock.now)

    def coming(self) -> Sequence[Coming]:
        """What a plan has ordered and has not joined yet."""
        return [Coming(each.order, each.launched) for each in self.on_the_way.values() if each.order is not None]

    def interruptions(self) -> Sequence[Interruption]:
        """The notices of nodes that are still there."""
        return [
            Interruption(each.name, ends=each.ends, source="cloud")
            for each in self.by_name.values()
            if each.ends is not None
        ]

    def create(self, order: Order) -> str:
        """Buy a node under the name that a plan gave it; it is paid for from now on."""
        wanted = order.node_pool or order.offering.labels.get(POOL_LABEL, "")
        row = self._pool_rows.get(wanted)
        if row is None:
            raise CloudError(f"there is no pool {wanted!r}")
        pool, offering = self.pools[row], order.offering
        if self.sizes[row] >= pool.maximum:
            raise OutOfCapacityError(f"the pool {pool.name} has {self.sizes[row]} nodes and may have no more")
        if any(each.covers(offering) for each in self.shortages):
            self.stock.ran_out(offering, self.cluster.clock.now)
            raise OutOfCapacityError(no_more(offering))
        labels = offering.labels | {POOL_LABEL: pool.name, FOR_LABEL: order.name}
        return self.buy(replace(offering, labels=labels), order)

    def buy(self, offering: Offering, order: Order | None = None) -> str:
        """Buy a node for the pool that its labels name, whatever is short."""
        machine = self._machine(offering, order)
        self.on_the_way[machine.name] = machine
        if self.stillborn > 0:
            self.stillborn -= 1
            return machine.name
        spread = self.settings.provision_spread * self.cluster.random.uniform(-1, 1)
        self.cluster.clock.after(self.settings.provision_seconds * (1 + spread), lambda: self._arrived(machine))
        return machine.name

    def delete(self, node: str) -> None:
        """Give a node back; pods that are still there are lost."""
        machine = self.by_name.get(node) or self.on_the_way.pop(node, None)
        if machine is None:
            return
        if node in self.by_name:
            self._vanish(machine, Cause("cloud", "NodeRemoved", f"node {node} was given back"))
        else:
            self.sizes[machine.pool] -= 1
            self._bill(machine)

    # -- what happens to machines --------------------------------------------------------------------------------------

    def start_with(self, offering: Offering) -> str:
        """A node that is there from the beginning."""
        machine = self._machine(offering)
        self._join(machine)
        return machine.name

    def crash(self, name: str, *, recover_after: float | None = None) -> None:
        """A machine stops; it comes back after a time, or hangs until somebody gives it back."""
        machine = self.by_name.get(name)
        if machine is None or not self._halt(machine):
            return
        clock, settings = self.cluster.clock, self.settings
        clock.after(settings.detect_seconds, lambda: self._not_ready(machine))
        clock.after(settings.detect_seconds + settings.evict_seconds, lambda: self._evict_all(machine))
        if recover_after is not None:
            clock.after(recover_after, lambda: self._recover(machine))

    def interrupt(self, name: str) -> None:
        """The cloud takes a spot node back: a notice, then its end."""
        machine = self.by_name.get(name)
        if machine is None or machine.ends is not None:
            return
        machine.ends = self.cluster.clock.now + self.settings.notice_seconds
        self.stock.ran_out(machine.offering, self.cluster.clock.now)
        if self.settings.drain_on_notice:
            machine.node = self._with(machine.node, unschedulable=True, taints=(*machine.node.spec.taints, INTERRUPTED))
            self.cluster.snapshot.set_node(machine.current())
            cause = Cause("cloud", "SpotInterruption", f"node {name} ends in {self.settings.notice_seconds:g} s")
            self._stop_pods(machine, cause)
        self.cluster.clock.after(self.settings.notice_seconds, lambda: self._taken(machine))

    def set_resources(self, name: str, resources: Mapping[str, int | None]) -> None:
        """Set extended resources in a node's status; None removes one."""
        snapshot = self.cluster.snapshot
        snapshot.set_node_resources(snapshot.nodes.by_name[name], resources)
        self.by_name[name].extended.update(resources)
        self.cluster.room_grew()

    def taint(self, name: str, taint: objects.Taint) -> None:
        """Put a taint on a node, in place of one with the same key and effect."""
        kept = self._taints_without(name, taint.key, taint.effect)
        self._respecify(name, taints=(*kept, taint))

    def untaint(self, name: str, key: str, effect: str) -> None:
        """Take the taints with a key off a node, or only the one with an effect."""
        self._respecify(name, taints=self._taints_without(name, key, effect))

    def cordon(self, name: str, *, unschedulable: bool) -> None:
        """Keep new pods off a node, or let them on it again."""
        self._respecify(name, unschedulable=unschedulable)

    def annotate(self, name: str, key: str, value: str) -> None:
        """Set an annotation of a node."""
        machine = self.by_name[name]
        meta = machine.node.metadata
        changed = replace(meta, annotations=meta.annotations | {key: value})
        machine.node = replace(machine.node, metadata=changed)
        if self.cluster.nodes.up[self.cluster.snapshot.nodes.by_name[name]]:
            self.cluster.snapshot.set_node(machine.current())

    def close(self) -> None:
        """Bill what still runs."""
        for machine in (*self.by_name.values(), *self.on_the_way.values()):
            self._bill(machine)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _taints_without(self, name: str, key: str, effect: str) -> tuple[objects.Taint, ...]:
        taints = self.by_name[name].node.spec.taints
        return tuple(each for each in taints if each.key != key or effect not in ("", each.effect))

    def _respecify(self, name: str, **changed: Any) -> None:  # noqa: ANN401 - fields of a node's spec
        """Change a node's spec; conditions stay as the API knows them."""
        machine = self.by_name[name]
        machine.node = replace(machine.node, spec=replace(machine.node.spec, **changed))
        snapshot = self.cluster.snapshot
        if self.cluster.nodes.up[snapshot.nodes.by_name[name]]:
            snapshot.set_node(machine.current())
            self.cluster.room_grew()

    def _machine(self, offering: Offering, order: Order | None = None) -> Machine:
        row = self._pool_rows[offering.labels[POOL_LABEL]]
        name = f"{self.pools[row].name}-{self.cluster.suffix(8)}"
        now = self.cluster.clock.now
        self.sizes[row] += 1
        node = node_of(self.pools[row], offering, name, self.cluster.uid(), now, order.taints if order else ())
        return Machine(name, row, offering, now, node, order=order)

    def _arrived(self, machine: Machine) -> None:
        if self.on_the_way.pop(machine.name, None) is not None:
            self._join(machine)

    def _join(self, machine: Machine) -> None:
        """A machine becomes a node, ready."""
        cluster, pool, price = self.cluster, self.pools[machine.pool], machine.offering.price_per_hour
        self.by_name[machine.name] = machine
        row = cluster.snapshot.set_node(machine.node)
        cluster.snapshot.set_price(row, float("nan") if price is None else price)
        nodes = cluster.nodes
        nodes.reserve(cluster.snapshot.nodes.rows)
        nodes.clear(row)
        nodes.pool[row], nodes.up[row] = machine.pool, True
        nodes.cpu[row], nodes.memory[row] = cluster.snapshot.nodes.capacity[:2, row]
        nodes.system_cpu[row], nodes.system_memory[row] = pool.system_cpu, pool.system_memory
        nodes.idle[row] = nodes.best_effort_idle[row] = nodes.cpu[row] - pool.system_cpu
        self._plan_interruption(machine)
        self.node_joined(row)
        cluster.room_grew()

    def _plan_interruption(self, machine: Machine) -> None:
        rate = self.settings.spot_interruptions_per_hour
        if machine.offering.capacity_type == "spot" and rate > 0:
            delay = self.cluster.random.exponential(3600 / rate)
            self.cluster.clock.after(delay, lambda: self.interrupt(machine.name))

    def _halt(self, machine: Machine) -> bool:
        row = self.cluster.snapshot.nodes.by_name[machine.name]
        if not self.cluster.nodes.up[row]:
            return False
        for pod in tuple(self.cluster.snapshot.pods_on(row)):
            self.cluster.halt(pod)
        self.cluster.nodes.up[row] = False
        return True

    def _taken(self, machine: Machine) -> None:
        """The end of a spot node: the machine stops, it is no longer paid for, and the API notices later."""
        if self.by_name.get(machine.name) is not machine:
            return
        self._halt(machine)
        self._bill(machine)
        self.taken.add(machine.name)
        cause = Cause("cloud", "SpotInterruption", f"node {machine.name} was taken back")
        self.cluster.clock.after(self.settings.detect_seconds, lambda: self._vanish(machine, cause))

    def _not_ready(self, machine: Machine) -> None:
        if not self._is_down(machine):
            return
        down = self._with(machine.current(), ready=False, taints=machine.node.spec.taints + UNREACHABLE)
        row = self.cluster.snapshot.set_node(down)
        for pod in self.cluster.snapshot.pods_on(row):
            self.cluster.unready(pod)

    def _evict_all(self, machine: Machine) -> None:
        if self._is_down(machine):
            self._stop_pods(machine, Cause("cloud", "NodeLost", f"node {machine.name} does not answer"))

    def _recover(self, machine: Machine) -> None:
        if not self._is_down(machine):
            return
        snapshot = self.cluster.snapshot
        row = snapshot.set_node(machine.current())
        nodes = self.cluster.nodes
        nodes.up[row] = True
        nodes.idle[row] = nodes.best_effort_idle[row] = nodes.cpu[row] - nodes.system_cpu[row]
        for pod in tuple(snapshot.pods_on(row)):
            self.cluster.restart(pod)
        self.cluster.room_grew()

    def _stop_pods(self, machine: Machine, cause: Cause) -> None:
        """Stop the pods of a node, except those that a DaemonSet would start there again."""
        row = self.cluster.snapshot.nodes.by_name[machine.name]
        for pod in tuple(self.cluster.snapshot.pods_on(row)):
            if not self.cluster.pods.daemon[pod]:
                self.cluster.stop(pod, cause)

    def _vanish(self, machine: Machine, cause: Cause) -> None:
        """A node object goes with the pods that are left on it."""
        if self.by_name.get(machine.name) is not machine:
            return
        snapshot = self.cluster.snapshot
        row = snapshot.nodes.by_name[machine.name]
        self._halt(machine)
        self._bill(machine)
        del self.by_name[machine.name]
        self.taken.discard(machine.name)
        self.sizes[machine.pool] -= 1
        for pod in tuple(snapshot.pods_on(row)):
            self.cluster.lose(pod, cause)
        snapshot.remove_node(machine.name)
        self.cluster.nodes.clear(row)

    def _is_down(self, machine: Machine) -> bool:
        row = self.cluster.snapshot.nodes.by_name.get(machine.name)
        return self.by_name.get(machine.name) is machine and row is not None and not self.cluster.nodes.up[row]

    def _bill(self, machine: Machine) -> None:
        if machine.billed:
            return
        machine.billed = True
        end, offering = self.cluster.clock.now, machine.offering
        dollars = cost(offering.price_per_hour, end - machine.launched, self.settings.billing)
        self.cluster.ledger.bills.append(
            Bill(
                machine.name,
                self.pools[machine.pool].name,
                offering.instance_type,
                offering.capacity_type,
                machine.launched,
                end,
                offering.price_per_hour,
                dollars,
            )
        )

    @staticmethod
    def _with(
        node: objects.Node, *, ready: bool = True, unschedulable: bool | None = None, taints: tuple[objects.Taint, ...]
    ) -> objects.Node:
        condition = objects.NodeCondition(type="Ready", status="True" if ready else "Unknown")
        held = node.spec.unschedulable if unschedulable is None else unschedulable
        return replace(
            node,
            spec=replace(node.spec, taints=taints, unschedulable=held),
            status=replace(node.status, conditions=(condition,)),
        )


def node_of(
    pool: Pool, offering: Offering, name: str, uid: str, now: float, taints: tuple[objects.Taint, ...] = ()
) -> objects.Node:
    """The object of a new node; `taints` come besides the pool's."""
    labels = offering.labels | {
        HOSTNAME_LABEL: name,
        INSTANCE_TYPE_LABEL: offering.instance_type,
        CAPACITY_TYPE_LABEL: offering.capacity_type,
        ZONE_LABEL: offering.zone,
    }
    meta = objects.Metadata(name=name, uid=uid, labels=labels, creation_timestamp=timestamp(now))
    allocatable = {each: quantity(each, amount) for each, amount in offering.allocatable.items()}
    capacity = {
        each: quantity(each, amount + pool.reserved.get(each, 0)) for each, amount in offering.allocatable.items()
    }
    status = objects.NodeStatus(
        allocatable=allocatable,
        capacity=capacity,
        conditions=(objects.NodeCondition(type="Ready", status="True"),),
    )
    added = tuple(each for each in taints if each not in pool.taints)
    return objects.Node(meta, objects.NodeSpec(taints=(*pool.taints, *added)), status)


def quantity(resource: str, amount: int) -> str:
    """An amount as a Kubernetes quantity."""
    return f"{amount}m" if resource == "cpu" else str(amount)
