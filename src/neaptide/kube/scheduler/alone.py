"""`neaptide run --only scheduler`: the scheduler as a process of its own."""

import asyncio
import os
import socket
import time
from contextlib import AsyncExitStack

import structlog
from msgspec import Struct

from neaptide.kube.acting.carrying import Api
from neaptide.kube.actuator import Actuator
from neaptide.kube.health import HealthServer
from neaptide.kube.metrics import Metrics
from neaptide.kube.scheduler.service import Scheduler, Wires
from neaptide.kube.scheduler.streams import choose
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import Cluster
from neaptide.kubeapi.errors import ConnectionLost, ServerTimeout, Unavailable
from neaptide.kubeapi.lease import Election
from neaptide.placement.cycle.profile import CycleProfile

LEASE = "neaptide-scheduler"
_RETRY = 2.0


class Scheduling(Struct, frozen=True, kw_only=True):
    """How pods are scheduled.

    Attributes:
        profile: what decides, and for which `schedulerName`.
        qps: bindings a second; statuses and Events have as much again.
        at_once: bindings under way at a time.
    """

    profile: CycleProfile = CycleProfile()
    qps: float = 200.0
    at_once: int = 32


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
        self._identity = options.identity or f"{socket.gethostname()}-{os.getpid()}"
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
        qps, duration = self._scheduling.qps, self._options.lease_seconds
        reads, binds, writes = [
            await stack.enter_async_context(Client(self._cluster, qps=each, burst=int(2 * each)))
            for each in (100.0, qps, qps)
        ]
        while True:
            try:
                streams, unseen = await choose(reads)
                break
            except (ConnectionLost, ServerTimeout, Unavailable) as error:
                self._log.warning("the API server does not answer", reason=str(error))
                await asyncio.sleep(_RETRY)
        self._log.info("watching", unseen=unseen)
        election = Election(
            reads, LEASE, self._options.namespace, self._identity,
            duration=duration, renew=duration * 2 / 3, retry=duration * 2 / 15,
        )  # fmt: skip
        writer = writes.guarded_by(election)
        actuator = Actuator(Api(writer, time.time), may_act=lambda: election.leading, watchers=(self._metrics.outcome,))
        wires = Wires(reads, binds.guarded_by(election), writer, self._scheduling.at_once)
        self._scheduler = Scheduler(wires, streams, self._scheduling.profile, election=election, actuator=actuator)
        async with asyncio.TaskGroup() as group:
            group.create_task(election.run())
            group.create_task(self._scheduler.run())

    def _unready(self) -> str:
        return "" if self._scheduler is not None and self._scheduler.synced else "not synced yet"
