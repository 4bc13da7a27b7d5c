"""What pods in another cluster use, as the kubelets there tell it: read through that cluster's API server, which wants the right to get nodes/proxy.

A kubelet that does not answer, or may not be asked, leaves its pods out: what is not known is not zero.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import msgspec
import structlog
from msgspec import Struct

from neaptide.kubeapi import errors
from neaptide.kubeapi.client import Client
from neaptide.model.times import seconds
from neaptide.virtualnode.provider import ContainerStats, PodStats, VirtualPod

_WITHIN = 5.0
_AT_ONCE = 10


class _Cpu(Struct, frozen=True, rename="camel"):
    usage_core_nano_seconds: int | None = None


class _Memory(Struct, frozen=True, rename="camel"):
    usage_bytes: int | None = None
    working_set_bytes: int | None = None


class _Container(Struct, frozen=True, rename="camel"):
    name: str
    start_time: str | None = None
    cpu: _Cpu = _Cpu()
    memory: _Memory = _Memory()


class _Reference(Struct, frozen=True):
    uid: str = ""


class _Pod(Struct, frozen=True, rename="camel"):
    pod_ref: _Reference = _Reference()
    containers: tuple[_Container, ...] = ()


class Summary(Struct, frozen=True):
    """What we read of a kubelet's `/stats/summary`."""

    pods: tuple[_Pod, ...] = ()


class Use:
    """Asks the kubelets of another cluster."""

    def __init__(self, there: Client) -> None:
        self._there = there
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._silent: set[str] = set()
        """Nodes that did not answer the last time; each is told once."""

    async def summaries(self, nodes: Collection[str]) -> list[Summary]:
        """Of nodes, those that answer."""
        found = await asyncio.gather(*(self._ask(node) for node in sorted(nodes)))
        return [each for each in found if each is not None]

    async def _ask(self, node: str) -> Summary | None:
        path = f"/api/v1/nodes/{quote(node, safe='')}/proxy/stats/summary"
        try:
            async with self._turns:
                answer = await self._there.raw("GET", path, timeout=_WITHIN)
            summary = msgspec.json.decode(answer, type=Summary)
        except (errors.ApiError, msgspec.DecodeError) as error:
            if node not in self._silent:
                self._silent.add(node)
                structlog.get_logger().warning("no use is told of a node there", node=node, reason=str(error))
            return None
        self._silent.discard(node)
        return summary


def stats_of(
    summaries: Collection[Summary], ours: Mapping[str, tuple[VirtualPod, Mapping[str, Any]]], now: float
) -> Iterator[PodStats]:
    """What our pods use. `ours` are the pods here and there, by their UID here."""
    by_remote = {str(remote["metadata"]["uid"]): pod for pod, remote in ours.values()}
    for summary in summaries:
        for each in summary.pods:
            pod = by_remote.get(each.pod_ref.uid)
            if pod is not None:
                containers = tuple(_container(container) for container in each.containers)
                yield PodStats(pod.uid, pod.namespace, pod.name, now, containers)


def _container(found: _Container) -> ContainerStats:
    nanoseconds = found.cpu.usage_core_nano_seconds
    return ContainerStats(
        found.name,
        cpu_seconds=None if nanoseconds is None else nanoseconds / 1e9,
        memory=found.memory.usage_bytes,
        working_set=found.memory.working_set_bytes,
        started=None if found.start_time is None else seconds(found.start_time),
    )
