"""DotProduct: the node whose idle CPU and GPU, as a vector, has the smallest product with the pod's request.

As in the simulator of ATC'23 "Beware of Fragmentation" (after Tetris, SIGCOMM 2014, with the sign turned): both vectors are shares of the
largest machine (128 cores, 8 devices), and the score is floor(100 * (1 - product / 2)); within the node the tightest devices.
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
    wanted_cpu = request[CPU] / LARGEST_CPU
    wanted_gpu = request[NUM] * request[MILLI] / LARGEST_GPU
    for row in rows:
        idle = 0
        for free in gpu[row]:
            idle += free
        product = cpu[row] / LARGEST_CPU * wanted_cpu + idle / LARGEST_GPU * wanted_gpu
        out[row] = max(0, int(100 * (1 - product / 2)))


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
    wanted_cpu = request[CPU] / LARGEST_CPU
    wanted_gpu = request[NUM] * request[MILLI] / LARGEST_GPU
    product = cpu[rows] / LARGEST_CPU * wanted_cpu + gpu[rows].sum(axis=1) / LARGEST_GPU * wanted_gpu
    out[rows] = np.maximum(0, (100 * (1 - product / 2)).astype(np.int64))


DOT_PRODUCT = GpuPolicy("DotProduct", Twins(kernel(_score), _score_numpy), TIGHTEST, aliases=("DotProd",))
