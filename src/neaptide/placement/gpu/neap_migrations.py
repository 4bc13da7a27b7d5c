"""Migrations: a pod that fits nowhere gets room by moving one other pod that fits elsewhere.

Nothing is moved to be tidy: a move (evict and start again) is made only when a pod would be dropped otherwise, so that what each one gains is
certain, namely the GPU of that pod, and only where neither node is fragmented by it: else the newcomer costs those that come later more than
it brings. Among the pods whose node would take the newcomer in their place, the one moves that suits another node best by the policy's own
score; then the one with the least GPU, CPU and index. Moves are allowed as arrivals come, N per 100, and may be saved up. A pod without GPU
gains nothing and moves nobody.
"""

from typing import NamedTuple

import numpy as np

from neaptide.placement.gpu.scheduler import GpuScheduler, Placed
from neaptide.placement.gpu.state import CPU, MEMORY, MILLI, NUM, Ints, PodClasses, Scores
from neaptide.placement.gpu.steps import REFUSED

MIGRATING = ("neap", "FGD")  # policies in whose scores HARMLESS has its meaning
PAUSE = 200  # arrivals, for a class that got no room by a move
HARMLESS = 50  # the sigmoid's middle: a node loses no more worth than the pod takes


class Move(NamedTuple):
    """A pod, by its place among all that arrived, went from one node to another."""

    pod: int
    source: int
    target: int


class MigratingScheduler:
    """A scheduler that may move pods it placed. `moves` are those made so far."""

    def __init__(self, scheduler: GpuScheduler, classes: PodClasses, *, per_100: float, arrivals: int) -> None:
        """Take over a scheduler that has placed nothing.

        Args:
            scheduler: places the pods.
            classes: the same as the scheduler's.
            per_100: moves allowed per 100 arrivals.
            arrivals: how many pods will come at most.
        """
        self.moves: list[Move] = []
        self._scheduler = scheduler
        self._classes = classes
        self._per_100 = per_100
        self._arrived = 0
        self._in_vain: dict[
            int, int
        ] = {}  # classes that got no room, and how many pods will have arrived when they are tried again
        self._present: set[int] = set()  # classes of which there was a pod
        self._class = np.zeros(arrivals, np.int64)
        self._node = np.full(arrivals, REFUSED, np.int64)
        self._devices = np.zeros(arrivals, np.int64)

    def place(self, pod_class: int) -> Placed | None:
        """Place one pod of this class; None where it fits on no node, and no move that is allowed makes room."""
        pod = self._arrived
        self._arrived += 1
        placed = self._scheduler.place(pod_class)
        hopeless = pod < self._in_vain.get(pod_class, 0) or self._classes.request[pod_class, NUM] == 0
        if placed is None and not hopeless and self._allowed():
            placed = self._make_room(pod_class)
            if placed is None:
                self._in_vain[pod_class] = pod + PAUSE
        if placed:
            self._note(pod, pod_class, placed)
        return placed

    def _allowed(self) -> bool:
        return len(self.moves) + 1 <= self._per_100 * self._arrived / 100

    def _make_room(self, pod_class: int) -> Placed | None:
        rooms = np.full((len(self._classes.request), 3), REFUSED, np.int64)
        for other in self._present:
            rooms[other] = _best_two(self._scheduler.scores(other))
        best, score, next_score = rooms.T
        pods = self._in_the_way(pod_class, np.flatnonzero((self._node >= 0) & (score[self._class] >= HARMLESS)))
        moved = self._class[pods]
        suit = np.where(best[moved] == self._node[pods], next_score[moved], score[moved])
        pods, suit = pods[suit >= HARMLESS], suit[suit >= HARMLESS]
        request = self._classes.request[self._class[pods]]
        order = np.lexsort((pods, request[:, CPU], request[:, NUM] * request[:, MILLI], -suit))
        tried = (self._move(pod, pod_class) for pod in pods[order].tolist())
        return next((placed for placed in tried if placed), None)

    def _in_the_way(self, pod_class: int, pods: Ints) -> Ints:
        """Those of `pods` without which their node would take a pod of this class."""
        state, wanted = self._scheduler.state, self._classes.request[pod_class]
        node, request = self._node[pods], self._classes.request[self._class[pods]]
        fits = self._classes.allowed[pod_class, state.model[node]]
        fits &= state.cpu_free[node] + request[:, CPU] >= wanted[CPU]
        fits &= state.memory_free[node] + request[:, MEMORY] >= wanted[MEMORY]
        pods, node, request = pods[fits], node[fits], request[fits]
        held = self._devices[pods, None] >> np.arange(state.gpu_free.shape[1]) & 1
        able = state.gpu_free[node] + held * request[:, MILLI, None] >= wanted[MILLI]
        able &= np.arange(state.gpu_free.shape[1]) < state.gpu_count[node, None]
        found: Ints = pods[able.sum(axis=1) >= wanted[NUM]]
        return found

    def _move(self, pod: int, newcomer: int) -> Placed | None:
        """Let a pod of class `newcomer` have the place of `pod`, and `pod` another; None where that would fragment the node."""
        scheduler, pod_class = self._scheduler, int(self._class[pod])
        held = Placed(int(self._node[pod]), int(self._devices[pod]))
        scheduler.release(pod_class, held)
        if scheduler.scores(newcomer)[held.node] < HARMLESS:
            scheduler.hold(pod_class, held)
            return None
        placed = scheduler.place_on(newcomer, held.node)
        again = scheduler.place(pod_class)
        if again is None:
            raise AssertionError(f"pod {pod} was to move from node {held.node}, and fits nowhere")
        self._note(pod, pod_class, again)
        self.moves.append(Move(pod, held.node, again.node))
        return placed

    def _note(self, pod: int, pod_class: int, placed: Placed) -> None:
        self._present.add(pod_class)
        self._class[pod], self._node[pod], self._devices[pod] = pod_class, placed.node, placed.devices


def _best_two(scores: Scores) -> tuple[int, int, int]:
    """Where a class fits best, how well, and how well on the next best node."""
    node = int(scores.argmax())
    others = max(scores[:node].max(initial=REFUSED), scores[node + 1 :].max(initial=REFUSED))
    return node, int(scores[node]), int(others)
