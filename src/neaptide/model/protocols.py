"""What stands between the loop and the outside: a world to observe and act on, and a cloud that sells nodes."""

from collections.abc import Sequence
from typing import Any, Protocol

from neaptide.model.actions import AnyAction, Outcome, Plan, Ref
from neaptide.model.cloud import Coming, Interruption, Order
from neaptide.model.offerings import Offering
from neaptide.model.scope import Covers, everything
from neaptide.model.snapshot import ClusterSnapshot


class World(Protocol):
    """A cluster, simulated or real."""

    def now(self) -> float:
        """The world's time, in seconds since the epoch."""

    def observe(self) -> ClusterSnapshot:
        """The cluster as it is known now. The loop reads it and changes it only inside `what_if`."""

    def act(self, actions: Sequence[AnyAction]) -> list[Outcome]:
        """Carry actions out in order, each after re-checking its preconditions; one outcome for every action."""

    def disruptions(self) -> Sequence[Ref]:
        """The workloads of the pods that nodes evicted on their own since the last call, once per pod."""


class Market(Protocol):
    """What is known of a cloud without asking it anew."""

    def offerings(self) -> Sequence[Offering]:
        """What can be had now, each with its price; what ran out is left out for a while."""

    def coming(self) -> Sequence[Coming]:
        """What was ordered and has not joined yet. An order that is neither here nor a node has failed."""

    def interruptions(self) -> Sequence[Interruption]:
        """What the cloud has said of nodes that are still there."""


class CloudProvider(Market, Protocol):
    """Whoever makes and removes nodes, and answers at once."""

    def create(self, order: Order) -> str:
        """Ask for a node; its name, before it exists. Raises OutOfCapacityError and CloudError."""

    def delete(self, node: str) -> None:
        """Give a node back; one that is not there is no error."""


class RemoteCloudProvider(Market, Protocol):
    """The same over a wire."""

    async def create(self, order: Order) -> str:
        """Ask for a node; its name, before it exists. Raises OutOfCapacityError and CloudError."""

    async def delete(self, node: str) -> None:
        """Give a node back; one that is not there is no error."""


class Policy(Protocol):
    """A pure decision. `Spec` and `Memory` are msgspec Structs with defaults; memory is keyed by workload, never by pod UID."""

    @property
    def name(self) -> str: ...
    @property
    def spec_type(self) -> type[Any]: ...
    @property
    def memory_type(self) -> type[Any]: ...

    def plan(
        self,
        snapshot: ClusterSnapshot,
        spec: Any,  # noqa: ANN401 - each policy has its own
        memory: Any,  # noqa: ANN401 - each policy has its own
        now: float,
        covers: Covers = everything,
    ) -> tuple[Plan, Any]:
        """What this policy wants done now to objects that its scope covers, and what it wants to remember.

        The others still count: they use what they use, and are in the way. Bounds are for what is done, and so for what is covered.
        """
