"""A cluster as a world for the loop: `async with World(client) as world: await world.ready(); await world.cycle(...)`.

Streams and requests belong to the event loop. A cycle runs in a thread of its own and holds the cache meanwhile, so that
the snapshot it reads does not change; `act` hands its actions to the event loop and waits.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from neaptide.kube.actuator import Actuator
from neaptide.kube.cache import Cache
from neaptide.kube.nominations import Nominations
from neaptide.kube.notices import Notices
from neaptide.kube.streams import choose, follow, may_watch
from neaptide.kube.usage.agents import Agents
from neaptide.kube.usage.kubelet import Kubelets
from neaptide.kube.usage.meter import Meter
from neaptide.kube.usage.metrics_api import MetricsApi
from neaptide.kube.usage.prometheus import Prometheus
from neaptide.kube.usage.readings import Source, apply
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.discovery import allowed
from neaptide.kubeapi.resources import EVENTS, NODES, Resource
from neaptide.loop import Cycle, LoopMemory, Setting, run_once
from neaptide.model.actions import AnyAction, Outcome, Ref
from neaptide.model.cloud import Stock, offering_of
from neaptide.model.metrics import MAX_AGE
from neaptide.model.problems import LeftOut
from neaptide.model.protocols import Market
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.pricing.catalogue import Catalogue
from neaptide.pricing.cluster import price_nodes
from neaptide.pricing.load import shipped

STALE_AFTER = 180.0
"""Seconds without a word from a stream, after which its picture is no longer believed; servers send a bookmark about each minute."""
FIRST_LOOK_WITHIN = 60.0
"""Seconds that the first reading of usage may hold up the first cycle."""
_LOOK = 0.02


class World:
    """A cluster that is watched.

    Args:
        client: for everything that only reads.
        actuator: carries actions out; without one, nothing is ever done.
        namespace: where to look for what may not be seen in all namespaces.
        prometheus: the URL of a Prometheus to ask for usage where the cluster serves none.
        catalogue: what nodes cost; the public list prices by default.
        market: who sells nodes; without one, none can be bought.
        notices: what others say of nodes that end.
        clock: seconds since the epoch.

    Attributes:
        cache: what is known, what was left out, and how old it is.
        meter: where usage comes from.
    """

    def __init__(
        self,
        client: Client,
        *,
        actuator: Actuator | None = None,
        namespace: str = "",
        prometheus: str = "",
        catalogue: Catalogue | None = None,
        market: Market | None = None,
        notices: Notices | None = None,
        workloads: Sequence[Resource] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.cache = Cache(())
        self.meter = Meter(())
        self._client, self._actuator, self._namespace, self._prometheus = client, actuator, namespace, prometheus
        self._catalogue = shipped() if catalogue is None else catalogue
        self._clock, self._market, self._workloads = clock, market, tuple(workloads)
        self._notices = Notices() if notices is None else notices
        self._avoided, self._interrupted = Stock(), set[str]()
        self._nominations = Nominations(clock=clock)
        self._all_prices_due = True
        self._applied, self._applied_at = self.meter.readings, -MAX_AGE
        self._misprized: dict[str, LeftOut] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        streams, unseen = await choose(self._client, self._namespace, self._workloads)
        self.cache = Cache([each.resource.kind for each in streams])
        self.cache.unseen = unseen
        sees_nodes = any(each.resource == NODES for each in streams)
        namespaces = {each.resource.kind: each.namespace for each in streams}
        self.meter = Meter(await self._sources(namespaces, sees_nodes=sees_nodes))
        self._tasks = [asyncio.create_task(follow(self._client, each, self.cache)) for each in streams]
        self._tasks.append(asyncio.create_task(self._measure()))
        if "NodePool" in namespaces and await may_watch(self._client, EVENTS):
            self._tasks.append(asyncio.create_task(self._nominations.run(self._client)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def synced(self) -> None:
        """Return once every object was seen. Raises what ended a stream."""
        while not self.cache.synced:
            self.check()
            await asyncio.sleep(_LOOK)

    async def ready(self) -> None:
        """Return once everything was seen and usage was looked for, or that takes too long. Raises what ended a stream.

        Where the API server reaches no kubelet, each of them takes its time to say so: then usage is unknown at first, and policies know what to do.
        """
        await self.synced()
        due = time.monotonic() + FIRST_LOOK_WITHIN
        while not self.meter.looked and time.monotonic() < due:
            self.check()
            await asyncio.sleep(_LOOK)

    def check(self) -> None:
        """Raise what ended a stream, which none does by itself."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    async def lasting(self) -> None:
        """Wait for as long as all streams last, and raise what ended one."""
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        self.check()

    def staleness(self) -> float:
        """Seconds since the quietest stream was heard; infinite before all were."""
        return max((float("inf") if age is None else age for age in self.cache.ages().values()), default=float("inf"))

    def set_catalogue(self, catalogue: Catalogue) -> None:
        """Price all nodes anew, from the next cycle on."""
        self._catalogue, self._all_prices_due = catalogue, True

    def left_out(self) -> list[LeftOut]:
        """What of the cluster's objects cannot be used, and why."""
        return [*self.cache.left_out(), *self._misprized.values()]

    async def cycle(
        self,
        settings: Sequence[Setting],
        memory: LoopMemory,
        **options: Any,  # noqa: ANN401 - those of run_once
    ) -> tuple[Cycle, LoopMemory]:
        """One cycle of the loop on this cluster; `options` are those of `run_once`."""
        with self.cache.held():
            return await asyncio.to_thread(partial(run_once, self, settings, memory, **options))

    # -- the protocol, called from the cycle's thread ------------------------------------------------------------------

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock()

    def observe(self) -> ClusterSnapshot:
        """The snapshot, with usage and prices brought up to date."""
        snapshot = self.cache.snapshot
        self._measured(snapshot, self._clock())
        self._price(snapshot)
        self._ask_market(snapshot)
        self._nominations.apply(snapshot)
        return snapshot

    def act(self, actions: Sequence[AnyAction]) -> list[Outcome]:
        """Carry actions out, each after its preconditions; one outcome for every action."""
        if not actions:
            return []
        if self._actuator is None or self._loop is None:
            raise RuntimeError("this world is only looked at")
        return asyncio.run_coroutine_threadsafe(self._actuator.carry_out(actions), self._loop).result()

    def disruptions(self) -> Sequence[Ref]:
        """The workloads of the pods that others took from their nodes since the last call, once per pod."""
        return self.cache.disruptions.take()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _ask_market(self, snapshot: ClusterSnapshot) -> None:
        """What is on sale, on its way, and about to end; what was just taken back is not bought again for a while."""
        notices, known, now = list(self._notices.current()), snapshot.nodes.by_name, self._clock()
        self._notices.forget([each.node for each in notices if each.node not in known])
        if self._market is not None:
            notices += self._market.interruptions()
            snapshot.coming = self._market.coming()
        snapshot.interruptions = [each for each in notices if each.node in known]
        for each in snapshot.interruptions:
            if each.notice == "Interruption" and each.node not in self._interrupted:
                self._avoided.ran_out(offering_of(snapshot.node_labels(known[each.node])), now)
        self._interrupted = {each.node for each in snapshot.interruptions}
        if self._market is not None:
            snapshot.offerings = self._avoided.available(self._market.offerings(), now)

    async def _measure(self) -> None:
        await self.synced()  # who is asked depends on which nodes there are
        await self.meter.run()

    def _measured(self, snapshot: ClusterSnapshot, now: float) -> None:
        """Readings go in once, and again when they may have become too old."""
        readings = self.meter.readings
        if readings is not self._applied or now - self._applied_at >= MAX_AGE / 5:
            apply(snapshot, readings, now)
            self._applied, self._applied_at = readings, now

    async def _sources(self, namespaces: Mapping[str, str], *, sees_nodes: bool) -> list[Source]:
        """Where usage may come from, in order of preference."""
        pods = namespaces.get("Pod", "")
        found: list[Source] = [MetricsApi(self._client, pods, nodes=sees_nodes)]
        if sees_nodes and await allowed(self._client, "get", NODES, subresource="proxy"):
            found.append(Kubelets(self._client, lambda: list(self.cache.snapshot.nodes.by_name)))
        if self._prometheus:
            found.append(Prometheus(self._prometheus))
        if "NodeMetric" in namespaces:
            metrics = partial(self._others, "NodeMetric")
            return [Agents(metrics, lambda: list(self.cache.snapshot.nodes.by_name), Meter(found))]
        return found

    def _others(self, kind: str) -> Mapping[str, Any]:
        """What is known of a kind, by name; the snapshot is another one now and then."""
        return self.cache.snapshot.others.get(kind, {})

    def _price(self, snapshot: ClusterSnapshot) -> None:
        changed = self.cache.changed_nodes()
        if self._all_prices_due:
            self._all_prices_due, changed, self._misprized = False, set(snapshot.nodes.by_name), {}
        rows = [snapshot.nodes.by_name[name] for name in changed if name in snapshot.nodes.by_name]
        for name in changed:
            self._misprized.pop(f"Node {name}", None)
        for problem in price_nodes(snapshot, self._catalogue, rows):
            self._misprized[problem.object] = problem
