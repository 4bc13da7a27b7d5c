"""Which strategy holds on which node, and which nodes offer nothing: disabled, not ready, or without a recent metric."""

from typing import NamedTuple

import numpy as np

from neaptide.model.actions import Reason
from neaptide.model.problems import LeftOut
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.colocation import ColocationConfig, ColocationStrategy, says_more, strategy_of_node
from neaptide.policies.reclaim_formulas import BoolArray, IntArray, degraded, explain_degraded


class Strategies(NamedTuple):
    """What holds where.

    Attributes:
        nodes: by strategy, rows of nodes.
        removed: by row of a node, why it offers nothing.
        problems: what was not accepted in the metadata of nodes; `object` names the node.
    """

    nodes: dict[ColocationStrategy, IntArray]
    removed: dict[int, Reason]
    problems: list[LeftOut]


def strategies_of(snapshot: ClusterSnapshot, config: ColocationConfig, now: float) -> Strategies:
    """The strategy of every node."""
    names, every = snapshot.nodes.names, snapshot.nodes.indices()
    special = _may_differ(snapshot, config, every)
    rows_of = {config.strategy: every[~special].tolist()}
    problems: list[LeftOut] = []
    for node in every[special].tolist():
        labels, annotations = snapshot.node_labels(node), snapshot.node_annotations(node)
        strategy, left_out = strategy_of_node(config, labels, annotations, file="", name=names[node])
        problems += left_out
        rows_of.setdefault(strategy, []).append(node)
    nodes = {strategy: np.array(sorted(rows), dtype=np.int64) for strategy, rows in rows_of.items() if rows}
    removed: dict[int, Reason] = {}
    for strategy, rows in nodes.items():
        removed |= _removed(snapshot, strategy, rows, now)
    return Strategies(nodes, removed, problems)


def _may_differ(snapshot: ClusterSnapshot, config: ColocationConfig, nodes: IntArray) -> BoolArray:
    """Which nodes (rows) may have a strategy of their own; on most clusters few do, and the others are not looked at again."""
    if config.nodes:
        return np.ones(len(nodes), dtype=np.bool_)
    labels, annotations = snapshot.nodes.labels[nodes], snapshot.nodes.annotations[nodes]
    labelled = [each for each in set(labels.tolist()) if says_more(snapshot.label_sets.values[each], {})]
    annotated = [each for each in set(annotations.tolist()) if says_more({}, snapshot.annotation_sets.values[each])]
    found: BoolArray = np.isin(labels, labelled) | np.isin(annotations, annotated)
    return found


def _removed(snapshot: ClusterSnapshot, strategy: ColocationStrategy, rows: IntArray, now: float) -> dict[int, Reason]:
    if not strategy.enable:
        return dict.fromkeys(rows.tolist(), Reason("Disabled", "removed: reclaiming is not enabled on the node"))
    time, minutes = snapshot.nodes.usage_time[rows], strategy.degrade_time_minutes
    old = degraded(time, now, degrade_time_minutes=minutes)
    found = {
        row: Reason("Degraded", explain_degraded(measured, now, degrade_time_minutes=minutes))
        for row, measured in zip(rows[old].tolist(), time[old].tolist(), strict=True)
    }
    away = rows[~snapshot.nodes.ready[rows]].tolist()
    return found | dict.fromkeys(away, Reason("NotReady", "removed: the node is not ready"))
