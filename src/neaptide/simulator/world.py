"""A cluster in memory with its own clock: implements `model.protocols.World`, deterministic for a seed."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
from msgspec import Struct

from neaptide.model.actions import AnyAction, Outcome, Ref
from neaptide.model.any_object import AnyObject
from neaptide.model.columns import PENDING, RUNNING, Floats
from neaptide.model.objects import OwnerReference, PodDisruptionBudget
from neaptide.model.offerings import Offering
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.cycle.profile import CycleProfile
from neaptide.simulator.actuator import Actuator
from neaptide.simulator.agents import Agents, Rules, Stop
from neaptide.simulator.autoscaler import Autoscaler, AutoscalerSettings
from neaptide.simulator.budgets import DisruptionBudgets
from neaptide.simulator.cluster import Cause, Cluster
from neaptide.simulator.columns import total
from neaptide.simulator.controllers.cronjob import CronJobController
from neaptide.simulator.controllers.daemonset import DaemonSetController
from neaptide.simulator.controllers.deployment import DeploymentController
from neaptide.simulator.controllers.job import JobController, JobEnded
from neaptide.simulator.controllers.statefulset import StatefulSetController
from neaptide.simulator.cycle_scheduler import CycleScheduler
from neaptide.simulator.ledger import Wait
from neaptide.simulator.loads import Loads
from neaptide.simulator.machines import CloudSettings, Machines, Pool
from neaptide.simulator.scheduling import Placer, Scheduler
from neaptide.simulator.templates import CronJob, Job, Service
from neaptide.simulator.virtual import VirtualNode, VirtualNodeSettings
from neaptide.simulator.watched import WatchedSnapshot

BANDS, QOS_CLASSES = 4, 5
ServiceController = DeploymentController | StatefulSetController | DaemonSetController
MakePlacer = Callable[[ClusterSnapshot], Placer]


class Settings(Struct, frozen=True, kw_only=True):
    """How a world works; times in seconds since the epoch, durations in seconds."""

    start: float
    tick: float = 60.0
    seed: int = 0
    scheduler_period: float = 1.0
    cloud: CloudSettings = CloudSettings()
    autoscaler: AutoscalerSettings = AutoscalerSettings()
    rules: Rules = Rules()


class World:
    """Everything that happens in a cluster, from event to event.

    Nodes come first (`add_nodes`), then other objects (`add_objects`, `add_budgets`), services and jobs; `run_until` lets
    time pass. `placer` makes what chooses nodes, and what the autoscaler asks what would fit; with `profile`, the scheduling
    cycle that schedules on real clusters chooses them.
    """

    def __init__(
        self, settings: Settings, pools: Sequence[Pool], placer: MakePlacer, profile: CycleProfile | None = None
    ) -> None:
        self.settings = settings
        watched = None if profile is None else WatchedSnapshot()
        self.cluster = Cluster(start=settings.start, tick=settings.tick, seed=settings.seed, snapshot=watched)
        self.clock, self.ledger = self.cluster.clock, self.cluster.ledger
        self.machines = Machines(self.cluster, pools, settings.cloud)
        self.machines.node_joined = self._node_joined
        chooser = placer(self.cluster.snapshot)
        self.scheduler: Scheduler | CycleScheduler
        if watched is None or profile is None:
            self.scheduler = Scheduler(self.cluster, chooser, period=settings.scheduler_period)
        else:
            self.scheduler = CycleScheduler(self.cluster, watched, profile, self.act, period=settings.scheduler_period)
        self._loads = Loads(self.cluster.snapshot, self.cluster.pods, self.cluster.nodes)
        self.agents = Agents(settings.rules, self.cluster.snapshot, self.cluster.pods, self.cluster.nodes)
        self.autoscaler = Autoscaler(
            self.cluster, self.machines, self.scheduler, chooser, lambda: self._daemon_sets, settings.autoscaler
        )
        self.jobs: dict[tuple[str, str], JobController] = {}
        self._services: dict[tuple[str, str, str], ServiceController] = {}
        self._cron_jobs: dict[tuple[str, str], CronJobController] = {}
        self._daemon_sets: list[DaemonSetController] = []
        self._virtual: list[VirtualNode] = []
        self._budgets = DisruptionBudgets(self.cluster)
        self._actuator = Actuator(self.cluster, self.machines, self._budgets, self._find)
        self._unreported = 0
        self.unmeasured: dict[str, str] = {}
        """By node, `missing` or `stale`: the nodes without fresh metrics."""
        self.clock.every(settings.tick, self._tick)
        if settings.autoscaler.enabled:
            for period, half in (
                (settings.autoscaler.buy_period, self.autoscaler.buy),
                (settings.autoscaler.give_back_period, self.autoscaler.give_back),
            ):
                self.clock.every(period, half, first=settings.start + period)

    # -- the protocol --------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """The world's time, in seconds since the epoch."""
        return self.clock.now

    def observe(self) -> ClusterSnapshot:
        """The live snapshot, with the status of workloads and budgets brought up to date."""
        changed, self.cluster.changed = self.cluster.changed, {}
        for controller in changed:
            controller.publish()
        self._budgets.publish()
        snapshot, machines = self.cluster.snapshot, self.machines
        snapshot.offerings, snapshot.coming = machines.offerings(), machines.coming()
        snapshot.interruptions = machines.interruptions()
        return snapshot

    def act(self, actions: Sequence[AnyAction]) -> list[Outcome]:
        """Carry actions out in order, each after its preconditions; one outcome for every action."""
        return [self._actuator.carry_out(action) for action in actions]

    def disruptions(self) -> list[Ref]:
        """The workloads of the pods that nodes evicted on their own since the last call, once per pod."""
        fresh, self._unreported = self.ledger.evictions[self._unreported :], len(self.ledger.evictions)
        return [each.workload for each in fresh if each.by in ("node", "kubelet", "cloud")]

    # -- setting up ----------------------------------------------------------------------------------------------------

    def add_nodes(self, offering: Offering, count: int) -> None:
        """Nodes that are there from now on."""
        for _ in range(count):
            self.machines.start_with(offering)

    def add_virtual_node(self, settings: VirtualNodeSettings) -> None:
        """A node that is no machine, from now on."""
        self._virtual.append(VirtualNode(self.cluster, settings))

    def add_objects(self, objects: Iterable[AnyObject]) -> None:
        """PriorityClasses, namespaces, volumes and the like, as they are. Raises FieldError."""
        for item in objects:
            self.cluster.snapshot.set(item)

    def add_budgets(self, budgets: Iterable[PodDisruptionBudget]) -> None:
        """PodDisruptionBudgets. Raises FieldError."""
        self._budgets.add(budgets)

    def add_service(self, service: Service) -> None:
        """Start a service now; its changes of scale come by themselves."""
        key = (service.kind, service.namespace, service.name)
        if service.kind == "DaemonSet":
            self._services[key] = daemon_set = DaemonSetController(self.cluster, service)
            self._daemon_sets.append(daemon_set)
            return
        kind = DeploymentController if service.kind == "Deployment" else StatefulSetController
        self._services[key] = controller = kind(self.cluster, service)
        for change in service.scale:
            self.clock.at(self.settings.start + change.after, partial(controller.scale, change.replicas))

    def add_job(self, job: Job) -> None:
        """Have a job arrive when its time comes."""
        self.clock.at(self.settings.start + job.after, partial(self._make_job, job))

    def add_cron_job(self, cron: CronJob) -> None:
        """Start a cron job now. Raises FieldError for a schedule or time zone that there is not."""
        self._cron_jobs[cron.namespace, cron.name] = CronJobController(self.cluster, cron, self._make_job)

    def run_until(self, time: float) -> None:
        """Let time pass."""
        self.clock.run_until(time)

    def close(self) -> None:
        """Count what is under way: usage up to now, bills of running nodes, jobs that have not ended."""
        self.cluster.meter.settle(self.clock.now)
        self.machines.close()
        for node in self._virtual:
            node.close()
        self.ledger.jobs += [job.record() for job in self.jobs.values()]
        self.ledger.waits += self.open_waits()

    def open_waits(self) -> list[Wait]:
        """Waits of all pods that are wanted and have not started."""
        held = [wait for job in self.jobs.values() for wait in job.open_waits()]
        return self.cluster.open_waits() + held

    # -- inside --------------------------------------------------------------------------------------------------------

    def _make_job(self, job: Job, above: OwnerReference | None = None, ended: JobEnded | None = None) -> JobController:
        key = (job.namespace, job.name)

        def forget(controller: JobController) -> None:
            self.jobs.pop(key, None)
            if ended is not None:
                ended(controller)

        controller = JobController(self.cluster, job, above=above, ended=forget)
        if not controller.state:
            self.jobs[key] = controller
        return controller

    def _find(self, ref: Ref) -> object | None:
        if ref.kind == "Job":
            return self.jobs.get((ref.namespace, ref.name))
        if ref.kind == "CronJob":
            return self._cron_jobs.get((ref.namespace, ref.name))
        return self._services.get((ref.kind, ref.namespace, ref.name))

    def _node_joined(self, node: int) -> None:
        for controller in self._daemon_sets:
            controller.reconcile([node])

    def _tick(self) -> None:
        cluster, now = self.cluster, self.clock.now
        cluster.meter.settle(now)
        cluster.next_tick = now + cluster.tick
        cluster.meter.share(now, self.agents.limits)
        for stop in self.agents.evictions(now):
            self._evict(stop)
        cluster.finish_by(cluster.next_tick)
        for controller in self._daemon_sets:
            controller.retry()
        missing, stale = (self._nodes_in(state) for state in ("missing", "stale"))
        cluster.meter.measure(now, missing=missing, stale=stale)
        if isinstance(self.scheduler, CycleScheduler):
            self.scheduler.measured(partial(self._loads.at, now))
        self._write_row()

    def _evict(self, stop: Stop) -> None:
        by = "kubelet" if stop.hard else "node"
        self.cluster.stop(stop.pod, Cause(by, stop.code, stop.message), grace=0.0 if stop.hard else None)

    def _nodes_in(self, state: str) -> np.ndarray:
        snapshot = self.cluster.snapshot
        chosen = np.zeros(snapshot.nodes.rows, dtype=np.bool_)
        for name, found in self.unmeasured.items():
            row = snapshot.nodes.by_name.get(name)
            if row is not None and found == state:
                chosen[row] = True
        return chosen

    def _write_row(self) -> None:
        """The ledger's row of this tick."""
        cluster, snapshot, side = self.cluster, self.cluster.snapshot, self.cluster.pods
        table, now = snapshot.pods, self.clock.now
        rows = table.indices()
        band, qos = table.band[rows], snapshot.classes.qos[table.cls[rows]]
        bound = (
            np.append(cluster.nodes.pool, -1)[table.node[rows]] >= 0
        )  # to a machine; pods without a node are in row -1
        waiting = (table.phase[rows] == PENDING) & np.isnan(table.deleted[rows])
        requested, given = side.cpu_request[rows], side.given[rows]
        memory = side.memory_request[rows]
        nodes = snapshot.nodes.indices()
        nodes = nodes[cluster.nodes.pool[nodes] >= 0]
        waits = now - side.wanted[rows[waiting]]

        def by_band(amount: Floats, chosen: np.ndarray) -> Floats:
            return total(amount[chosen], band[chosen], BANDS)

        self.ledger.tick(
            time=now,
            nodes=np.bincount(cluster.nodes.pool[nodes], minlength=len(self.machines.pools)).astype(np.float64),
            not_ready=float((~snapshot.nodes.ready[nodes]).sum()),
            money_per_hour=self._money_per_hour(nodes),
            cpu_capacity=float(snapshot.nodes.capacity[0, nodes].sum()),
            memory_capacity=float(snapshot.nodes.capacity[1, nodes].sum()),
            cpu_requested=by_band(requested, bound),
            memory_requested=by_band(memory, bound),
            cpu_used=by_band(given, bound),
            memory_used=by_band(side.memory_used[rows], bound),
            cpu_requested_by_qos=total(requested[bound], qos[bound], QOS_CLASSES),
            cpu_used_by_qos=total(given[bound], qos[bound], QOS_CLASSES),
            pending=by_band(np.ones(len(rows)), waiting),
            running=by_band(np.ones(len(rows)), table.phase[rows] == RUNNING),
            longest_pending=float(waits.max(initial=0.0)),
        )

    def _money_per_hour(self, nodes: np.ndarray) -> float:
        """What is paid for now: the nodes there are, less those that the cloud has taken, and those that are coming, and pods on virtual ones."""
        taken = [self.cluster.snapshot.nodes.by_name[name] for name in self.machines.taken]
        paid = nodes[~np.isin(nodes, taken)] if taken else nodes
        coming = (each.offering.price_per_hour for each in self.machines.on_the_way.values())
        there = float(self.cluster.snapshot.nodes.price[paid].sum())
        virtual = sum(each.money_per_hour() for each in self._virtual)
        return there + virtual + sum(np.nan if price is None else price for price in coming)
