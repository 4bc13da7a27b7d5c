"""GpuPacking: shared devices first, then idle devices of used nodes, then idle nodes, and tighter before looser within each.

As in the simulator of ATC'23 "Beware of Fragmentation" (after AntMan, OSDI 2020); a pod without GPU goes anywhere.
- Only devices in use are needed: 100 - (their idle hundredths) / 10, at least 50.
- Idle devices of a used node are needed: 50 - their number, at least 33.
- All devices of the node are idle: 33 - their number, at least their number.
"""

import numpy as np

from neaptide.placement.gpu.policy import GpuPolicy
from neaptide.placement.gpu.state import NUM, WHOLE, Ints, Scores
from neaptide.placement.gpu.steps import TIGHTEST, tightest, tightest_numpy
from neaptide.placement.kernels.jit import Twins, kernel


def _score(
    rows: Ints,
    _cpu: Ints,
    _memory: Ints,
    gpu: Ints,
    gpu_count: Ints,
    _model: Ints,
    _kinds: Ints,
    request: Ints,
    out: Scores,
) -> None:
    for row in rows:
        if request[NUM] == 0:
            out[row] = 0
            continue
        devices = tightest(gpu[row], request)
        idle = 0
        opened = 0
        hundredths = 0
        for device in range(gpu.shape[1]):
            free = gpu[row, device]
            idle += free == WHOLE
            if (devices >> device) & 1:
                opened += free == WHOLE
                hundredths += free * 100 // WHOLE
        if idle == gpu_count[row]:
            out[row] = max(33 - idle, idle)
        elif opened > 0:
            out[row] = max(50 - opened, 33)
        else:
            out[row] = max(100 - hundredths // 10, 50)


def _score_numpy(
    rows: Ints,
    _cpu: Ints,
    _memory: Ints,
    gpu: Ints,
    gpu_count: Ints,
    _model: Ints,
    _kinds: Ints,
    request: Ints,
    out: Scores,
) -> None:
    if request[NUM] == 0:
        out[rows] = 0
        return
    free = gpu[rows]
    devices = tightest_numpy(free, request)
    idle = (free == WHOLE).sum(axis=1)
    opened = (devices & (free == WHOLE)).sum(axis=1)
    hundredths = np.where(devices, free * 100 // WHOLE, 0).sum(axis=1)
    used = np.where(opened > 0, np.maximum(50 - opened, 33), np.maximum(100 - hundredths // 10, 50))
    out[rows] = np.where(idle == gpu_count[rows], np.maximum(33 - idle, idle), used)


GPU_PACKING = GpuPolicy("GpuPacking", Twins(kernel(_score), _score_numpy), TIGHTEST)
