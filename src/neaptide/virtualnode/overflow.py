"""Overflow: a pod may run on a virtual node once a scheduler has said that no real node has room, and not before.

A preference is one score among others, and guarantees nothing. So the pod is admitted without the toleration; when a scheduler, whichever it
is, reports it Unschedulable, the toleration is added here, for tolerations are the one thing that a pending pod may be given. Pods that no
webhook has seen, because it was down or is not there, are taken up in the same way.
"""

import asyncio
from collections.abc import Collection
from typing import Any

import msgspec
import structlog
from msgspec import Raw

from neaptide.admission.protocols import Namespace
from neaptide.admission.virtual_nodes import overflowing
from neaptide.kubeapi import errors
from neaptide.kubeapi.client import Client, Patch
from neaptide.kubeapi.following import follow
from neaptide.kubeapi.resources import NAMESPACES, PODS
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
            tasks.create_task(self._follow_namespaces())
            tasks.create_task(self._follow_pods())
            tasks.create_task(self._work())

    async def _follow_namespaces(self) -> None:
        def gone(raw: Raw) -> None:
            self._namespaces.pop(_metadata(raw)["name"], None)

        def only(named: Collection[str]) -> None:
            self._namespaces = {name: each for name, each in self._namespaces.items() if name in named}

        await follow(self._client, NAMESPACES, sees=self._sees_namespace, gone=gone, only=only)

    async def _follow_pods(self) -> None:
        def gone(raw: Raw) -> None:
            self._waiting.pop(_metadata(raw)["uid"], None)

        def only(named: Collection[str]) -> None:
            self._waiting = {uid: each for uid, each in self._waiting.items() if uid in named}

        selector = "spec.nodeName="
        await follow(self._client, PODS, sees=self._sees_pod, gone=gone, only=only, field_selector=selector)

    def _sees_pod(self, raw: Raw) -> str:
        found: dict[str, Any] = msgspec.json.decode(raw)
        metadata = found["metadata"]
        uid = str(metadata["uid"])
        self._waiting[uid] = VirtualPod(uid, metadata["namespace"], metadata["name"], found)
        self._due.put_nowait(uid)
        return uid

    def _sees_namespace(self, raw: Raw) -> str:
        metadata = _metadata(raw)
        name = str(metadata["name"])
        before = self._namespaces.get(name)
        self._namespaces[name] = now = Namespace(name, metadata.get("labels") or {})
        if before is None or before.labels != now.labels:  # those that wait already may be meant now
            for uid, pod in self._waiting.items():
                if pod.namespace == name:
                    self._due.put_nowait(uid)
        return name

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


def _metadata(raw: Raw) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(raw)["metadata"]
    return found


def _unschedulable(pod: VirtualPod) -> bool:
    """Whether a scheduler has looked and found nothing."""
    conditions = (pod.object.get("status") or {}).get("conditions") or ()
    return not pod.spec.get("schedulingGates") and any(
        each["type"] == "PodScheduled" and each["status"] == "False" and each.get("reason") == "Unschedulable"
        for each in conditions
    )
