"""When a node with protected work goes all the same: said ahead, asked for, and forced at last."""

from datetime import UTC, datetime

import numpy as np

from neaptide.model.actions import Annotate, AnyAction, Evict, Precondition, Reason
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.checkpoint import checkpoint
from neaptide.policies.protected_choice import Held
from neaptide.policies.protected_spec import Grace

NAME = "protected"
POOL = "karpenter.sh/nodepool"
TERMINATES_AT = "neaptide.io/terminates-at"
"""Annotation of a node: when the work that is left on it will be ended."""
_SHOWN = 20


def ended_by_force(snapshot: ClusterSnapshot, grace: Grace, each: Held, since: float, now: float) -> list[AnyAction]:
    """What is to be done on a node (which stopped filling at `since`) so that it goes in time."""
    seconds = grace.of(snapshot.node_labels(each.node).get(POOL, ""))
    if seconds is None:
        return []
    ends, target = since + seconds, snapshot.node_ref(each.node)
    text = datetime.fromtimestamp(ends, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if not is_announced(snapshot, each.node, text):
        names = [snapshot.pods.keys[holder.pod] for holder in each.holders]
        shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        reason = Reason("TerminationAnnounced", f"what is left on it ends at {text}: {shown}")
        return [Annotate(policy=NAME, target=target, reason=reason, key=TERMINATES_AT, value=text)]
    if now < ends - grace.ask_seconds:
        return []
    left = max(ends - now, 1.0)
    return [
        Evict(
            policy=NAME,
            target=snapshot.pod_ref(holder.pod),
            reason=Reason("TerminationGracePeriod", f"node {target.name} goes at {text}; it has {left:.0f} s to end"),
            preconditions=(Precondition("spec.nodeName", target.name),),
            node=target.name,
            workload=snapshot.workload_of(holder.pod),
            grace_seconds=left,
            forced=True,
            past_budgets=grace.ignore_budgets,
            checkpoint=checkpoint(snapshot, holder.pod, grace.checkpoint, left),
        )
        for holder in each.holders
        if np.isnan(snapshot.pods.deleted[holder.pod])
    ]


def is_announced(snapshot: ClusterSnapshot, node: int, text: str) -> bool:
    """Whether a node says when it ends."""
    return snapshot.node_annotations(node).get(TERMINATES_AT) == text
