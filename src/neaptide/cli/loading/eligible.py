"""The nodes of a DaemonSet: those that it had, and no others."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from neaptide.model.objects import Node, PodSpec
from neaptide.model.selectors import node_matches, untolerated

_HOST = "kubernetes.io/hostname"
_LEFT_TO_CONTROLLERS = "node.kubernetes.io/"


def admits_only(template: dict[str, Any], nodes: Sequence[Node], hosts: Iterable[str]) -> None:
    """Make a template admit these nodes and no others: without its controller's wish for one node, and named by host where that is needed."""
    affinity = template.get("affinity", {}).get("nodeAffinity", {})
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms = [_without_name(each) for each in required.get("nodeSelectorTerms", ())]
    if all(terms):
        required["nodeSelectorTerms"] = terms
    else:  # a term that asked for nothing but the node's name
        affinity.pop("requiredDuringSchedulingIgnoredDuringExecution", None)
    wanted = set(hosts)
    if {each.metadata.name for each in nodes if _admits(template, each)} != wanted:
        names = sorted(each.metadata.labels.get(_HOST, "") for each in nodes if each.metadata.name in wanted)
        affinity = template.setdefault("affinity", {}).setdefault("nodeAffinity", {})
        only = (
            {"key": _HOST, "operator": "In", "values": names} if names else {"key": _HOST, "operator": "DoesNotExist"}
        )
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {
            "nodeSelectorTerms": [{"matchExpressions": [only]}]
        }


def _without_name(term: dict[str, Any]) -> dict[str, Any]:
    kept = [each for each in term.get("matchFields", ()) if each.get("key") != "metadata.name"]
    rest = {key: value for key, value in term.items() if key != "matchFields" and value}
    return rest | ({"matchFields": kept} if kept else {})


def _admits(template: dict[str, Any], node: Node) -> bool:
    spec = msgspec.convert(template, PodSpec)
    labels, affinity = node.metadata.labels, spec.affinity and spec.affinity.node_affinity
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    if any(labels.get(key) != value for key, value in spec.node_selector.items()):
        return False
    if required is not None and not node_matches(required, labels, node.metadata.name):
        return False
    taints = [each for each in node.spec.taints if not each.key.startswith(_LEFT_TO_CONTROLLERS)]
    return untolerated(taints, spec.tolerations, ("NoSchedule", "NoExecute")) is None
