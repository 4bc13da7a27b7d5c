"""What a source measured, and how it goes into a snapshot: at once, and nothing older than it may be."""

from collections.abc import Mapping
from functools import cached_property
from itertools import repeat
from operator import attrgetter
from typing import NamedTuple, Protocol

import numpy as np
from msgspec import Struct, field

from neaptide.kube.usage.node_infos import set_infos
from neaptide.model.columns import Floats
from neaptide.model.metrics import MAX_AGE
from neaptide.model.node_info import NodeInfo
from neaptide.model.snapshot import ClusterSnapshot

_FIELDS = tuple(map(attrgetter, ("cpu", "memory", "time")))
_TIME = 2


class Reading(Struct, frozen=True, gc=False):
    """Milli-CPU and bytes, nan where unknown, and when they were measured (seconds since the epoch)."""

    cpu: float
    memory: float
    time: float


class Columns(NamedTuple):
    """Readings side by side: the names, and float64[3, names]: CPU, memory and time."""

    names: list[str]
    measured: Floats


class Readings(Struct, frozen=True, dict=True):
    """One look at a cluster: nodes by name, pods by `namespace/name`; `problems` says what could not be read.

    `infos` has what is known of nodes beside, by their name.
    """

    nodes: dict[str, Reading] = field(default_factory=dict)
    pods: dict[str, Reading] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    infos: Mapping[str, NodeInfo] = field(default_factory=dict)

    @cached_property
    def columns(self) -> tuple[Columns, Columns]:
        """Of nodes and of pods. Whoever reads makes them, so that no cycle of the loop has to: there may be one for every pod."""
        return _columns(self.nodes), _columns(self.pods)


class Source(Protocol):
    """Somewhere to read usage from."""

    @property
    def name(self) -> str:
        """What it is called in logs and in `neaptide doctor`."""

    async def read(self) -> Readings:
        """Everything that is measured now. Raises ApiError or OSError where nothing can be had."""


def apply(snapshot: ClusterSnapshot, readings: Readings, now: float, *, max_age: float = MAX_AGE) -> None:
    """Set what is known; every pod and node that is not named, or whose reading is too old, becomes unknown."""
    nodes, pods, oldest = snapshot.nodes, snapshot.pods, now - max_age
    of_nodes, of_pods = readings.columns
    cpu, memory, times = _by_row(of_nodes, nodes.by_name, nodes.rows, oldest)
    rows = nodes.indices()
    snapshot.set_node_usage(rows, cpu[rows], memory[rows], times[rows])
    cpu, memory, _ = _by_row(of_pods, pods.by_key, pods.rows, oldest)
    rows = pods.indices()
    snapshot.set_pod_usage(rows, cpu[rows], memory[rows])
    set_infos(snapshot, readings.infos)


def _columns(found: Mapping[str, Reading]) -> Columns:
    measured = np.array([np.fromiter(map(get, found.values()), np.float64, len(found)) for get in _FIELDS])
    return Columns(list(found), measured)


def _by_row(found: Columns, row_of: Mapping[str, int], rows: int, oldest: float) -> Floats:
    """float64[3, rows]: CPU, memory and time by row, nan where nothing is known."""
    table = np.full((3, rows), np.nan)
    row = np.fromiter(map(row_of.get, found.names, repeat(-1)), np.int64, len(found.names))
    known = (row >= 0) & (found.measured[_TIME] >= oldest)
    table[:, row[known]] = found.measured[:, known]
    return table
