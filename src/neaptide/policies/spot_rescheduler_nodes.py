"""Which nodes are on-demand, which are spot, and which are being drained: what both profiles of `spot-rescheduler` look at.

That a node is being drained, and since when, stands in its taint: whoever starts after a crash goes on from there.
"""

import re
from collections.abc import Container, Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from neaptide.model.actions import Effect, Evict, Reason, Taint, Untaint
from neaptide.model.columns import Bools
from neaptide.model.derived import NODES
from neaptide.model.scope import Covers
from neaptide.model.selectors import labels_match
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.protection import comes_with_node, protection
from neaptide.policies.spot_rescheduler_spec import CLASSIC_LABELS, NAME, SpotReschedulerSpec
from neaptide.pricing.nodes import capacity_type

TAINT = "neaptide.io/spot-rescheduling"
"""On a node that is being drained: who does it and since when, as `spot-rescheduler.1700000000`."""
DRAINED, DRAIN_FAILED = "Drained", "DrainFailed"
DRAIN_RESULTS = {DRAINED: "Success", DRAIN_FAILED: "Failure"}
"""What the k8s-spot-rescheduler's metric says of a drain, by the code of the reason why it ended."""
LONG_TERMINATING = 720.0
"""A pod that has been terminating for longer holds no drain up (cluster-autoscaler's 12 minutes)."""
_OWNED = re.compile(re.escape(NAME) + r"\.(\d{1,12})")
_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
_MOVED = Effect(risk=0.1)


class Kinds(NamedTuple):
    """bool[nodes]: nodes of either kind."""

    on_demand: Bools
    spot: Bools


def has_label(labels: Mapping[str, str], label: str) -> bool:
    """Whether labels have `key`, or `key=value`."""
    key, equals, value = label.partition("=")
    return key in labels and (not equals or labels[key] == value)


def kind_of(labels: Mapping[str, str], spec: SpotReschedulerSpec) -> str:
    """`spot`, `on demand`, or empty for a node that is neither. A node that is both is spot."""
    stated = {
        "spot": (spec.spot_node_label, spec.spot_nodes),
        "on demand": (spec.on_demand_node_label, spec.on_demand_nodes),
    }
    for kind, (label, selector) in stated.items():
        if spec.profile == "classic":
            if has_label(labels, label or CLASSIC_LABELS[kind]):
                return kind
        elif labels_match(selector, labels) or (label and has_label(labels, label)):
            return kind
    if spec.profile == "classic":
        return ""
    return _by_itself(
        labels, {kind for kind, (label, selector) in stated.items() if not label and selector is None}, spec
    )


def node_type(kind: str, spec: SpotReschedulerSpec) -> str:
    """What metrics call nodes of a kind: by their label, where one is given."""
    label = spec.spot_node_label if kind == "spot" else spec.on_demand_node_label
    return label or (CLASSIC_LABELS[kind] if spec.profile == "classic" else kind.replace(" ", "-"))


def _by_itself(labels: Mapping[str, str], unstated: Container[str], spec: SpotReschedulerSpec) -> str:
    """What a node is of the kinds that nothing is said of: by its capacity type; to be relieved, a control plane by all others."""
    control_plane = any(each in labels for each in _CONTROL_PLANE)
    if spec.goal == "Relieve":
        kind = "on demand" if control_plane and "on demand" in unstated else "spot"
    else:
        kind = "" if control_plane else capacity_type(labels).replace("-", " ")
    return kind if kind in unstated else ""


def labelled(snapshot: ClusterSnapshot, spec: SpotReschedulerSpec) -> Kinds:
    """Which nodes are what by their labels, whatever state they are in; to be read only."""
    what = ("spot-rescheduler kinds", msgspec.msgpack.encode(spec))
    return snapshot.derived.of(what, (NODES,), lambda: _labelled(snapshot, spec))


def _labelled(snapshot: ClusterSnapshot, spec: SpotReschedulerSpec) -> Kinds:
    rows = snapshot.nodes.rows
    found = Kinds(np.zeros(rows, dtype=np.bool_), np.zeros(rows, dtype=np.bool_))
    for row in snapshot.nodes.indices().tolist():
        kind = kind_of(snapshot.node_labels(row), spec)
        found.on_demand[row], found.spot[row] = kind == "on demand", kind == "spot"
    return found


def usable(snapshot: ClusterSnapshot, found: Kinds) -> Kinds:
    """Those of them that are ready and not cordoned."""
    nodes, rows = snapshot.nodes, snapshot.nodes.rows
    mask = nodes.ready[:rows] & ~nodes.unschedulable[:rows]
    return Kinds(found.on_demand & mask, found.spot & mask)


def kinds(snapshot: ClusterSnapshot, spec: SpotReschedulerSpec) -> Kinds:
    """Which nodes are what; a node that is cordoned or not ready is neither."""
    return usable(snapshot, labelled(snapshot, spec))


def draining(snapshot: ClusterSnapshot, covers: Covers) -> dict[int, float]:
    """The nodes that carry this policy's own taint, and since when; one that is no time has been there forever."""
    found = {}
    for row in snapshot.nodes.indices().tolist():
        for taint in snapshot.node_taints(row):
            match = _OWNED.match(taint.value)
            if taint.key == TAINT and taint.effect == "NoSchedule" and covers(snapshot.node_ref(row)):
                found[row] = float(match[1]) if match else 0.0
    return found


def on_it(snapshot: ClusterSnapshot, node: int, now: float) -> list[int]:
    """The pods that a drain waits for: no DaemonSet's, no static one, none that has been terminating for long."""
    deleted = snapshot.pods.deleted
    return [
        pod
        for pod in snapshot.pods_on(node)
        if not comes_with_node(snapshot, pod) and not now - deleted[pod] > LONG_TERMINATING
    ]


def kept(snapshot: ClusterSnapshot, pod: int, spec: SpotReschedulerSpec, now: float) -> Reason | None:
    """Why a pod must not be evicted; one that is terminating goes anyway."""
    if not np.isnan(snapshot.pods.deleted[pod]):
        return None
    why = protection(snapshot, pod, now)
    return None if why is not None and why.code == "NotReplicated" and spec.delete_non_replicated_pods else why


def mark(snapshot: ClusterSnapshot, node: int, reason: Reason, now: float, money: float | None = 0.0) -> Taint:
    """Begin a drain."""
    return Taint(
        policy=NAME,
        target=snapshot.node_ref(node),
        reason=reason,
        expected=Effect(money),
        key=TAINT,
        value=f"{NAME}.{int(now)}",
    )


def unmark(snapshot: ClusterSnapshot, node: int, reason: Reason) -> Untaint:
    """End a drain."""
    return Untaint(policy=NAME, target=snapshot.node_ref(node), reason=reason, key=TAINT, effect="NoSchedule")


def saved(snapshot: ClusterSnapshot, node: int) -> float | None:
    """The change of money that comes with a node's going; None where its price is unknown."""
    price = float(snapshot.nodes.price[node])
    return None if np.isnan(price) else -price


def eviction(snapshot: ClusterSnapshot, pod: int, node: int, reason: Reason, spec: SpotReschedulerSpec) -> Evict:
    """Move a pod off its node."""
    return Evict(
        policy=NAME,
        target=snapshot.pod_ref(pod),
        reason=reason,
        expected=_MOVED,
        node=snapshot.nodes.names[node],
        workload=snapshot.workload_of(pod),
        grace_seconds=spec.grace,
        bare=spec.delete_non_replicated_pods,
    )
