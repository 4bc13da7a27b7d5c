"""The pods of a node as the API server tells them, and what the rules take them for."""

from collections.abc import Callable, Sequence
from contextlib import aclosing

import msgspec
from msgspec import Struct

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.resources import PODS
from neaptide.kubeapi.watch import Changed, Interrupted, Listed, Relisted, Removed, Synced, changes
from neaptide.model.qos import Band, QoS, band_of, explicit_band, explicit_qos
from neaptide.model.quantity import QuantityError, milli, value
from neaptide.noderules.evict import PodReading
from neaptide.noderules.memory_qos import MemoryClaim

RECLAIMED_CPU = ("kubernetes.io/batch-cpu", "kubernetes.io/mid-cpu", "neaptide.io/ot-cpu")
RECLAIMED_MEMORY = ("kubernetes.io/batch-memory", "kubernetes.io/mid-memory", "neaptide.io/ot-memory")

_USERS_HIGHEST = 1_000_000_000
"""Priorities above are the system's."""
_NOT_PROTECTED = {
    "kubernetes.io/config.mirror": (),
    "karpenter.sh/do-not-disrupt": ("false",),
    "cluster-autoscaler.kubernetes.io/safe-to-evict": ("true",),
}
"""Annotations that protect a pod, by the values with which they do not: a duration or `on-completion` does."""


class _Object(Struct, rename="camel", frozen=True, gc=False):
    """Read from JSON; what is not named is skipped."""


class _Owner(_Object, frozen=True):
    kind: str = ""
    uid: str = ""
    controller: bool = False


class _Metadata(_Object, frozen=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[_Owner, ...] = ()
    deletion_timestamp: str | None = None


class _Resources(_Object, frozen=True):
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}


class _Container(_Object, frozen=True):
    name: str = ""
    resources: _Resources = _Resources()
    restart_policy: str = ""

    def limit(self, names: Sequence[str]) -> int | None:
        """Of the first of several resources of which it has a limit."""
        return next((_amount(self.resources.limits[name]) for name in names if name in self.resources.limits), None)


class _Spec(_Object, frozen=True):
    node_name: str = ""
    priority: int = 0
    containers: tuple[_Container, ...] = ()
    init_containers: tuple[_Container, ...] = ()

    @property
    def sidecars(self) -> tuple[_Container, ...]:
        return tuple(each for each in self.init_containers if each.restart_policy == "Always")


class _ContainerStatus(_Object, frozen=True):
    name: str = ""
    container_id: str = msgspec.field(default="", name="containerID")


class _Status(_Object, frozen=True):
    phase: str = ""
    container_statuses: tuple[_ContainerStatus, ...] = ()
    init_container_statuses: tuple[_ContainerStatus, ...] = ()
    pod_ip: str = msgspec.field(default="", name="podIP")


class Pod(_Object, frozen=True):
    metadata: _Metadata = _Metadata()
    spec: _Spec = _Spec()
    status: _Status = _Status()

    @property
    def name(self) -> str:
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @property
    def qos(self) -> QoS | None:
        """The class that its label names."""
        return explicit_qos(self.metadata.labels)

    @property
    def controller(self) -> str:
        """The UID of who made it, and makes its twins; empty where nobody did."""
        return next((owner.uid for owner in self.metadata.owner_references if owner.controller), "")

    def container(self, group: str) -> _Container | None:
        """The container whose group this is; None for the sandbox's, and for one that nobody told of."""
        directory = group.rpartition("/")[2]
        for status in (*self.status.container_statuses, *self.status.init_container_statuses):
            identity = status.container_id.rpartition("//")[2]
            if identity and identity in directory:
                return next((each for each in self.all_containers if each.name == status.name), None)
        return None

    @property
    def all_containers(self) -> tuple[_Container, ...]:
        return (*self.spec.containers, *self.spec.init_containers)

    @property
    def runs(self) -> bool:
        """Whether it does, as far as anybody has told."""
        return self.status.phase in ("", "Running")

    @property
    def cpu_requested(self) -> int:
        """Of the node's own CPU, in milli-cores."""
        running = (*self.spec.containers, *self.spec.sidecars)
        return sum(_amount(each.resources.requests.get("cpu", "0"), milli) for each in running)

    def names(self, resources: Sequence[str]) -> bool:
        """Whether some container has a limit of one of these."""
        return any(each.limit(resources) is not None for each in self.all_containers)

    def reclaimed_limit(self, names: Sequence[str]) -> int | None:
        """What the whole pod may have of a reclaimed resource; None where some container has no limit of it."""
        running = [each.limit(names) for each in (*self.spec.containers, *self.spec.sidecars)]
        if not running or None in running:
            return None
        first = (each.limit(names) or 0 for each in self.spec.init_containers)
        return max(sum(each or 0 for each in running), max(first, default=0))

    def memory_claim(self, group: str) -> MemoryClaim | None:
        """What the container of a group requests: of reclaimed memory where it does, else of the node's."""
        container = self.container(group)
        if container is None:
            return None
        requests, limits = container.resources.requests, container.resources.limits
        name = next((each for each in RECLAIMED_MEMORY if each in requests), "memory")
        return MemoryClaim(_amount(requests.get(name, "0")), _amount(limits[name]) if name in limits else None)

    def is_best_effort(self, tier: str) -> bool:
        """Whether the pod gives way to services: its label says so, or, without a label, that it requests nothing.

        One that calls itself best effort and prod at once is taken for a service, which is the safe reading; so are the system's own pods.
        """
        if explicit_band(self.metadata.labels, self.spec.priority) is Band.PROD:
            return False
        if self.qos is not None:
            return self.qos is QoS.BE
        return tier == "besteffort" and self.spec.priority <= _USERS_HIGHEST


class _List(Struct, frozen=True):
    items: tuple[Pod, ...] = ()


_pod = msgspec.json.Decoder(Pod)
_list = msgspec.json.Decoder(_List)


class NodePods:
    """The pods of one node by UID; while the API server is away, those that were there last.

    Attributes:
        synced: whether all were told at least once.
        changes: grows with all that is told.
    """

    def __init__(self) -> None:
        self.by_uid: dict[str, Pod] = {}
        self.synced = False
        self.changes = 0
        self._told: set[str] | None = None

    async def follow(self, client: Client, node: str, say: Callable[[str], None]) -> None:
        """Keep up with the API server until cancelled."""
        away = False
        async with aclosing(changes(client, PODS, field_selector=f"spec.nodeName={node}")) as events:
            async for event in events:
                if isinstance(event, Interrupted):
                    if not away:
                        say(f"the API server is away, the pods last known stay: {event.error}")
                    away = True
                    continue
                if away and isinstance(event, Synced | Changed | Removed):
                    away = False
                    say("the API server is back")
                self.take(event)

    def take(self, event: object) -> None:
        """Take one event in; a pod that cannot be decoded counts as one that nobody told of."""
        self.changes += 1
        match event:
            case Relisted():
                self._told = set()
            case Listed(raw):
                for pod in listed(raw):
                    self._put(pod)
            case Changed(raw):
                self._put(_decoded(raw))
            case Removed(raw):
                self.by_uid.pop(_key(_decoded(raw)), None)
            case Synced():
                if self._told is not None:
                    self.by_uid = {uid: pod for uid, pod in self.by_uid.items() if uid in self._told}
                self._told, self.synced = None, True

    def _put(self, pod: Pod) -> None:
        uid = _key(pod)
        if uid:
            self.by_uid[uid] = pod
            if self._told is not None:
                self._told.add(uid)


def reading(pod: Pod, *, best_effort: bool) -> PodReading:
    """A pod as the rules of eviction need it, without what changes from second to second."""
    labels, annotations = pod.metadata.labels, pod.metadata.annotations
    untouchable = any(
        key in annotations and annotations[key] not in values for key, values in _NOT_PROTECTED.items()
    ) or any(owner.kind in ("DaemonSet", "Node") for owner in pod.metadata.owner_references)
    return PodReading(
        name=pod.name,
        qos=QoS.BE.name if best_effort else "",
        band=band_of(labels, pod.spec.priority),
        priority=pod.spec.priority,
        label_priority=_integer(labels.get("koordinator.sh/priority")),
        eviction_priority=_integer(annotations.get("koordinator.sh/eviction-priority")) or 0,
        eviction_enabled=labels.get("koordinator.sh/eviction-enabled") == "true",
        eviction_policies=_names(annotations.get("koordinator.sh/eviction-policy")),
        protected=untouchable or pod.spec.priority > _USERS_HIGHEST,
        evicted=pod.metadata.deletion_timestamp is not None,
        cpu_request=sum(
            _amount(each.resources.requests.get(name, "0"))
            for each in (*pod.spec.containers, *pod.spec.sidecars)
            for name in RECLAIMED_CPU
        ),
    )


def _key(pod: Pod) -> str:
    """The UID in the name of the pod's group: for a static pod not that of its picture in the API."""
    return pod.metadata.annotations.get("kubernetes.io/config.hash") or pod.metadata.uid


def listed(raw: bytes | msgspec.Raw) -> tuple[Pod, ...]:
    """The pods of a list; none where it cannot be decoded."""
    try:
        return _list.decode(raw).items
    except msgspec.MsgspecError:
        return ()


def _decoded(raw: msgspec.Raw) -> Pod:
    try:
        return _pod.decode(raw)
    except msgspec.MsgspecError:
        return Pod()


def _amount(text: str, of: Callable[[str], int] = value) -> int:
    """0 where nobody can read it."""
    try:
        return of(text)
    except QuantityError:
        return 0


def _integer(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def _names(text: str | None) -> tuple[str, ...] | None:
    """A JSON list of names; None for all, also where there is no such list."""
    try:
        return None if text is None else msgspec.json.decode(text, type=tuple[str, ...])
    except msgspec.MsgspecError:
        return None
