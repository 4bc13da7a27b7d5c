"""Policy `repair`: a node that has not been ready for long is replaced and given back, under a budget, and never when many are not ready at once."""

from typing import Annotated

import numpy as np
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from neaptide.model.actions import FOR_LABEL, AnyAction, CreateNode, Declined, DeleteNode, Effect, Plan, Reason, Ref
from neaptide.model.offerings import Offering
from neaptide.model.scope import Covers, everything
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.consolidation_rooms import Rooms
from neaptide.policies.protection import DO_NOT_DISRUPT, comes_with_node, is_over
from neaptide.pricing.nodes import PRICE_LABELS

NAME = "repair"
POOL = "karpenter.sh/nodepool"
_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
_OWN = (
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "node.kubernetes.io/exclude-from-external-load-balancers",
    FOR_LABEL,
    *PRICE_LABELS,
)
"""Labels of a node that are not its replacement's."""
_OF_CLUSTER = "node.kubernetes.io/"


class RepairSpec(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """When nodes are replaced.

    Attributes:
        unready_seconds: for how long a node must have been seen not ready.
        at_once: how many may be replaced in `period_seconds`.
        most_unready_percent: where more of the nodes are not ready, and more than one is, something else is wrong, and nothing is replaced.
        replace: whether a node is bought in the place of one whose pods have no room elsewhere.
    """

    unready_seconds: Annotated[float, Meta(ge=30, le=10**6, description="seconds from 30 to 1000000")] = 600.0
    at_once: Annotated[int, Meta(ge=1, le=1000, description="an integer from 1 to 1000")] = 1
    period_seconds: Annotated[float, Meta(ge=0, le=10**6, description="seconds from 0 to 1000000")] = 600.0
    most_unready_percent: Annotated[float, Meta(ge=0, le=100, description="a number from 0 to 100")] = 20.0
    replace: bool = True


class RepairMemory(Struct):
    """Since when nodes have been seen not ready, by name, and when some were replaced."""

    since: dict[str, float] = field(default_factory=dict)
    replaced: tuple[float, ...] = ()


class Repair:
    """The policy."""

    name = NAME
    spec_type = RepairSpec
    memory_type = RepairMemory

    def plan(
        self,
        snapshot: ClusterSnapshot,
        spec: RepairSpec,
        memory: RepairMemory,
        now: float,
        covers: Covers = everything,
    ) -> tuple[Plan, RepairMemory]:
        """Which nodes are replaced now."""
        nodes = snapshot.nodes
        rows = nodes.indices()
        down = rows[~nodes.ready[rows]].tolist()
        since = {nodes.names[row]: memory.since.get(nodes.names[row], now) for row in down}
        recent = tuple(each for each in memory.replaced if now - each < spec.period_seconds)
        due = [
            row
            for row in down
            if now - since[nodes.names[row]] >= spec.unready_seconds and covers(snapshot.node_ref(row))
        ]
        if not due:
            return Plan(NAME), RepairMemory(since, recent)
        if len(down) > 1 and 100 * len(down) > spec.most_unready_percent * len(rows):
            why = Reason("ManyNotReady", f"{len(down)} of {len(rows)} nodes are not ready: it is not about one machine")
            return Plan(NAME, declined=tuple(Declined(snapshot.node_ref(row), why) for row in due)), RepairMemory(
                since, recent
            )
        actions: list[AnyAction] = []
        declined: list[Declined] = []
        left = spec.at_once - len(recent)
        for row in sorted(due, key=lambda row: since[nodes.names[row]]):
            objection = _objection(snapshot, row)
            if objection is None and left <= 0:
                objection = Reason("Budget", f"{spec.at_once} are replaced in {spec.period_seconds:.0f} s")
            if objection is not None:
                declined.append(Declined(snapshot.node_ref(row), objection))
                continue
            left -= 1
            recent = (*recent, now)
            actions += _replacement(snapshot, row, spec, now - since[nodes.names[row]], now)
        return Plan(NAME, tuple(actions), tuple(declined)), RepairMemory(since, recent)


def _objection(snapshot: ClusterSnapshot, node: int) -> Reason | None:
    if any(label in snapshot.node_labels(node) for label in _CONTROL_PLANE):
        return Reason("ControlPlane", "it runs the control plane")
    if snapshot.node_annotations(node).get(DO_NOT_DISRUPT) == "true":
        return Reason("DoNotDisrupt", "an annotation of the node forbids it")
    return None


def _replacement(snapshot: ClusterSnapshot, node: int, spec: RepairSpec, seconds: float, now: float) -> list[AnyAction]:
    """Buy one like it where its pods need it, and give it back."""
    target, price = snapshot.node_ref(node), float(snapshot.nodes.price[node])
    pods = [pod for pod in snapshot.pods_on(node) if not is_over(snapshot, pod) and not comes_with_node(snapshot, pod)]
    why = Reason("NotReady", f"it has not been ready for {seconds:.0f} s")
    actions: list[AnyAction] = []
    sold = _alike(snapshot, node) if spec.replace and pods and not Rooms(snapshot, [node]).take(pods) else None
    if sold is not None:
        labels = snapshot.node_labels(node)
        taints = tuple(
            each for each in snapshot.node_taints(node) if not each.key.startswith((_OF_CLUSTER, "neaptide.io/"))
        )
        actions.append(
            CreateNode(
                policy=NAME, target=Ref("Node", f"repaired-{int(now * 1000):x}-{node}"), reason=why,
                expected=Effect(sold.price_per_hour), offering=sold, node_pool=labels.get(POOL, ""), taints=taints,
            )
        )  # fmt: skip
    effect = Effect(None if np.isnan(price) else -price)
    return [*actions, DeleteNode(policy=NAME, target=target, reason=why, expected=effect, lost=True)]


def _alike(snapshot: ClusterSnapshot, node: int) -> Offering | None:
    """What is on sale of its kind; its own zone may have run out."""
    labels = snapshot.node_labels(node)
    kind = labels.get("node.kubernetes.io/instance-type", ""), labels.get("karpenter.sh/capacity-type", "")
    zone = labels.get("topology.kubernetes.io/zone", "")
    alike = [each for each in snapshot.offerings if (each.instance_type, each.capacity_type) == kind]
    found = next((each for each in alike if each.zone == zone), alike[0] if alike else None)
    kept = {key: value for key, value in labels.items() if key not in _OWN}
    return None if found is None else replace(found, labels=kept | found.labels)
