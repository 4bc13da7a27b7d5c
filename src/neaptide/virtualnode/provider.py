"""Who runs a virtual node's pods: the protocol that each pod provider follows, one file each under `providers/`.

A provider is the memory of what it runs: pods are matched by UID. After a restart of the virtual kubelet its `pods` are believed: one that is
there is never created again, one that is not there and has not run is created, and one that the API no longer has is stopped and removed.

    refusal -> create -> (changes ...) -> stop -> (changes: stopped) -> remove
"""

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from neaptide.virtualnode.states import PodState

Network = Literal["own", "cluster", "none"]
"""What a pod's address is worth: reachable only inside the provider (own), from all of the cluster and with its Services (cluster), or not there."""


class ProviderError(Exception):
    """A call that did not succeed and may be tried again after `retry_after` seconds (None: with the caller's own back-off)."""

    reason = "ProviderFailed"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OutOfStockError(ProviderError):
    """Nothing of the kind is to be had now; the pod waits."""

    reason = "OutOfStock"


class RefusedError(ProviderError):
    """The pod can never run here: the message names the field. It fails at once and is not tried again."""

    reason = "ProviderRefused"


class UnknownPodError(ProviderError):
    """The provider has no pod of that UID, or the pod has no such container."""

    reason = "NotFound"


class UnsupportedError(ProviderError):
    """The provider cannot do this for any pod, as exec into a pod that is only simulated."""

    reason = "NotSupported"


class VirtualPod(Struct, frozen=True):
    """A pod as the API server has it: `object` is the JSON of a v1.Pod, read and never changed."""

    uid: str
    namespace: str
    name: str
    object: Mapping[str, Any]

    @property
    def spec(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.object.get("spec") or {}
        return found

    @property
    def metadata(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.object.get("metadata") or {}
        return found


class Capacity(Struct, frozen=True):
    """What the node offers: quantities by resource as Kubernetes writes them (`cpu`, `memory`, `ephemeral-storage`, `pods` ...).

    `allocatable` is as large where it is None; `architecture` and `operating_system` are Kubernetes' names.
    """

    capacity: Mapping[str, str]
    allocatable: Mapping[str, str] | None = None
    architecture: str = "amd64"
    operating_system: str = "linux"


class LogOptions(Struct, frozen=True):
    """`v1.PodLogOptions`. `since` is a moment in epoch seconds; None stands for no limit."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail: int | None = None
    limit_bytes: int | None = None
    since: float | None = None


class ExecOptions(Struct, frozen=True):
    """What a command is run or attached to with. For attach, `command` is empty."""

    command: tuple[str, ...] = ()
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False


class StreamTarget(Struct, frozen=True):
    """Where a streaming server waits, as CRI's `Exec` answers: the client's upgrade request is sent there, and then bytes go both ways.

    Attributes:
        url: http or https, with path and query.
        headers: sent besides the client's, in whose place where both have one (Authorization).
        tls: for https; the system's authorities where it is None.
    """

    url: str
    headers: Mapping[str, str] = {}
    tls: ssl.SSLContext | None = None


class ContainerStats(Struct, frozen=True, gc=False):
    """What a container used. CPU in core-seconds since its start, memory in bytes; None where it is not known."""

    name: str
    cpu_seconds: float | None = None
    memory: int | None = None
    working_set: int | None = None
    started: float | None = None


class PodStats(Struct, frozen=True, gc=False):
    """What a pod's containers used, measured at `at`."""

    uid: str
    namespace: str
    name: str
    at: float
    containers: tuple[ContainerStats, ...] = ()


class Run(Struct, frozen=True, gc=False):
    """A fact for the bill: for which seconds a pod was held. It stays known after the pod is removed, for as long as the provider says.

    Attributes:
        started: when paying begins; ended: when it ended, None while it goes on.
        cpu, memory: what was held, in milli-CPU and bytes, before rounding; gpus likewise, in devices.
        spot: whether it was bought on the spot market.
        object: metadata of the pod that a bill groups by: `labels`, `ownerReferences`; may be empty.
        node: the virtual node that it was created for; empty where the provider does not say.
    """

    uid: str
    namespace: str
    name: str
    started: float
    ended: float | None = None
    cpu: int = 0
    memory: int = 0
    gpus: int = 0
    spot: bool = False
    object: Mapping[str, Any] = {}
    node: str = ""


class PodProvider(Protocol):
    """Runs pods. Every method may raise ProviderError; a call that takes too long is cancelled by the caller, and must be repeatable.

    Attributes:
        name: the value of the node's taint `virtual-kubelet.io/provider`.
        network: what the pods' addresses are worth.
        rate, burst: creates a second in the long run, and at once: the virtual kubelet keeps within them.
    """

    @property
    def name(self) -> str: ...
    @property
    def network(self) -> Network: ...
    @property
    def rate(self) -> float: ...
    @property
    def burst(self) -> int: ...

    async def ping(self) -> None:
        """Raises where pods could not be run now; while it does, the node's lease is not renewed."""

    async def capacity(self) -> Capacity:
        """What the node offers now."""

    def refusal(self, pod: VirtualPod) -> str:
        """Why this pod can never run here, by the field; empty where it can. Asked before `create`; starts nothing."""

    async def create(self, pod: VirtualPod) -> None:
        """Take a pod. Returns when the pod is in `pods`, before it runs; one that is there by its UID is left as it is.

        Raises RefusedError (never again), OutOfStockError or ProviderError (later again).
        """

    async def update(self, pod: VirtualPod) -> None:
        """Follow a change of labels, annotations, activeDeadlineSeconds, tolerations, images or resources."""

    async def stop(self, uid: str, grace: float) -> None:
        """Ask a pod to end: preStop and SIGTERM now, SIGKILL `grace` seconds later. Returns at once; `changes` tells when it has stopped.

        Again with a shorter grace shortens it. One that is not known is no error.
        """

    async def remove(self, uid: str) -> None:
        """Kill what still runs, and forget a pod with its logs. One that is not known is no error."""

    async def pods(self) -> Sequence[PodState]:
        """Every pod that was created and not removed, those that have ended among them."""

    def changes(self) -> AsyncIterator[PodState]:
        """The state of a pod each time it changes, until it is closed. What changed before the iterator began is in `pods`."""

    def logs(self, uid: str, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        """What a container has written, in chunks; with `follow`, until it ends. Raises UnknownPodError with the first chunk."""

    async def exec(self, uid: str, container: str, options: ExecOptions) -> StreamTarget:
        """A command in a container."""

    async def attach(self, uid: str, container: str, options: ExecOptions) -> StreamTarget:
        """A container's own standard streams."""

    async def port_forward(self, uid: str, ports: Sequence[int]) -> StreamTarget:
        """Connections to a pod's ports. `ports` may be empty: then the streams name them."""

    async def stats(self) -> Sequence[PodStats]:
        """What the pods use now."""

    async def runs(self, since: float) -> Sequence[Run]:
        """What was held at or after a moment, for the bill."""

    async def close(self) -> None:
        """Let go of connections and tasks. Pods go on."""
