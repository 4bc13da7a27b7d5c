"""The pods of one virtual node: what the API wants and what the provider has, brought together pod by pod.

Each look at a pod reads both sides anew and takes the next step, so that it does not matter where an earlier process ended:

    API has it          provider has it   step
    ------------------- ----------------- -----------------------------------------------------------
    new                 no                wait for a turn, create
    has run             no                its run is lost: Failed, and never created again
    running             yes               status, Events; update where the pod changed
    ended               yes               kept for its logs; stopped where it still runs
    being deleted       running           stop, with its grace
    being deleted       stopped or no     last status, remove, then delete the object
    no                  yes               remove
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing, suppress
from typing import Any, TypeVar

import msgspec
import structlog
from msgspec import Raw, Struct

from neaptide.kubeapi import errors
from neaptide.kubeapi.client import Client, Patch
from neaptide.kubeapi.following import follow
from neaptide.kubeapi.pace import Backoff
from neaptide.kubeapi.resources import PODS
from neaptide.model.objects import MIRROR
from neaptide.virtualnode.billing import Bill
from neaptide.virtualnode.events import About, Events, Said, news
from neaptide.virtualnode.provider import PodProvider, ProviderError, RefusedError, VirtualPod
from neaptide.virtualnode.starts import Starts
from neaptide.virtualnode.states import PodState, Running
from neaptide.virtualnode.status import TERMINAL, failed_status, pod_status
from neaptide.virtualnode.syncs import Syncs

T = TypeVar("T")
_FOLLOWED = ("containers", "initContainers", "ephemeralContainers", "activeDeadlineSeconds", "tolerations")
_MARGIN = 30.0


class Patience(Struct, frozen=True):
    """Seconds: for one call of the provider, and between two looks at all it has, which mend what `changes` has missed."""

    call: float = 120.0
    look: float = 30.0


class Pods:
    """Keeps the pods of one node.

    Args:
        client: the wire.
        provider: who runs them.
        node: the node's name; address: its IP, for pods whose provider tells no other.
        events: where a kubelet's Events go.
        starts: turns to create pods, shared by the nodes of a provider.
        bill: is told of changes, and settled before the provider forgets a pod.
        clock: seconds since the epoch.

    Attributes:
        wanted: pods by UID as the API has them; states: as the provider has them.
        synced: set when both were read to the end for the first time.
        came: is told of each pod that the API has and this did not know.
    """

    def __init__(
        self,
        client: Client,
        provider: PodProvider,
        *,
        node: str,
        address: str,
        events: Events,
        starts: Starts,
        bill: Bill | None = None,
        patience: Patience = Patience(),  # noqa: B008 - frozen
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._provider, self._node, self._address = client, provider, node, address
        self._events, self._starts, self._patience, self._clock = events, starts, patience, clock
        self._bill = bill
        self.wanted: dict[str, VirtualPod] = {}
        self.states: dict[str, PodState] = {}
        self.synced = asyncio.Event()
        self.came: Callable[[VirtualPod], object] = lambda _: None
        self._api_synced, self._looked = asyncio.Event(), asyncio.Event()
        self._syncs = Syncs(self._look_at)
        self._creating: dict[str, asyncio.Task[None]] = {}
        self._fresh: set[str] | None = None
        """UIDs whose state changed while all of the provider's pods are being asked for."""
        self._written: dict[str, dict[str, Any]] = {}
        self._given: dict[str, dict[str, Any]] = {}
        self._stopping: dict[str, tuple[float, float]] = {}
        """Those asked to end: with what grace, and the loop time at which they are asked again."""
        self._said: dict[str, set[str]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for each in (self._follow_api(), self._follow_provider(), self._look_often(), self._begin()):
                    tasks.create_task(each)
        finally:
            await self._syncs.close()

    async def _begin(self) -> None:
        await self._api_synced.wait()
        await self._looked.wait()
        self.synced.set()
        for uid in {*self.wanted, *self.states}:
            self._syncs.poke(uid)

    # -- what the API wants --------------------------------------------------------------------------------------------

    async def _follow_api(self) -> None:
        def gone(raw: Raw) -> None:
            self._unwanted(msgspec.json.decode(raw)["metadata"]["uid"])

        def only(named: Collection[str]) -> None:
            for uid in set(self.wanted).difference(named):
                self._unwanted(uid)
            self._api_synced.set()

        selector = f"spec.nodeName={self._node}"
        await follow(self._client, PODS, sees=self._wants, gone=gone, only=only, field_selector=selector)

    def _wants(self, raw: Raw) -> str:
        found: dict[str, Any] = msgspec.json.decode(raw)
        metadata = found["metadata"]
        if MIRROR not in (metadata.get("annotations") or {}):
            self._takes(VirtualPod(metadata["uid"], metadata["namespace"], metadata["name"], found))
        return str(metadata["uid"])

    def _takes(self, pod: VirtualPod) -> None:
        older = self.wanted.get(pod.uid)
        if older is not None and _version(older) > _version(pod):
            return  # a watch may be behind what a write has answered
        self.wanted[pod.uid] = pod
        if older is None:
            self.came(pod)
        creating = self._creating.get(pod.uid)
        if creating is not None and pod.metadata.get("deletionTimestamp"):
            creating.cancel()
        self._poke(pod.uid)

    def _unwanted(self, uid: str) -> None:
        self.wanted.pop(uid, None)
        if creating := self._creating.get(uid):
            creating.cancel()
        self._poke(uid)

    def _poke(self, uid: str) -> None:
        if self.synced.is_set():
            self._syncs.poke(uid)

    # -- what the provider has -----------------------------------------------------------------------------------------

    async def _follow_provider(self) -> None:
        backoff = Backoff(0.5, 30.0)
        while True:
            try:
                async with aclosing(_closable(self._provider.changes())) as found:
                    async for state in found:
                        backoff.reset()
                        if self._fresh is not None:
                            self._fresh.add(state.uid)
                        self._sees(state)
            except Exception as error:  # noqa: BLE001 - whatever a provider raises, it is asked again
                _log("the provider's changes are interrupted", self._node, error)
            await asyncio.sleep(backoff.next())

    async def _look_often(self) -> None:
        backoff = Backoff(0.5, 30.0)
        while True:
            try:
                await self._look_at_all()
            except Exception as error:  # noqa: BLE001 - as above
                _log("the provider's pods cannot be asked for", self._node, error)
                await asyncio.sleep(backoff.next())
            else:
                backoff.reset()
                self._looked.set()
                await asyncio.sleep(self._patience.look)

    async def _look_at_all(self) -> None:
        before, self._fresh = set(self.states), set()
        try:
            found = await self._call(self._provider.pods())
        finally:
            fresh, self._fresh = self._fresh, None
        for state in found:
            if state.uid not in fresh:
                self._sees(state)
        for uid in before - {state.uid for state in found} - fresh:
            if not self._syncs.is_busy(uid):
                del self.states[uid]
                self._poke(uid)

    def _sees(self, state: PodState) -> None:
        before = self.states.get(state.uid)
        if state == before or state.node not in ("", self._node):
            return
        self.states[state.uid] = state
        if self._bill is not None and (before is None or state.stopped):
            self._bill.changed()
        if self._looked.is_set():  # what ran before this process began was told by the one before
            for said in news(before, state):
                self._events.say(About(state.uid, state.namespace, state.name), said)
        self._poke(state.uid)

    # -- one pod -------------------------------------------------------------------------------------------------------

    async def _look_at(self, uid: str) -> None:
        pod, state = self.wanted.get(uid), self.states.get(uid)
        if pod is None:
            await self._forget(uid)
        elif pod.metadata.get("deletionTimestamp"):
            await self._end(pod, state)
        elif _phase(pod) in TERMINAL:
            if state is not None and not state.stopped:
                await self._stop(pod, state)
        elif state is not None:
            await self._follow(pod, state)
        elif _has_run(pod):
            message = f"the provider {self._provider.name} does not know this pod any more"
            await self._fail(pod, "ProviderLost", message)
        else:
            await self._create(pod)

    async def _forget(self, uid: str) -> None:
        """A pod that the API does not have any more."""
        await self._remove(uid)
        self.states.pop(uid, None)
        self._written.pop(uid, None)
        self._given.pop(uid, None)
        self._stopping.pop(uid, None)
        self._said.pop(uid, None)

    async def _remove(self, uid: str) -> None:
        """Killed where it still runs, billed, forgotten: in this order, so that no second is lost."""
        state = self.states.get(uid)
        if state is not None and not state.stopped:
            await self._call(self._provider.stop(uid, 0.0))
        if self._bill is not None:
            await self._bill.settled()
        await self._call(self._provider.remove(uid))

    async def _create(self, pod: VirtualPod) -> None:
        if _daemon(pod):
            self._say_once(pod, Said("DaemonSetPod", "a DaemonSet's pod is not run on a virtual node", warning=True))
            return
        if refusal := self._provider.refusal(pod):
            await self._fail(pod, RefusedError.reason, refusal)
            return
        self._creating[pod.uid] = task = asyncio.create_task(self._started(pod))
        try:
            await asyncio.wait({task})
        finally:
            del self._creating[pod.uid]
            task.cancel()
        if task.cancelled():  # the pod was deleted meanwhile: whatever the provider made of it is removed
            self._syncs.poke(pod.uid)
            return
        error = task.exception()
        if isinstance(error, RefusedError):
            await self._fail(pod, error.reason, str(error))
        elif error is not None:
            reason = getattr(error, "reason", ProviderError.reason)
            failed = Said("ProviderCreateFailed", f"{reason}: {error or type(error).__name__}", warning=True)
            self._say_once(pod, failed)
            raise error

    async def _started(self, pod: VirtualPod) -> None:
        await self._starts.turn(pod.namespace)
        await self._call(self._provider.create(pod))
        self._given[pod.uid] = _followed(pod)
        if pod.uid not in self.states:
            self._sees(PodState(pod.uid, pod.namespace, pod.name, created=self._clock()))
        self._syncs.poke(pod.uid)

    async def _follow(self, pod: VirtualPod, state: PodState) -> None:
        wanted, given = _followed(pod), self._given.get(pod.uid)
        if given != wanted:
            if given is not None or self._provider_may_be_behind(pod):
                await self._call(self._provider.update(pod))
            self._given[pod.uid] = wanted
        await self._write(pod, pod_status(pod, state, now=self._clock(), host_ip=self._address))

    def _provider_may_be_behind(self, pod: VirtualPod) -> bool:
        """Whether a pod found at the provider after a restart may have changed while nobody looked."""
        return int(pod.metadata.get("generation") or 1) > 1

    async def _stop(self, pod: VirtualPod, state: PodState) -> None:
        """Ask for a pod's end: once, again with another grace, and again when it is long over."""
        grace = pod.metadata.get("deletionGracePeriodSeconds")
        if grace is None:
            grace = pod.spec.get("terminationGracePeriodSeconds", 30)
        asked, due = self._stopping.get(pod.uid, (None, 0.0))
        now = asyncio.get_running_loop().time()
        if asked == grace and now < due:
            return
        if asked is None:
            for each in state.every():
                if isinstance(each.state, Running):
                    said = Said("Killing", f"Stopping container {each.name}", container=each.name)
                    self._events.say(_about(pod), said)
        await self._call(self._provider.stop(pod.uid, float(grace)))
        self._stopping[pod.uid] = (grace, now + grace + _MARGIN)
        self._syncs.poke_after(pod.uid, grace + _MARGIN + 1)

    async def _end(self, pod: VirtualPod, state: PodState | None) -> None:
        """A pod that is being deleted: its containers, then its last status, then what the provider keeps, then the object."""
        if state is not None and not state.stopped and any(isinstance(each.state, Running) for each in state.every()):
            await self._follow(pod, state)
            await self._stop(pod, state)
            return
        if _phase(pod) not in TERMINAL:
            status = None if state is None else pod_status(pod, state, now=self._clock(), host_ip=self._address)
            if status is None or status["phase"] not in TERMINAL:
                status = failed_status(pod, "", "", now=self._clock())
            await self._write(pod, status)
        await self._remove(pod.uid)
        with suppress(errors.NotFound, errors.Conflict):
            await self._client.delete(PODS, pod.name, pod.namespace, uid=pod.uid, grace_seconds=0)

    async def _fail(self, pod: VirtualPod, reason: str, message: str) -> None:
        self._say_once(pod, Said(reason, message, warning=True))
        await self._write(pod, failed_status(pod, reason, message, now=self._clock()))

    async def _write(self, pod: VirtualPod, status: dict[str, Any]) -> None:
        """Write a status where it says something new. What has ended in the API is never told otherwise."""
        if self._written.get(pod.uid) == status or _says(pod.object.get("status") or {}, status):
            return
        body = {"metadata": {"uid": pod.uid}, "status": status}
        try:
            written = await self._client.patch(
                PODS, pod.name, body, pod.namespace, kind=Patch.STRATEGIC, subresource="status"
            )
        except (errors.NotFound, errors.Conflict):
            return  # it is gone, or another has its name: the watch will tell
        self._written[pod.uid] = status
        if pod.uid in self.wanted:
            self._takes(VirtualPod(pod.uid, pod.namespace, pod.name, msgspec.json.decode(written)))

    def _say_once(self, pod: VirtualPod, said: Said) -> None:
        known = self._said.setdefault(pod.uid, set())
        if said.message not in known:
            known.add(said.message)
            self._events.say(_about(pod), said)

    async def _call(self, call: Awaitable[T]) -> T:
        """A call of the provider, for so long and no longer. Raises ProviderError."""
        try:
            async with asyncio.timeout(self._patience.call):
                return await call
        except TimeoutError as error:
            raise ProviderError(f"the provider did not answer within {self._patience.call:g} s") from error


def _phase(pod: VirtualPod) -> str:
    return str((pod.object.get("status") or {}).get("phase") or "Pending")


def _version(pod: VirtualPod) -> int:
    """Resource versions grow, and may be compared within one resource (Kubernetes 1.35)."""
    return int(pod.metadata.get("resourceVersion") or 0)


def _about(pod: VirtualPod) -> About:
    return About(pod.uid, pod.namespace, pod.name)


def _daemon(pod: VirtualPod) -> bool:
    return any(owner.get("kind") == "DaemonSet" for owner in pod.metadata.get("ownerReferences") or ())


def _has_run(pod: VirtualPod) -> bool:
    """Whether a container of it is known to have begun."""
    status = pod.object.get("status") or {}
    containers = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    began = any(
        {"running", "terminated"} & {*(each.get("state") or {}), *(each.get("lastState") or {})} for each in containers
    )
    return began or _phase(pod) == "Running"


def _followed(pod: VirtualPod) -> dict[str, Any]:
    """What of a pod a provider is told of when it changes."""
    found = {key: pod.spec.get(key) for key in _FOLLOWED}
    return found | {key: pod.metadata.get(key) for key in ("labels", "annotations")}


def _says(there: Any, wanted: Any) -> bool:  # noqa: ANN401 - any part of a status
    """Whether a status says already all that is wanted; conditions are told apart by their type."""
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(_says(there.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        if wanted and isinstance(wanted[0], dict) and "lastTransitionTime" in wanted[0]:
            by_type = {each["type"]: each for each in there or ()}
            return all(_says(by_type.get(each["type"]), each) for each in wanted)
        there = there or []
        return len(there) == len(wanted) and all(_says(*pair) for pair in zip(there, wanted, strict=True))
    return bool(there == wanted) or (there is None and wanted in ("", False, 0))


async def _closable(found: AsyncIterator[PodState]) -> AsyncGenerator[PodState, None]:
    """An iterator that is closed with its reader, where it can be."""
    try:
        async for each in found:
            yield each
    finally:
        close = getattr(found, "aclose", None)
        if close is not None:
            await close()


def _log(what: str, node: str, error: Exception) -> None:
    structlog.get_logger().warning(what, node=node, reason=str(error) or type(error).__name__)
