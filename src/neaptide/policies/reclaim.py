"""Policy `reclaim`: offers what services request and do not use as batch and mid resources of each node, and what these leave as a tier below.

What is offered comes from the formulas (reclaim_amounts) on the snapshot's readings (reclaim_readings) and predicted
peaks (reclaim_predictor), under each node's strategy (reclaim_strategies). Here is decided what of it is written.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

import numpy as np
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from neaptide.forecast.history import HistoryCheckpoint, HistorySettings
from neaptide.forecast.peaks import PeakSettings
from neaptide.model.actions import Declined, Effect, Plan, Reason, SetNodeResources
from neaptide.model.problems import FieldError, LeftOut
from neaptide.model.scope import Covers, everything
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.colocation import ColocationConfig, ColocationStrategy, read_config
from neaptide.policies.reclaim_amounts import NAMES, Found, amounts_of, explain, find, rules_of
from neaptide.policies.reclaim_formulas import BoolArray, FloatArray, IntArray, needs_sync
from neaptide.policies.reclaim_predictor import Predictor, PredictorSettings
from neaptide.policies.reclaim_readings import RESOURCES, Pods, Readings, pods_on_nodes, read, reservations
from neaptide.policies.reclaim_strategies import Strategies, strategies_of
from neaptide.policies.reclaim_tier import NAMES as TIER_NAMES
from neaptide.policies.reclaim_tier import Tier, TierPods, below_watermark, explain_tier, tier_pods

NAME = "reclaim"
RECLAIMED = "Reclaimed"
"""The code of the reason for offering resources; other codes say why they are removed."""
_EXPECTED = Effect(money_per_hour=0.0, risk=0.01)

_Flag = Annotated[bool, Meta(description="true or false")]
_Seconds = Annotated[float, Meta(ge=0, le=10**9, description="seconds from 0 to 1000000000")]
_HalfLife = Annotated[float, Meta(ge=1, le=10**9, description="seconds from 1 to 1000000000")]
_Percent = Annotated[int, Meta(ge=0, le=1000, description="an integer from 0 to 1000")]
_Part = Annotated[int, Meta(ge=1, le=100, description="an integer from 1 to 100")]
_Fraction = Annotated[float, Meta(gt=0, le=1, description="a number above 0, at most 1")]


class ReclaimSpec(ColocationStrategy, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Koordinator's colocation strategy for the cluster, exceptions for nodes, and settings of the peak predictor.

    `node_configs` are the entries of Koordinator's nodeConfigs: a nodeSelector, and the values that differ there. Unlike
    Koordinator's, the strategy is enabled unless it says otherwise: a policy's mode says what it may do.

    Attributes:
        ot_enable: whether what batch pods will not use is offered too, as `neaptide.io/ot-cpu` and `ot-memory`.
        ot_cold_start_seconds: how old a batch pod and its workload's history must be before its peak is believed.
        host_watermark_percent: of a node's capacity: both tiers, with all that runs beside them, stay below it where OT is enabled.
    """

    enable: _Flag = True
    node_configs: tuple[dict[str, Any], ...] = ()
    cold_start_seconds: _Seconds = 24 * 3600.0
    safety_margin_percent: _Percent = 10
    cpu_percentile: _Fraction = 0.95
    memory_percentile: _Fraction = 0.98
    cpu_half_life_seconds: _HalfLife = 12 * 3600.0
    memory_half_life_seconds: _HalfLife = 24 * 3600.0
    keep_history_seconds: _Seconds = 7 * 24 * 3600.0
    training_interval_seconds: _Seconds = 60.0
    ot_enable: _Flag = False
    ot_cold_start_seconds: _Seconds = 3600.0
    host_watermark_percent: _Part = 75

    def __post_init__(self) -> None:
        """Raises FieldError for the first value of `node_configs` that is not accepted."""
        _, left_out = read_config({"nodeConfigs": list(self.node_configs)}, file="", name="")
        for each in left_out[:1]:
            raise FieldError(each.field, each.value, each.accepted)


class ReclaimMemory(Struct):
    """When a node's resources were last written, by its name; usage by workload, and when it was last added to."""

    written: dict[str, float] = field(default_factory=dict)
    history: HistoryCheckpoint | None = None
    trained: float | None = None


class Reclaim:
    """The policy. It remembers nothing that it could not build again from its memory."""

    name = NAME
    spec_type = ReclaimSpec
    memory_type = ReclaimMemory

    def __init__(self) -> None:
        self._predictor = Predictor()

    def plan(
        self,
        snapshot: ClusterSnapshot,
        spec: ReclaimSpec,
        memory: ReclaimMemory,
        now: float,
        covers: Covers = everything,
    ) -> tuple[Plan, ReclaimMemory]:
        """An action for every node whose reclaimed resources are to change; the nodes that offer nothing, with reasons."""
        strategies = strategies_of(snapshot, _config(spec), now)
        annotated, problems = reservations(snapshot)
        pods = pods_on_nodes(snapshot)
        cpu = read(snapshot, pods, RESOURCES[0], annotated[0])
        ram = read(snapshot, pods, RESOURCES[1], annotated[1])
        history, trained, settings = memory.history, memory.trained, _predictor_settings(spec)
        tier = tier_pods(snapshot, pods) if spec.ot_enable else None
        if trained is None or now - trained >= spec.training_interval_seconds:
            measured = ~(np.isnan(cpu.used) & np.isnan(ram.used))
            measured[list(strategies.removed)] = False
            history = self._predictor.train(history, settings, snapshot, pods, (cpu, ram), measured, now, tier)
            trained = now
        lent = self._predictor.reclaimable(history, settings, snapshot, pods, (cpu, ram), now)
        second = self._second(history, settings, snapshot, pods, (cpu, ram), tier, now, spec)
        actions: list[SetNodeResources] = []
        for strategy, every in strategies.nodes.items():
            rules, rows = rules_of(strategy), _covered(snapshot, every, covers)
            found = find(rules[0], cpu, lent[0], rows), find(rules[1], ram, lent[1], rows)
            if second is not None:
                found = second.bounded(found, rows)
            actions += _actions(snapshot, strategy, found, second, rows, strategies.removed, memory.written, now)
        declined = [each for each in _declined(snapshot, strategies, problems, actions) if covers(each.target)]
        plan = Plan(NAME, tuple(actions), tuple(declined))
        return plan, ReclaimMemory(_written(snapshot, memory.written, actions, now), history, trained)

    def _second(
        self,
        history: HistoryCheckpoint | None,
        settings: PredictorSettings,
        snapshot: ClusterSnapshot,
        pods: Pods,
        readings: tuple[Readings, Readings],
        tier: TierPods | None,
        now: float,
        spec: ReclaimSpec,
    ) -> "_Second | None":
        """The second tier of all nodes; None where it is not enabled."""
        if tier is None:
            return None
        percent = spec.host_watermark_percent
        trust = replace(settings.peaks, cold_start_seconds=spec.ot_cold_start_seconds)
        found = self._predictor.overcommittable(history, settings, trust, snapshot, pods, readings, tier, now, percent)
        return None if found is None else _Second(found, readings, percent)


class _Second(NamedTuple):
    """The second tier of all nodes, with what it was found from."""

    tiers: tuple[Tier, Tier]
    readings: tuple[Readings, Readings]
    watermark_percent: int

    def bounded(self, found: tuple[Found, Found], rows: IntArray) -> tuple[Found, Found]:
        """The first tier, below the watermark."""
        first, second = (
            each._replace(
                batch=each.batch._replace(
                    amount=below_watermark(each.batch.amount, readings, rows, self.watermark_percent)
                )
            )
            for each, readings in zip(found, self.readings, strict=True)
        )
        return first, second

    def amounts(self, rows: IntArray) -> FloatArray:
        """float64[2, nodes], in the order of TIER_NAMES."""
        return np.stack([tier.amount[rows] for tier in self.tiers]).astype(np.float64)

    def explain(self, node: int) -> str:
        sums = [
            f"{name} {explain_tier(readings, tier, node, watermark_percent=self.watermark_percent)}"
            for name, readings, tier in zip(TIER_NAMES, self.readings, self.tiers, strict=True)
        ]
        return "; ".join(sums)


def _config(spec: ReclaimSpec) -> ColocationConfig:
    """The part of the spec that is Koordinator's."""
    base = ColocationStrategy(**{name: getattr(spec, name) for name in ColocationStrategy.__struct_fields__})
    exceptions, _ = read_config({"nodeConfigs": list(spec.node_configs)}, file="", name="")
    return ColocationConfig(base, exceptions.nodes)


def _predictor_settings(spec: ReclaimSpec) -> PredictorSettings:
    percentiles = spec.cpu_percentile, spec.memory_percentile
    return PredictorSettings(
        PeakSettings(spec.cold_start_seconds, spec.safety_margin_percent, *percentiles),
        HistorySettings(spec.cpu_half_life_seconds, spec.memory_half_life_seconds, spec.keep_history_seconds),
    )


def _covered(snapshot: ClusterSnapshot, rows: IntArray, covers: Covers) -> IntArray:
    """The nodes (rows) that are in scope."""
    if covers is everything:
        return rows
    return rows[[covers(snapshot.node_ref(row)) for row in rows.tolist()]]


def _actions(
    snapshot: ClusterSnapshot,
    strategy: ColocationStrategy,
    found: tuple[Found, Found],
    second: _Second | None,
    rows: IntArray,
    removed: Mapping[int, Reason],
    written: Mapping[str, float],
    now: float,
) -> Iterator[SetNodeResources]:
    """What is to be written to the nodes at `rows`, which are under one strategy."""
    wanted, names = amounts_of(found), NAMES
    if second is not None or any(snapshot.resource_row(name) is not None for name in TIER_NAMES):
        none = np.full((len(TIER_NAMES), len(rows)), np.nan)  # a tier that was switched off is taken away
        wanted = np.concatenate((wanted, none if second is None else second.amounts(rows)))
        names = (*NAMES, *TIER_NAMES)
    wanted[:, [row in removed for row in rows.tolist()]] = np.nan
    for position in np.flatnonzero(_to_write(snapshot, strategy, names, wanted, rows, written, now)).tolist():
        row = int(rows[position])
        amounts = [None if np.isnan(amount) else int(amount) for amount in wanted[:, position]]
        yield SetNodeResources(
            policy=NAME,
            target=snapshot.node_ref(row),
            reason=removed[row] if row in removed else Reason(RECLAIMED, _explained(found, second, position, row)),
            expected=_EXPECTED,
            resources=dict(zip(names, amounts, strict=True)),
        )


def _explained(found: tuple[Found, Found], second: _Second | None, position: int, node: int) -> str:
    """The sum behind every resource of a node: its position among those of its strategy, and its row."""
    first = explain(found, position)
    return first if second is None else f"{first}; {second.explain(node)}"


def _to_write(
    snapshot: ClusterSnapshot,
    strategy: ColocationStrategy,
    names: tuple[str, ...],
    wanted: FloatArray,
    rows: IntArray,
    written: Mapping[str, float],
    now: float,
) -> BoolArray:
    """Which nodes get their resources written: all of them, where one is to be synced and not all stand there already."""
    times = np.array([written.get(snapshot.nodes.names[row], np.nan) for row in rows.tolist()], dtype=np.float64)
    stands = np.zeros_like(wanted)
    for position, name in enumerate(names):
        resource = snapshot.resource_row(name)
        if resource is not None:
            stands[position] = snapshot.nodes.allocatable[resource, rows]
    # A snapshot does not tell a resource that is absent from one that is 0: it is there if this policy wrote it.
    stands[(stands == 0) & np.isnan(times)] = np.nan
    of_tier = np.array([name in TIER_NAMES for name in names])[:, None]
    stands[of_tier & (stands == 0) & np.isnan(wanted)] = np.nan  # a tier of nothing that is off need not be taken away
    due = needs_sync(
        stands,
        wanted,
        times,
        now,
        resource_diff_threshold=strategy.resource_diff_threshold,
        update_time_threshold_seconds=strategy.update_time_threshold_seconds,
    )
    same = (stands == wanted) | (np.isnan(stands) & np.isnan(wanted))
    write: BoolArray = due.any(axis=0) & ~same.all(axis=0)
    return write


def _declined(
    snapshot: ClusterSnapshot, strategies: Strategies, problems: list[LeftOut], actions: list[SetNodeResources]
) -> tuple[Declined, ...]:
    """Nodes that offer nothing, unless that is an action, and what of nodes' metadata was not accepted."""
    targets = {action.target.name for action in actions}
    nodes = snapshot.nodes
    nothing = [
        Declined(snapshot.node_ref(row), reason)
        for row, reason in strategies.removed.items()
        if nodes.names[row] not in targets
    ]
    wrong = [
        Declined(snapshot.node_ref(nodes.by_name[each.object]), Reason("NotAccepted", str(each)), each)
        for each in (*strategies.problems, *problems)
    ]
    return (*nothing, *wrong)


def _written(
    snapshot: ClusterSnapshot, written: Mapping[str, float], actions: list[SetNodeResources], now: float
) -> dict[str, float]:
    """When what stands on nodes was written, after the actions."""
    known = {name: time for name, time in written.items() if name in snapshot.nodes.by_name}
    for action in actions:
        if action.reason.code == RECLAIMED:
            known[action.target.name] = now
        else:
            known.pop(action.target.name, None)
    return known
