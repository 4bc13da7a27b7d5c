"""The provider: pods are made in another cluster, whose kubelets do the rest, and what becomes of them is told here.

That cluster is the memory: a pod there carries the UID of the one here. A pod is never made twice, for its name there has its UID in it; while
the other cluster does not answer its pods go on, and nobody here is told that they have gone.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec

from neaptide.kubeapi import errors
from neaptide.kubeapi.client import Client, Patch
from neaptide.kubeapi.config import load
from neaptide.kubeapi.resources import PODS
from neaptide.model.objects import Pod, PodSpec
from neaptide.model.requests import effective_requests
from neaptide.virtualnode.provider import (
    Capacity,
    ExecOptions,
    LogOptions,
    Network,
    OutOfStockError,
    PodStats,
    ProviderError,
    RefusedError,
    Run,
    StreamTarget,
    UnknownPodError,
    VirtualPod,
)
from neaptide.virtualnode.providers.cluster.companions import Companions, answered
from neaptide.virtualnode.providers.cluster.follow import Follower
from neaptide.virtualnode.providers.cluster.room import Shape, room, shape_of
from neaptide.virtualnode.providers.cluster.spec import ClusterSpec
from neaptide.virtualnode.providers.cluster.states import ended_of, started_of, state_of
from neaptide.virtualnode.providers.cluster.translate import GONE, ORIGIN, UID, refusal, remote_name, remote_pod
from neaptide.virtualnode.providers.cluster.use import Use, stats_of
from neaptide.virtualnode.states import PodState

_SHAPES_KEPT = 3600.0
_SYNC_SECONDS = 20.0


class ClusterProvider:
    """Pods in another cluster.

    Args:
        spec: how it is used.
        here: the client of the cluster that pods come from, for what they refer to.
        there: the other cluster's.
        opens: whether the other client is the provider's own, opened when it is first needed and closed with the provider.
        clock: seconds since the epoch.
    """

    name = "cluster"
    network: Network = "own"

    def __init__(
        self,
        spec: ClusterSpec,
        here: Client,
        there: Client,
        *,
        opens: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._spec, self._there, self._clock = spec, there, clock
        self._opens, self._opened = opens, False
        self.rate, self.burst = spec.rate, spec.burst
        self._companions, self._use = Companions(spec, here, there), Use(there)
        self._follower = Follower(there, spec.owner, self._changed)
        self._taken: dict[str, VirtualPod] = {}
        self._ended: dict[str, Run] = {}
        self._shapes: dict[Shape, float] = {}
        self._listeners: set[asyncio.Queue[PodState]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._creating: dict[str, asyncio.Lock] = {}

    # -- the node ------------------------------------------------------------------------------------------------------

    async def ping(self) -> None:
        """Raises ProviderError where the other API server does not answer, or its objects were never read."""
        await self._begin()
        try:
            await self._there.raw("GET", "/readyz", timeout=5.0)
        except errors.ApiError as error:
            raise ProviderError(f"the other cluster does not answer: {error}") from error
        await self._synced()

    async def capacity(self) -> Capacity:
        """What our pods there ask for, and so many more of the largest shape asked for lately as would fit now."""
        await self._synced()
        now = self._clock()
        self._shapes = {shape: seen for shape, seen in self._shapes.items() if now - seen < _SHAPES_KEPT}
        more = room(self._follower.remote.free(), list(self._shapes))
        cpu, memory, pods = more.cpu, more.memory, more.pods
        for remote in self._follower.ours.values():
            if ended_of(remote) is None and (remote.get("spec") or {}).get("nodeName"):
                asked = _requests(remote["spec"])
                cpu, memory, pods = cpu + asked.get("cpu", 0), memory + asked.get("memory", 0), pods + 1
        return Capacity({"cpu": f"{cpu}m", "memory": str(memory), "pods": str(pods)})

    # -- pods ----------------------------------------------------------------------------------------------------------

    def refusal(self, pod: VirtualPod) -> str:
        return refusal(pod)

    async def create(self, pod: VirtualPod) -> None:
        await self._synced()
        async with self._creating.setdefault(pod.uid, asyncio.Lock()):
            self._taken[pod.uid] = pod
            if pod.uid in self._follower.ours:
                return
            self._shapes[shape_of(_requests(pod.spec))] = self._clock()
            namespace = self._spec.namespace_of(pod.namespace)
            body = remote_pod(
                pod, namespace=namespace, owner=self._spec.owner, service_accounts=self._spec.service_accounts
            )
            if obstacle := self._follower.remote.obstacle(msgspec.convert(body, Pod, strict=False)):
                raise OutOfStockError(f"the other cluster cannot take it now: {obstacle}")
            await self._companions.make(pod)
            self._follower.ours[pod.uid] = await self._make_pod(pod, body, namespace)
        self._changed(pod.uid)

    async def update(self, pod: VirtualPod) -> None:
        self._taken[pod.uid] = pod
        remote = self._follower.ours.get(pod.uid)
        if remote is None:
            return
        namespace = remote["metadata"]["namespace"]
        wanted = remote_pod(
            pod, namespace=namespace, owner=self._spec.owner, service_accounts=self._spec.service_accounts
        )
        metadata = {key: wanted["metadata"][key] for key in ("labels", "annotations")}
        spec = {key: wanted["spec"][key] for key in ("activeDeadlineSeconds",) if key in wanted["spec"]}
        images = [{"name": each["name"], "image": each["image"]} for each in wanted["spec"]["containers"]]
        body = {"metadata": metadata, "spec": {**spec, "containers": images}}
        with contextlib.suppress(errors.NotFound):
            await answered(self._there.patch(PODS, remote["metadata"]["name"], body, namespace, kind=Patch.STRATEGIC))

    async def stop(self, uid: str, grace: float) -> None:
        self._follower.ending.add(uid)
        await self._delete(uid, grace)

    async def remove(self, uid: str) -> None:
        """Delete the pod there at once, and what only it referred to; returns when the pod is gone."""
        await self._synced()
        remote = self._follower.ours.get(uid)
        if remote is not None:
            run = self._run(uid, remote)
            if run is not None:
                self._ended[uid] = run if run.ended is not None else msgspec.structs.replace(run, ended=self._clock())
            await self._delete(uid, 0)
            self._follower.ours.pop(uid, None)
            self._follower.ending.discard(uid)
        pod = self._taken.pop(uid, None)
        self._creating.pop(uid, None)
        if pod is not None:
            await self._companions.clear(pod, list(self._taken.values()))

    async def pods(self) -> Sequence[PodState]:
        await self._synced()
        return [state_of(self._known(uid, remote), remote) for uid, remote in self._follower.ours.items()]

    async def changes(self) -> AsyncIterator[PodState]:
        queue: asyncio.Queue[PodState] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)

    # -- what people ask for -------------------------------------------------------------------------------------------

    async def logs(self, uid: str, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        namespace, name = await self._where(uid)
        since = max(1, round(self._clock() - options.since)) if options.since is not None else None
        query = {
            "container": container,
            "follow": "true" if options.follow else "",
            "previous": "true" if options.previous else "",
            "timestamps": "true" if options.timestamps else "",
            "tailLines": "" if options.tail is None else str(options.tail),
            "limitBytes": "" if options.limit_bytes is None else str(options.limit_bytes),
            "sinceSeconds": "" if since is None else str(since),
        }
        try:
            async with self._there.stream(PODS.path(namespace, name, "log"), query) as stream:
                async for chunk in stream.iter_any():
                    yield chunk
        except errors.ApiError as error:
            raise UnknownPodError(str(error)) from error

    async def exec(self, uid: str, container: str, options: ExecOptions) -> StreamTarget:
        return await self._stream(uid, "exec", [("container", container), *_streams(options)])

    async def attach(self, uid: str, container: str, options: ExecOptions) -> StreamTarget:
        return await self._stream(uid, "attach", [("container", container), *_streams(options)])

    async def port_forward(self, uid: str, ports: Sequence[int]) -> StreamTarget:
        return await self._stream(uid, "portforward", [("ports", str(port)) for port in ports])

    async def stats(self) -> Sequence[PodStats]:
        """As the kubelets there tell it; of those that do not, nothing."""
        await self._synced()
        ours = {uid: (self._known(uid, remote), remote) for uid, remote in self._follower.ours.items()}
        nodes = {node for _, remote in ours.values() if (node := remote["spec"].get("nodeName"))}
        return tuple(stats_of(await self._use.summaries(nodes), ours, self._clock()))

    async def runs(self, since: float) -> Sequence[Run]:
        await self._synced()
        found = dict(self._ended)
        for uid, remote in self._follower.ours.items():
            run = self._run(uid, remote)
            if run is not None:
                found[uid] = run
        return [run for run in found.values() if run.ended is None or run.ended >= since]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._opened:
            self._opened = False
            await self._there.__aexit__()

    # -- the other cluster ---------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        if self._opens and not self._opened:
            self._opened = True
            await self._there.__aenter__()
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._follower.run()), asyncio.create_task(self._refresh_always())]

    async def _synced(self) -> None:
        """Raises ProviderError where the other cluster was never read to the end: it may have pods of ours."""
        await self._begin()
        try:
            async with asyncio.timeout(_SYNC_SECONDS):
                await self._follower.synced.wait()
        except TimeoutError as error:
            raise ProviderError("the other cluster's pods could not be read yet") from error

    async def _make_pod(self, pod: VirtualPod, body: dict[str, Any], namespace: str) -> dict[str, Any]:
        try:
            made: dict[str, Any] = msgspec.json.decode(await answered(self._there.create(PODS, body, namespace)))
        except errors.AlreadyExists as error:
            made = msgspec.json.decode(await answered(self._there.get(PODS, remote_name(pod), namespace)))
            if (made["metadata"].get("labels") or {}).get(UID) != pod.uid:
                raise RefusedError(f"Pod {namespace}/{remote_name(pod)} in the other cluster is not ours") from error
        except (errors.Forbidden, errors.Invalid) as error:
            raise RefusedError(f"the other cluster refuses it: {error}") from error
        return made

    async def _delete(self, uid: str, grace: float) -> None:
        await self._synced()
        remote = self._follower.ours.get(uid)
        if remote is None or remote.get(GONE):
            return
        metadata = remote["metadata"]
        with contextlib.suppress(errors.NotFound, errors.Conflict):
            deletion = self._there.delete(
                PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"], grace_seconds=max(0, round(grace))
            )
            await answered(deletion)

    async def _refresh_always(self) -> None:
        while True:
            await asyncio.sleep(self._spec.refresh_seconds)
            await self._companions.refresh(list(self._taken.values()))

    # -- what is known -------------------------------------------------------------------------------------------------

    def _changed(self, uid: str) -> None:
        remote = self._follower.ours.get(uid)
        if remote is not None:
            state = state_of(self._known(uid, remote), remote)
            for queue in self._listeners:
                queue.put_nowait(state)

    def _known(self, uid: str, remote: Mapping[str, Any]) -> VirtualPod:
        """The pod here; after a restart what the one there says of it."""
        if uid in self._taken:
            return self._taken[uid]
        namespace, _, name = (remote["metadata"].get("annotations") or {}).get(ORIGIN, "").partition("/")
        metadata = {"uid": uid, "namespace": namespace, "name": name}
        spec = {key: value for key, value in remote["spec"].items() if key != "nodeName"}
        return VirtualPod(uid, namespace, name, {"metadata": metadata, "spec": spec})

    def _run(self, uid: str, remote: Mapping[str, Any]) -> Run | None:
        started = started_of(remote)
        if started is None:
            return None
        pod, asked = self._known(uid, remote), _requests(remote["spec"])
        about = {key: pod.metadata[key] for key in ("labels", "ownerReferences") if pod.metadata.get(key)}
        cpu, memory = asked.get("cpu", 0), asked.get("memory", 0)
        node = pod.spec.get("nodeName") or ""
        return Run(uid, pod.namespace, pod.name, started, ended_of(remote), cpu, memory, object=about, node=node)

    async def _where(self, uid: str) -> tuple[str, str]:
        await self._synced()
        remote = self._follower.ours.get(uid)
        if remote is None:
            raise UnknownPodError(f"no pod {uid}")
        return remote["metadata"]["namespace"], remote["metadata"]["name"]

    async def _stream(self, uid: str, what: str, query: list[tuple[str, str]]) -> StreamTarget:
        namespace, name = await self._where(uid)
        server, headers, tls = await self._there.access()
        return StreamTarget(f"{server}{PODS.path(namespace, name, what)}?{urlencode(query)}", headers, tls)


def make(settings: Mapping[str, Any], client: Client) -> ClusterProvider:
    """The provider from its settings. Raises ProviderError or ConfigError for those that it does not accept."""
    try:
        spec = msgspec.convert(settings, ClusterSpec)
    except msgspec.ValidationError as error:
        fields = ", ".join(field.encode_name for field in msgspec.structs.fields(ClusterSpec))
        raise ProviderError(f"cluster: {error}; accepted: {fields}") from error
    if not spec.kubeconfig:
        raise ProviderError("cluster: kubeconfig is missing; accepted: the path of a kubeconfig with the other cluster")
    other = load(Path(spec.kubeconfig), spec.context or None)
    return ClusterProvider(spec, client, Client(other, qps=200, burst=400), opens=True)


def _streams(options: ExecOptions) -> list[tuple[str, str]]:
    flags = {
        "stdin": options.stdin,
        "stdout": options.stdout,
        "stderr": options.stderr and not options.tty,
        "tty": options.tty,
    }
    return [
        *(("command", word) for word in options.command),
        *((name, "true") for name, given in flags.items() if given),
    ]


def _requests(spec: Mapping[str, Any]) -> dict[str, int]:
    return effective_requests(msgspec.convert(spec, PodSpec))
