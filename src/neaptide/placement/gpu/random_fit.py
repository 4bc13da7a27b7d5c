"""Random: any node that fits, and for a share of a device any device that fits."""

from neaptide.placement.gpu.policy import GpuPolicy
from neaptide.placement.gpu.state import MILLI, Ints, Scores
from neaptide.placement.gpu.steps import shares, tightest
from neaptide.placement.kernels.jit import Twins, kernel


def _score(
    rows: Ints,
    _cpu: Ints,
    _memory: Ints,
    _gpu: Ints,
    _gpu_count: Ints,
    _model: Ints,
    _kinds: Ints,
    _request: Ints,
    out: Scores,
) -> None:
    out[rows] = 0


def _devices(
    node: int,
    _cpu: Ints,
    _memory: Ints,
    gpu: Ints,
    _gpu_count: Ints,
    _model: Ints,
    _kinds: Ints,
    request: Ints,
    draw: float,
) -> int:
    if not shares(request):
        return tightest(gpu[node], request)
    able = 0
    for free in gpu[node]:
        able += free >= request[MILLI]
    wanted = int(draw * able)
    for device in range(gpu.shape[1]):
        if gpu[node, device] >= request[MILLI]:
            if wanted == 0:
                return 1 << device
            wanted -= 1
    return 0


RANDOM = GpuPolicy("Random", Twins(kernel(_score), _score), Twins(kernel(_devices), _devices), random=True)
