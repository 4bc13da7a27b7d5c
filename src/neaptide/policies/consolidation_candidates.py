"""Which nodes may be given back as far as their own state goes, and why the others may not."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from neaptide.model.actions import Reason
from neaptide.model.columns import FAILED, SUCCEEDED
from neaptide.model.objects import PodDisruptionBudget
from neaptide.model.scope import Covers
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.protection import DO_NOT_DISRUPT, come_with_node, disruption_budgets, protection
from neaptide.policies.provision_opening import is_gated

OUT_OF_SCOPE = Reason("OutOfScope", "the Policy's scope does not cover it")
TAINT = "neaptide.io/consolidating"
_OTHERS = (
    "karpenter.sh/disrupted",
    "karpenter.sh/unregistered",
    "ToBeDeletedByClusterAutoscaler",
    "node.cluster.x-k8s.io/to-be-deleted",
)
_SCALE_DOWN_DISABLED = "cluster-autoscaler.kubernetes.io/scale-down-disabled"
_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
_OVERDUE = 300.0
"""Seconds after its deletion was due, grace period included, for which a pod may still be there."""


class Candidate(NamedTuple):
    """A node (row) with the pods (rows) that would move, and why it may not be given back."""

    node: int
    pods: list[int]
    objection: Reason | None


class _Rules(NamedTuple):
    budgets: Mapping[int, list[str]]
    moves: Sequence[bool]
    """By pod (row), whether it has to go elsewhere: it is not terminating already, and does not come with its node."""
    covers: Covers
    after: float
    now: float


def candidates(
    snapshot: ClusterSnapshot, nodes: Sequence[int], covers: Covers, *, after: float, now: float
) -> list[Candidate]:
    """Nodes (rows), looked at in turn; `after` is for how many seconds a node must have been left in peace."""
    rules = _Rules(_budgets_by_class(snapshot), _moves(snapshot), covers, after, now)
    return [_candidate(snapshot, node, rules) for node in nodes]


def is_marked(snapshot: ClusterSnapshot, node: int) -> bool:
    """Whether a node carries this policy's taint."""
    return any(taint.key == TAINT for taint in snapshot.node_taints(node))


def marked(snapshot: ClusterSnapshot, key: str = TAINT) -> list[int]:
    """The nodes (rows) that carry it, or another taint of that key."""
    sets = [
        number for number, taints in enumerate(snapshot.taint_sets.values) if any(each.key == key for each in taints)
    ]
    nodes = snapshot.nodes.indices()
    found: list[int] = nodes[np.isin(snapshot.nodes.taints[nodes], sets)].tolist()
    return found


def _candidate(snapshot: ClusterSnapshot, node: int, rules: _Rules) -> Candidate:
    objection = _objection_to_node(snapshot, node, rules)
    pods = [pod for pod in snapshot.pods_on(node) if rules.moves[pod]]
    if objection is None:
        overdue = next(
            (pod for pod in snapshot.pods_on(node) if rules.now - snapshot.pods.deleted[pod] > _OVERDUE), None
        )
        if overdue is not None:
            name = snapshot.pods.keys[overdue]
            objection = Reason("StuckPod", f"{name} has not ended {_OVERDUE:.0f} s after its time was up")
    if objection is None:
        objections = (_objection_to_pod(snapshot, pod, rules) for pod in pods)
        objection = next((each for each in objections if each is not None), None)
    return Candidate(node, pods, objection)


def _objection_to_node(snapshot: ClusterSnapshot, node: int, rules: _Rules) -> Reason | None:
    nodes, labels, annotations = snapshot.nodes, snapshot.node_labels(node), snapshot.node_annotations(node)
    if not rules.covers(snapshot.node_ref(node)):
        return OUT_OF_SCOPE
    if not nodes.ready[node]:
        return Reason("NotReady", "it is not ready")
    if np.isnan(nodes.price[node]):
        return Reason("UnknownPrice", "what it costs is not known")
    if nodes.unschedulable[node]:
        return Reason("Cordoned", "somebody has cordoned it")
    if annotations.get(DO_NOT_DISRUPT) == "true" or annotations.get(_SCALE_DOWN_DISABLED) == "true":
        return Reason("DoNotDisrupt", "an annotation of the node forbids it")
    if any(label in labels for label in _CONTROL_PLANE):
        return Reason("ControlPlane", "it runs the control plane")
    if any(taint.key in _OTHERS for taint in snapshot.node_taints(node)):
        return Reason("OwnedByOther", "another controller is about to remove it")
    if is_gated(snapshot, node):
        return Reason("Opening", "it was bought for pods that have not come yet")
    if rules.now - nodes.created[node] < rules.after:
        return Reason("Young", f"it was made less than {rules.after:.0f} s ago")
    return None


def _objection_to_pod(snapshot: ClusterSnapshot, pod: int, rules: _Rules) -> Reason | None:
    name = snapshot.pods.keys[pod]
    protected = protection(snapshot, pod, rules.now)
    if protected is not None:
        return Reason(protected.code, f"{name}: {protected.message}")
    if not rules.covers(snapshot.pod_ref(pod)):
        return Reason("OutOfScope", f"{name}: the Policy's scope does not cover it")
    if rules.now - snapshot.pods.started[pod] < rules.after:
        return Reason("Young", f"{name} came less than {rules.after:.0f} s ago")
    keys = rules.budgets.get(int(snapshot.pods.cls[pod]), ())
    if len(keys) > 1:
        return Reason("SeveralBudgets", f"{name}: {len(keys)} PodDisruptionBudgets select it")
    for key in keys:
        budget: PodDisruptionBudget = snapshot.others["PodDisruptionBudget"][key]
        if budget.status.disruptions_allowed <= 0:
            return Reason("DisruptionBudget", f"{name}: PodDisruptionBudget {key} allows no disruption")
    return None


def _moves(snapshot: ClusterSnapshot) -> list[bool]:
    pods = snapshot.pods
    rows = pods.indices()
    rows = rows[(pods.node[rows] >= 0) & np.isnan(pods.deleted[rows])]
    found = np.zeros(pods.rows, dtype=np.bool_)
    found[rows] = ~come_with_node(snapshot, rows) & ~np.isin(pods.phase[rows], (SUCCEEDED, FAILED))
    moves: list[bool] = found.tolist()
    return moves


def _budgets_by_class(snapshot: ClusterSnapshot) -> dict[int, list[str]]:
    """By class of pods, the keys of the PodDisruptionBudgets that select them."""
    found: dict[int, list[str]] = {}
    if not snapshot.others.get("PodDisruptionBudget"):
        return found
    for cls in np.unique(snapshot.pods.cls[snapshot.pods.indices()]).tolist():
        labels = snapshot.label_sets.values[int(snapshot.classes.labels[cls])]
        namespace = snapshot.namespaces.values[int(snapshot.classes.namespace[cls])]
        found[cls] = disruption_budgets(snapshot, namespace, labels)
    return found
