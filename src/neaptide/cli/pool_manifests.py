"""NodePools for short and long jobs, and Policies of the rule `pools` that send each to its own."""

from collections.abc import Iterator, Mapping
from typing import Any

from neaptide.admission.pools import MARK, OFFLINE, ONLINE, SHARED
from neaptide.forecast.pool_split import Split
from neaptide.model.qos import Band

RUN = "neaptide.io/run"
"""Label of pods, `short` or `long`: which of the two pools they are for. It stands in the template of each workload."""
_POOLS = {"short": "short-jobs", "long": "long-jobs"}


def manifests(split: Split, bands: Mapping[str, Band], node_class: str) -> list[dict[str, Any]]:
    """For a split; `bands` of its workloads by name, `node_class` as group/kind/name."""
    group, kind, name = node_class.split("/")
    reference = {"group": group, "kind": kind, "name": name}
    return [*(_node_pool(length, reference) for length in _POOLS), *_policies(split, bands)]


def _node_pool(length: str, node_class: Mapping[str, str]) -> dict[str, Any]:
    """A node that long jobs hold is given back when it is empty, and never for being underused: its jobs would be lost."""
    disruption = {
        "consolidationPolicy": "WhenEmpty" if length == "long" else "WhenEmptyOrUnderutilized",
        "consolidateAfter": "30s",
    }
    spec = {
        "nodeClassRef": dict(node_class),
        "taints": [{"key": MARK, "value": SHARED, "effect": "NoSchedule"}],
        "requirements": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}],
    }
    template = {"metadata": {"labels": {MARK: SHARED}}, "spec": spec}
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": _POOLS[length]},
        "spec": {"template": template, "disruption": disruption},
    }


def _policies(split: Split, bands: Mapping[str, Band]) -> Iterator[dict[str, Any]]:
    """For each length and side in use: the own pool is preferred and its taint tolerated, the other is closed."""
    for length, names in (("short", split.short), ("long", split.long)):
        other = "long" if length == "short" else "short"
        for side in (ONLINE, OFFLINE):
            mine = [each for each in names if (bands.get(each, Band.PROD) >= Band.MID) is (side == ONLINE)]
            if not mine:
                continue
            closed = OFFLINE if side == ONLINE else ONLINE
            scope = {
                "namespaces": sorted({each.partition("/")[0] for each in mine}),
                "podSelector": {"matchLabels": {RUN: length}},
            }
            yield {
                "apiVersion": "neaptide.io/v1alpha1",
                "kind": "Policy",
                "metadata": {
                    "name": f"{_POOLS[length]}-{side}",
                    "annotations": {"neaptide.io/workloads": ", ".join(mine)},
                },
                "spec": {
                    "policy": "pools",
                    "mode": "Enforce",
                    "scope": scope,
                    "pools": {side: [_POOLS[length]], closed: [_POOLS[other]]},
                },
            }
