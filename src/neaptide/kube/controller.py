"""`neaptide run`: elect, sync, then one cycle of the loop after the other, until told to stop.

Everything that only looks runs in every replica, so that a successor is ready at once; whoever holds the lease plans and acts.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import structlog
from msgspec import Struct

from neaptide.kube.acting.carrying import Api
from neaptide.kube.actuator import Actuator
from neaptide.kube.admission import Admission, Place
from neaptide.kube.arrivals import Arrivals
from neaptide.kube.colocation_metrics import ColocationMetrics
from neaptide.kube.configuration import Configuration
from neaptide.kube.decisions import NAME
from neaptide.kube.events import Events
from neaptide.kube.health import HealthServer
from neaptide.kube.journal_server import JournalPlace
from neaptide.kube.journal_server import serve as serve_journal
from neaptide.kube.leader import Leader, NoLongerLeadingError, Writers
from neaptide.kube.memory import MemoryStore
from neaptide.kube.metrics import Metrics
from neaptide.kube.notices import Notices
from neaptide.kube.plans import Plans
from neaptide.kube.providers.registry import Provider, Providing
from neaptide.kube.scheduler.opening import Scheduling, opened
from neaptide.kube.spot_metrics import SpotMetrics
from neaptide.kube.statuses import Statuses
from neaptide.kube.troubles import Told
from neaptide.kube.world import STALE_AFTER, World
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import Cluster
from neaptide.kubeapi.errors import ApiError
from neaptide.kubeapi.lease import Election, this_process
from neaptide.kubeapi.resources import Resource
from neaptide.loop import Setting
from neaptide.policies.arbiter import ArbiterMemory, Budgets
from neaptide.pricing.catalogue import Catalogue
from neaptide.pricing.load import shipped
from neaptide.records.log import Log

LEASE = "neaptide"
_SETTLE = 0.5  # seconds that changes of our own objects may follow one another
_RETRY = 2.0


class Options(Struct, frozen=True, kw_only=True):
    """How the controller runs.

    Attributes:
        namespace: where its lease and its checkpoint are.
        identity: the name of this replica, unlike every other's; by default host and process.
        interval: seconds from the start of a cycle to that of the next.
        journal: the directory of the journal; None keeps none.
        journal_place: where the journal is served to who may read it; None serves it to nobody.
        listen: host and port of /healthz, /readyz and /metrics; None does not listen.
        prometheus: the URL of a Prometheus to ask for usage where the cluster serves none.
        catalogue: prices, until there are PriceCatalogue objects; the public list prices by default.
        settings: what to do; None does what the cluster's Policy objects say.
        budgets: how much disruption is allowed; None keeps the limits of the Policy objects.
        lease_seconds: how long the lease of a replica that died holds.
        dry_run: ask the API server for everything, and have it change nothing.
        webhook: where new pods are asked about; None asks about none.
        admission_policies: whether what CEL can say of Policies for new pods is written as MutatingAdmissionPolicies.
        providing: who sells nodes; None for nobody.
        notices_file: to which others append what they know of nodes that end.
        notices_listen: host, port and bearer token of an endpoint for the same.
        qps: requests per second.
        scheduling: which pods to schedule beside the loop, and how; None for none.
        workloads: custom resources with a scale subresource, which policies may scale.
    """

    namespace: str
    identity: str = ""
    interval: float = 60.0
    journal: Path | None = None
    journal_place: JournalPlace | None = None
    listen: tuple[str, int] | None = None
    prometheus: str = ""
    catalogue: Catalogue | None = None
    settings: tuple[Setting, ...] | None = None
    budgets: Budgets | None = None
    lease_seconds: int = 15
    dry_run: bool = False
    webhook: Place | None = None
    admission_policies: bool = False
    providing: Providing | None = None
    notices_file: Path | None = None
    notices_listen: tuple[str, int, str] | None = None
    qps: float = 100.0
    scheduling: Scheduling | None = None
    workloads: tuple[Resource, ...] = ()


class Controller:
    """One replica. `run` returns after `stop`, when what was under way has ended."""

    def __init__(self, cluster: Cluster, options: Options) -> None:
        self._cluster, self._options = cluster, options
        self._identity = options.identity or this_process()
        self._log = structlog.get_logger()
        self._metrics, self._spot_metrics = Metrics(), SpotMetrics()
        self._notices = Notices()
        self._stopping, self._wake = asyncio.Event(), asyncio.Event()
        self._actuator: Actuator | None = None
        self._world: World | None = None
        self._leader: Leader | None = None
        self._ready = False

    def stop(self) -> None:
        """Begin nothing more; finish what is under way."""
        self._log.info("stopping")
        self._stopping.set()
        self._wake.set()
        if self._actuator is not None:
            self._actuator.stop()

    async def run(self) -> None:
        """Run until stopped. Raises OSError and LogInUseError where the port or the journal cannot be had."""
        options = self._options
        async with AsyncExitStack() as stack:
            journal = stack.enter_context(Log(options.journal, NAME)) if options.journal else None
            if options.listen is not None:
                health = HealthServer(
                    *options.listen, alive=_alive, ready=self._unready, metrics=self._metrics.exposition
                )
                await health.start()
                stack.push_async_callback(health.stop)
            client = Client(self._cluster, qps=options.qps, burst=int(2 * options.qps))
            await stack.enter_async_context(client)
            await self._serve(client, journal)

    async def _serve(self, client: Client, journal: Log | None) -> None:
        """Open every stream; lead whenever the lease is held."""
        options = self._options
        election = Election(client, LEASE, options.namespace, self._identity, duration=options.lease_seconds)
        writer = client.guarded_by(election)
        events = Events(writer, self._identity)
        provider = self._provider(writer)
        self._actuator = Actuator(
            Api(writer, time.time, options.dry_run, provider, {each.kind: each for each in options.workloads}),
            may_act=lambda: election.leading,
            watchers=(self._metrics.outcome, self._spot_metrics.outcome, events.outcome),
        )
        configuration = Configuration(client, fixed=options.settings, budgets=options.budgets, changed=self._wake.set)
        writers = Writers(
            MemoryStore(writer, options.namespace, self._identity),
            Plans(writer),
            Statuses(writer),
            self._metrics,
            journal,
        )
        async with AsyncExitStack() as stack:
            if provider is not None:
                stack.push_async_callback(provider.close)
            world = await self._opened(client, provider, stack)
            if world is None:
                return
            self._metrics.watch(world, events, lambda: election.leading)
            self._spot_metrics.watch(world.cache, lambda: configuration.chosen(time.time()).settings)
            self._metrics.registry.register(self._spot_metrics)
            colocation = ColocationMetrics()
            colocation.watch(world.cache)
            self._metrics.registry.register(colocation)
            running = [world.lasting(), election.run(), events.run(), *configuration.streams()]
            if options.notices_file is not None:
                running.append(self._notices.follow(options.notices_file))
            if options.notices_listen is not None:
                listening = await self._notices.serve(*options.notices_listen)
                stack.push_async_callback(listening.cleanup)
            if provider is not None:
                running.append(Arrivals(world.cache, self._wake.set).run())
            if options.webhook is not None or options.admission_policies:
                running.append(self._admission(client, writer, configuration, world, election).run())
            if options.journal is not None and options.journal_place is not None:
                running.append(serve_journal(client, options.journal, options.journal_place))
            if options.scheduling is not None:
                running.append(self._schedule(options.scheduling, client, world, election))
            tasks = [asyncio.create_task(each) for each in running]
            for task in tasks:
                task.add_done_callback(self._ended)
            stack.push_async_callback(_cancel, tasks)
            if await self._unless_stopped(_all(world.ready(), configuration.ready())):
                self._world, self._ready = world, True
                self._log.info("synced", usage=world.meter.source or world.meter.problem, unseen=world.cache.unseen)
            told = Told()
            while not self._stopping.is_set():
                if await self._unless_stopped(election.won()):
                    self._leader = Leader(world, configuration, writers, dry_run=options.dry_run)
                    await self._lead(self._leader, election, lambda now: told.say(world.cache.snapshot, events, now))
            _check(tasks)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        """A part that never ends by itself has ended: without it this process would only seem to work, so it ends, too."""
        if not task.cancelled():
            self._log.error("a part has ended", exc_info=task.exception())
            self.stop()

    async def _schedule(self, scheduling: Scheduling, client: Client, world: World, election: Election) -> None:
        """Schedule pods, under the same lease and arbiter: what is preempted counts against the loop's budgets."""
        async with AsyncExitStack() as stack:
            scheduler = await opened(
                self._cluster,
                scheduling,
                client,
                election,
                stack,
                metrics=self._metrics,
                memory=lambda: ArbiterMemory() if self._leader is None else self._leader.memory.arbiter,
                disrupted=world.cache.disruptions.count,
            )
            await scheduler.run()

    def _admission(
        self, client: Client, writer: Client, configuration: Configuration, world: World, election: Election
    ) -> Admission:
        return Admission(
            client,
            writer,
            policies=lambda: configuration.policies.values(),  # noqa: PLW0108 - they are another dict after a list
            others=lambda kind: world.cache.snapshot.others.get(kind, {}),
            registry=self._metrics.registry,
            place=self._options.webhook,
            in_cel=self._options.admission_policies,
            # before all was seen, nothing would seem to be asked for, and what CEL says would be taken away
            leading=lambda: self._ready and election.leading,
        )

    def _provider(self, writer: Client) -> Provider | None:
        """Who sells nodes: for it counts, too, that only the leader writes."""
        options = self._options
        if options.providing is None:
            return None
        return options.providing.opened(writer, options.catalogue or shipped(), dry_run=options.dry_run)

    async def _opened(self, client: Client, provider: Provider | None, stack: AsyncExitStack) -> World | None:
        """The world, as soon as the API server answers; None where this process is stopped before."""
        while not self._stopping.is_set():
            world = World(
                client, actuator=self._actuator, namespace=self._cluster.namespace,
                prometheus=self._options.prometheus, catalogue=self._options.catalogue, market=provider, notices=self._notices,
                workloads=self._options.workloads,
            )  # fmt: skip
            try:
                return await stack.enter_async_context(world)
            except ApiError as error:
                self._log.warning("the API server does not answer", reason=str(error))
                await self._unless_stopped(asyncio.sleep(_RETRY))
        return None

    async def _lead(self, leader: Leader, election: Election, tell: Callable[[float], None]) -> None:
        """Cycle after cycle, as long as the lease is held; after each, `tell` what is wrong at that time."""
        self._log.info("leading", identity=self._identity)
        begun = False
        while election.leading and not self._stopping.is_set():
            due = time.monotonic() + self._options.interval
            self._wake.clear()
            try:
                if not begun:
                    await leader.begin()
                    begun = True
                await leader.cycle()
                tell(time.time())
            except NoLongerLeadingError as error:
                self._log.warning("another replica leads", reason=str(error))
                await self._unless_stopped(asyncio.sleep(_RETRY))
                return
            except ApiError as error:
                self._log.warning("cycle not ended", reason=str(error))
                due = min(due, time.monotonic() + _RETRY)
            except Exception:  # noqa: BLE001 - what one cycle stumbles over may be gone in the next, and others watch the metrics
                self._log.exception("cycle failed")
                self._metrics.skipped("failed")
            await self._until(due)

    async def _until(self, due: float) -> None:
        """Wait for the next cycle: until it is due, or something of ours has changed, or this process is to stop."""
        try:
            async with asyncio.timeout(due - time.monotonic()):
                await self._wake.wait()
        except TimeoutError:
            return
        await self._unless_stopped(asyncio.sleep(_SETTLE))

    async def _unless_stopped(self, awaited: Awaitable[Any]) -> bool:
        """Wait for something, whose error is raised; False where this process is told to stop first."""
        task, stop = asyncio.ensure_future(awaited), asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
        ended = task.done()
        await _cancel([each for each in (task, stop) if not each.done()])
        if ended:
            task.result()
        return ended and not self._stopping.is_set()

    def _unready(self) -> str:
        """Why this replica has no picture of the cluster that could be believed."""
        if not self._ready or self._world is None:
            return "not synced yet"
        staleness = self._world.staleness()
        return f"the picture of the cluster is {staleness:.0f} s old" if staleness > STALE_AFTER else ""


def _alive() -> str:
    """That this is answered says it: cycles run beside the event loop, and every request has a deadline."""
    return ""


def _check(tasks: Sequence["asyncio.Task[Any]"]) -> None:
    """Raise what ended a task that never ends by itself; of a group's errors the first."""
    for task in tasks:
        error = task.exception() if task.done() else None
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if error is not None:
            raise error


async def _all(*awaited: Coroutine[Any, Any, None]) -> None:
    await asyncio.gather(*awaited)


async def _cancel(tasks: Sequence["asyncio.Future[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
