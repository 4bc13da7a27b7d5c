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
HARMLESS = 50  # the sigmoid's middle: a node loses no more worth than the pod takes


class Move(NamedTuple):
    """A pod, by its place among all that arrived, went from one node to another."""

    pod: int
    source: int
    target: int


class _Room(NamedTuple):
    """Where a class fits best, how well, and how well on the next best node."""

    node: int
    score: int
    next_score: int

    def elsewhere(self, node: int) -> int:
        """The best score of a node other than this."""
        return self.next_score if node == self.node else self.score


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
        self._in_vain: set[int] = set()  # classes that got no room, since the last pod that got some
        self._present: set[int] = set()  # classes of which there was a pod
        self._class = np.zeros(arrivals, np.int64)
        self._node = np.full(arrivals, REFUSED, np.int64)
        self._devices = np.zeros(arrivals, np.int64)

    def place(self, pod_class: int) -> Placed | None:
        """Place one pod of this class; None where it fits on no node, and no move that is allowed makes room."""
        pod = self._arrived
        self._arrived += 1
        placed = self._scheduler.place(pod_class)
        hopeless = pod_class in self._in_vain or self._classes.request[pod_class, NUM] == 0
        if placed is None and not hopeless and self._allowed():
            placed = self._make_room(pod_class)
            if placed is None:
                self._in_vain.add(pod_class)
        if placed:
            self._in_vain.clear()
            self._note(pod, pod_class, placed)
        return placed

    def _allowed(self) -> bool:
        return len(self.moves) + 1 <= self._per_100 * self._arrived / 100

    def _make_room(self, pod_class: int) -> Placed | None:
        rooms = {other: _best_two(self._scheduler.scores(other)) for other in self._present}
        movable = np.zeros(len(self._classes.request), np.bool_)
        movable[[other for other, room in rooms.items() if room.score >= HARMLESS]] = True
        pods = self._in_the_way(pod_class, np.flatnonzero((self._node >= 0) & movable[self._class]))
        suits = [
            rooms[other].elsewhere(node)
            for other, node in zip(self._class[pods].tolist(), self._node[pods].tolist(), strict=True)
        ]
        suit = np.array(suits, np.int64)
        pods, suit = pods[suit >= HARMLESS], suit[suit >= HARMLESS]
        request = self._classes.request[self._class[pods]]
        order = np.lexsort((pods, request[:, CPU], request[:, NUM] * request[:, MILLI], -suit))
        moved = (self._move(pod, pod_class) for pod in pods[order].tolist())
        return next((placed for placed in moved if placed), None)

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


def _best_two(scores: Scores) -> _Room:
    node = int(scores.argmax())
    others = np.delete(scores, node)
    return _Room(node, int(scores[node]), int(others.max(initial=REFUSED)))
