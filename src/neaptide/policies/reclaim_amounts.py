"""What nodes may offer under one strategy, by the formulas, and the sums behind it in words."""

from typing import NamedTuple

import numpy as np

from neaptide.policies.colocation import ColocationStrategy
from neaptide.policies.reclaim_formulas import (
    Batch,
    Demand,
    FloatArray,
    IntArray,
    NodeAmounts,
    batch,
    explain_batch,
    mid_dynamic,
    mid_static,
    unallocated,
)
from neaptide.policies.reclaim_readings import RESOURCES, Readings

NAMES = tuple(name for resource in RESOURCES for name in (resource.batch, resource.mid))
"""The resources that are offered."""


class Rule(NamedTuple):
    """What a strategy says of one resource; `static_percent` is None where mid resources are dynamic."""

    policy: str
    reclaim_threshold_percent: int
    limit_percent: int | None
    mid_threshold_percent: int
    unallocated_percent: int
    static_percent: int | None


class Found(NamedTuple):
    """One resource of some nodes, one row a node, with the terms that it comes from.

    Attributes:
        rule: what it was found by.
        nodes: capacity, reserved, system usage.
        batch, mid: the amounts.
        used: by the node.
        lent: what prod pods will not use.
        free: neither used by the system, nor reserved, nor requested by prod pods.
    """

    rule: Rule
    nodes: NodeAmounts
    batch: Batch
    mid: IntArray
    used: FloatArray
    lent: IntArray
    free: IntArray


def rules_of(strategy: ColocationStrategy) -> tuple[Rule, Rule]:
    """What a strategy says of CPU and of memory."""
    static = strategy.mid_reclaim_mode == "static"
    return (
        Rule(
            strategy.cpu_calculate_policy,
            strategy.cpu_reclaim_threshold_percent,
            strategy.batch_cpu_threshold_percent,
            strategy.mid_cpu_threshold_percent,
            strategy.mid_unallocated_percent,
            strategy.mid_static_cpu_reserved_percent if static else None,
        ),
        Rule(
            strategy.memory_calculate_policy,
            strategy.memory_reclaim_threshold_percent,
            strategy.batch_memory_threshold_percent,
            strategy.mid_memory_threshold_percent,
            strategy.mid_unallocated_percent,
            strategy.mid_static_memory_reserved_percent if static else None,
        ),
    )


def find(rule: Rule, readings: Readings, lent: IntArray, rows: IntArray) -> Found:
    """One resource of the nodes at `rows`; `lent` is what prod pods will not use, by node."""
    every = readings.nodes
    nodes = NodeAmounts(every.capacity[rows], every.reserved[rows], every.system[rows])
    used, lent, free = readings.used[rows], lent[rows], unallocated(nodes, readings.prod_requested[rows])
    if rule.static_percent is None:
        mid = mid_dynamic(
            nodes.capacity,
            used,
            lent,
            free,
            unallocated_percent=rule.unallocated_percent,
            threshold_percent=rule.mid_threshold_percent,
        )
    else:
        mid = mid_static(
            nodes.capacity, reserved_percent=rule.static_percent, threshold_percent=rule.mid_threshold_percent
        )
    taken = Demand(*(column[rows] for column in readings.taken))
    found = batch(
        nodes,
        taken,
        policy=rule.policy,
        reclaim_threshold_percent=rule.reclaim_threshold_percent,
        limit_percent=rule.limit_percent,
    )
    return Found(rule, nodes, found, mid, used, lent, free)


def amounts_of(found: tuple[Found, Found]) -> FloatArray:
    """float64[4, nodes], in the order of NAMES."""
    return np.stack([amount for each in found for amount in (each.batch.amount, each.mid)]).astype(np.float64)


def explain(found: tuple[Found, Found], row: int) -> str:
    """One node's resources as sums that a person can check."""
    sums = []
    for resource, each in zip(RESOURCES, found, strict=True):
        rule = each.rule
        by = explain_batch(each.nodes, each.batch, row, policy=rule.policy, limit_percent=rule.limit_percent)
        sums += [f"{resource.batch} {by}", f"{resource.mid} {_explain_mid(each, row)}"]
    return "; ".join(sums)


def _explain_mid(found: Found, row: int) -> str:
    rule, bound = found.rule, f"at most {found.rule.mid_threshold_percent} % of capacity"
    if rule.static_percent is not None:
        return f"{found.mid[row]} = {rule.static_percent} % of capacity {found.nodes.capacity[row]}, {bound}"
    unused = max(found.nodes.capacity[row] - found.used[row], 0.0)
    share = f" + {rule.unallocated_percent} % of unallocated {found.free[row]}" if rule.unallocated_percent else ""
    return (
        f"{found.mid[row]} = the smaller of what prod pods will not use {found.lent[row]} and unused {unused:.0f}"
        f"{share}, {bound}"
    )
