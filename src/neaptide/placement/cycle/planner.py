"""One pass over the queue: who is tried, alone, in a batch or as a gang, and in which order."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from neaptide.model.columns import NO_NODE
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.cycle.assumed import Assumptions
from neaptide.placement.cycle.attempts import Attempt, Attempts
from neaptide.placement.cycle.changes import Change, Kind
from neaptide.placement.cycle.gang_attempts import GangAttempts
from neaptide.placement.cycle.gangs import Gangs
from neaptide.placement.cycle.nominations import Nominations, Rank, rank_of
from neaptide.placement.cycle.plugin import Plugin
from neaptide.placement.cycle.queue import Queue, Waiting
from neaptide.placement.cycle.refusals import Refusals


class Planner:
    """Tries pods against the snapshot as it is."""

    def __init__(
        self,
        snapshot: ClusterSnapshot,
        queue: Queue,
        attempts: Attempts,
        assumptions: Assumptions,
        nominations: Nominations,
        gangs: Gangs,
        gang_attempts: GangAttempts,
        refusals: Refusals,
    ) -> None:
        self._snapshot, self._queue, self._attempts = snapshot, queue, attempts
        self._assumptions, self._nominations = assumptions, nominations
        self._gangs, self._gang_attempts, self._refusals = gangs, gang_attempts, refusals

    def cycle(self, pods: Sequence[Waiting], now: float) -> None:
        """Try pods that were taken from the queue, each once, in this order."""
        self._attempts.begin(now)
        tried: set[str] = set()
        for (_, alone, gang), run in groupby(pods, key=self._kind):
            if gang is not None:
                if gang not in tried:
                    tried |= self._gang_attempts.attempt(gang, pods, now)
            elif alone:
                self._single(next(run), now)
            else:
                self._batch(list(run), now)

    def _kind(self, pod: Waiting) -> tuple[Rank, str, str | None]:
        """What neighbours in the order must share to be tried together; a pod that a plugin has a say about is alone."""
        gang = self._gangs.gang_of(pod.row)
        alone = pod.key if gang is None and self._is_special(pod) else ""
        return rank_of(self._snapshot, pod.row), alone, gang

    def _is_special(self, pod: Waiting) -> bool:
        return self._nominations.node_of(pod.key) >= 0 or not self._attempts.is_plain(pod.row)

    def _batch(self, pods: list[Waiting], now: float) -> None:
        admitted, plugins = self._admitted(pods, now)
        if not admitted:
            return
        with self._nominations.held(rank_of(self._snapshot, pods[0].row), {pod.key for pod in pods}):
            taken, nodes, left = self._attempts.many(admitted)
        self._assumptions.take(taken, nodes, plugins)
        for cls in dict.fromkeys(self._snapshot.pods.cls[[pod.row for pod in taken]].tolist() if taken else ()):
            self._queue.changed(Change(Kind.POD_ARRIVED, cls=cls), now)
        self._release(left, plugins, now)
        for pod, attempt in left:
            if (
                attempt.verdict is not None and attempt.verdict.feasible.any()
            ):  # one that was placed after it has helped
                self._queue.put_back(pod.key)
            else:
                self._refusals.refuse(pod, attempt, now)

    def _release(
        self, left: Sequence[tuple[Waiting, Attempt]], plugins: Mapping[str, tuple[Plugin, ...]], now: float
    ) -> None:
        """Take back what was noted of pods that found no node: others may have been refused for it."""
        for pod, _ in left:
            for plugin in reversed(plugins.get(pod.key, ())):
                plugin.unreserve(pod.row, NO_NODE)
        if plugins and left:
            self._queue.changed(Change(Kind.QUOTA), now)

    def _admitted(self, pods: Sequence[Waiting], now: float) -> tuple[list[Waiting], dict[str, tuple[Plugin, ...]]]:
        """Those that no plugin refuses beforehand, and which plugins have noted them as if they had a node."""
        found: list[Waiting] = []
        noted: dict[str, tuple[Plugin, ...]] = {}
        for pod in pods:
            plugins = self._attempts.concerned(pod.row)
            refused = self._attempts.before(pod.row, plugins, now) if plugins else None
            if refused is not None:
                self._refusals.refuse(pod, refused, now)
                continue
            found.append(pod)
            if plugins:
                noted[pod.key] = plugins
                for plugin in plugins:
                    plugin.reserve(pod.row, NO_NODE, now)
        return found, noted

    def _single(self, pod: Waiting, now: float) -> None:
        plugins = self._attempts.concerned(pod.row)
        nominated = self._nominations.node_of(pod.key)
        with self._nominations.held(rank_of(self._snapshot, pod.row), {pod.key}):
            attempt = self._attempts.one(pod.row, plugins, now, nominated=nominated)
            if attempt.node is not None:
                self._assumptions.reserve(pod, attempt.node, plugins, now, permit=None)
        if attempt.node is None:
            self._refusals.refuse(pod, attempt, now)
            return
        self._refusals.settled(pod, attempt.node, now)
        self._queue.changed(Change(Kind.POD_ARRIVED, cls=int(self._snapshot.pods.cls[pod.row])), now)
