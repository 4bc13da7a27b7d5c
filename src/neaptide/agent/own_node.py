"""The agent's own node as the API server tells of it: what it keeps for the system, what it lends, whose objects are its."""

from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import NamedTuple

import msgspec
from msgspec import Struct

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.errors import Forbidden
from neaptide.kubeapi.resources import NODES
from neaptide.kubeapi.watch import Changed, Interrupted, Listed, changes
from neaptide.model.cpusets import cpus_of
from neaptide.model.node_reservation import ANNOTATION, NodeReservation, node_reservation
from neaptide.model.problems import FieldError
from neaptide.model.quantity import QuantityError, milli, value

SYSTEM_QOS = "node.koordinator.sh/system-qos-resource"


class NodeFacts(NamedTuple):
    """What the API server says of a node.

    Attributes:
        uid: empty where nothing was told yet.
        reserved_cpu: milli-cores that are kept from pods: capacity - allocatable, or what its annotation says, the larger.
        reserved_cpus: the CPUs that are kept by name: by that annotation, or for pods of class SYSTEM alone.
        allocatable_memory: bytes; None where that is unknown.
        batch_cpu: milli-cores that are lent in the tier `batch`; None where the node has none.
        cpu: its capacity in milli-cores; 0 where that is unknown.
    """

    uid: str = ""
    reserved_cpu: int = 0
    reserved_cpus: frozenset[int] = frozenset()
    allocatable_memory: int | None = None
    batch_cpu: int | None = None
    cpu: int = 0

    def kept_of(self, usable: int) -> int:
        """What is reserved of the milli-cores that pods may use at all, where these are fewer than the node has."""
        return max(self.reserved_cpu - max(self.cpu - usable, 0), 0)


class _Metadata(Struct, frozen=True):
    uid: str = ""
    annotations: dict[str, str] = {}


class _Status(Struct, frozen=True):
    capacity: dict[str, str] = {}
    allocatable: dict[str, str] = {}


class _Node(Struct, frozen=True):
    metadata: _Metadata = _Metadata()
    status: _Status = _Status()


class _SystemQos(Struct, frozen=True):
    cpuset: str = ""
    exclusive: bool = msgspec.field(default=True, name="cpusetExclusive")


class _List(Struct, frozen=True):
    items: tuple[_Node, ...] = ()


class OwnNode:
    """Follows the node; while the API server is away, or where it refuses, what was told last stays.

    Args:
        say: takes a sentence for the log.

    Attributes:
        facts: what is known.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.facts = NodeFacts()
        self._say, self._said = say, ""

    async def follow(self, client: Client, name: str) -> None:
        """Keep up with the API server until cancelled."""
        async with aclosing(changes(client, NODES, field_selector=f"metadata.name={name}")) as events:
            async for event in events:
                self.take(event)

    def take(self, event: object) -> None:
        """Take one event in; what cannot be decoded changes nothing."""
        with suppress(msgspec.MsgspecError):
            match event:
                case Interrupted(error=Forbidden() as error):
                    self._once(f"what the node keeps for the system is not known: {error}")
                case Listed(raw):
                    for node in msgspec.json.decode(raw, type=_List).items:
                        self._read(node)
                case Changed(raw):
                    self._read(msgspec.json.decode(raw, type=_Node))

    def _read(self, node: _Node) -> None:
        kept = NodeReservation()
        try:
            kept = node_reservation(node.metadata.annotations.get(ANNOTATION, "{}"))
        except FieldError as error:
            self._once(f"the node keeps nothing more for the system: {error}")
        capacity, allocatable = node.status.capacity, node.status.allocatable
        cpu = _amount(capacity.get("cpu"), milli) or 0
        held = cpu - (_amount(allocatable.get("cpu"), milli) or 0)
        self.facts = NodeFacts(
            node.metadata.uid,
            max(held if "cpu" in allocatable else 0, kept.cpu),
            kept.cpus | _of_system_pods(node.metadata.annotations.get(SYSTEM_QOS, "{}")),
            _amount(allocatable.get("memory"), value),
            _amount(allocatable.get("kubernetes.io/batch-cpu"), value),
            cpu,
        )

    def _once(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            self._say(sentence)


def _of_system_pods(text: str) -> frozenset[int]:
    """The CPUs that SYSTEM pods have to themselves; none where they share them, or nobody can read it."""
    try:
        found = msgspec.json.decode(text, type=_SystemQos)
    except msgspec.MsgspecError:
        return frozenset()
    return cpus_of(found.cpuset) if found.exclusive else frozenset()


def _amount(text: str | None, of: Callable[[str], int]) -> int | None:
    """None where there is none, or nobody can read it."""
    try:
        return None if text is None else of(text)
    except QuantityError:
        return None
