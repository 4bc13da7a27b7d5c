"""Which nodes are hot and which have room, and since how many looks: what the policy `relieve` starts from.

Source: koordinator, descheduler plugin LowNodeLoad, and its anomaly detection.
"""

from collections.abc import Mapping
from typing import Annotated, NamedTuple

import numpy as np
from msgspec import Meta, Struct

from neaptide.model.columns import Bools, Floats
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.load_aware import Estimation, used
from neaptide.placement.node_infos import NodeInfos
from neaptide.placement.sums import PodSums

RESOURCES = ("cpu", "memory")
_WHOLE = 100.0


_Percent = Annotated[float, Meta(ge=0, le=_WHOLE, description="a number from 0 to 100")]


class Percents(Struct, frozen=True, forbid_unknown_fields=True):
    """Percent of a node's allocatable; a resource that is left out is not looked at."""

    cpu: _Percent | None = None
    memory: _Percent | None = None

    def column(self) -> Floats:
        """float64[2, 1]: nan where the resource is not looked at."""
        return np.array([[np.nan if each is None else each] for each in (self.cpu, self.memory)])


class Gauge(NamedTuple):
    """One way to look at use: by all pods of a node, or by those of band prod.

    Attributes:
        name: empty for all pods, `prod`.
        measured: float64[2, nodes]: milli-CPU and bytes in use as measured; nan where unknown.
        expected: the same, with estimates of what measurements cannot show yet: what a target is judged by.
        low, high: float64[2, nodes]: the thresholds as amounts, nan where a resource is not looked at.
    """

    name: str
    measured: Floats
    expected: Floats
    low: Floats
    high: Floats

    def is_hot(self) -> Bools:
        """bool[nodes]: nodes above their high threshold in any resource."""
        hot: Bools = np.any(self.measured > self.high, axis=0)
        return hot

    def is_low(self) -> Bools:
        """bool[nodes]: nodes below their low threshold in every resource that is looked at."""
        below: Bools = np.all((self.expected <= self.low) | np.isnan(self.low), axis=0)
        return below


class Watch(Struct, frozen=True):
    """What is remembered of a node that is hot, or was a short while ago.

    Attributes:
        measured: when its usage was measured last; a measurement counts once.
        hot, calm: how many measurements in a row were above the high threshold, or not.
        anomalous: whether it has been hot for long enough to be relieved.
    """

    measured: float
    hot: int = 0
    calm: int = 0
    anomalous: bool = False


def known_nodes(snapshot: ClusterSnapshot, now: float, metric_age: float) -> Bools:
    """bool[nodes]: nodes that are ready and whose usage is fresh: of no other is anything concluded."""
    nodes, rows = snapshot.nodes, snapshot.nodes.rows
    return nodes.alive[:rows] & nodes.ready[:rows] & (now - nodes.usage_time[:rows] <= metric_age)


class Looked(NamedTuple):
    """A look at a cluster: what its use is reckoned from."""

    snapshot: ClusterSnapshot
    sums: PodSums
    infos: NodeInfos


def look(snapshot: ClusterSnapshot) -> Looked:
    """At a cluster as it is now."""
    return Looked(snapshot, PodSums(snapshot), NodeInfos(snapshot))


def gauge(at: Looked, known: Bools, low: Percents, high: Percents, *, deviation: bool, prod: bool) -> Gauge:
    """The use of all known nodes, and its thresholds.

    With `deviation`, the thresholds are so many points below and above the mean, which is the use of all known nodes over their
    allocatable: moving pods does not change it.
    """
    snapshot, rows = at.snapshot, at.snapshot.nodes.rows
    expected = used(at, Estimation(), prod=prod)
    measured = expected if prod else np.array([snapshot.nodes.usage_cpu[:rows], snapshot.nodes.usage_memory[:rows]])
    measured, expected = (np.where(known, each, np.nan) for each in (measured, expected))
    allocatable = snapshot.nodes.allocatable[: len(RESOURCES), :rows]
    lower, upper = low.column(), high.column()
    if deviation:
        total = np.maximum(np.where(known, allocatable, 0).sum(axis=1, keepdims=True), 1)
        mean = _WHOLE * np.nansum(measured, axis=1, keepdims=True) / total
        lower, upper = np.clip(mean - lower, 0, _WHOLE), np.clip(mean + upper, 0, _WHOLE)
    amounts = (each * allocatable / _WHOLE for each in (lower, upper))
    return Gauge("prod" if prod else "", measured, expected, *amounts)


def watched(
    snapshot: ClusterSnapshot, before: Mapping[str, Watch], hot: Bools, known: Bools, *, abnormal: int, normal: int
) -> dict[str, Watch]:
    """The memory of nodes after one more look: more than `abnormal` hot measurements in a row make a node anomalous, more than `normal` calm ones end that."""
    after = {}
    for row in np.flatnonzero(known).tolist():
        name, measured = snapshot.nodes.names[row], float(snapshot.nodes.usage_time[row])
        old = before.get(name)
        if old is None and not hot[row]:
            continue
        if old is None:
            old = Watch(measured=-np.inf)
        if measured <= old.measured:
            after[name] = old
        elif hot[row]:
            after[name] = Watch(measured, old.hot + 1, 0, old.anomalous or old.hot >= abnormal)
        elif old.calm < normal:
            after[name] = Watch(measured, 0, old.calm + 1, old.anomalous)
    return after
