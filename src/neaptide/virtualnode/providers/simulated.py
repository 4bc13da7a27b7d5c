"""Pods that only pretend: for scale, for tests of everything above a provider, and to try injection without paying.

A pod starts after a base time and a part that grows with its images, is refused beyond the stock, and, where it is bought on the spot market, is
taken back after a notice. It runs as long as its annotation says, and ends with the exit code that it says. Every time is drawn from the
seed and the pod's UID, so that a run can be repeated.

Defaults: 30 s, between half and twice that, and 0.06 s per MB of image, 20 starts a second after 100 at once (docs/virtual-nodes.md has the sources).
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from neaptide.kubeapi.client import Client
from neaptide.model.problems import FieldError
from neaptide.model.quantity import milli, value
from neaptide.model.times import timestamp
from neaptide.virtualnode.provider import (
    Capacity,
    ContainerStats,
    ExecOptions,
    LogOptions,
    Network,
    OutOfStockError,
    PodStats,
    Run,
    StreamTarget,
    UnknownPodError,
    UnsupportedError,
    VirtualPod,
)
from neaptide.virtualnode.states import Container, Ended, PodState, Running, Waiting

PREFIX = "simulated.neaptide.io/"
RUN_SECONDS, EXIT_CODE, IMAGE_MB, RECLAIM_AFTER = (
    PREFIX + name for name in ("run-seconds", "exit-code", "image-mb", "reclaim-after-seconds")
)
"""Annotations of a pod: how long its containers run (for ever), how they end (0), how large its images are (100), when spot takes it back (never)."""
SPOT = ("karpenter.sh/capacity-type", "spot")
_FIRST_BACKOFF, _LONGEST_BACKOFF = 10.0, 300.0
_FOR_EVER = "1e9"


class SimulatedSpec(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """How the pretence goes.

    Attributes:
        cpu, memory, pods: the node's capacity, as quantities.
        start_seconds: the base of a start; drawn between half and twice this.
        seconds_per_mb: of image, besides.
        rate, burst: starts a second in the long run, and at once.
        stock: pods that can be had at the same time; beyond that, out of stock.
        notice_seconds: between a spot pod's notice and its end.
        seed: of what is drawn.
    """

    cpu: str = "3000"
    memory: str = "12Ti"
    pods: int = 3000
    start_seconds: float = 30.0
    seconds_per_mb: float = 0.06
    rate: float = 20.0
    burst: int = 100
    stock: int = 1_000_000
    notice_seconds: float = 180.0
    seed: int = 0


class Simulated:
    """The provider `simulated`. Everything it runs ends with the process."""

    name = "simulated"
    network: Network = "none"

    def __init__(self, spec: SimulatedSpec | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._spec, self._clock = spec or SimulatedSpec(), clock
        self._lives: dict[str, _Life] = {}
        self._readers: set[asyncio.Queue[PodState]] = set()
        self._ended: list[Run] = []

    @property
    def rate(self) -> float:
        return self._spec.rate

    @property
    def burst(self) -> int:
        return self._spec.burst

    async def ping(self) -> None:
        """It always answers."""

    async def capacity(self) -> Capacity:
        spec = self._spec
        return Capacity({"cpu": spec.cpu, "memory": spec.memory, "pods": str(spec.pods), "ephemeral-storage": "100Ti"})

    def refusal(self, pod: VirtualPod) -> str:
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.spec.get(field):
                return f"spec.{field}: a simulated pod has no host"
        return ""

    async def create(self, pod: VirtualPod) -> None:
        if pod.uid in self._lives:
            return
        if sum(not each.state.stopped for each in self._lives.values()) >= self._spec.stock:
            raise OutOfStockError(f"{self._spec.stock} pods run already", retry_after=1.0)
        self._lives[pod.uid] = _Life(pod, self._spec, self._clock, self._tell)

    async def update(self, pod: VirtualPod) -> None:
        """Nothing of a pretence changes."""

    async def stop(self, uid: str, grace: float) -> None:
        """A simulated pod ends at once when asked."""
        del grace
        if life := self._lives.get(uid):
            life.stop()

    async def remove(self, uid: str) -> None:
        if life := self._lives.pop(uid, None):
            life.stop()
            self._ended.append(life.run())

    async def pods(self) -> Sequence[PodState]:
        return [each.state for each in self._lives.values()]

    async def changes(self) -> AsyncIterator[PodState]:
        queue: asyncio.Queue[PodState] = asyncio.Queue()
        self._readers.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._readers.discard(queue)

    async def logs(self, uid: str, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        state = self._life(uid).state
        found = next((each for each in state.every() if each.name == container), None)
        if found is None:
            raise UnknownPodError(f"pod {state.namespace}/{state.name} has no container {container}")
        lines = [line for line in _lines(found, previous=options.previous) if line[0] >= (options.since or 0.0)]
        if options.tail is not None:
            lines = lines[len(lines) - options.tail :] if options.tail else []
        for at, said in lines:
            yield f"{timestamp(at)} {said}\n".encode() if options.timestamps else f"{said}\n".encode()

    async def exec(self, uid: str, container: str, options: ExecOptions) -> StreamTarget:
        del uid
        raise UnsupportedError(f"a simulated pod runs no commands ({container}: {' '.join(options.command)})")

    async def attach(self, uid: str, container: str, options: ExecOptions) -> StreamTarget:
        del uid, options
        raise UnsupportedError(f"a simulated pod has no streams to attach to ({container})")

    async def port_forward(self, uid: str, ports: Sequence[int]) -> StreamTarget:
        del uid
        raise UnsupportedError(f"a simulated pod listens on no port ({', '.join(map(str, ports))})")

    async def stats(self) -> Sequence[PodStats]:
        now = self._clock()
        return [each.stats(now) for each in self._lives.values()]

    async def runs(self, since: float) -> Sequence[Run]:
        runs = [*self._ended, *(each.run() for each in self._lives.values())]
        return [each for each in runs if each.ended is None or each.ended >= since]

    async def close(self) -> None:
        for life in self._lives.values():
            life.cancel()

    def _life(self, uid: str) -> "_Life":
        if uid not in self._lives:
            raise UnknownPodError(f"no pod of the UID {uid} is here")
        return self._lives[uid]

    def _tell(self, state: PodState) -> None:
        for queue in self._readers:
            queue.put_nowait(state)


class _Life:
    """One pod from its creation to its end, as a task."""

    def __init__(
        self, pod: VirtualPod, spec: SimulatedSpec, clock: Callable[[], float], tell: Callable[[PodState], None]
    ) -> None:
        self._pod, self._spec, self._clock, self._tell = pod, spec, clock, tell
        self._annotations: Mapping[str, str] = pod.metadata.get("annotations") or {}
        self._draw = random.Random(f"{spec.seed} {pod.uid}")  # noqa: S311 - a pretence, no secret
        self._taken = clock()
        self.state = PodState(
            pod.uid,
            pod.namespace,
            pod.name,
            tuple(_waiting(each) for each in pod.spec.get("containers") or ()),
            tuple(_waiting(each) for each in pod.spec.get("initContainers") or ()),
            created=self._taken,
            node=pod.spec.get("nodeName") or "",
        )
        self._tasks = [asyncio.create_task(self._live())]
        if self._is_spot and RECLAIM_AFTER in self._annotations:
            self._tasks.append(asyncio.create_task(self._reclaim()))
        if (deadline := pod.spec.get("activeDeadlineSeconds")) is not None:
            self._tasks.append(asyncio.create_task(self._expire(float(deadline))))

    @property
    def _is_spot(self) -> bool:
        labels = {**(self._pod.metadata.get("labels") or {}), **(self._pod.spec.get("nodeSelector") or {})}
        return labels.get(SPOT[0]) == SPOT[1]

    def stop(self, reason: str = "", message: str = "") -> None:
        """End every container that has not ended: with 143, as SIGTERM does."""
        self.cancel()
        if self.state.stopped:
            return
        now = self._now()
        ended = tuple(_ended(each, 143, now) for each in self.state.containers)
        inits = tuple(_ended(each, 143, now) for each in self.state.init_containers)
        self._change(containers=ended, init_containers=inits, reason=reason, message=message, failed=bool(reason))

    def cancel(self) -> None:
        this = asyncio.current_task()
        for task in self._tasks:
            if task is not this:
                task.cancel()

    def run(self) -> Run:
        requests = [
            (each.get("resources") or {}).get("requests") or {} for each in self._pod.spec.get("containers") or ()
        ]
        ends = [each.state.finished for each in self.state.containers if isinstance(each.state, Ended)]
        return Run(
            self._pod.uid,
            self._pod.namespace,
            self._pod.name,
            started=self._taken,
            ended=max(ends, default=self._taken) if self.state.stopped else None,
            cpu=sum(milli(str(each.get("cpu", "0"))) for each in requests),
            memory=sum(value(str(each.get("memory", "0"))) for each in requests),
            spot=self._is_spot,
            object={key: self._pod.metadata.get(key) for key in ("labels", "ownerReferences")},
            node=self.state.node,
        )

    def stats(self, now: float) -> PodStats:
        return PodStats(
            self._pod.uid,
            self._pod.namespace,
            self._pod.name,
            now,
            tuple(ContainerStats(each.name, started=_began(each)) for each in self.state.containers),
        )

    async def _live(self) -> None:
        await asyncio.sleep(self._start_seconds())
        self._change(sandbox=self._now())
        for at in range(len(self.state.init_containers)):
            self._set("init_containers", at, self._running(self.state.init_containers[at]))
            if (self._pod.spec["initContainers"][at]).get("restartPolicy") != "Always":
                self._set("init_containers", at, _ended(self.state.init_containers[at], 0, self._now()))
        await asyncio.gather(*(self._container(at) for at in range(len(self.state.containers))))
        for at, each in enumerate(self.state.init_containers):
            self._set("init_containers", at, _ended(each, 0, self._now()))

    async def _container(self, at: int) -> None:
        restart = self._pod.spec.get("restartPolicy") or "Always"
        code = int(self._annotations.get(EXIT_CODE, "0"))
        pause = _FIRST_BACKOFF
        while True:
            self._set("containers", at, self._running(self.state.containers[at]))
            await asyncio.sleep(float(self._annotations.get(RUN_SECONDS, _FOR_EVER)))
            ended = _ended(self.state.containers[at], code, self._now())
            if restart == "Never" or (restart == "OnFailure" and code == 0):
                self._set("containers", at, ended)
                return
            waiting = Waiting("CrashLoopBackOff", f"back-off {pause:g} s restarting container {ended.name}")
            last = ended.state if isinstance(ended.state, Ended) else None
            self._set(
                "containers", at, msgspec.structs.replace(ended, state=waiting, last=last, restarts=ended.restarts + 1)
            )
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_BACKOFF)

    async def _reclaim(self) -> None:
        await asyncio.sleep(float(self._annotations[RECLAIM_AFTER]))
        notice = self._spec.notice_seconds
        self._change(reason="SpotToBeReleased", message=f"the spot capacity is taken back in {notice:g} s")
        await asyncio.sleep(notice)
        self.stop("BidFailed", "the spot capacity was taken back")

    async def _expire(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.stop("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")

    def _start_seconds(self) -> float:
        drawn: float = self._spec.start_seconds * 2.0 ** self._draw.uniform(-1, 1)
        return drawn + self._spec.seconds_per_mb * float(self._annotations.get(IMAGE_MB, "100"))

    def _running(self, container: Container) -> Container:
        image = f"simulated://{container.image}"
        made = f"simulated://{self._pod.uid}/{container.name}/{container.restarts}"
        return msgspec.structs.replace(container, state=Running(self._now()), image_id=image, container_id=made)

    def _now(self) -> float:
        """Never before the pod was taken, where the clock was set back."""
        return max(self._clock(), self._taken)

    def _set(self, field: str, at: int, container: Container) -> None:
        found = list(getattr(self.state, field))
        found[at] = container
        self._change(**{field: tuple(found)})

    def _change(self, **fields: Any) -> None:  # noqa: ANN401 - fields of PodState
        self.state = msgspec.structs.replace(self.state, **fields)
        self._tell(self.state)


def _waiting(spec: Mapping[str, Any]) -> Container:
    return Container(spec["name"], image=spec.get("image") or "")


def _began(container: Container) -> float | None:
    return container.state.started if isinstance(container.state, Running | Ended) else None


def _ended(container: Container, code: int, now: float) -> Container:
    """A container that ends now; one that has ended stays as it is."""
    if isinstance(container.state, Ended):
        return container
    began = _began(container)
    return msgspec.structs.replace(container, state=Ended(code, max(now, began or 0.0), began))


def _lines(container: Container, *, previous: bool) -> list[tuple[float, str]]:
    """What a simulated container has written: when it began and how it ended."""
    state = container.last if previous else container.state
    lines = []
    if isinstance(state, Running | Ended) and state.started is not None:
        lines.append((state.started, f"{container.name} began"))
    if isinstance(state, Ended):
        lines.append((state.finished, f"{container.name} ended with {state.exit_code}"))
    return lines


def make(settings: Mapping[str, Any], client: Client) -> Simulated:
    """The provider from the settings of a file. Raises FieldError."""
    del client
    try:
        return Simulated(msgspec.convert(settings, SimulatedSpec))
    except msgspec.ValidationError as error:
        accepted = ", ".join(field.encode_name for field in msgspec.structs.fields(SimulatedSpec))
        raise FieldError("simulated", str(error), accepted) from error
