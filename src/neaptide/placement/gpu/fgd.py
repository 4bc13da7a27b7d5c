"""FGD, fragmentation gradient descent (Weng et al., "Beware of Fragmentation", USENIX ATC 2023).

The idle GPU of a node that a typical pod cannot use is the node's fragmentation for that pod; the expectation over typical pods is its
fragmentation. A pod goes where it reduces this most. Details are those of the paper's own simulator (hkust-adsl/kubernetes-scheduler-simulator):
typical pods are the most popular requests (CPU, GPU and model; memory does not count) up to 95 % of all pods; to a typical pod without GPU,
and to one that does not fit by CPU, GPU and model, all idle GPU is fragment, to others the devices with less room than it asks; the score
is floor(100 * sigmoid(reduction / 1000)). Popularity is a count and sums are integers here, so that equal nodes tie exactly.
"""

from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from neaptide.placement.gpu.policy import GpuPolicy
from neaptide.placement.gpu.state import CPU, MILLI, WHOLE, Bools, GpuPods, Ints, Scores, accepts
from neaptide.placement.gpu.steps import shares, tightest, tightest_numpy
from neaptide.placement.kernels.jit import Twins, kernel

POPULARITY = 0.95  # how much of all pods the typical ones stand for


class Typical(NamedTuple):
    """What typical pods ask for. The GPU side of requests that differ is called a shape: milli, devices, accepted models.

    Attributes:
        millis: [shapes] ascending.
        nums: [shapes] devices.
        accepted: [models, shapes] whether the model is accepted.
        cpus: the CPU requests of pods with GPU, ascending.
        counts: [cpus + 1, shapes] how many pods of the shape ask for one of the first k of `cpus`.
        covered: how many pods the typical ones stand for, those without GPU among them.
        steps: [99] the least reduction, times `covered`, for score k + 1.
    """

    millis: Ints
    nums: Ints
    accepted: Bools
    cpus: Ints
    counts: Ints
    covered: int
    steps: Ints


_Typical = tuple[Ints, Ints, Bools, Ints, Ints, int, Ints]  # the fields of Typical, as kernels take them


def typical_pods(history: GpuPods, models: Collection[str]) -> Typical:
    """Learn from pods seen so far; among equally popular requests the larger is taken first, as in the paper's simulator."""
    columns = (history.cpu.tolist(), history.gpu_milli.tolist(), history.num_gpu.tolist(), history.gpu_spec)
    popular = Counter(zip(*columns, strict=True))
    covered = 0
    typical = []
    for (cpu, milli, num, spec), count in sorted(popular.items(), key=lambda item: (item[1], item[0]), reverse=True):
        if covered >= POPULARITY * popular.total():
            break
        covered += count
        if num > 0:
            typical.append((cpu, (milli, num, *accepts(spec, models)), count))
    cpus = sorted({cpu for cpu, _, _ in typical})
    shapes = sorted({shape for _, shape, _ in typical})
    table = np.array(shapes, dtype=np.int64).reshape(len(shapes), 2 + len(models))
    counts = np.zeros((len(cpus) + 1, len(shapes)), dtype=np.int64)
    for cpu, shape, count in typical:
        counts[cpus.index(cpu) + 1, shapes.index(shape)] += count
    score = np.arange(1, 100)
    return Typical(
        millis=table[:, 0].copy(),
        nums=table[:, 1].copy(),
        accepted=np.ascontiguousarray(table[:, 2:].T == 1),
        cpus=np.array(cpus, dtype=np.int64),
        counts=counts.cumsum(axis=0),
        covered=covered,
        steps=np.ceil(covered * WHOLE * np.log(score / (100 - score))).astype(np.int64),
    )


@kernel
def _move(able: Ints, usable: Ints, millis: Ints, old: int, new: int) -> None:
    """The room on one device changes: to each shape, how many devices are able to take it, and the milli idle on these."""
    for shape in range(millis.size):
        now = new >= millis[shape]
        then = old >= millis[shape]
        able[shape] += (1 if now else 0) - (1 if then else 0)
        usable[shape] += (new if now else 0) - (old if then else 0)


@kernel
def _used(cpu: int, able: Ints, usable: Ints, nums: Ints, accepted: Bools, cpus: Ints, counts: Ints) -> int:
    """The idle milli of a node that typical pods could use, summed over these pods."""
    cheap = counts[np.searchsorted(cpus, cpu, side="right")]
    used = 0
    for shape in range(nums.size):
        if able[shape] >= nums[shape] and accepted[shape]:
            used += cheap[shape] * usable[shape]
    return used


@kernel
def _best(
    cpu: int,
    gpu: Ints,
    model: int,
    request: Ints,
    able: Ints,
    usable: Ints,
    millis: Ints,
    nums: Ints,
    accepted: Bools,
    cpus: Ints,
    counts: Ints,
    covered: int,
    steps: Ints,
) -> tuple[int, int]:
    """The score of a node, and the devices, as bits, that give it: for a share the first of the best, else the tightest.

    `able` and `usable` are room to work in.
    """
    able[:] = 0
    usable[:] = 0
    for free in gpu:
        if free > 0:
            _move(able, usable, millis, 0, free)
    milli = request[MILLI]
    before = _used(cpu, able, usable, nums, accepted[model], cpus, counts)
    best = -1
    chosen = 0
    if shares(request):
        for device in range(gpu.size):
            free = gpu[device]
            if free >= milli and free not in gpu[:device]:  # equal devices score equally
                _move(able, usable, millis, free, free - milli)
                after = _used(cpu - request[CPU], able, usable, nums, accepted[model], cpus, counts)
                _move(able, usable, millis, free - milli, free)
                score = int(np.searchsorted(steps, covered * milli - before + after, side="right"))
                if score > best:
                    best = score
                    chosen = 1 << device
        return best, chosen
    chosen = tightest(gpu, request)
    taken = 0
    for device in range(gpu.size):
        if (chosen >> device) & 1:
            _move(able, usable, millis, gpu[device], gpu[device] - milli)
            taken += milli
    after = _used(cpu - request[CPU], able, usable, nums, accepted[model], cpus, counts)
    return int(np.searchsorted(steps, covered * taken - before + after, side="right")), chosen


def _score(
    rows: Ints,
    cpu: Ints,
    _memory: Ints,
    gpu: Ints,
    _gpu_count: Ints,
    model: Ints,
    _kinds: Ints,
    request: Ints,
    out: Scores,
    *typical: *_Typical,
) -> None:
    able = np.empty_like(typical[0])
    usable = np.empty_like(typical[0])
    for row in rows:
        out[row] = _best(cpu[row], gpu[row], model[row], request, able, usable, *typical)[0]


def _devices(
    node: int,
    cpu: Ints,
    _memory: Ints,
    gpu: Ints,
    _gpu_count: Ints,
    model: Ints,
    _kinds: Ints,
    request: Ints,
    _draw: float,
    *typical: *_Typical,
) -> int:
    able = np.empty_like(typical[0])
    usable = np.empty_like(typical[0])
    return _best(cpu[node], gpu[node], model[node], request, able, usable, *typical)[1]


def _used_numpy(cpu: Ints, gpu: Ints, millis: Ints, nums: Ints, accepted: Bools, cpus: Ints, counts: Ints) -> Ints:
    """As `_used`, of many nodes at once: cpu [nodes], gpu [nodes, devices], accepted [nodes, shapes]."""
    different, group = np.unique(millis, return_inverse=True)
    able = gpu[:, :, None] >= different
    usable = np.where(able, gpu[:, :, None], 0).sum(axis=1)[:, group]
    cheap = counts[np.searchsorted(cpus, cpu, side="right")]
    used: Ints = np.where(accepted & (able.sum(axis=1)[:, group] >= nums), cheap * usable, 0).sum(axis=1)
    return used


def _scores_numpy(
    rows: Ints,
    devices: Bools,
    cpu: Ints,
    gpu: Ints,
    model: Ints,
    request: Ints,
    millis: Ints,
    nums: Ints,
    accepted: Bools,
    cpus: Ints,
    counts: Ints,
    covered: int,
    steps: Ints,
) -> Ints:
    """The score of each row, where the pod takes the devices [rows, devices] of it."""
    taken = devices * request[MILLI]
    typical = (millis, nums, accepted[model[rows]], cpus, counts)
    before = _used_numpy(cpu[rows], gpu[rows], *typical)
    after = _used_numpy(cpu[rows] - request[CPU], gpu[rows] - taken, *typical)
    scores: Ints = np.searchsorted(steps, covered * taken.sum(axis=1) - before + after, side="right")
    return scores


def _score_numpy(
    rows: Ints,
    cpu: Ints,
    _memory: Ints,
    gpu: Ints,
    _gpu_count: Ints,
    model: Ints,
    _kinds: Ints,
    request: Ints,
    out: Scores,
    *typical: *_Typical,
) -> None:
    if not shares(request):
        out[rows] = _scores_numpy(rows, tightest_numpy(gpu[rows], request), cpu, gpu, model, request, *typical)
        return
    row, device = np.nonzero(gpu[rows] >= request[MILLI])
    one_hot = np.arange(gpu.shape[1]) == device[:, None]
    out[rows] = 0
    np.maximum.at(out, rows[row], _scores_numpy(rows[row], one_hot, cpu, gpu, model, request, *typical))


def _devices_numpy(
    node: int,
    cpu: Ints,
    _memory: Ints,
    gpu: Ints,
    _gpu_count: Ints,
    model: Ints,
    _kinds: Ints,
    request: Ints,
    _draw: float,
    *typical: *_Typical,
) -> int:
    if not shares(request):
        return tightest(gpu[node], request)
    able = np.flatnonzero(gpu[node] >= request[MILLI])
    one_hot = np.arange(gpu.shape[1]) == able[:, None]
    rows = np.full(able.size, node)
    return 1 << int(able[_scores_numpy(rows, one_hot, cpu, gpu, model, request, *typical).argmax()])


FGD = GpuPolicy("FGD", Twins(kernel(_score), _score_numpy), Twins(kernel(_devices), _devices_numpy), typical_pods)
