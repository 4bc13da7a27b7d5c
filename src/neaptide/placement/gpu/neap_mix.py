"""What neap knows of the pods to come: how popular they are, and what the room that is left on a device is worth to them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from neaptide.placement.gpu.fgd import Typical, typical_pods
from neaptide.placement.gpu.state import WHOLE, Bools, GpuPods, Ints
from neaptide.placement.kernels.jit import kernel

Floats = npt.NDArray[np.float64]

PARTS = 100_000  # popularity is in whole parts of this, so that sums are exact whatever the size of the history
FINE = 1000  # rates are whole numbers: GPU milli per this many milli-CPU
_HURRY = 0.01  # how likely it is at every pod that comes that no later one will be waited for
_SEVERAL = 0.75  # how much a typical pod with several devices counts
_LEAST_CPU = 100  # milli: smaller requests never bind
_ROUNDS = 100


class Mix(NamedTuple):
    """What is to come. A shape is the GPU side of a request, as in FGD: milli, devices, accepted models.

    Attributes:
        millis: [shapes] ascending.
        nums: [shapes] devices.
        accepted: [models, shapes] whether the model is accepted.
        cpus: the CPU requests of typical pods with GPU, ascending.
        counts: [cpus + 1, shapes] the weight of the typical pods of the shape that ask for one of the first k of `cpus`.
        rates: [cpus + 1, shapes] the same, each pod times its GPU per CPU.
        values: [1001] the worth of a device with so many idle milli, to each of the pods that fit on it.
        steps: [99] the least gain, in parts of a milli, for score k + 1.
    """

    millis: Ints
    nums: Ints
    accepted: Bools
    cpus: Ints
    counts: Ints
    rates: Ints
    values: Ints
    steps: Ints


def learn_mix(history: GpuPods, models: Mapping[str, int]) -> Mix:
    """What typical pods of the pods seen so far ask for; `models` are those of the nodes, each with its number of devices."""
    typical = typical_pods(history, models)
    popular = np.diff(typical.counts, axis=0) / max(typical.covered, 1)
    weight = popular * np.where(typical.nums == 1, 1.0, _SEVERAL) / np.sqrt(_reachable(typical, models))
    rate = weight * typical.millis * typical.nums / np.maximum(typical.cpus[:, None], _LEAST_CPU)
    score = np.arange(1, 100)
    return Mix(
        millis=typical.millis,
        nums=typical.nums,
        accepted=typical.accepted,
        cpus=typical.cpus,
        counts=_running_sum(weight * PARTS),
        rates=_running_sum(rate * PARTS * FINE),
        values=_values(typical.millis, popular.sum(axis=0)),
        steps=np.ceil(2 * PARTS * WHOLE * np.log(score / (100 - score))).astype(np.int64),  # worth sums two readings
    )


def room_worth(millis: Ints, popularity: Floats) -> Floats:
    """[1001]: what a device with so many idle milli is worth, a whole one 1000, where pods come by chance.

    A pod of m milli that a device takes need not break a whole one: it saves 1000 - worth(1000 - m). The device takes the pods that are
    worth their room to it and waits while others pass. At every pod the wait may end for good. Savings and worths depend on
    each other and are balanced in rounds.

    Args:
        millis: [sizes] what pods ask of one device, ascending, each once.
        popularity: [sizes] adding up to 1.
    """
    worth = np.zeros(WHOLE + 1)
    worth[WHOLE] = WHOLE
    saved = millis.astype(np.float64)
    for _ in range(_ROUNDS):
        _wait(millis, popularity, saved, worth)
        change = (WHOLE - worth[WHOLE - millis]) - saved
        saved += (
            change * millis / WHOLE
        )  # small pods fill a device many times over: their savings move little at a time
        if np.abs(change).max(initial=0.0) < 1:
            break
    return worth


@kernel
def _wait(millis: Ints, popularity: Floats, saved: Floats, worth: Floats) -> None:
    """Find the worth of every room but a whole device's: the root of hurry * worth = mean gain over it, by Newton's method from below."""
    fitting = 0
    for room in range(1, WHOLE):
        while fitting < millis.size and millis[fitting] <= room:
            fitting += 1
        gains = saved[:fitting] + worth[room - millis[:fitting]]
        best = worth[room - 1]
        while True:
            taken = gains > best
            share = popularity[:fitting] * taken
            better = (share * gains).sum() / (_HURRY + share.sum())
            if better <= best + 1e-6:
                break
            best = better
        worth[room] = min(best, WHOLE)


def _values(millis: Ints, popularity: Floats) -> Ints:
    """Worths, so that each pod that fits counts and all together give the worth: divided by how popular pods that fit are."""
    sizes, of_shape = np.unique(millis, return_inverse=True)
    share: Floats = np.bincount(of_shape, popularity, minlength=sizes.size) / max(popularity.sum(), 1e-9)
    fit = np.concatenate([[0.0], share.cumsum()])[np.searchsorted(sizes, np.arange(WHOLE + 1), side="right")]
    worth = room_worth(sizes, share)
    values: Ints = np.rint(np.divide(worth, fit, out=np.zeros(WHOLE + 1), where=fit > 0)).astype(np.int64)
    return values


def _reachable(typical: Typical, models: Mapping[str, int]) -> Floats:
    """[shapes] the share of all devices that are of an accepted model; 1 where none is, for then it is no matter."""
    devices = np.array(list(models.values()), dtype=np.float64)
    of_shape = devices @ typical.accepted.reshape(devices.size, typical.nums.size)
    found: Floats = np.where(of_shape > 0, of_shape / max(devices.sum(), 1.0), 1.0)
    return found


def _running_sum(weight: Floats) -> Ints:
    """[cpus + 1, shapes] of the first k."""
    total = np.zeros((len(weight) + 1, weight.shape[1]), dtype=np.int64)
    total[1:] = np.rint(weight).astype(np.int64).cumsum(axis=0)
    return total
