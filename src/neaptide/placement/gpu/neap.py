"""Neap: worth of room as the pods to come will use it, and of a node's GPU as far as its CPU brings it to use.

FGD (fgd.py) counts all idle milli on the devices that a typical pod fits on as usable: whatever the pod then leaves, and however little CPU
there is beside it. Here room v on a device is worth what patient waiting for pods of the mix makes of it (`room_worth`), shared among the
pods that fit. Of the typical pods k that fit on a node, let u be the idle milli on devices that are able to take k, U what these are worth,
c the node's idle CPU and r the GPU that k asks for per CPU. The worth of the node is the mean of

- alone, sum of w * U * min(1, c * r / u): nothing but pods like k will come, and CPU carries only so many of them;
- together, sum of w * U, times min(1, c * sum of w * r / sum of w * u): they come mixed, so that those with little CPU make up for others.

A pod's weight w is how popular it is, less by a quarter where it asks for several devices, and divided by the root of the share of all devices that
it accepts. A pod goes where worth falls least beyond what the pod takes; the score is FGD's: floor(100 * sigmoid((taken - loss of worth) /
1000)), and the first node wins ties. All sums are integers, so that equal nodes tie exactly. docs/policies/neap.md has the measurements.
"""

import numpy as np

from neaptide.placement.gpu.neap_mix import FINE, PARTS, learn_mix
from neaptide.placement.gpu.policy import GpuPolicy
from neaptide.placement.gpu.state import CPU, MILLI, Bools, Ints, Scores
from neaptide.placement.gpu.steps import shares, tightest, tightest_numpy
from neaptide.placement.kernels.jit import Twins, kernel

_UNIT = 2 * PARTS  # what one milli counts: worth sums both readings
_Mix = tuple[Ints, Ints, Bools, Ints, Ints, Ints, Ints, Ints]  # the fields of Mix, as kernels take them


@kernel
def _move(room: Ints, millis: Ints, values: Ints, old: int, new: int) -> None:
    """One device changes. `room` [3, shapes]: devices that are able to take the shape, idle milli on these, and their worth."""
    for shape in range(millis.size):
        if new >= millis[shape]:
            room[0, shape] += 1
            room[1, shape] += new
            room[2, shape] += values[new]
        if old >= millis[shape]:
            room[0, shape] -= 1
            room[1, shape] -= old
            room[2, shape] -= values[old]


@kernel
def _worth(
    cpu: int,
    room: Ints,
    millis: Ints,
    nums: Ints,
    accepted: Bools,
    cpus: Ints,
    counts: Ints,
    rates: Ints,
) -> int:
    """The worth of a node, in parts: `_UNIT` to a milli."""
    within = np.searchsorted(cpus, cpu, side="right")
    alone = 0
    together = 0
    usable = 0
    carried = 0
    for shape in range(nums.size):
        if accepted[shape] and room[0, shape] > 0 and room[0, shape] >= nums[shape]:
            idle = room[1, shape]
            free = np.searchsorted(cpus, cpu * nums[shape] * millis[shape] // idle, side="right")
            # The pods that use up the GPU before the CPU, and what CPU carries of the others.
            carry = counts[free, shape] + cpu * (rates[within, shape] - rates[free, shape]) // (FINE * idle)
            alone += carry * room[2, shape]
            together += counts[within, shape] * room[2, shape]
            usable += counts[within, shape] * idle
            carried += rates[within, shape]
    if usable > 0:
        together = together * (min(usable, cpu * carried // FINE) * PARTS // usable) // PARTS
    return alone + together


@kernel
def _best(
    cpu: int,
    gpu: Ints,
    model: int,
    request: Ints,
    room: Ints,
    millis: Ints,
    nums: Ints,
    accepted: Bools,
    cpus: Ints,
    counts: Ints,
    rates: Ints,
    values: Ints,
    steps: Ints,
) -> tuple[int, int]:
    """The score of a node, and the devices, as bits, that give it: for a share the first of the best, else the tightest.

    `room` is room to work in.
    """
    room[:] = 0
    for idle in gpu:
        _move(room, millis, values, 0, idle)
    milli = request[MILLI]
    fits = accepted[model]
    before = _worth(cpu, room, millis, nums, fits, cpus, counts, rates)
    left = cpu - request[CPU]
    best = -1
    chosen = 0
    if shares(request):
        for device in range(gpu.size):
            idle = gpu[device]
            if idle >= milli and idle not in gpu[:device]:  # equal devices score equally
                _move(room, millis, values, idle, idle - milli)
                after = _worth(left, room, millis, nums, fits, cpus, counts, rates)
                _move(room, millis, values, idle - milli, idle)
                score = int(np.searchsorted(steps, _UNIT * milli - before + after, side="right"))
                if score > best:
                    best = score
                    chosen = 1 << device
        return best, chosen
    chosen = tightest(gpu, request)
    taken = 0
    for device in range(gpu.size):
        if (chosen >> device) & 1:
            _move(room, millis, values, gpu[device], gpu[device] - milli)
            taken += milli
    after = _worth(left, room, millis, nums, fits, cpus, counts, rates)
    return int(np.searchsorted(steps, _UNIT * taken - before + after, side="right")), chosen


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
    room = np.empty((3, mix[0].size), np.int64)
    for row in rows:
        out[row] = _best(cpu[row], gpu[row], model[row], request, room, *mix)[0]


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
    room = np.empty((3, mix[0].size), np.int64)
    return _best(cpu[node], gpu[node], model[node], request, room, *mix)[1]


def _worth_numpy(
    cpu: Ints,
    gpu: Ints,
    millis: Ints,
    nums: Ints,
    accepted: Bools,
    cpus: Ints,
    counts: Ints,
    rates: Ints,
    values: Ints,
) -> Ints:
    """As `_worth`, of many nodes at once: cpu [nodes], gpu [nodes, devices], accepted [nodes, shapes]."""
    different, group = np.unique(millis, return_inverse=True)
    able = gpu[:, :, None] >= different
    devices, idle, valued = (
        np.where(able, each[:, :, None], 0).sum(axis=1)[:, group] for each in (np.ones_like(gpu), gpu, values[gpu])
    )
    fits = accepted & (devices > 0) & (devices >= nums)
    idle, valued = np.where(fits, idle, 1), np.where(fits, valued, 0)
    within = np.searchsorted(cpus, cpu, side="right")
    free = np.searchsorted(cpus, np.where(fits, cpu[:, None] * nums * millis // idle, 0), side="right")
    shape = np.arange(nums.size)
    carry = counts[free, shape] + cpu[:, None] * (rates[within] - rates[free, shape]) // (FINE * idle)
    alone = (carry * valued).sum(axis=1)
    together = (counts[within] * valued).sum(axis=1)
    usable = np.where(fits, counts[within] * idle, 0).sum(axis=1)
    carried = np.where(fits, rates[within], 0).sum(axis=1)
    part = np.minimum(usable, cpu * carried // FINE) * PARTS // np.maximum(usable, 1)
    worth: Ints = alone + together * part // PARTS
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
    values: Ints,
    steps: Ints,
) -> Ints:
    """The score of each row, where the pod takes the devices [rows, devices] of it."""
    taken = devices * request[MILLI]
    mix = (millis, nums, accepted[model[rows]], cpus, counts, rates, values)
    before = _worth_numpy(cpu[rows], gpu[rows], *mix)
    after = _worth_numpy(cpu[rows] - request[CPU], gpu[rows] - taken, *mix)
    scores: Ints = np.searchsorted(steps, _UNIT * taken.sum(axis=1) - before + after, side="right")
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
