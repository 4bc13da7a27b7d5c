"""GpuClustering: pods of one kind (a share of a device, or k devices) on the same nodes.

As in the simulator of ATC'23 "Beware of Fragmentation" (after Gandiva, OSDI 2018): nodes that hold only this kind score from 75, nodes that
hold it among others from 50, nodes without GPU pods from 25, other nodes from 0; 25 * (GPU in use, short of 8 devices) / 8 devices is
added. A pod without GPU goes anywhere. Within the node the tightest devices.
"""

import numpy as np

from neaptide.placement.gpu.policy import GpuPolicy
from neaptide.placement.gpu.state import LARGEST_GPU, NUM, Ints, Scores
from neaptide.placement.gpu.steps import TIGHTEST, shares
from neaptide.placement.kernels.jit import Twins, kernel


def _score(
    rows: Ints,
    _cpu: Ints,
    _memory: Ints,
    gpu: Ints,
    _gpu_count: Ints,
    _model: Ints,
    kinds: Ints,
    request: Ints,
    out: Scores,
) -> None:
    kind = 0 if shares(request) else request[NUM]
    for row in rows:
        if request[NUM] == 0:
            out[row] = 0
            continue
        present = 0
        for number in kinds[row]:
            present += number > 0
        idle = 0
        for free in gpu[row]:
            idle += free
        here = kinds[row, kind] > 0
        base = (75 if present == 1 else 50) if here else (25 if present == 0 else 0)
        out[row] = base + max(0, 25 * (LARGEST_GPU - idle) // LARGEST_GPU)


def _score_numpy(
    rows: Ints,
    _cpu: Ints,
    _memory: Ints,
    gpu: Ints,
    _gpu_count: Ints,
    _model: Ints,
    kinds: Ints,
    request: Ints,
    out: Scores,
) -> None:
    if request[NUM] == 0:
        out[rows] = 0
        return
    here = kinds[rows, 0 if shares(request) else request[NUM]] > 0
    present = (kinds[rows] > 0).sum(axis=1)
    base = np.where(here, np.where(present == 1, 75, 50), np.where(present == 0, 25, 0))
    out[rows] = base + np.maximum(0, 25 * (LARGEST_GPU - gpu[rows].sum(axis=1)) // LARGEST_GPU)


GPU_CLUSTERING = GpuPolicy("GpuClustering", Twins(kernel(_score), _score_numpy), TIGHTEST)
