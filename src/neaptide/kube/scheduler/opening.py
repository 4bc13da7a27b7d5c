"""A scheduler with its connections, for the process that holds the lease."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

import structlog
from msgspec import Struct

from neaptide.kube.acting.carrying import Api
from neaptide.kube.actuator import Actuator
from neaptide.kube.metrics import Metrics
from neaptide.kube.scheduler.service import Scheduler, Wires
from neaptide.kube.scheduler.streams import choose
from neaptide.kube.streams import Stream, may_watch
from neaptide.kube.usage.agents import Agents
from neaptide.kube.usage.kubelet import Kubelets
from neaptide.kube.usage.meter import Meter
from neaptide.kube.usage.metrics_api import MetricsApi
from neaptide.kube.usage.readings import Source
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.config import Cluster
from neaptide.kubeapi.discovery import allowed, served
from neaptide.kubeapi.errors import ConnectionLost, ServerTimeout, Unavailable
from neaptide.kubeapi.lease import Election
from neaptide.kubeapi.resources import NODE_METRIC, NODES
from neaptide.model.actions import Ref
from neaptide.placement.cycle.profile import CycleProfile
from neaptide.policies.arbiter import ArbiterMemory

_RETRY = 2.0
_BINDING, _SAYING = 16, 4
"""Connections that bindings share, and those that Events share."""
_log = structlog.get_logger()


class Scheduling(Struct, frozen=True, kw_only=True):
    """How pods are scheduled.

    Attributes:
        profile: what decides, and for which `schedulerName`.
        qps: bindings a second; statuses and Events have as much again.
        at_once: bindings under way at a time.
    """

    profile: CycleProfile = CycleProfile()
    qps: float = 200.0
    at_once: int = 100


async def opened(
    cluster: Cluster,
    scheduling: Scheduling,
    reads: Client,
    election: Election,
    stack: AsyncExitStack,
    *,
    metrics: Metrics,
    memory: Callable[[], ArbiterMemory] = ArbiterMemory,
    disrupted: Callable[[Ref], None] = lambda _: None,
) -> Scheduler:
    """A scheduler that is to be run, as soon as the API server answers; its connections close with the stack.

    Raises:
        Forbidden: nodes or pods may not be watched.
    """
    clients = [
        Client(cluster, qps=scheduling.qps, burst=int(2 * scheduling.qps), pipelined=connections)
        for connections in (_BINDING, 0, _SAYING)
    ]
    binds, writes, says = [await stack.enter_async_context(each) for each in clients]
    streams = await _chosen(says)  # some dozens of questions over few connections
    binds, writes = binds.guarded_by(election), writes.guarded_by(election)  # an Event is true whoever leads by now
    actuator = Actuator(Api(writes, time.time), may_act=lambda: election.leading, watchers=(metrics.outcome,))
    scheduler = Scheduler(
        Wires(reads, binds, writes, says, scheduling.at_once, scheduling.qps),
        streams,
        scheduling.profile,
        election=election,
        actuator=actuator,
        memory=memory,
        disrupted=disrupted,
        registry=metrics.registry,
    )
    if scheduling.profile.asks_for_usage:
        agents = NODE_METRIC in await served(says) and await may_watch(says, NODE_METRIC)
        sources = await _sources(reads, scheduler)
        if agents:
            sources = [Agents(lambda: scheduler.agents.known, scheduler.node_names, Meter(sources))]
        scheduler.measure_by(sources, agents=agents)
    return scheduler


async def _sources(client: Client, scheduler: Scheduler) -> list[Source]:
    """Where usage may come from besides agents, in order of preference."""
    found: list[Source] = [MetricsApi(client)]
    if await allowed(client, "get", NODES, subresource="proxy"):
        found.append(Kubelets(client, scheduler.node_names))
    return found


async def _chosen(client: Client) -> list[Stream]:
    while True:
        try:
            streams, unseen = await choose(client)
        except (ConnectionLost, ServerTimeout, Unavailable) as error:
            _log.warning("the API server does not answer", reason=str(error))
            await asyncio.sleep(_RETRY)
        else:
            _log.info("scheduler watches", unseen=unseen)
            return streams
