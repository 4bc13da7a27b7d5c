"""The steps of placing a pod that policies share: which nodes fit, which of the best is taken, which devices, and taking them."""

import numpy as np

from neaptide.placement.gpu.state import CPU, MEMORY, MILLI, NUM, WHOLE, Bools, Ints, Scores
from neaptide.placement.kernels.jit import Twins, kernel

REFUSED = -1  # stands among the scores for a node that does not fit


@kernel
def shares(request: Ints) -> bool:
    """Whether a pod asks for a part of one device."""
    return bool(request[NUM] == 1 and request[MILLI] < WHOLE)


def _fit(
    rows: Ints, cpu: Ints, memory: Ints, gpu: Ints, model: Ints, request: Ints, allowed: Bools, out: Scores
) -> Ints:
    fitting = np.empty(rows.size, np.int64)
    found = 0
    for row in rows:
        fits = cpu[row] >= request[CPU] and memory[row] >= request[MEMORY]
        if fits and request[NUM] > 0:
            able = 0
            for device in range(gpu.shape[1]):
                able += gpu[row, device] >= request[MILLI]
            fits = allowed[model[row]] and able >= request[NUM]
        if fits:
            fitting[found] = row
            found += 1
        else:
            out[row] = REFUSED
    return fitting[:found]


def _fit_numpy(
    rows: Ints, cpu: Ints, memory: Ints, gpu: Ints, model: Ints, request: Ints, allowed: Bools, out: Scores
) -> Ints:
    fits = (cpu[rows] >= request[CPU]) & (memory[rows] >= request[MEMORY])
    if request[NUM] > 0:
        able = (gpu[rows] >= request[MILLI]).sum(axis=1)
        fits &= allowed[model[rows]] & (able >= request[NUM])
    out[rows[~fits]] = REFUSED
    fitting: Ints = rows[fits]
    return fitting


def _choose(scores: Scores, draw: float) -> int:
    best = scores[0]
    for score in scores:
        best = max(best, score)
    if best == REFUSED:
        return REFUSED
    ties = 0
    for score in scores:
        ties += score == best
    wanted = int(draw * ties)
    for node in range(scores.size):
        if scores[node] == best:
            if wanted == 0:
                return node
            wanted -= 1
    return REFUSED


def _choose_numpy(scores: Scores, draw: float) -> int:
    best = scores.max()
    if best == REFUSED:
        return REFUSED
    ties = np.flatnonzero(scores == best)
    return int(ties[int(draw * ties.size)])


@kernel
def tightest(gpu: Ints, request: Ints) -> int:
    """The devices of a node, as bits, with the least room among those that fit; the lowest index on ties."""
    chosen = 0
    for _ in range(request[NUM]):
        best = -1
        for device in range(gpu.size):
            free = gpu[device]
            if free >= request[MILLI] and not (chosen >> device) & 1 and (best < 0 or free < gpu[best]):
                best = device
        chosen |= 1 << best
    return chosen


def tightest_numpy(gpu: Ints, request: Ints) -> Bools:
    """As `tightest`, of many nodes at once: [nodes, devices]."""
    room = np.where(gpu >= request[MILLI], gpu, WHOLE + 1)
    chosen = np.argsort(room, axis=1, kind="stable")[:, : request[NUM]]
    devices = np.zeros(gpu.shape, np.bool_)
    np.put_along_axis(devices, chosen, values=True, axis=1)
    return devices


def _tightest(
    node: int,
    _cpu: Ints,
    _memory: Ints,
    gpu: Ints,
    _gpu_count: Ints,
    _model: Ints,
    _kinds: Ints,
    request: Ints,
    _draw: float,
) -> int:
    return tightest(gpu[node], request)


def _take(node: int, devices: int, cpu: Ints, memory: Ints, gpu: Ints, kinds: Ints, request: Ints) -> None:
    cpu[node] -= request[CPU]
    memory[node] -= request[MEMORY]
    for device in range(gpu.shape[1]):
        if (devices >> device) & 1:
            gpu[node, device] -= request[MILLI]
    if request[NUM] > 0:
        kinds[node, 0 if shares(request) else request[NUM]] += 1


# (rows, cpu, memory, gpu, model, request, allowed, out) -> the rows that fit; writes REFUSED into `out` for the others.
FIT = Twins(kernel(_fit), _fit_numpy)

# (scores, draw in [0, 1)) -> the node so far, from 0 to 1, along those with the highest score; REFUSED where none fits.
CHOOSE = Twins(kernel(_choose), _choose_numpy)

# (node, *state, request, draw) -> `tightest` of the node.
TIGHTEST = Twins(kernel(_tightest), _tightest)

# (node, devices, cpu, memory, gpu, kinds, request): the pod takes what it asks for.
TAKE = Twins(kernel(_take), _take)
