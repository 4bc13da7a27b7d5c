"""`neaptide run --only scheduler`: the scheduler as a process of its own."""

import asyncio
from contextlib import AsyncExitStack

import structlog
from msgspec import Struct

from neaptide.kube.metrics import Metrics
from neaptide.kube.scheduler.opening import Scheduling, opened
from neaptide.kube.scheduler.service import Scheduler
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import Cluster
from neaptide.kubeapi.lease import Election, this_process

LEASE = "neaptide-scheduler"


class Alone(Struct, frozen=True, kw_only=True):
    """The process: where its lease is, under which name and for how long it holds it, and where it answers."""

    namespace: str
    identity: str = ""
    lease_seconds: int = 15
    listen: tuple[str, int] | None = None


class SchedulerProcess:
    """One replica. `run` returns after `stop`."""

    def __init__(self, cluster: Cluster, scheduling: Scheduling, options: Alone) -> None:
        self._cluster, self._scheduling, self._options = cluster, scheduling, options
        self._identity = options.identity or this_process()
        self._metrics, self._stopping = Metrics(), asyncio.Event()
        self._scheduler: Scheduler | None = None
        self._log = structlog.get_logger()

    def stop(self) -> None:
        """Begin nothing more; give the lease up."""
        self._log.info("stopping")
        self._stopping.set()

    async def run(self) -> None:
        """Run until stopped. Raises OSError where the port cannot be had, Forbidden where pods or nodes may not be seen."""
        async with AsyncExitStack() as stack:
            if self._options.listen is not None:
                from neaptide.kube.health import HealthServer  # noqa: PLC0415 - a web server takes a tenth of a second to import

                health = HealthServer(
                    *self._options.listen, alive=lambda: "", ready=self._unready, metrics=self._metrics.exposition
                )
                await health.start()
                stack.push_async_callback(health.stop)
            running = asyncio.ensure_future(self._serve(stack))
            stopping = asyncio.ensure_future(self._stopping.wait())
            await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
            for task in (running, stopping):
                task.cancel()
            results = await asyncio.gather(running, stopping, return_exceptions=True)
            if isinstance(results[0], Exception):
                raise results[0]

    async def _serve(self, stack: AsyncExitStack) -> None:
        options = self._options
        client = await stack.enter_async_context(Client(self._cluster))
        election = Election(client, LEASE, options.namespace, self._identity, duration=options.lease_seconds)
        self._scheduler = await opened(self._cluster, self._scheduling, client, election, stack, metrics=self._metrics)
        async with asyncio.TaskGroup() as group:
            group.create_task(election.run())
            group.create_task(self._scheduler.run())

    def _unready(self) -> str:
        return "" if self._scheduler is not None and self._scheduler.synced else "not synced yet"
