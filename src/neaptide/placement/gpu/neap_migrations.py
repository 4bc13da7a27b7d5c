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
from neaptide.placement.gpu.state import CPU, MEMORY, MILLI, NUM, Bools, Ints, PodClasses, Scores
from neaptide.placement.gpu.steps import REFUSED
from neaptide.placement.kernels.jit import HAVE_NUMBA, Twins, kernel

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

    def __init__(
        self,
        scheduler: GpuScheduler,
        classes: PodClasses,
        *,
        per_100: float,
        arrivals: int,
        compiled: bool = HAVE_NUMBA,
    ) -> None:
        """Take over a scheduler that has placed nothing.

        Args:
            scheduler: places the pods.
            classes: the same as the scheduler's.
            per_100: moves allowed per 100 arrivals.
            arrivals: how many pods will come at most.
            compiled: numba's kernels; else their numpy twins.
        """
        self.moves: list[Move] = []
        self._scheduler = scheduler
        self._classes = classes
        self._in_the_way, self._best_two = (twins.pick(compiled=compiled) for twins in (IN_THE_WAY, BEST_TWO))
        self._per_100 = per_100
        self._arrived = 0
        self._in_vain: dict[
            int, int
        ] = {}  # classes that got no room, and how many pods will have arrived when they are tried again
        self._class = np.zeros(arrivals, np.int64)
        self._node = np.full(arrivals, REFUSED, np.int64)
        self._devices = np.zeros(arrivals, np.int64)

    def rehearse(self) -> None:
        """Compile what is not yet, before anything is placed."""
        self._make_room(0)
        self._best_two(self._scheduler.scores(0))

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
        state, classes, placed = self._scheduler.state, self._classes, (self._class, self._node, self._devices)
        pods = self._in_the_way(
            *placed, self._arrived, *state[:5], classes.request, pod_class, classes.allowed[pod_class, state.model]
        )
        rooms = np.full((len(classes.request), 3), REFUSED, np.int64)
        for other in np.unique(self._class[pods]).tolist():
            rooms[other] = self._best_two(self._scheduler.scores(other))
        best, score, next_score = rooms.T
        moved = self._class[pods]
        suit = np.where(best[moved] == self._node[pods], next_score[moved], score[moved])
        pods, suit = pods[suit >= HARMLESS], suit[suit >= HARMLESS]
        request = self._classes.request[self._class[pods]]
        order = np.lexsort((pods, request[:, CPU], request[:, NUM] * request[:, MILLI], -suit))
        tried = (self._move(pod, pod_class) for pod in pods[order].tolist())
        return next((placed for placed in tried if placed), None)

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
        self._class[pod], self._node[pod], self._devices[pod] = pod_class, placed.node, placed.devices


def _in_the_way(
    class_of: Ints,
    node_of: Ints,
    devices: Ints,
    arrived: int,
    cpu: Ints,
    memory: Ints,
    gpu: Ints,
    gpu_count: Ints,
    _model: Ints,
    requests: Ints,
    newcomer: int,
    allowed: Bools,
) -> Ints:
    wanted = requests[newcomer]
    found = np.empty(arrived, np.int64)
    count = 0
    for pod in range(arrived):
        node = node_of[pod]
        if node < 0 or not allowed[node]:
            continue
        request = requests[class_of[pod]]
        if cpu[node] + request[CPU] < wanted[CPU] or memory[node] + request[MEMORY] < wanted[MEMORY]:
            continue
        able = 0
        for device in range(gpu_count[node]):
            held = request[MILLI] if devices[pod] >> device & 1 else 0
            able += gpu[node, device] + held >= wanted[MILLI]
        if able >= wanted[NUM]:
            found[count] = pod
            count += 1
    return found[:count]


def _in_the_way_numpy(
    class_of: Ints,
    node_of: Ints,
    devices: Ints,
    arrived: int,
    cpu: Ints,
    memory: Ints,
    gpu: Ints,
    gpu_count: Ints,
    _model: Ints,
    requests: Ints,
    newcomer: int,
    allowed: Bools,
) -> Ints:
    wanted = requests[newcomer]
    pods = np.flatnonzero(node_of[:arrived] >= 0)
    pods = pods[allowed[node_of[pods]]]
    for free, column in ((cpu, CPU), (memory, MEMORY)):
        pods = pods[free[node_of[pods]] + requests[class_of[pods], column] >= wanted[column]]
    node, request, device = node_of[pods], requests[class_of[pods]], np.arange(gpu.shape[1])
    able = gpu[node] + (devices[pods, None] >> device & 1) * request[:, MILLI, None] >= wanted[MILLI]
    able &= device < gpu_count[node, None]
    found: Ints = pods[able.sum(axis=1) >= wanted[NUM]]
    return found


def _best_two(scores: Scores) -> tuple[int, int, int]:
    best, score, other = 0, scores[0], REFUSED
    for node in range(1, scores.size):
        if scores[node] > score:
            best, score, other = node, scores[node], score
        else:
            other = max(other, scores[node])
    return best, int(score), int(other)


def _best_two_numpy(scores: Scores) -> tuple[int, int, int]:
    node = int(scores.argmax())
    others = max(scores[:node].max(initial=REFUSED), scores[node + 1 :].max(initial=REFUSED))
    return node, int(scores[node]), int(others)


# (class, node and devices of the pods that arrived, their number, cpu, memory, gpu, devices and model of nodes, requests of classes, the newcomer's
# class, nodes whose model it accepts) -> the pods without which their node would take the newcomer.
IN_THE_WAY = Twins(kernel(_in_the_way), _in_the_way_numpy)

# (scores) -> where a class fits best, how well, and how well on the next best node.
BEST_TWO = Twins(kernel(_best_two), _best_two_numpy)
