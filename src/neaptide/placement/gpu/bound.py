"""How much GPU could be allocated at most, whatever the policy: the optimum of a linear programme that every placement satisfies.

Pods of a class are alike and so are nodes of a kind, so the programme decides how many pods of each class go to all nodes of a kind. A sum
over nodes forgets that pods are whole; dual feasible functions keep part of it (Fekete and Schepers, "New classes of fast lower bounds for
bin packing problems", 2001): they map sizes such that whatever fits into one bin still sums to at most 1. For a level up to half the bin, a
size counts nothing below the level, 1 where it leaves less than the level, and its share of the bin between. Bins are devices, and nodes by
CPU, by memory and by GPU milli. Pods without GPU are left out: a placement without them allocates as much.

So far a placement may leave out pods that fit, and pick from what comes. A scheduler may not. While pods stay where they are, a class that
once fits nowhere never fits again; and while a pod fits that asks for as much or more of everything, smaller ones do. So when of some pods of
a size only i were taken, then of all that are larger only those that came before the (i + 1)th: one more inequality for each size.
"""

from collections import Counter
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog
from scipy.sparse import csr_array, vstack

from neaptide.placement.gpu.state import (
    CPU,
    MEMORY,
    MILLI,
    NUM,
    WHOLE,
    Bools,
    GpuNodes,
    GpuPods,
    Ints,
    classes_of,
    models_of,
)

Floats = npt.NDArray[np.float64]


class _Kind(NamedTuple):
    cpu: int
    memory: int
    gpus: int
    model: str


def upper_bound(nodes: GpuNodes, pods: GpuPods, arrivals: Ints, *, choosy: bool = True) -> float:
    """The percentage of the nodes' GPU milli that no placement of these arrivals (indices into `pods`) on empty nodes exceeds.

    Args:
        nodes: empty.
        pods: the workload.
        arrivals: in the order in which they come.
        choosy: a placement may leave out pods that fit, or move pods; else it takes whatever fits, and pods stay where they are.

    Raises:
        ValueError: there is no GPU.
        RuntimeError: the solver failed.
    """
    if nodes.gpu_milli() == 0:
        raise ValueError("the nodes have no GPU; accepted: at least one")
    models = models_of(nodes)
    classes = classes_of(pods, models)
    count = np.bincount(classes.of_pod[arrivals], minlength=len(classes.request))
    wanted = np.flatnonzero((count > 0) & (classes.request[:, NUM] > 0))
    request, allowed, count = classes.request[wanted], classes.allowed[wanted], count[wanted]

    columns: list[Ints] = []  # for each kind the classes that fit on it: one variable each
    blocks: list[Floats] = []
    limits: list[Floats] = []
    node_columns = (nodes.cpu.tolist(), nodes.memory.tolist(), nodes.gpu_count.tolist(), nodes.model)
    for kind, number in Counter(map(_Kind, *node_columns)).items():
        able = (request[:, CPU] <= kind.cpu) & (request[:, MEMORY] <= kind.memory) & (request[:, NUM] <= kind.gpus)
        fitting = np.flatnonzero(able & allowed[:, models.index(kind.model)])
        on_nodes, on_devices = _constraints(request[fitting], kind)
        columns.append(fitting)
        blocks.append(np.concatenate([on_nodes, on_devices]))
        limits.append(np.repeat([number, number * kind.gpus], [len(on_nodes), len(on_devices)]).astype(np.float64))
    order = (
        None if choosy else _order(request, allowed, np.searchsorted(wanted, _among(classes.of_pod[arrivals], wanted)))
    )
    return min(_solve(request, count, columns, blocks, limits, order) / nodes.gpu_milli(), 1.0) * 100


def _constraints(request: Ints, kind: _Kind) -> tuple[Floats, Floats]:
    """What a pod of each class counts for on a node of this kind, and on a device: [constraints, classes], bins of size 1."""
    milli = request[:, NUM] * request[:, MILLI]
    bins = ((request[:, CPU], kind.cpu), (request[:, MEMORY], kind.memory), (milli, kind.gpus * WHOLE))
    on_nodes = [_dual_feasible(size, whole) for size, whole in bins if whole > 0]
    return np.concatenate(on_nodes), _dual_feasible(request[:, MILLI], WHOLE) * request[:, NUM]


def _dual_feasible(size: Ints, whole: int) -> Floats:
    """The function of every level up to half the bin at which it changes: [levels, sizes]. At level 0 it is the share itself."""
    # A size is whole: 0.5 tells two levels apart.
    level = np.unique(np.concatenate([[0.0], size, whole - size + 0.5]))[:, None]
    level = level[2 * level[:, 0] <= whole]
    return np.where(size > whole - level, 1.0, np.where(size < level, 0.0, size / whole))


def _among(values: Ints, wanted: Ints) -> Ints:
    found: Ints = values[np.isin(values, wanted)]
    return found


def _order(request: Ints, allowed: Bools, come: Ints) -> tuple[Floats, Floats]:
    """What taking all that fits means for pods of each class taken: [constraints, classes] and the most that each may be.

    Args:
        request: [classes, 4].
        allowed: [classes, models].
        come: the classes of the pods, in the order in which they come.
    """
    milli = request[:, NUM] * request[:, MILLI]
    rows, most = [], []
    for each, asked in enumerate(request):
        larger = (request >= asked).all(axis=1) & (allowed <= allowed[each]).all(axis=1)
        alike = (request[:, NUM:] == asked[NUM:]).all(axis=1)
        smaller = alike & (request <= asked).all(axis=1) & (allowed >= allowed[each]).all(axis=1)
        cumulated = np.concatenate([[0], np.cumsum(milli[come] * larger[come])])
        before = np.append(cumulated[np.flatnonzero(smaller[come])], cumulated[-1])  # the (i + 1)th of the smaller
        for slope, offset in _above(before):
            rows.append(milli * larger - slope * smaller)
            most.append(offset)
    return np.array(rows), np.array(most)


def _above(values: Ints) -> list[tuple[float, float]]:
    """Slopes and offsets of the lines that bound the points (i, values[i]) from above: their concave hull."""
    hull: list[int] = []
    for point in range(values.size):
        while len(hull) > 1 and (values[hull[-1]] - values[hull[-2]]) * (point - hull[-1]) <= (
            values[point] - values[hull[-1]]
        ) * (hull[-1] - hull[-2]):
            hull.pop()
        hull.append(point)
    slopes = [(values[right] - values[left]) / (right - left) for left, right in pairwise(hull)]
    return [(slope, values[left] - slope * left) for slope, left in zip(slopes, hull[:-1], strict=True)]


def _solve(
    request: Ints,
    count: Ints,
    columns: list[Ints],
    blocks: list[Floats],
    limits: list[Floats],
    order: tuple[Floats, Floats] | None,
) -> float:
    """The most GPU milli: no more pods of a class than there are, on the nodes of each kind all its constraints, and those of the order."""
    of_class = np.concatenate(columns)
    if not of_class.size:
        return 0.0
    variables = np.arange(of_class.size)
    demand = csr_array((np.ones(of_class.size), (of_class, variables)), shape=(len(request), of_class.size))
    start = 0
    rows = [demand]
    for fitting, block in zip(columns, blocks, strict=True):
        padded = csr_array((len(block), of_class.size))
        if fitting.size:
            row, column = np.nonzero(block)
            padded = csr_array((block[row, column], (row, column + start)), shape=padded.shape)
        rows.append(padded)
        start += fitting.size
    milli = request[of_class, NUM] * request[of_class, MILLI]
    if order:
        rows.append(csr_array(order[0]) @ demand)
        limits = [*limits, order[1]]
    room = np.concatenate([count, *limits])
    found = linprog(-milli, A_ub=vstack(rows), b_ub=room)  # type: ignore[call-overload]
    if not found.success:
        raise RuntimeError(f"no upper bound was found: {found.message}")
    return float(-found.fun)
