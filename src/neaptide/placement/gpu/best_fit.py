"""BestFit: the node with the least CPU and GPU left over, each as a share of the largest machine, weighted alike.

As in the simulator of ATC'23 "Beware of Fragmentation": floor(100 * (1 - (CPU left / 128 cores + GPU left / 8 devices) / 2)), where
left is what remains after the pod; within the node the tightest devices.
"""

import numpy as np

from neaptide.placement.gpu.policy import GpuPolicy
from neaptide.placement.gpu.state import CPU, LARGEST_CPU, LARGEST_GPU, MILLI, NUM, Ints, Scores
from neaptide.placement.gpu.steps import TIGHTEST
from neaptide.placement.kernels.jit import Twins, kernel


def _score(
    rows: Ints,
    cpu: Ints,
    _memory: Ints,
    gpu: Ints,
    _gpu_count: Ints,
    _model: Ints,
    _kinds: Ints,
    request: Ints,
    out: Scores,
) -> None:
    for row in rows:
        idle = 0
        for free in gpu[row]:
            idle += free
        cpu_left = (cpu[row] - request[CPU]) / LARGEST_CPU * 0.5
        gpu_left = (idle - request[NUM] * request[MILLI]) / LARGEST_GPU * 0.5
        out[row] = max(0, int((1.0 - (cpu_left + gpu_left)) * 100))


def _score_numpy(
    rows: Ints,
    cpu: Ints,
    _memory: Ints,
    gpu: Ints,
    _gpu_count: Ints,
    _model: Ints,
    _kinds: Ints,
    request: Ints,
    out: Scores,
) -> None:
    cpu_left = (cpu[rows] - request[CPU]) / LARGEST_CPU * 0.5
    gpu_left = (gpu[rows].sum(axis=1) - request[NUM] * request[MILLI]) / LARGEST_GPU * 0.5
    out[rows] = np.maximum(0, ((1.0 - (cpu_left + gpu_left)) * 100).astype(np.int64))


BEST_FIT = GpuPolicy("BestFit", Twins(kernel(_score), _score_numpy), TIGHTEST)
