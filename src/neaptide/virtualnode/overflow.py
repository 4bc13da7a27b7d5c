"""Overflow: a pod may run on a virtual node once a scheduler has said that no real node has room, and not before.

A preference is one score among others, and guarantees nothing. So the pod is admitted without the toleration; when a scheduler, whichever it
is, reports it Unschedulable, the toleration is added here, for tolerations are the one thing that a pending pod may be given. Pods that no
webhook has seen, because it was down or is not there, are taken up in the same way.
"""

import asyncio
from contextlib import aclosing
from typing import Any

import msgspec
import structlog
from msgspec import Raw

from neaptide.admission.protocols import Namespace
from neaptide.admission.virtual_nodes import overflowing
from neaptide.kubeapi import errors
from neaptide.kubeapi.client import Client, Patch
from neaptide.kubeapi.pages import items_of
from neaptide.kubeapi.resources import NAMESPACES, PODS, Resource
from neaptide.kubeapi.watch import Changed, Listed, Relisted, Removed, Synced, changes
from neaptide.virtualnode.events import About, Events, Said
from neaptide.virtualnode.provider import PodProvider, VirtualPod

_SAID = Said("VirtualNodeOverflow", "no real node has room: from now on virtual nodes are tolerated")


class Overflow:
    """Follows pods that wait, and the namespaces that have opted in.

    Args:
        client: the wire.
        provider: whose nodes are tolerated, and who can refuse a pod beforehand.
        events: where a pod is told.
    """

    def __init__(self, client: Client, provider: PodProvider, events: Events) -> None:
        self._client, self._provider, self._events = client, provider, events
        self._namespaces: dict[str, Namespace] = {}
        self._waiting: dict[str, VirtualPod] = {}
        self._due: asyncio.Queue[str] = asyncio.Queue()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(NAMESPACES, ""))
            tasks.create_task(self._follow(PODS, "spec.nodeName="))
            tasks.create_task(self._work())

    async def _follow(self, resource: Resource, selector: str) -> None:
        known: dict[str, Any] = self._namespaces if resource is NAMESPACES else self._waiting
        named: set[str] | None = None
        async with aclosing(changes(self._client, resource, field_selector=selector)) as found:
            async for event in found:
                if isinstance(event, Relisted):
                    named = set()
                elif isinstance(event, Listed):
                    for item in items_of(event.raw):
                        self._sees(resource, item, named)
                elif isinstance(event, Changed):
                    self._sees(resource, event.raw, named)
                elif isinstance(event, Removed):
                    known.pop(_key(resource, msgspec.json.decode(event.raw)["metadata"]), None)
                elif isinstance(event, Synced) and named is not None:
                    for key in set(known) - named:
                        del known[key]
                    named = None

    def _sees(self, resource: Resource, raw: Raw, named: set[str] | None) -> None:
        found: dict[str, Any] = msgspec.json.decode(raw)
        metadata = found["metadata"]
        key = _key(resource, metadata)
        if named is not None:
            named.add(key)
        if resource is PODS:
            self._waiting[key] = VirtualPod(key, metadata["namespace"], metadata["name"], found)
            self._due.put_nowait(key)
            return
        before = self._namespaces.get(key)
        self._namespaces[key] = now = Namespace(key, metadata.get("labels") or {})
        if before is None or before.labels != now.labels:  # those that wait already may be meant now
            for uid, pod in self._waiting.items():
                if pod.namespace == key:
                    self._due.put_nowait(uid)

    async def _work(self) -> None:
        while True:
            pod = self._waiting.get(await self._due.get())
            if pod is None or not _unschedulable(pod):
                continue
            try:
                await self._let(pod)
            except (errors.Conflict, errors.Invalid, errors.NotFound):
                continue  # it has changed: the watch tells of it again
            except errors.ApiError as error:
                structlog.get_logger().warning(
                    "pod not let onto virtual nodes", pod=f"{pod.namespace}/{pod.name}", reason=str(error)
                )
                asyncio.get_running_loop().call_later(5.0, self._due.put_nowait, pod.uid)

    async def _let(self, pod: VirtualPod) -> None:
        namespace = self._namespaces.get(pod.namespace)
        if namespace is None:
            return
        found = overflowing(dict(pod.object), namespace, self._provider.name)
        if found is None or self._provider.refusal(pod):
            return
        there = pod.spec.get("tolerations")
        added = (
            {"path": "/spec/tolerations/-", "value": found}
            if there
            else {"path": "/spec/tolerations", "value": [found]}
        )
        version = {"op": "test", "path": "/metadata/resourceVersion", "value": pod.metadata["resourceVersion"]}
        await self._client.patch(PODS, pod.name, [version, {"op": "add", **added}], pod.namespace, kind=Patch.JSON)
        self._events.say(About(pod.uid, pod.namespace, pod.name), _SAID)


def _key(resource: Resource, metadata: dict[str, Any]) -> str:
    return str(metadata["name"] if resource is NAMESPACES else metadata["uid"])


def _unschedulable(pod: VirtualPod) -> bool:
    """Whether a scheduler has looked and found nothing."""
    conditions = (pod.object.get("status") or {}).get("conditions") or ()
    return not pod.spec.get("schedulingGates") and any(
        each["type"] == "PodScheduled" and each["status"] == "False" and each.get("reason") == "Unschedulable"
        for each in conditions
    )
