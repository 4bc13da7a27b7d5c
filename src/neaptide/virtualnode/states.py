"""What a provider knows of a pod: facts about its containers, from which `status.py` makes a `v1.PodStatus`.

Times are seconds since the epoch. A provider tells what is, not what a phase is called: one place computes phases and conditions.
"""

from collections.abc import Iterator

from msgspec import Struct


class Waiting(Struct, frozen=True, gc=False):
    """A container that has not begun, or waits to begin again: `ContainerCreating`, `ErrImagePull`, `CrashLoopBackOff` ..."""

    reason: str = "ContainerCreating"
    message: str = ""


class Running(Struct, frozen=True, gc=False):
    """A container that runs; `ready` is what its readiness probe says, true where it has none."""

    started: float
    ready: bool = True


class Ended(Struct, frozen=True, gc=False):
    """A container that has ended. `started` is None where it never began, as one whose image was refused."""

    exit_code: int
    finished: float
    started: float | None = None
    reason: str = ""
    message: str = ""
    signal: int = 0


class Container(Struct, frozen=True, gc=False):
    """One container.

    Attributes:
        name: as in the pod.
        state: what it does now.
        last: how it ended the last time, where it was begun again.
        restarts: how often it was begun again.
        image, image_id, container_id: as a runtime names them, `containerd://...` the last; empty where it does not.
    """

    name: str
    state: Waiting | Running | Ended = Waiting()
    last: Ended | None = None
    restarts: int = 0
    image: str = ""
    image_id: str = ""
    container_id: str = ""


class PodState(Struct, frozen=True, gc=False):
    """A pod at its provider.

    Attributes:
        uid, namespace, name: of the pod in the API.
        node: the virtual node that it was created for (`spec.nodeName`), by which several nodes share a provider; empty where there is one.
        containers, init_containers: in the order of the pod's; ones not told yet count as waiting.
        created: when the provider took the pod.
        sandbox: when its sandbox (network and all) was there; None before.
        ip: of the pod, empty where it has none; host_ip likewise, the node's by default.
        reason, message: why the pod as a whole ended where its containers do not say it: `Evicted`, `DeadlineExceeded`, `BidFailed`.
        failed: the provider ended the pod for that reason, whatever its containers' exit codes.
    """

    uid: str
    namespace: str
    name: str
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    created: float | None = None
    sandbox: float | None = None
    ip: str = ""
    host_ip: str = ""
    reason: str = ""
    message: str = ""
    failed: bool = False
    node: str = ""

    def every(self) -> Iterator[Container]:
        """Init containers, then containers."""
        yield from self.init_containers
        yield from self.containers

    @property
    def stopped(self) -> bool:
        """Whether nothing of it runs, nor will again without being asked: each container has ended, or the pod was failed while none ran."""
        running = any(isinstance(each.state, Running) for each in self.every())
        ended = bool(self.containers) and all(isinstance(each.state, Ended) for each in self.containers)
        return not running and (ended or self.failed)
