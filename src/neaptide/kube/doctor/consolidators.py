"""Whether Karpenter and a Policy of ours consolidate the same nodes: what one buys as a replacement the other may give back."""

from collections.abc import Iterator
from typing import Any

import msgspec

from neaptide.kube.configuration import choose
from neaptide.kube.doctor.finding import Finding, Seen, some
from neaptide.loop import Mode, Setting
from neaptide.model.node_pools import NodePool
from neaptide.policies.consolidation_run import NAME

_POOL = "karpenter.sh/nodepool"
_NEVER = "Never"


def two_consolidators(seen: Seen) -> Iterator[Finding]:
    """NodePools whose `consolidateAfter` is not Never, and a Policy `consolidation` in Enforce whose scope has nodes of them."""
    pools: dict[str, NodePool] = seen.snapshot.others.get("NodePool", {})
    busy = sorted(each.metadata.name for each in pools.values() if each.spec.disruption.consolidate_after != _NEVER)
    if not busy:
        return
    if seen.policies is None:
        message = f"Policies cannot be read: whether one consolidates the nodes that Karpenter does ({some(busy)}) is not known"
        yield Finding("warning", "consolidation", message, "let yourself list policies.neaptide.io")
        return
    chosen = choose(map(_at_any_time, seen.policies.values()), seen.now)
    names = {verdict.policy: name for name, verdict in chosen.verdicts.items() if verdict.ready}
    for setting in chosen.settings:
        shared = _shared(seen, setting, busy) if setting.policy.name == NAME and setting.mode is Mode.ENFORCE else []
        if shared:
            message = (
                f"the Policy {names[NAME]} consolidates the nodes of {len(shared)} NodePools that Karpenter consolidates too "
                f"({some(shared)}): each undoes what the other does"
            )
            fix = "set spec.disruption.consolidateAfter: Never in them, or the Policy's mode to Recommend"
            yield Finding("warning", "consolidation", message, fix)


def _at_any_time(raw: bytes) -> bytes:
    """A Policy without its schedule: a window that is closed now opens later."""
    policy = msgspec.json.decode(raw, type=dict[str, Any])
    if isinstance(policy.get("spec"), dict):
        policy["spec"].pop("schedule", None)
    return msgspec.json.encode(policy)


def _shared(seen: Seen, setting: Setting, pools: list[str]) -> list[str]:
    """Those NodePools that have nodes in a Policy's scope; one without nodes counts, for they may come."""
    nodes = seen.snapshot.nodes
    labels = [seen.snapshot.node_labels(row) for row in nodes.indices().tolist()]
    peopled = {each[_POOL] for each in labels if _POOL in each}
    covered = {each[_POOL] for each in labels if _POOL in each and setting.scope.covers_node(each)}
    return [each for each in pools if each in covered or each not in peopled]
