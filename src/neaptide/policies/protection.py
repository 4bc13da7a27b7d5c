"""Which pods must not be disrupted, by the annotations and conventions that the ecosystem has agreed on."""

from collections.abc import Mapping

import numpy as np

from neaptide.model.actions import Reason
from neaptide.model.columns import FAILED, SUCCEEDED, Bools, Longs
from neaptide.model.objects import MIRROR, PodDisruptionBudget
from neaptide.model.selectors import labels_match
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import go_duration

DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"
SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
SOFT_EVICTION = "scheduling.koordinator.sh/soft-eviction"
"""Koordinator's descheduler sets it in place of an eviction: whoever knows the pod saves its work and deletes it. "true", or JSON that says who asked and why."""
ANNOTATED = ("DoNotDisrupt", "NotSafeToEvict", "SoftEviction")
"""Codes of the reasons that stand in a pod's annotations: they hold until its node goes in any case."""
SYSTEM_CRITICAL = 2_000_000_000
"""Priorities from here on are system-cluster-critical and system-node-critical."""
_OF_NODES = "DaemonSet"
"""The kind of owner whose pods are on a node because it is there; a static pod, which its Node owns, counts as bare."""


def protection(snapshot: ClusterSnapshot, pod: int, now: float) -> Reason | None:
    """Why a pod must not be evicted now; None where it may be.

    A bare pod would not come back, so it is protected unless it says `safe-to-evict: "true"`; a DaemonSet's pod would
    come back to the same node.
    """
    annotations = snapshot.pod_annotations(pod)
    named = annotated_protection(annotations, float(snapshot.pods.started[pod]), now)
    if named is not None:
        return named
    if snapshot.pods.priority[pod] >= SYSTEM_CRITICAL:
        return Reason("SystemCritical", f"its priority is {snapshot.pods.priority[pod]}, that of system pods")
    owner = int(snapshot.pods.owner[pod])
    if owner < 0 and annotations.get(SAFE_TO_EVICT) != "true":
        return Reason("NotReplicated", "no controller would start it again")
    if owner >= 0 and snapshot.workloads.refs[owner].kind == "DaemonSet":
        return Reason("DaemonSet", "its DaemonSet would start it on the same node again")
    return None


def comes_with_node(snapshot: ClusterSnapshot, pod: int) -> bool:
    """Whether a pod that is on a node is there because the node is (a DaemonSet's, a static one), and would not follow its other pods."""
    owner = int(snapshot.pods.owner[pod])
    if owner >= 0:
        return snapshot.workloads.refs[owner].kind == _OF_NODES
    node = snapshot.nodes.names[int(snapshot.pods.node[pod])]
    return MIRROR in snapshot.pod_annotations(pod) or snapshot.pods.keys[pod].endswith("-" + node)


def come_with_node(snapshot: ClusterSnapshot, pods: Longs) -> Bools:
    """bool[pods]: the same of many pods (rows) that are on nodes."""
    of_nodes = np.array([ref.kind == _OF_NODES for ref in snapshot.workloads.refs], dtype=np.bool_)
    owner = snapshot.pods.owner[pods]
    owned = owner >= 0
    found: Bools = np.zeros(len(pods), dtype=np.bool_)
    found[owned] = of_nodes[owner[owned]]
    found[~owned] = [comes_with_node(snapshot, pod) for pod in pods[~owned].tolist()]
    return found


def is_over(snapshot: ClusterSnapshot, pod: int) -> bool:
    """Whether a pod has ended, so that it holds nothing of its node any more."""
    return int(snapshot.pods.phase[pod]) in (SUCCEEDED, FAILED)


def disruption_budgets(snapshot: ClusterSnapshot, namespace: str, labels: Mapping[str, str]) -> list[str]:
    """The keys of the PodDisruptionBudgets that select pods of a namespace with these labels."""
    known: Mapping[str, PodDisruptionBudget] = snapshot.others.get("PodDisruptionBudget", {})
    return [
        key
        for key, budget in known.items()
        if (budget.metadata.namespace or "default") == namespace and labels_match(budget.spec.selector, labels)
    ]


def annotated_protection(annotations: Mapping[str, str], started: float, now: float) -> Reason | None:
    """Why a pod's annotations forbid its eviction; `started` is nan for a pod that has not started.

    `karpenter.sh/do-not-disrupt` is "true" or a Go duration counted from the pod's start; a duration that is malformed
    or not positive does not protect, as in Karpenter.
    """
    wish = annotations.get(DO_NOT_DISRUPT)
    if wish == "true":
        return Reason("DoNotDisrupt", f"{DO_NOT_DISRUPT}: true")
    if wish is not None:
        hold = go_duration(wish)
        if hold is not None and hold > 0 and (np.isnan(started) or now < started + hold):
            return Reason("DoNotDisrupt", f"{DO_NOT_DISRUPT}: {wish}, counted from its start")
    evictable = annotations.get(SAFE_TO_EVICT)
    if evictable in ("false", "on-completion"):
        return Reason("NotSafeToEvict", f"{SAFE_TO_EVICT}: {evictable}")
    if annotations.get(SOFT_EVICTION, "false") not in ("", "false"):
        return Reason("SoftEviction", f"{SOFT_EVICTION}: whoever looks after it has been asked to end it")
    return None
