"""One host's runtime: what of ours is there, told to those who wait for it, and the handful of calls that pods need."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from neaptide.kubeapi.pace import Backoff
from neaptide.virtualnode.cri import api_pb2 as api
from neaptide.virtualnode.cri.client import Cri, CriError
from neaptide.virtualnode.providers.containerd.hosts import HostSpec
from neaptide.virtualnode.providers.containerd.lifecycle import CREATED, EXITED, RUNNING, Seen
from neaptide.virtualnode.providers.containerd.messages import CONTAINER, OWNER, UID

LOOK_EVERY = 0.25
"""Seconds between two lists of a host's containers. containerd 1.6 has no stream of events."""

_STOP_MARGIN = 30.0
_STATES = {0: CREATED, 1: RUNNING, 2: EXITED}
_NANO = 1e9


class Runtime:
    """Speaks to the runtime of a host, and looks at it all the time.

    Args:
        host: which.
        owner: the provider's name, as its containers are labelled.
        changed: called with the UID of a pod of which something has changed.
    """

    def __init__(self, host: HostSpec, owner: str, changed: Callable[[str], None]) -> None:
        self.host, self._owner, self._changed = host, owner, changed
        self.cri = Cri(host.endpoint)
        self._known: dict[str, frozenset[tuple[str, int]]] = {}
        self._task: asyncio.Task[None] | None = None
        self.problem = f"{host.name} has not answered yet"
        """Why pods cannot be run here now; empty where they can."""

    def begin(self) -> None:
        """Look from now on."""
        if self._task is None:
            self._task = asyncio.create_task(self._look_always())

    async def close(self) -> None:
        """Look no more. Pods go on."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.cri.close()

    async def ping(self) -> None:
        """Raises CriError where the runtime does not answer or is not ready."""
        try:
            status = (await self.cri.call("Status", within=5.0)).status
        except CriError as error:
            self.problem = f"{self.host.name}: {error}"
            raise
        bad = [each for each in status.conditions if each.type in ("RuntimeReady", "NetworkReady") and not each.status]
        self.problem = "; ".join(f"{self.host.name}: {each.type}: {each.reason}: {each.message}" for each in bad)
        if bad:
            raise CriError("Status", bad[0].type, self.problem)

    async def sandboxes(self, uid: str = "") -> list[Any]:
        """Our sandboxes, of all pods or one."""
        chosen = api.PodSandboxFilter(label_selector=self._selector(uid))
        return list((await self.cri.call("ListPodSandbox", filter=chosen)).items)

    async def containers(self, uid: str) -> list[Seen]:
        """A pod's containers, all attempts."""
        chosen = api.ContainerFilter(label_selector=self._selector(uid))
        found = (await self.cri.call("ListContainers", filter=chosen)).containers
        return [await self._seen(each.id) for each in found]

    async def stop(self, container_id: str, grace: float) -> None:
        """SIGTERM now, SIGKILL `grace` seconds later; returns when it has ended. One that is gone is no error."""
        seconds = max(0, round(grace))
        with _gone_is_fine():
            await self.cri.call(
                "StopContainer", within=seconds + _STOP_MARGIN, container_id=container_id, timeout=seconds
            )

    async def remove_container(self, container_id: str) -> None:
        """Forget a container. One that is gone is no error."""
        with _gone_is_fine():
            await self.cri.call("RemoveContainer", container_id=container_id)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Kill what runs in a sandbox and take it away. One that is gone is no error."""
        with _gone_is_fine():
            await self.cri.call("StopPodSandbox", within=60.0, pod_sandbox_id=sandbox_id)
        with _gone_is_fine():
            await self.cri.call("RemovePodSandbox", within=60.0, pod_sandbox_id=sandbox_id)

    async def _seen(self, container_id: str) -> Seen:
        found = (await self.cri.call("ContainerStatus", container_id=container_id)).status
        return Seen(
            id=found.id,
            name=found.labels.get(CONTAINER, found.metadata.name),
            attempt=found.metadata.attempt,
            state=_STATES.get(found.state, CREATED),
            started=found.started_at / _NANO if found.started_at > 0 else None,
            finished=found.finished_at / _NANO if found.finished_at > 0 else None,
            exit_code=found.exit_code,
            reason=found.reason,
            message=found.message,
            image=found.image.user_specified_image or found.image.image,
            image_id=found.image_ref,
        )

    def _selector(self, uid: str = "") -> Mapping[str, str]:
        return {OWNER: self._owner, **({UID: uid} if uid else {})}

    async def _look_always(self) -> None:
        backoff = Backoff(0.5, 10.0)
        while True:
            try:
                await self._look()
            except CriError as error:
                self.problem = f"{self.host.name}: {error}"
                await asyncio.sleep(backoff.next())
            else:
                self.problem = ""
                backoff.reset()
                await asyncio.sleep(LOOK_EVERY)

    async def _look(self) -> None:
        chosen = api.ContainerFilter(label_selector=self._selector())
        listed = await self.cri.call("ListContainers", filter=chosen)
        found: dict[str, set[tuple[str, int]]] = {}
        for each in listed.containers:
            found.setdefault(each.labels.get(UID, ""), set()).add((each.id, each.state))
        for sandbox in await self.sandboxes():
            found.setdefault(sandbox.labels.get(UID, ""), set()).add((sandbox.id, sandbox.state))
        now = {uid: frozenset(states) for uid, states in found.items()}
        before, self._known = self._known, now
        for uid in before.keys() | now.keys():
            if before.get(uid) != now.get(uid):
                self._changed(uid)


@contextlib.contextmanager
def _gone_is_fine() -> Any:  # noqa: ANN401 - a context manager
    try:
        yield
    except CriError as error:
        if error.code != "NOT_FOUND":
            raise
