"""What a plugin of the scheduling cycle is: the say that something has about some pods, beside filters and scores.

The phases are the scheduler framework's. A plugin overrides those that it takes part in; its spec is what profiles name.
"""

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Self

from msgspec import Struct

from neaptide.model.columns import Bools, Longs
from neaptide.placement.cycle.actions import AnyCycleAction
from neaptide.placement.view import View


class Plugin:
    """Phases of one rule. Pods and nodes are rows of the snapshot, times are seconds since the epoch.

    Pods that no plugin which chooses nodes `concerns` are placed in batches; the others one at a time, in their place in the order.
    """

    name: str
    chooses_nodes: bool = True
    """Whether it has a say about nodes. Pods that only others concern are placed in batches, between pre_filter and reserve."""
    has_debtors: bool = False
    """Whether what `pre_filter` refuses may pass once `debtors` have gone."""

    def take_over(self, before: Self) -> None:
        """Go on where another one has ended, whose snapshot had the same rows of pods and nodes, and other numbers for all else."""
        del before

    def begin(self) -> None:
        """A cycle begins. Whoever is on a node now is there, and not merely nominated to it."""

    def concerns(self, pod: int) -> bool:
        """Whether the plugin has anything to say about a pod."""
        del pod
        return False

    def pre_filter(self, pod: int, now: float) -> str:
        """Why no node can take a pod now, whatever the nodes; empty where that depends on them."""
        del pod, now
        return ""

    def failures(self, pod: int, now: float) -> dict[str, Bools]:
        """Filter. By reason, bool[nodes]: the nodes that cannot take a pod."""
        del pod, now
        return {}

    def lifted(self, pod: int) -> AbstractContextManager[Bools | None]:
        """Filter. Inside, what is kept for a pod is free; bool[nodes]: where that is, to be tried before all others. None for nowhere."""
        del pod
        return nullcontext()

    def only_kept(self, pod: int) -> bool:
        """Whether a pod must go where something is kept for it."""
        del pod
        return False

    def scores(self, pod: int, rows: Longs, now: float) -> Longs | None:
        """Score. int64[len(rows)]: what each feasible node (row) is worth, weight included; None for no say."""
        del pod, rows, now
        return None

    def reserve(self, pod: int, node: int, now: float) -> dict[str, str]:
        """Note that a pod is to go to a node, where the snapshot has it by now; the annotations that its binding is to write."""
        del pod, node, now
        return {}

    def unreserve(self, pod: int, node: int) -> None:
        """Take `reserve` back. The pod is still on the node in the snapshot."""
        del pod, node

    def reclaimable(self, pod: int) -> Sequence[int]:
        """Post-filter: the pods that may have to go for a pod although they are not of a lower rank."""
        del pod
        return ()

    def debtors(self, pod: int) -> Sequence[int]:
        """Post-filter: the pods that may have to go so that `pre_filter` lets a pod pass."""
        del pod
        return ()

    def passes(self, pod: int, gone: Sequence[int], come: Sequence[int]) -> bool:
        """Post-filter: whether `pre_filter` would let a pod pass with these pods gone from their nodes, and those on some."""
        del pod, gone, come
        return False

    def report(self) -> Sequence[AnyCycleAction]:
        """What is to be written about the plugin's own objects at the end of a cycle."""
        return ()

    def changed(self, kind: str, key: str) -> None:
        """An object (not a pod) was added, changed or removed."""
        del kind, key

    def pod_changed(self, key: str) -> None:
        """A pod was added, changed or removed by others than this scheduler."""
        del key


class PluginSpec(Struct, frozen=True, kw_only=True, rename="camel", tag_field="name", forbid_unknown_fields=True):
    """A plugin as a profile has it. Fields are its parameters."""

    @property
    def name(self) -> str:
        """As profiles name it."""
        return str(self.__struct_config__.tag)

    @abstractmethod
    def plugin(self, view: View) -> Plugin:
        """The plugin for one scheduler."""
