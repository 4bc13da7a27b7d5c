"""Events as a kubelet writes them: on pods, `Pulled`, `Created`, `Started`, `Killing`, `BackOff`, `Failed`, and what a provider says.

What is said is derived from two states of a pod, so every provider's pods have the same Events.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple
from zlib import crc32

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.errors import AlreadyExists, ApiError
from neaptide.kubeapi.resources import Resource
from neaptide.model.times import timestamp
from neaptide.virtualnode.states import Container, PodState, Running, Waiting

CORE_EVENTS = Resource("", "v1", "events", "Event", namespaced=True)
_WAITING = 20_000
_AT_ONCE = 8
_LONGEST = 1000
_FAILURES = {
    "ErrImagePull": "Failed",
    "InvalidImageName": "InspectFailed",
    "ErrImageNeverPull": "ErrImageNeverPull",
    "CreateContainerError": "Failed",
    "CreateContainerConfigError": "Failed",
    "RunContainerError": "Failed",
    "ImagePullBackOff": "BackOff",
    "CrashLoopBackOff": "BackOff",
}


class Said(NamedTuple):
    """One Event: its reason, its sentence, whether it is a warning, the container it is about, and whether it is said once, also after a restart."""

    reason: str
    message: str
    warning: bool = False
    container: str = ""
    once: bool = False


class About(NamedTuple):
    """The pod that an Event is about."""

    uid: str
    namespace: str
    name: str


def news(before: PodState | None, after: PodState) -> Iterator[Said]:
    """What a kubelet would say of a change. `before` is None for a pod that was just created."""
    known = {each.name: each for each in before.every()} if before else {}
    for each in after.every():
        yield from _of_container(known.get(each.name) or Container(each.name), each)
    if after.reason and after.reason != (before.reason if before else ""):
        yield Said(after.reason, after.message or after.reason, warning=True)


def _of_container(before: Container, after: Container) -> Iterator[Said]:
    if after.image_id and after.image_id != before.image_id:
        yield Said("Pulled", f'Container image "{after.image}" is there: {after.image_id}', container=after.name)
    if after.container_id and after.container_id != before.container_id:
        yield Said("Created", f"Created container: {after.name}", container=after.name)
    began = isinstance(after.state, Running) and (
        not isinstance(before.state, Running) or after.restarts > before.restarts
    )
    if began or (
        not isinstance(after.state, Running | Waiting) and isinstance(before.state, Waiting) and after.container_id
    ):
        yield Said("Started", f"Started container {after.name}", container=after.name)
    if isinstance(after.state, Waiting) and after.state != before.state and after.state.reason in _FAILURES:
        message = after.state.message or f"container {after.name}: {after.state.reason}"
        yield Said(_FAILURES[after.state.reason], message, warning=True, container=after.name)


class Events:
    """Writes Events behind; one that cannot be written is counted and forgotten, for it is a courtesy.

    Args:
        client: the wire.
        node: the node whose kubelet says it.
        clock: seconds since the epoch.

    Attributes:
        dropped: how many were not written.
    """

    def __init__(self, client: Client, node: str, *, clock: Callable[[], float] = time.time) -> None:
        self._client, self._node, self._clock = client, node, clock
        self._queue: deque[tuple[About, Said, float]] = deque()
        self._wake = asyncio.Event()
        self._number = itertools.count()
        self.dropped = 0

    def say(self, about: About, said: Said) -> None:
        """Have an Event written soon."""
        if len(self._queue) >= _WAITING:
            self.dropped += 1
            return
        self._queue.append((about, said, self._clock()))
        self._wake.set()

    async def run(self) -> None:
        """Write what is said, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_AT_ONCE):
                tasks.create_task(self._write())

    async def _write(self) -> None:
        while True:
            while self._queue:
                about, said, at = self._queue.popleft()
                try:
                    await self._client.create(CORE_EVENTS, self._event(about, said, at), about.namespace)
                except AlreadyExists:
                    continue  # a process before this one has said it
                except ApiError:
                    self.dropped += 1
            self._wake.clear()
            await self._wake.wait()

    def _event(self, about: About, said: Said, at: float) -> dict[str, object]:
        mark = f"{int(at * 1e9):x}{next(self._number):x}"
        if said.once:
            mark = f"{crc32(f'{about.uid} {said.reason}'.encode()):x}"
        involved = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": about.name,
            "namespace": about.namespace,
            "uid": about.uid,
        }
        if said.container:
            involved["fieldPath"] = f"spec.containers{{{said.container}}}"
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{about.name[:200]}.{mark}",
                "namespace": about.namespace,
            },
            "involvedObject": involved,
            "reason": said.reason,
            "message": said.message[:_LONGEST],
            "type": "Warning" if said.warning else "Normal",
            "source": {"component": "kubelet", "host": self._node},
            "reportingComponent": "kubelet",
            "reportingInstance": self._node,
            "firstTimestamp": timestamp(at),
            "lastTimestamp": timestamp(at),
            "count": 1,
        }
