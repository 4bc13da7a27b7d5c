"""Policy `relieve`: pods leave nodes that stay hot for nodes with room, so that hot spots go and imbalance falls.

Which nodes are hot is found by relieve_nodes, who leaves them by relieve_moves. Here is decided whether anything is to be done at all.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct, field

from neaptide.model.actions import Declined, Effect, Evict, Plan, Reason
from neaptide.model.columns import Bools
from neaptide.model.problems import FieldError
from neaptide.model.scope import Covers, everything
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.place import Placement
from neaptide.placement.profile import Profile
from neaptide.policies.relieve_moves import Limits, Move, Mover
from neaptide.policies.relieve_nodes import RESOURCES, Gauge, Percents, Watch, gauge, known_nodes, look, watched

NAME = "relieve"
HOT = "HotNode"
_RISK = Effect(risk=0.1)
_NONE = Percents()

_Count = Annotated[int, Meta(ge=0, le=10**6, description="an integer from 0 to 1000000")]
_Positive = Annotated[int, Meta(ge=1, le=10**6, description="an integer from 1 to 1000000")]
_Seconds = Annotated[float, Meta(gt=0, le=10**9, description="seconds above 0, at most 1000000000")]


class RelieveSpec(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Koordinator's LowNodeLoad: a node is hot above any high threshold, and has room below all low ones.

    Attributes:
        low_thresholds, high_thresholds: percent of the allocatable in use.
        prod_low_thresholds, prod_high_thresholds: the same of what pods of band prod use; none by default.
        use_deviation_thresholds: thresholds are points below and above the mean use.
        number_of_nodes: nothing is done unless more nodes than that have room.
        consecutive_abnormalities: a node is relieved once it was hot in more measurements in a row.
        consecutive_normalities: it no longer is once it was not in more measurements in a row.
        max_per_node, max_per_cycle: how many pods leave at once.
        metric_age_seconds: nodes with older measurements are neither hot nor have room.
    """

    low_thresholds: Percents = Percents(cpu=45.0, memory=60.0)
    high_thresholds: Percents = Percents(cpu=65.0, memory=80.0)
    prod_low_thresholds: Percents = _NONE
    prod_high_thresholds: Percents = _NONE
    use_deviation_thresholds: bool = False
    number_of_nodes: _Count = 0
    consecutive_abnormalities: _Count = 5
    consecutive_normalities: _Count = 3
    max_per_node: _Positive = 2
    max_per_cycle: _Positive = 10
    metric_age_seconds: _Seconds = 180.0

    def __post_init__(self) -> None:
        """Raises FieldError where a low threshold is above the high one, or one of the two is missing."""
        pairs = {
            "highThresholds": (self.low_thresholds, self.high_thresholds),
            "prodHighThresholds": (self.prod_low_thresholds, self.prod_high_thresholds),
        }
        for where, (low, high) in pairs.items():
            for name in RESOURCES:
                lower, upper = getattr(low, name), getattr(high, name)
                if (lower is None) != (upper is None):
                    shown = "" if upper is None else upper
                    raise FieldError(f"{where}.{name}", shown, "a low and a high threshold, or neither")
                if not self.use_deviation_thresholds and lower is not None and lower > upper:
                    raise FieldError(f"{where}.{name}", upper, f"a number from the low threshold, {lower:g}, to 100")


class RelieveMemory(Struct):
    """What is remembered of nodes that are hot or were a short while ago, by name."""

    nodes: dict[str, Watch] = field(default_factory=dict)


class Relieve:
    """The policy."""

    name = NAME
    spec_type = RelieveSpec
    memory_type = RelieveMemory

    def plan(
        self,
        snapshot: ClusterSnapshot,
        spec: RelieveSpec,
        memory: RelieveMemory,
        now: float,
        covers: Covers = everything,
    ) -> tuple[Plan, RelieveMemory]:
        """Which pods leave hot nodes now, and why the other hot nodes are left alone."""
        known = known_nodes(snapshot, now, spec.metric_age_seconds)
        gauges = _gauges(snapshot, known, spec)
        hot = np.any([each.is_hot() for each in gauges], axis=0)
        settings = {"abnormal": spec.consecutive_abnormalities, "normal": spec.consecutive_normalities}
        nodes = watched(snapshot, memory.nodes, hot, known, **settings)
        names = snapshot.nodes.names
        sources = [row for row in np.flatnonzero(hot).tolist() if nodes[names[row]].anomalous]
        low = _low(snapshot, gauges, known)
        declined = list(_watched(snapshot, hot, nodes, spec))
        stop = _stop(spec, low, known)
        if stop is not None or not sources:
            declined += [Declined(snapshot.node_ref(row), stop) for row in sources if stop is not None]
            return Plan(NAME, declined=_covered(declined, covers)), RelieveMemory(nodes)
        before = [each.measured.copy() for each in gauges]
        moves, left = _moves(snapshot, gauges, low, sources, spec, covers, now)
        for move in moves:  # what was done must show in the measurements before more is
            name = names[move.source]
            nodes[name] = Watch(nodes[name].measured)
        declined += [Declined(snapshot.node_ref(row), _STAYS) for row in left]
        reasons = {row: _reason(snapshot, gauges, before, row) for row in sources}
        actions = tuple(_evict(snapshot, move, reasons[move.source]) for move in moves)
        return Plan(NAME, actions, _covered(declined, covers)), RelieveMemory(nodes)


_FILTERS_ONLY = Profile(scores=())
_STAYS = Reason("NothingFits", "no pod of it may leave, or none fits on a node with room")


def _gauges(snapshot: ClusterSnapshot, known: Bools, spec: RelieveSpec) -> tuple[Gauge, ...]:
    deviation, at = spec.use_deviation_thresholds, look(snapshot)
    whole = gauge(at, known, spec.low_thresholds, spec.high_thresholds, deviation=deviation, prod=False)
    if spec.prod_high_thresholds == _NONE:
        return (whole,)
    prod = gauge(at, known, spec.prod_low_thresholds, spec.prod_high_thresholds, deviation=deviation, prod=True)
    return whole, prod


def _low(snapshot: ClusterSnapshot, gauges: Sequence[Gauge], known: Bools) -> Bools:
    """bool[nodes]: nodes that have room and take pods."""
    low: Bools = np.all([each.is_low() for each in gauges], axis=0)
    return low & known & ~snapshot.nodes.unschedulable[: len(known)]


def _stop(spec: RelieveSpec, low: Bools, known: Bools) -> Reason | None:
    """Why nothing is to be done, however hot nodes are."""
    count = int(np.count_nonzero(low))
    if count <= spec.number_of_nodes:
        return Reason("NoRoom", f"{count} nodes have room, and more than {spec.number_of_nodes} must")
    if count == np.count_nonzero(known):
        return Reason("AllLow", "all nodes have room")
    return None


def _covered(declined: Sequence[Declined], covers: Covers) -> tuple[Declined, ...]:
    return tuple(each for each in declined if covers(each.target))


def _moves(
    snapshot: ClusterSnapshot,
    gauges: Sequence[Gauge],
    low: Bools,
    sources: Sequence[int],
    spec: RelieveSpec,
    covers: Covers,
    now: float,
) -> tuple[list[Move], list[int]]:
    """The moves, and the sources that none was found for."""
    placement = Placement(snapshot, _FILTERS_ONLY)
    with snapshot.what_if():
        mover = Mover(placement, gauges, low, Limits(spec.max_per_node, spec.max_per_cycle), covers, now)
        for each in gauges:
            share = np.nan_to_num(each.measured / np.maximum(each.high, 1)).max(axis=0)[list(sources)]
            for at in np.argsort(-share, kind="stable").tolist():
                if (mover.headroom() <= 0).any():
                    break
                mover.relieve(sources[at], each)
    relieved = {move.source for move in mover.moves}
    return mover.moves, [row for row in sources if row not in relieved and len(mover.moves) < spec.max_per_cycle]


def _watched(snapshot: ClusterSnapshot, hot: Bools, nodes: dict[str, Watch], spec: RelieveSpec) -> Iterator[Declined]:
    """Hot nodes that have not been hot for long enough."""
    for row in np.flatnonzero(hot).tolist():
        watch = nodes[snapshot.nodes.names[row]]
        if not watch.anomalous:
            message = f"it was hot in {watch.hot} measurements in a row, and more than {spec.consecutive_abnormalities} are waited for"
            yield Declined(snapshot.node_ref(row), Reason("Watching", message))


def _reason(snapshot: ClusterSnapshot, gauges: Sequence[Gauge], before: Sequence[np.ndarray], row: int) -> str:
    """What of a node is above which threshold."""
    said = []
    for each, measured in zip(gauges, before, strict=True):
        for at, name in enumerate(RESOURCES):
            if measured[at, row] > each.high[at, row]:
                allocatable = max(int(snapshot.nodes.allocatable[at, row]), 1)
                use, limit = (round(100 * float(amount[at, row]) / allocatable) for amount in (measured, each.high))
                said.append(f"{each.name or 'pods'} use {use} % of its {name}, above {limit} %")
    return "; ".join(said)


def _evict(snapshot: ClusterSnapshot, move: Move, hot: str) -> Evict:
    names, ref = snapshot.nodes.names, snapshot.pod_ref(move.pod)
    workload = snapshot.workload_of(move.pod)
    return Evict(
        policy=NAME,
        target=ref,
        reason=Reason(HOT, f"node {names[move.source]}: {hot}; {names[move.target]} has room for the pod"),
        expected=_RISK,
        node=names[move.source],
        workload=workload,
    )
