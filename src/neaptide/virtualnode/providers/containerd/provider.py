"""The provider: takes pods, finds them again after a restart, and answers for them."""

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from msgspec import Struct

from neaptide.kubeapi.client import Client
from neaptide.virtualnode.cri.client import CriError
from neaptide.virtualnode.provider import (
    Capacity,
    ContainerStats,
    ExecOptions,
    LogOptions,
    Network,
    PodStats,
    ProviderError,
    Run,
    StreamTarget,
    UnknownPodError,
    VirtualPod,
)
from neaptide.virtualnode.providers.containerd import hosts as pool
from neaptide.virtualnode.providers.containerd.hosts import HostSpec
from neaptide.virtualnode.providers.containerd.lifecycle import EXITED, RUNNING, Seen
from neaptide.virtualnode.providers.containerd.logs import read_log
from neaptide.virtualnode.providers.containerd.messages import OWNER, UID
from neaptide.virtualnode.providers.containerd.objects import ApiObjects, Objects
from neaptide.virtualnode.providers.containerd.refusals import refusal
from neaptide.virtualnode.providers.containerd.runner import Facts, Runner
from neaptide.virtualnode.providers.containerd.runtime import Runtime
from neaptide.virtualnode.providers.containerd.volumes import PodFolder
from neaptide.virtualnode.states import PodState

_KEPT_RUNS = 7 * 86400.0
_NANO = 1e9


class ContainerdSpec(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Where pods run.

    Attributes:
        hosts: the pool.
        hosts_file: a YAML file with `hosts`, in place of them: read again whenever it changes, so that hosts come and go.
        owner: the label of this provider's containers; another for each provider that shares a runtime.
        rate, burst: pods created a second in the long run, and at once.
    """

    hosts: tuple[HostSpec, ...] = ()
    hosts_file: str = ""
    owner: str = "neaptide"
    rate: float = 20.0
    burst: int = 100


class Containerd:
    """Pods in real containers.

    Args:
        spec: the pool.
        objects: the Secrets, ConfigMaps and tokens that pods name.
        clock: seconds since the epoch.
    """

    name = "containerd"
    network: Network = "own"

    def __init__(self, spec: ContainerdSpec, objects: Objects, *, clock: Callable[[], float] = time.time) -> None:
        self._spec, self._objects, self._clock = spec, objects, clock
        self.rate, self.burst = spec.rate, spec.burst
        self._runtimes: dict[str, Runtime] = {}
        self._runners: dict[str, Runner] = {}
        self._locks: dict[str, int] = {}
        self._ready: dict[str, asyncio.Lock] = {}
        self._recovered: set[str] = set()
        self._listeners: set[asyncio.Queue[PodState]] = set()
        self._read_at = 0.0

    # -- the node ------------------------------------------------------------------------------------------------------

    async def ping(self) -> None:
        """Raises ProviderError where no host runs pods now."""
        runtimes = await self._pool()
        problems = []
        for runtime in runtimes:
            try:
                await runtime.ping()
            except CriError as error:
                problems.append(f"{runtime.host.name}: {error}")
        if len(problems) == len(runtimes):
            raise ProviderError("; ".join(problems) or "the pool has no host")

    async def capacity(self) -> Capacity:
        found = pool.total(each.host for each in await self._pool() if not each.host.draining)
        amounts = {"cpu": f"{found['cpu']}m", "memory": str(found["memory"]), "pods": str(found["pods"])}
        return Capacity(amounts, architecture={"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, "amd64"))

    # -- pods ----------------------------------------------------------------------------------------------------------

    def refusal(self, pod: VirtualPod) -> str:
        return refusal(pod)

    async def create(self, pod: VirtualPod) -> None:
        runtimes = await self._pool()
        if pod.uid in self._runners:
            return
        asked = pool.requests_of(pod.spec)
        alive = [each.host for each in runtimes if not each.problem]
        host = pool.choose(alive, self._used(), asked)
        folder = self._folder(host, pod.uid)
        facts = Facts(created=self._clock())
        await asyncio.to_thread(folder.save, "facts.json", facts)
        if pod.uid in self._runners:  # another call of the same was faster
            return
        await asyncio.to_thread(folder.save, "pod.json", pod)
        self._take(pod, facts, folder, self._runtimes[host.name]).wake()

    async def update(self, pod: VirtualPod) -> None:
        runner = self._runners.get(pod.uid)
        if runner is not None:
            await asyncio.to_thread(runner.folder.save, "pod.json", pod)
            runner.pod = pod
            runner.wake()

    async def stop(self, uid: str, grace: float) -> None:
        await self._pool()
        if uid in self._runners:
            self._runners[uid].stop(grace)

    async def remove(self, uid: str) -> None:
        await self._pool()
        runner = self._runners.get(uid)
        if runner is None:
            return
        await runner.halt(settled=True)  # what is made afterwards nobody would find
        await self._keep_run(runner)
        runner.found = {}
        for sandbox in await runner.runtime.sandboxes(uid):
            await runner.runtime.remove_sandbox(sandbox.id)
        await asyncio.to_thread(runner.folder.remove)
        self._runners.pop(uid, None)

    async def pods(self) -> Sequence[PodState]:
        await self._pool()
        return [runner.state for runner in self._runners.values()]

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
        runner = await self._runner(uid)
        _check_has(runner.pod, container)
        runs = runner.found.get(container, ())
        wanted = runs[-1].attempt - 1 if options.previous and runs else runs[-1].attempt if runs else 0
        if options.previous and wanted < 0:
            raise UnknownPodError(f"previous terminated container {container!r} in pod {runner.pod.name!r} not found")

        def alive() -> bool:
            runs = runner.found.get(container, ())
            here = self._runners.get(uid) is runner
            return here and (
                (not runs and not runner.state.stopped)
                or bool(runs and runs[-1].attempt == wanted and runs[-1].state == RUNNING)
            )

        async for chunk in read_log(runner.folder.log(container, wanted), options, alive=alive):
            yield chunk

    async def exec(self, uid: str, container: str, options: ExecOptions) -> StreamTarget:
        runtime, seen = await self._running(uid, container)
        stderr = options.stderr and not options.tty
        fields = {"stdin": options.stdin, "stdout": options.stdout, "stderr": stderr, "tty": options.tty}
        answer = await runtime.cri.call("Exec", container_id=seen.id, cmd=options.command, **fields)
        return StreamTarget(answer.url)

    async def attach(self, uid: str, container: str, options: ExecOptions) -> StreamTarget:
        runtime, seen = await self._running(uid, container)
        stderr = options.stderr and not options.tty
        fields = {"stdin": options.stdin, "stdout": options.stdout, "stderr": stderr, "tty": options.tty}
        answer = await runtime.cri.call("Attach", container_id=seen.id, **fields)
        return StreamTarget(answer.url)

    async def port_forward(self, uid: str, ports: Sequence[int]) -> StreamTarget:
        runner = await self._runner(uid)
        sandbox = next((each for each in await runner.runtime.sandboxes(uid) if each.state == 0), None)
        if sandbox is None:
            raise UnknownPodError(f"pod {runner.pod.name!r} has no network now")
        answer = await runner.runtime.cri.call("PortForward", pod_sandbox_id=sandbox.id, port=ports)
        return StreamTarget(answer.url)

    async def stats(self) -> Sequence[PodStats]:
        found: dict[str, list[ContainerStats]] = {}
        for runtime in await self._pool():
            chosen = {"label_selector": {OWNER: self._spec.owner}}
            for each in (await runtime.cri.call("ListContainerStats", filter=chosen)).stats:
                found.setdefault(each.attributes.labels.get(UID, ""), []).append(_stats(each))
        now = self._clock()
        return [
            PodStats(uid, self._runners[uid].pod.namespace, self._runners[uid].pod.name, now, tuple(containers))
            for uid, containers in found.items()
            if uid in self._runners
        ]

    async def runs(self, since: float) -> Sequence[Run]:
        found = {}
        for runtime in await self._pool():
            for run in await asyncio.to_thread(self._ended_runs, runtime.host):
                found[run.uid] = run
        for uid, runner in self._runners.items():
            held = self._run(runner, [each for runs in runner.found.values() for each in runs])
            if held is not None:  # what a removal that did not come to its end has kept counts
                found.setdefault(uid, held)
        return [run for run in found.values() if run.ended is None or run.ended >= since]

    async def close(self) -> None:
        await asyncio.gather(*(runner.halt() for runner in self._runners.values()))
        await asyncio.gather(*(runtime.close() for runtime in self._runtimes.values()))
        for file in self._locks.values():
            os.close(file)
        self._runners.clear()
        self._runtimes.clear()
        self._locks.clear()
        self._recovered.clear()

    # -- the pool ------------------------------------------------------------------------------------------------------

    async def _pool(self) -> list[Runtime]:
        """The hosts there are now, each after its pods were found again. Raises ProviderError where none can be used."""
        for host in self._hosts():
            runtime = self._runtimes.get(host.name)
            if runtime is None:
                self._lock(host)
                runtime = self._runtimes[host.name] = Runtime(host, self._spec.owner, self._changed)
                self._ready[host.name] = asyncio.Lock()
            runtime.host = host
        problems = []
        for name, runtime in self._runtimes.items():
            async with self._ready[name]:
                if name not in self._recovered:
                    try:
                        await self._recover(runtime)
                    except CriError as error:
                        problems.append(f"{name}: {error}")
                        continue
                    self._recovered.add(name)
        if problems and len(problems) == len(self._runtimes):
            raise ProviderError("; ".join(problems))
        return [runtime for name, runtime in self._runtimes.items() if name in self._recovered]

    def _hosts(self) -> Sequence[HostSpec]:
        """The pool as it is wanted; hosts that are not named any more stay until their pods have gone, and get no others."""
        wanted = list(self._spec.hosts)
        if self._spec.hosts_file:
            try:
                changed = Path(self._spec.hosts_file).stat().st_mtime
                if changed == self._read_at:
                    return [runtime.host for runtime in self._runtimes.values()]
                text = Path(self._spec.hosts_file).read_text(encoding="utf-8")
            except OSError as error:
                raise ProviderError(f"{self._spec.hosts_file}: {error.strerror}") from error
            wanted = list(pool.parse_hosts(text, self._spec.hosts_file))
            self._read_at = changed
        names = {host.name for host in wanted}
        gone = [runtime.host for name, runtime in self._runtimes.items() if name not in names]
        return [*wanted, *(msgspec.structs.replace(host, draining=True) for host in gone)]

    async def _recover(self, runtime: Runtime) -> None:
        """Find again what an earlier process began on a host, and remove what nobody knows any more."""
        await runtime.ping()
        root = runtime.host.here(PurePosixPath(runtime.host.state) / "pods")
        for path in sorted(root.iterdir()) if root.exists() else ():
            folder = self._folder(runtime.host, path.name)
            pod, facts = folder.read("pod.json", VirtualPod), folder.read("facts.json", Facts)
            if pod is None or facts is None:
                await asyncio.to_thread(folder.remove)
            elif pod.uid not in self._runners:
                self._take(pod, facts, folder, runtime, begin=False)
        for sandbox in await runtime.sandboxes():
            if sandbox.labels.get(UID) not in self._runners:
                await runtime.remove_sandbox(sandbox.id)
        for runner in self._runners.values():
            if runner.runtime is runtime:
                await runner.refresh()
                runner.begin()
        runtime.begin()

    def _take(
        self, pod: VirtualPod, facts: Facts, folder: PodFolder, runtime: Runtime, *, begin: bool = True
    ) -> Runner:
        runner = self._runners[pod.uid] = Runner(
            pod,
            facts,
            folder=folder,
            runtime=runtime,
            objects=self._objects,
            owner=self._spec.owner,
            tell=self._tell,
            clock=self._clock,
        )
        if begin:
            runner.begin()
        return runner

    def _changed(self, uid: str) -> None:
        if uid in self._runners:
            self._runners[uid].wake()

    def _tell(self, state: PodState) -> None:
        for queue in self._listeners:
            queue.put_nowait(state)

    def _used(self) -> dict[str, dict[str, int]]:
        """What the pods of each host ask for; what has ended asks for nothing."""
        used: dict[str, dict[str, int]] = {}
        for runner in self._runners.values():
            if not runner.state.stopped:
                taken = used.setdefault(runner.runtime.host.name, {})
                for name, amount in pool.requests_of(runner.pod.spec).items():
                    taken[name] = taken.get(name, 0) + amount
        return used

    def _folder(self, host: HostSpec, uid: str) -> PodFolder:
        on_host = PurePosixPath(host.state) / "pods" / uid
        return PodFolder(host.here(on_host), on_host)

    def _ended_folder(self, host: HostSpec) -> PodFolder:
        on_host = PurePosixPath(host.state) / "ended"
        return PodFolder(host.here(on_host), on_host)

    def _lock(self, host: HostSpec) -> None:
        """Hold a host's folder, so that no second process runs its pods. Raises ProviderError."""
        path = host.here(PurePosixPath(host.state))
        path.mkdir(mode=0o711, parents=True, exist_ok=True)
        file = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(file)
            raise ProviderError(f"{path} is another process's: one provider runs a host's pods") from error
        self._locks[host.name] = file

    # -- answers -------------------------------------------------------------------------------------------------------

    async def _runner(self, uid: str) -> Runner:
        await self._pool()
        runner = self._runners.get(uid)
        if runner is None:
            raise UnknownPodError(f"no pod {uid}")
        return runner

    async def _running(self, uid: str, container: str) -> tuple[Runtime, Seen]:
        runner = await self._runner(uid)
        _check_has(runner.pod, container)
        runs = runner.found.get(container, ())
        if not runs or runs[-1].state != RUNNING:
            raise UnknownPodError(f"container {container!r} of pod {runner.pod.name!r} does not run now")
        return runner.runtime, runs[-1]

    def _run(self, runner: Runner, seen: Sequence[Seen]) -> Run | None:
        """What a pod held: its host's room from the sandbox until its last container has ended."""
        started = runner.facts.sandbox
        if started is None:
            return None
        ended = None
        if runner.state.stopped:
            ended = max((each.finished or started for each in seen if each.state == EXITED), default=started)
        asked = pool.requests_of(runner.pod.spec)
        about = {
            key: runner.pod.metadata.get(key) for key in ("labels", "ownerReferences") if runner.pod.metadata.get(key)
        }
        return Run(
            uid=runner.pod.uid,
            namespace=runner.pod.namespace,
            name=runner.pod.name,
            started=started,
            ended=ended,
            cpu=asked.get("cpu", 0),
            memory=asked.get("memory", 0),
            object=about,
            node=runner.pod.spec.get("nodeName") or "",
        )

    async def _keep_run(self, runner: Runner) -> None:
        """Write a run down before its containers go, once: a removal that is tried again finds them no more."""
        folder, name = self._ended_folder(runner.runtime.host), f"{runner.pod.uid}.json"
        run = self._run(runner, await runner.runtime.containers(runner.pod.uid))
        if run is not None and folder.read(name, Run) is None:
            ended = run if run.ended is not None else msgspec.structs.replace(run, ended=self._clock())
            await asyncio.to_thread(folder.save, name, ended)

    def _ended_runs(self, host: HostSpec) -> list[Run]:
        """The runs of pods that were removed. Those of more than a week ago are forgotten."""
        folder = self._ended_folder(host)
        found = []
        for path in folder.path.glob("*.json") if folder.path.exists() else ():
            run: Run | None = folder.read(path.name, Run)
            if run is not None and run.ended is not None and run.ended < self._clock() - _KEPT_RUNS:
                with contextlib.suppress(OSError):
                    path.unlink()
            elif run is not None:
                found.append(run)
        return found


def _check_has(pod: VirtualPod, container: str) -> None:
    names = [each["name"] for each in [*(pod.spec.get("initContainers") or ()), *pod.spec["containers"]]]
    if container not in names:
        raise UnknownPodError(f"container {container!r} is not in pod {pod.name!r}; accepted: {', '.join(names)}")


def _stats(each: Any) -> ContainerStats:  # noqa: ANN401 - a message
    cpu, memory = each.cpu, each.memory
    return ContainerStats(
        name=each.attributes.metadata.name,
        cpu_seconds=cpu.usage_core_nano_seconds.value / _NANO if cpu.HasField("usage_core_nano_seconds") else None,
        memory=memory.usage_bytes.value if memory.HasField("usage_bytes") else None,
        working_set=memory.working_set_bytes.value if memory.HasField("working_set_bytes") else None,
    )


def make(settings: Mapping[str, Any], client: Client) -> Containerd:
    """The provider from its settings. Raises ProviderError for those that it does not accept."""
    return Containerd(settings_of(settings), ApiObjects(client))


def settings_of(content: Mapping[str, Any]) -> ContainerdSpec:
    """The settings from plain values. Raises ProviderError with what is accepted."""
    try:
        return msgspec.convert(content, ContainerdSpec)
    except msgspec.ValidationError as error:
        fields = ", ".join(field.encode_name for field in msgspec.structs.fields(ContainerdSpec))
        raise ProviderError(f"containerd: {error}; accepted: {fields}") from error
