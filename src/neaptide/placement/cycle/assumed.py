"""Pods that were given a node and that the cluster does not show there yet: reserve, permit, pre-bind and bind, or back.

In the snapshot an assumed pod is on its node like any other. Whatever goes wrong before the cluster shows it there takes
everything back and puts the pod into the queue again.
"""

from collections.abc import Mapping, Sequence
from enum import Enum

from msgspec import Struct

from neaptide.placement.cycle.actions import AnyCycleAction, Bind
from neaptide.placement.cycle.changes import Change, Kind
from neaptide.placement.cycle.claims import WAIT_SECONDS, Claims, Held
from neaptide.placement.cycle.plugin import Plugin
from neaptide.placement.cycle.queue import Queue, Waiting
from neaptide.placement.view import View


class Stage(Enum):
    PERMIT = "waits for the others of its gang"
    VOLUMES = "waits for its volumes"
    BINDING = "is being bound"


class Assumed(Struct):
    """A pod and the node (row, name) it was given. `until` is when it gives the node back unless its stage has passed."""

    pod: Waiting
    node: int
    node_name: str
    stage: Stage
    plugins: tuple[Plugin, ...]
    annotations: dict[str, str]
    held: Held | None = None
    writes: tuple[AnyCycleAction, ...] = ()
    """What its claims need written, once it is permitted."""
    until: float = float("inf")


class Assumptions:
    """All assumed pods, by `namespace/name`. Actions that follow are appended to `out`."""

    def __init__(self, view: View, queue: Queue, out: list[AnyCycleAction]) -> None:
        self._view, self._queue, self._out = view, queue, out
        self._claims = Claims(view)
        self.pods: dict[str, Assumed] = {}
        self._timed: dict[str, Assumed] = {}
        """Those of them that wait for something, and only so long."""

    def take_over(self, before: "Assumptions", plugins: Sequence[Plugin]) -> None:
        """Go on where others have ended, with these plugins instead of those of the same name."""
        self.pods, self._timed = before.pods, before._timed
        by_name = {each.name: each for each in plugins}
        for assumed in self.pods.values():
            assumed.plugins = tuple(by_name[each.name] for each in assumed.plugins)

    def take(self, pods: Sequence[Waiting], nodes: Sequence[int], plugins: Mapping[str, tuple[Plugin, ...]]) -> None:
        """Bind pods without claims, which the snapshot has on these nodes by now, and these plugins (by pod) have noted."""
        names, snapshot = self._view.snapshot.nodes.names, self._view.snapshot
        for pod, node in zip(pods, nodes, strict=True):
            self._queue.drop(pod.key)
            self.pods[pod.key] = Assumed(pod, node, names[node], Stage.BINDING, plugins.get(pod.key, ()), {})
            self._out.append(Bind(snapshot.pod_ref(pod.row), names[node]))

    def reserve(self, pod: Waiting, node: int, plugins: Sequence[Plugin], now: float, *, permit: float | None) -> None:
        """Put a pod on a node with all that plugins and claims note. `permit` is how long it may wait for others, None for not at all."""
        snapshot = self._view.snapshot
        if snapshot.pods.node[pod.row] < 0:
            snapshot.assign(pod.row, node)
        annotations: dict[str, str] = {}
        for plugin in plugins:
            annotations |= plugin.reserve(pod.row, node, now)
        self._queue.drop(pod.key)
        assumed = Assumed(pod, node, snapshot.nodes.names[node], Stage.PERMIT, tuple(plugins), annotations)
        assumed.held, writes = self._claims.reserve(pod.row, node)
        assumed.writes = tuple(writes)
        self.pods[pod.key] = assumed
        if permit is None:
            self.permit(pod.key, now)
        else:
            assumed.until = now + permit
            self._timed[pod.key] = assumed

    def permit(self, key: str, now: float) -> None:
        """Let a reserved pod be bound, after its volumes."""
        assumed = self.pods[key]
        self._out.extend(assumed.writes)
        assumed.stage, assumed.until = Stage.VOLUMES, now + WAIT_SECONDS
        self._timed[key] = assumed
        self._bind_if_ready(assumed)

    def claim_changed(self, key: str, now: float) -> None:
        """A volume claim was changed or is gone: somebody may have waited for that."""
        for assumed in [each for each in self._timed.values() if each.stage is Stage.VOLUMES]:
            if assumed.held is None or key not in assumed.held.claims:
                continue
            self._claims.saw(assumed.held, key)
            if self._claims.is_lost(assumed.held):
                self.roll_back(assumed.pod.key, now, f"the volume of the claim {key} could not be provisioned")
            else:
                self._bind_if_ready(assumed)

    def confirmed(self, key: str, node: int, now: float) -> bool:
        """The cluster shows an assumed pod on a node; whether it is the one that was assumed."""
        assumed = self._pop(key)
        if node != assumed.node:
            self._unreserve(assumed)
            self._queue.changed(Change(Kind.POD_LEFT, assumed.node, self._class(assumed)), now)
        return node == assumed.node

    def roll_back(self, key: str, now: float, message: str = "", *, quiet: bool = False) -> None:
        """Take an assumption back; with a message the pod is tried again after its back-off, without one it is forgotten.

        `quiet` wakes nobody, for the room was taken and given back within one attempt; the pod is in the caller's hands again.
        """
        assumed = self._pop(key)
        snapshot, pod = self._view.snapshot, assumed.pod
        change = Change(Kind.POD_LEFT, assumed.node, self._class(assumed))
        self._unreserve(assumed)
        if snapshot.pods.by_key.get(key) == pod.row and snapshot.pods.node[pod.row] == assumed.node:
            snapshot.unassign(pod.row)
        if message or quiet:
            self._queue.add(pod)
        if message:
            self._queue.errored(key, message, now)
        if not quiet:
            self._queue.changed(change, now)

    def expired(self, now: float) -> list[Assumed]:
        """Those whose stage has taken too long."""
        return [each for each in self._timed.values() if each.until <= now]

    def due(self) -> float:
        """When the next one expires."""
        return min((each.until for each in self._timed.values()), default=float("inf"))

    def _bind_if_ready(self, assumed: Assumed) -> None:
        if assumed.held is not None and not self._claims.is_ready(assumed.held):
            return
        assumed.stage, assumed.until = Stage.BINDING, float("inf")
        self._timed.pop(assumed.pod.key, None)
        self._out.append(Bind(self._view.snapshot.pod_ref(assumed.pod.row), assumed.node_name, assumed.annotations))

    def _pop(self, key: str) -> Assumed:
        self._timed.pop(key, None)
        return self.pods.pop(key)

    def _unreserve(self, assumed: Assumed) -> None:
        for plugin in reversed(assumed.plugins):
            plugin.unreserve(assumed.pod.row, assumed.node)
        if assumed.held is not None:
            self._claims.release(assumed.held)

    def _class(self, assumed: Assumed) -> int:
        return int(self._view.snapshot.pods.cls[assumed.pod.row])
