"""Placing pods with GPUs one by one, each by its policy's scores, which are kept per class and refreshed only for nodes that changed."""

from typing import NamedTuple

import numpy as np

from neaptide.placement.gpu.policy import GpuPolicy
from neaptide.placement.gpu.state import (
    CPU,
    MEMORY,
    MILLI,
    NUM,
    GpuNodes,
    GpuPods,
    PodClasses,
    Scores,
    devices_of,
    empty_state,
    models_of,
)
from neaptide.placement.gpu.steps import CHOOSE, FIT, REFUSED, TAKE, shares
from neaptide.placement.kernels.jit import HAVE_NUMBA


class Placed(NamedTuple):
    """Where a pod went: the node's index, and the indices of its devices as bits of one number."""

    node: int
    devices: int


class GpuScheduler:
    """Places pods of known classes on nodes that start empty. Ties go to the node that comes first, unless the policy is random."""

    def __init__(
        self,
        nodes: GpuNodes,
        classes: PodClasses,
        policy: GpuPolicy,
        *,
        history: GpuPods,
        seed: int,
        compiled: bool = HAVE_NUMBA,
    ) -> None:
        """Take the nodes as empty.

        Args:
            nodes: where pods can go.
            classes: the classes of the pods that will come.
            policy: scores nodes and picks devices.
            history: pods from which the policy learns what is typical.
            seed: of the draws of a random policy.
            compiled: numba's kernels; else their numpy twins.
        """
        models = models_of(nodes)
        self.state = empty_state(nodes, models)
        self._classes = classes
        self._knowledge = policy.knowledge(history, devices_of(nodes, models))
        self._random = np.random.default_rng(seed) if policy.random else None
        self._fit, self._score, self._choose, self._devices, self._take = (
            twins.pick(compiled=compiled) for twins in (FIT, policy.score, CHOOSE, policy.devices, TAKE)
        )
        count = len(nodes.names)
        self._all = np.arange(count)
        self._scores = np.full((len(classes.request), count), REFUSED, dtype=np.int16)
        self._changed = np.zeros(8 * count, dtype=np.int64)  # the nodes that took or gave back a pod, in order
        self._changes = 0
        self._seen = [-count] * len(classes.request)  # how many changes each class's scores have in them

    def place(self, pod_class: int) -> Placed | None:
        """Place one pod of this class; None where it fits on no node."""
        node = self._choose(self.scores(pod_class), self._draw())
        return None if node == REFUSED else self.place_on(pod_class, node)

    def scores(self, pod_class: int) -> Scores:
        """The score of every node for a pod of this class, REFUSED where it does not fit; changed in place later on."""
        self._refresh(pod_class)
        scores: Scores = self._scores[pod_class]
        return scores

    def place_on(self, pod_class: int, node: int) -> Placed:
        """Place one pod of this class on a node that it fits on."""
        request, state = self._classes.request[pod_class], self.state
        devices = self._devices(node, *state, request, self._draw(), *self._knowledge)
        placed = Placed(node, devices)
        self.hold(pod_class, placed)
        return placed

    def hold(self, pod_class: int, placed: Placed) -> None:
        """Let a pod of this class have exactly this place, where it fits."""
        request, state = self._classes.request[pod_class], self.state
        self._take(*placed, state.cpu_free, state.memory_free, state.gpu_free, state.kinds, request)
        self._note_change(placed.node)

    def release(self, pod_class: int, placed: Placed) -> None:
        """Give back what a pod of this class took."""
        request, state = self._classes.request[pod_class], self.state
        held = [device for device in range(state.gpu_free.shape[1]) if placed.devices >> device & 1]
        state.cpu_free[placed.node] += request[CPU]
        state.memory_free[placed.node] += request[MEMORY]
        state.gpu_free[placed.node, held] += request[MILLI]
        if request[NUM] > 0:
            state.kinds[placed.node, 0 if shares(request) else request[NUM]] -= 1
        self._note_change(placed.node)

    def _draw(self) -> float:
        return self._random.random() if self._random else 0.0

    def _refresh(self, pod_class: int) -> None:
        stale = self._changes - self._seen[pod_class]
        if stale == 0:
            return
        rows = self._all if stale >= self._all.size else self._changed[self._seen[pod_class] : self._changes]
        self._seen[pod_class] = self._changes
        request, scores, state = self._classes.request[pod_class], self._scores[pod_class], self.state
        rows = self._fit(
            rows,
            state.cpu_free,
            state.memory_free,
            state.gpu_free,
            state.model,
            request,
            self._classes.allowed[pod_class],
            scores,
        )
        if rows.size:
            self._score(rows, *state, request, scores, *self._knowledge)

    def _note_change(self, node: int) -> None:
        if self._changes == self._changed.size:
            self._changes = 0
            self._seen = [-self._all.size] * len(self._seen)
        self._changed[self._changes] = node
        self._changes += 1
