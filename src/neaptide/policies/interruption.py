"""Policy `interruption`: a node that the cloud takes back is emptied while there is time, services first, replacements before evictions.

What is known of a node comes from the cloud (`snapshot.interruptions`), from an annotation that anybody may set, and from the taints of the node
termination handler and of clouds. A node whose notice is withdrawn is used again.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct, field

from neaptide.model.actions import (
    AnyAction,
    CreateNode,
    Declined,
    Effect,
    Evict,
    Plan,
    Precondition,
    Reason,
    Ref,
    Taint,
    Untaint,
)
from neaptide.model.cloud import Interruption as Told
from neaptide.model.cloud import Notice
from neaptide.model.scope import Covers, everything
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.checkpoint import CheckpointSpec, checkpoint
from neaptide.policies.consolidation_rooms import Rooms
from neaptide.policies.protection import ANNOTATED, comes_with_node, is_over, protection
from neaptide.policies.provision import order_of, purchases
from neaptide.policies.provision_spec import NodePool, ProvisionSpec

NAME = "interruption"
TAINT = "neaptide.io/interrupted"
ENDS_AT = "neaptide.io/interruption"
"""Annotation of a node: when it ends (RFC 3339), or `soon`."""
KARPENTER = "karpenter.sh/disrupted"
_TAINTS: dict[str, Notice] = {
    "aws-node-termination-handler/spot-itn": "Interruption",
    "aws-node-termination-handler/asg-lifecycle-termination": "Interruption",
    "aws-node-termination-handler/scheduled-maintenance": "Maintenance",
    "aws-node-termination-handler/rebalance-recommendation": "Rebalance",
    "cloud.google.com/impending-node-termination": "Interruption",
    "node.cloudprovider.kubernetes.io/shutdown": "Interruption",
}
_TOO_LATE = 5.0
"""Seconds before its end in which a node's kubelet can no longer be counted on."""

_Seconds = Annotated[float, Meta(ge=0, le=10**6, description="seconds from 0 to 1000000")]


class InterruptionSpec(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What is done about notices.

    Attributes:
        act_on: which notices nodes are emptied for; the others are only told.
        notice_seconds: how long a node has from a notice that does not say when it ends.
        wait_for_room_seconds: pods that have no room elsewhere stay until replacements are there, or until so little time is left.
        pools: where replacements may be bought; none leaves that to the policy `provision`.
        ignore_budgets_seconds: in the last so many seconds PodDisruptionBudgets hold no longer: the pods end anyway.
        checkpoint: what is run in pods before they are evicted.
    """

    act_on: tuple[Notice, ...] = ("Interruption", "Maintenance")
    notice_seconds: _Seconds = 120.0
    wait_for_room_seconds: _Seconds = 75.0
    pools: tuple[NodePool, ...] = ()
    ignore_budgets_seconds: _Seconds = 20.0
    checkpoint: CheckpointSpec = CheckpointSpec()


class InterruptionMemory(Struct):
    """By the name of a node: when its notice was first seen, and whether replacements were bought for it."""

    seen: dict[str, float] = field(default_factory=dict)
    replaced: tuple[str, ...] = ()


class Interruption:
    """The policy."""

    name = NAME
    spec_type = InterruptionSpec
    memory_type = InterruptionMemory

    def plan(
        self,
        snapshot: ClusterSnapshot,
        spec: InterruptionSpec,
        memory: InterruptionMemory,
        now: float,
        covers: Covers = everything,
    ) -> tuple[Plan, InterruptionMemory]:
        """What is to be done for nodes that end, those first that end first."""
        told = {each.node: each for each in _notices(snapshot) if covers(Ref("Node", each.node))}
        marked = [node for node in _marked(snapshot) if covers(snapshot.node_ref(node))]
        if not told and not marked:
            return Plan(NAME), InterruptionMemory()
        seen = {name: memory.seen.get(name, now) for name in told}
        ending = {
            snapshot.nodes.by_name[name]: now_or(each.ends, seen[name] + spec.notice_seconds)
            for name, each in told.items()
            if each.notice in spec.act_on and not _is_others(snapshot, snapshot.nodes.by_name[name])
        }
        turn = _Turn(snapshot, spec, ending, memory.replaced, now)
        turn.replace()
        for node, ends in sorted(ending.items(), key=lambda each: each[1]):
            turn.empty(node, ends)
        withdrawn = [_untaint(snapshot, node) for node in marked if node not in ending]
        declined = [
            Declined(Ref("Node", name), _why_left(snapshot, each))
            for name, each in told.items()
            if snapshot.nodes.by_name[name] not in ending
        ]
        kept = tuple(name for name in turn.replaced if name in told)
        return Plan(NAME, (*turn.actions, *withdrawn), tuple(declined)), InterruptionMemory(seen, kept)


class _Turn:
    """One cycle."""

    def __init__(
        self,
        snapshot: ClusterSnapshot,
        spec: InterruptionSpec,
        ending: dict[int, float],
        replaced: Sequence[str],
        now: float,
    ) -> None:
        self.snapshot, self.spec, self.ending, self.now = snapshot, spec, ending, now
        self.replaced = list(replaced)
        self.actions: list[AnyAction] = []
        self._rooms = Rooms(snapshot, list(ending)) if ending else None

    def replace(self) -> None:
        """Buy room for pods that have none elsewhere, before any of them is evicted."""
        snapshot, spec = self.snapshot, self.spec
        fresh = [node for node in self.ending if snapshot.nodes.names[node] not in self.replaced]
        pods = [pod for node in fresh for pod in self._moving(node)]
        if not spec.pools or not pods:
            return
        found = purchases(snapshot, pods, ProvisionSpec(pools=spec.pools), self.now, without=list(self.ending))
        for number, article in enumerate(found.bought):
            why = Reason("Replacement", f"room for pods of nodes that end: {article.offering.instance_type}")
            made = order_of(article, number, len(found.bought), self.now)
            self.actions.append(
                CreateNode(
                    policy=NAME, target=made.target, reason=why, expected=Effect(article.price),
                    offering=made.offering, node_pool=made.node_pool, taints=made.taints,
                )
            )  # fmt: skip
        self.replaced += [snapshot.nodes.names[node] for node in fresh]

    def empty(self, node: int, ends: float) -> None:
        """Keep new pods off a node, then evict its pods: those that have room elsewhere at once, the others when time runs out."""
        snapshot, target = self.snapshot, self.snapshot.node_ref(node)
        left = ends - self.now
        if not any(each.key == TAINT for each in snapshot.node_taints(node)):
            why = Reason("Interruption", f"it ends in {left:.0f} s")
            self.actions.append(
                Taint(policy=NAME, target=target, reason=why, key=TAINT, value=f"neaptide.{self.now:.0f}")
            )
        if self._rooms is None:
            return
        for pod in sorted(
            self._moving(node), key=lambda pod: (-int(snapshot.pods.band[pod]), -int(snapshot.pods.priority[pod]))
        ):
            if self._rooms.take([pod]) or left <= self.spec.wait_for_room_seconds:
                self.actions.append(self._eviction(pod, target.name, left))

    def _moving(self, node: int) -> list[int]:
        """The pods (rows) that would go on elsewhere; one that nobody would start again stays to its end."""
        snapshot = self.snapshot
        pods = (
            pod for pod in snapshot.pods_on(node) if not is_over(snapshot, pod) and not comes_with_node(snapshot, pod)
        )
        found = []
        for pod in pods:
            kept = protection(snapshot, pod, self.now)
            if np.isnan(snapshot.pods.deleted[pod]) and (kept is None or kept.code in ANNOTATED):
                found.append(pod)
        return found

    def _eviction(self, pod: int, node: str, left: float) -> Evict:
        return Evict(
            policy=NAME,
            target=self.snapshot.pod_ref(pod),
            reason=Reason("Interruption", f"node {node} ends in {left:.0f} s"),
            preconditions=(Precondition("spec.nodeName", node),),
            node=node,
            workload=self.snapshot.workload_of(pod),
            grace_seconds=max(left - _TOO_LATE, 1.0) if left < self.spec.notice_seconds / 2 else None,
            forced=True,
            past_budgets=left <= self.spec.ignore_budgets_seconds,
            checkpoint=checkpoint(self.snapshot, pod, self.spec.checkpoint, left - _TOO_LATE),
        )


def now_or(ends: float | None, otherwise: float) -> float:
    """When a node ends."""
    return otherwise if ends is None else ends


def _notices(snapshot: ClusterSnapshot) -> Iterator[Told]:
    """All that is known, of nodes that are there; what acts comes last, and so counts."""
    found = [each for each in snapshot.interruptions if each.node in snapshot.nodes.by_name]
    nodes = snapshot.nodes
    rows = nodes.indices()
    tainted = [
        row for row, taints in enumerate(snapshot.taint_sets.values) if any(each.key in _TAINTS for each in taints)
    ]
    for row in rows[np.isin(nodes.taints[rows], tainted)].tolist() if tainted else ():
        keys = [each.key for each in snapshot.node_taints(row) if each.key in _TAINTS]
        found += [Told(nodes.names[row], _TAINTS[key], source=key) for key in keys]
    said = [row for row, each in enumerate(snapshot.annotation_sets.values) if ENDS_AT in each]
    annotated = rows[np.isin(nodes.annotations[rows], said)].tolist() if said else []
    found += [
        Told(nodes.names[row], ends=_time(snapshot.node_annotations(row)[ENDS_AT]), source=ENDS_AT) for row in annotated
    ]
    yield from sorted(found, key=lambda each: (each.notice == "Interruption", each.notice == "Maintenance"))


def _time(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _marked(snapshot: ClusterSnapshot) -> list[int]:
    ours = [row for row, taints in enumerate(snapshot.taint_sets.values) if any(each.key == TAINT for each in taints)]
    rows = snapshot.nodes.indices()
    found: list[int] = rows[np.isin(snapshot.nodes.taints[rows], ours)].tolist() if ours else []
    return found


def _is_others(snapshot: ClusterSnapshot, node: int) -> bool:
    return any(each.key == KARPENTER for each in snapshot.node_taints(node))


def _why_left(snapshot: ClusterSnapshot, told: Told) -> Reason:
    if _is_others(snapshot, snapshot.nodes.by_name[told.node]):
        return Reason("OwnedByOther", "Karpenter is about to remove it")
    return Reason(told.notice, f"told by {told.source or 'the cloud'}, and not acted on")


def _untaint(snapshot: ClusterSnapshot, node: int) -> Untaint:
    reason = Reason("Withdrawn", "nobody says any more that it ends")
    return Untaint(policy=NAME, target=snapshot.node_ref(node), reason=reason, key=TAINT)
