"""Places many pods at once, each before the next is looked at: what placing them one by one gives, much faster.

What the pods' classes ask (asks.py) and the nodes' columns are laid out as arrays (layout.py), and one of the two kernels runs
through the pods. A batch of many classes is cut into chunks that see few of them, for a kernel's cost for each pod grows with
the number of classes; every chunk finds in the arrays what those before it have placed.
"""

from collections.abc import Sequence
from typing import NamedTuple, get_args

import numpy as np

from neaptide.model.columns import NO_NODE, Bools, Longs
from neaptide.placement.amounts import Fit, Unsuited
from neaptide.placement.asks import Asks, allowed_to, asks_of
from neaptide.placement.classes import PodClass
from neaptide.placement.filters.registry import DEFAULT_FILTERS
from neaptide.placement.kernels import batch, batch_numpy
from neaptide.placement.kernels.jit import HAVE_NUMBA, Twins
from neaptide.placement.layout import Layout
from neaptide.placement.profile import Profile
from neaptide.placement.scores.real_nodes_first import RealNodesFirst
from neaptide.placement.scores.registry import DEFAULT_SCORES
from neaptide.placement.view import Pod, View

PLACE = Twins(batch.place, batch_numpy.place)
"""(problem, classes of pods, out) -> None: see kernels/batch.py."""
WORTH_COMPILING = 1 << 24
"""Only batches of so many pods times nodes make a process wait for machine code; `warm.engine` has it ready for all of them."""
MOST_SCORES = 1 << 26
"""How many scores (nodes times classes) a chunk may have: six bytes each."""
LAYING_OUT = 1 << 19
"""What laying out a chunk costs, in scores that are computed in the same time."""
MASKS = 4096
"""Of so many classes it is kept where they may go, a byte for each node: each Job's pods are a class of their own, and Jobs come and go."""
FEW_CLASSES = 128
"""Cutting a batch so that its chunks see fewer classes than that gains nothing."""

_FILTERS = tuple(type(each) for each in DEFAULT_FILTERS)
_SCORES = (*get_args(Fit), *(type(each) for each in DEFAULT_SCORES), RealNodesFirst)


class _Mask(NamedTuple):
    cls: PodClass
    position: tuple[int, int]
    allowed: Bools


class Engine:
    """Places batches of a view's pods by a profile."""

    def __init__(self, view: View, profile: Profile, *, compiled: bool | None = None) -> None:
        """Take a view, whose topology must be in step with its snapshot whenever the engine is asked.

        Args:
            view: what filters and scores read.
            profile: what decides.
            compiled: numba's kernel or the numpy version; None for what is there, or worth its while.
        """
        self._view, self._profile, self._compiled = view, profile, compiled
        self._masks: dict[int, _Mask] = {}
        fits = [each for each in profile.scores if isinstance(each, Fit)]
        self._suits = (
            len(fits) <= 1
            and all(isinstance(each, _FILTERS) for each in profile.filters)
            and all(isinstance(each, _SCORES) for each in profile.scores)
        )

    def takes(self, pods: Longs) -> Sequence[bool]:
        """By pod (row), whether it can be part of a batch: one that waits for a node, is not gated and has no claims."""
        columns = self._view.snapshot.pods
        if not self._suits:
            return [False] * len(pods)
        claims = {number: self._has_claims(number) for number in np.unique(columns.cls[pods]).tolist()}
        waiting = (columns.node[pods] == NO_NODE) & ~columns.gated[pods]
        return [
            wait and not claims[number]
            for wait, number in zip(waiting.tolist(), columns.cls[pods].tolist(), strict=True)
        ]

    def place(self, pods: Longs) -> Longs | None:
        """The node row of each pod (row), all of which it `takes`, or NO_NODE. The snapshot stays as it is.

        None where the amounts are too large for the kernels' arithmetic, or there are no nodes.
        """
        classes, asks = self._classify(pods)
        nodes = len(self._view.snapshot.nodes.indices())
        if not nodes:
            return None
        compiled = self._compiled
        if compiled is None:
            compiled = HAVE_NUMBA and (batch.is_compiled() or len(pods) * nodes >= WORTH_COMPILING)
        place = PLACE.pick(compiled=compiled)
        positions = np.empty(len(pods), dtype=np.int64)
        try:
            layout = Layout(self._view, self._profile, asks, len(pods))
            for chunk in chunks(classes, nodes):
                members, numbers = np.unique(classes[chunk], return_inverse=True)
                place(layout.problem(members), numbers, positions[chunk])
        except Unsuited:
            return None
        return np.where(positions >= 0, layout.rows[positions], NO_NODE)

    def _classify(self, pods: Longs) -> tuple[Longs, list[Asks]]:
        """The class of each pod, and what each class asks. Pods of one class with two owners may be spread differently."""
        columns = self._view.snapshot.pods
        owners = int(columns.owner[pods].max(initial=0)) + 2
        pairs = columns.cls[pods].astype(np.int64) * owners + columns.owner[pods]
        _, first, numbers = np.unique(pairs, return_index=True, return_inverse=True)
        topology = self._view.topology
        found = [Pod(row, topology.classes.meet(int(columns.cls[row]))) for row in pods[first].tolist()]
        return numbers, [asks_of(self._view, self._profile, pod, self._allowed(pod)) for pod in found]

    def _allowed(self, pod: Pod) -> Bools:
        """Where a class may go, kept until some node or namespace is another than before."""
        position = len(self._view.nodes.changed), self._view.namespaces_changed
        known = self._masks.get(pod.cls.number)
        if known is None or known.cls is not pod.cls or known.position != position:
            mask = allowed_to(self._view, self._profile, pod)
            if len(self._masks) >= MASKS:
                del self._masks[next(iter(self._masks))]
            known = self._masks[pod.cls.number] = _Mask(pod.cls, position, mask)
        return known.allowed

    def _has_claims(self, number: int) -> bool:
        return bool(self._view.volumes.claims(self._view.topology.classes.meet(number)))


def chunks(classes: Longs, nodes: int) -> list[slice]:
    """Cut a batch, given by the class of each pod, so that it costs least.

    A chunk lays out and grows a score for each of its classes at each node, and renews those of one node for each of its pods.
    """
    found, most = len(np.unique(classes)), max(MOST_SCORES // max(nodes, 1), 1)
    limits = [min(found, most)] if found <= FEW_CLASSES else [min(found, most), min(FEW_CLASSES, most)]
    cuts = {limit: _cut(classes.tolist(), limit) for limit in limits}
    limit = min(cuts, key=lambda limit: len(cuts[limit]) * (limit * nodes + LAYING_OUT) + limit * len(classes))
    return cuts[limit]


def _cut(classes: Sequence[int], limit: int) -> list[slice]:
    """Chunks as long as can be with at most `limit` classes each."""
    starts, seen = [0], set[int]()
    for number, each in enumerate(classes):
        if each not in seen and len(seen) == limit:
            starts.append(number)
            seen = set()
        seen.add(each)
    return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], len(classes)], strict=True)]
