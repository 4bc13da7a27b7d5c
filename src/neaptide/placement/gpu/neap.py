"""Neap: fragmentation gradient descent that knows CPU: the idle GPU which a node's idle CPU can bring to use.

FGD (fgd.py) counts all idle milli on the devices that a typical pod fits on as usable, however little CPU is left beside them. Of the
typical pods k that fit on a node, let u be what FGD counts as usable, c the node's idle CPU and r the GPU that k asks for per CPU. The worth
of the node is the mean of

- alone, sum of w * min(u, c * r): nothing but pods like k will come, and CPU carries only so many of them;
- together, min(sum of w * u, c * sum of w * r): they come mixed, so that those with little CPU make up for the others.

A pod's weight w is how popular it is, halved where it asks for several devices. A pod goes where worth falls least beyond what the pod
takes; the score is FGD's: floor(100 * sigmoid((taken - loss of worth) / 1000)), and the first node wins ties. All sums are integers, so that
equal nodes tie exactly. docs/policies/neap.md has the measurements.
"""

from typing import NamedTuple

import numpy as np

from neaptide.placement.gpu.fgd import typical_pods
from neaptide.placement.gpu.policy import GpuPolicy
from neaptide.placement.gpu.state import CPU, MILLI, WHOLE, Bools, GpuPods, Ints, Scores
from neaptide.placement.gpu.steps import shares, tightest, tightest_numpy
from neaptide.placement.kernels.jit import Twins, kernel

_FINE = 1000  # rates are whole numbers: GPU milli per this many milli-CPU
_ONE_DEVICE = 2  # how much a typical pod with one device counts; one with several counts 1


class Mix(NamedTuple):
    """What is to come. A shape is the GPU side of a request, as in FGD: milli, devices, accepted models.

    Attributes:
        millis: [shapes] ascending.
        nums: [shapes] devices.
        accepted: [models, shapes] whether the model is accepted.
        cpus: the CPU requests of typical pods with GPU, ascending.
        counts: [cpus + 1, shapes] the weight of the typical pods of the shape that ask for one of the first k of `cpus`.
        rates: [cpus + 1, shapes] the same, each pod times its GPU per CPU.
        unit: what one GPU milli counts in a node's worth.
        steps: [99] the least gain, in that unit, for score k + 1.
    """

    millis: Ints
    nums: Ints
    accepted: Bools
    cpus: Ints
    counts: Ints
    rates: Ints
    unit: int
    steps: Ints


_Mix = tuple[Ints, Ints, Bools, Ints, Ints, Ints, int, Ints]  # the fields of Mix, as kernels take them


def learn_mix(history: GpuPods, models: list[str]) -> Mix:
    """What typical pods of the pods seen so far ask for."""
    typical = typical_pods(history, models)
    size = typical.millis * typical.nums
    cpu = typical.cpus[:, None]
    counts = typical.counts * np.where(typical.nums == 1, _ONE_DEVICE, 1)
    weight = np.diff(counts, axis=0)
    rates = np.zeros_like(counts)
    rates[1:] = (weight * size * _FINE // np.maximum(cpu, 1)).cumsum(axis=0)
    unit = 2 * _ONE_DEVICE * typical.covered  # worth is the sum of two means
    score = np.arange(1, 100)
    return Mix(
        millis=typical.millis,
        nums=typical.nums,
        accepted=typical.accepted,
        cpus=typical.cpus,
        counts=counts,
        rates=rates,
        unit=unit,
        steps=np.ceil(unit * WHOLE * np.log(score / (100 - score))).astype(np.int64),
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
def _worth(
    cpu: int,
    able: Ints,
    usable: Ints,
    millis: Ints,
    nums: Ints,
    accepted: Bools,
    cpus: Ints,
    counts: Ints,
    rates: Ints,
) -> int:
    """The worth of a node, in units of `Mix.unit`."""
    within = np.searchsorted(cpus, cpu, side="right")
    alone = 0
    together = 0
    carried = 0
    for shape in range(nums.size):
        if accepted[shape] and usable[shape] > 0 and able[shape] >= nums[shape]:
            free = np.searchsorted(cpus, cpu * nums[shape] * millis[shape] // usable[shape], side="right")
            alone += counts[free, shape] * usable[shape]  # pods that use up the GPU before the CPU
            alone += cpu * (rates[within, shape] - rates[free, shape]) // _FINE
            together += counts[within, shape] * usable[shape]
            carried += rates[within, shape]
    return alone + min(together, cpu * carried // _FINE)


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
    rates: Ints,
    unit: int,
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
    fits = accepted[model]
    before = _worth(cpu, able, usable, millis, nums, fits, cpus, counts, rates)
    left = cpu - request[CPU]
    best = -1
    chosen = 0
    if shares(request):
        for device in range(gpu.size):
            free = gpu[device]
            if free >= milli and free not in gpu[:device]:  # equal devices score equally
                _move(able, usable, millis, free, free - milli)
                after = _worth(left, able, usable, millis, nums, fits, cpus, counts, rates)
                _move(able, usable, millis, free - milli, free)
                score = int(np.searchsorted(steps, unit * milli - before + after, side="right"))
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
    after = _worth(left, able, usable, millis, nums, fits, cpus, counts, rates)
    return int(np.searchsorted(steps, unit * taken - before + after, side="right")), chosen


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
    *mix: *_Mix,
) -> None:
    able = np.empty_like(mix[0])
    usable = np.empty_like(mix[0])
    for row in rows:
        out[row] = _best(cpu[row], gpu[row], model[row], request, able, usable, *mix)[0]


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
    *mix: *_Mix,
) -> int:
    able = np.empty_like(mix[0])
    usable = np.empty_like(mix[0])
    return _best(cpu[node], gpu[node], model[node], request, able, usable, *mix)[1]


def _worth_numpy(
    cpu: Ints,
    gpu: Ints,
    millis: Ints,
    nums: Ints,
    accepted: Bools,
    cpus: Ints,
    counts: Ints,
    rates: Ints,
) -> Ints:
    """As `_worth`, of many nodes at once: cpu [nodes], gpu [nodes, devices], accepted [nodes, shapes]."""
    different, group = np.unique(millis, return_inverse=True)
    can = gpu[:, :, None] >= different
    usable = np.where(can, gpu[:, :, None], 0).sum(axis=1)[:, group]
    fits = accepted & (usable > 0) & (can.sum(axis=1)[:, group] >= nums)
    within = np.searchsorted(cpus, cpu, side="right")
    free = np.searchsorted(cpus, np.where(fits, cpu[:, None] * nums * millis // np.maximum(usable, 1), 0), side="right")
    shape = np.arange(nums.size)
    alone = counts[free, shape] * usable + cpu[:, None] * (rates[within] - rates[free, shape]) // _FINE
    together: Ints = np.where(fits, counts[within] * usable, 0).sum(axis=1)
    carried = np.where(fits, rates[within], 0).sum(axis=1)
    worth: Ints = np.where(fits, alone, 0).sum(axis=1) + np.minimum(together, cpu * carried // _FINE)
    return worth


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
    rates: Ints,
    unit: int,
    steps: Ints,
) -> Ints:
    """The score of each row, where the pod takes the devices [rows, devices] of it."""
    taken = devices * request[MILLI]
    mix = (millis, nums, accepted[model[rows]], cpus, counts, rates)
    before = _worth_numpy(cpu[rows], gpu[rows], *mix)
    after = _worth_numpy(cpu[rows] - request[CPU], gpu[rows] - taken, *mix)
    scores: Ints = np.searchsorted(steps, unit * taken.sum(axis=1) - before + after, side="right")
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
    *mix: *_Mix,
) -> None:
    if not shares(request):
        out[rows] = _scores_numpy(rows, tightest_numpy(gpu[rows], request), cpu, gpu, model, request, *mix)
        return
    row, device = np.nonzero(gpu[rows] >= request[MILLI])
    one_hot = np.arange(gpu.shape[1]) == device[:, None]
    out[rows] = 0
    np.maximum.at(out, rows[row], _scores_numpy(rows[row], one_hot, cpu, gpu, model, request, *mix))


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
    *mix: *_Mix,
) -> int:
    if not shares(request):
        return tightest(gpu[node], request)
    able = np.flatnonzero(gpu[node] >= request[MILLI])
    one_hot = np.arange(gpu.shape[1]) == able[:, None]
    rows = np.full(able.size, node)
    return 1 << int(able[_scores_numpy(rows, one_hot, cpu, gpu, model, request, *mix).argmax()])


NEAP = GpuPolicy("neap", Twins(kernel(_score), _score_numpy), Twins(kernel(_devices), _devices_numpy), learn_mix)
