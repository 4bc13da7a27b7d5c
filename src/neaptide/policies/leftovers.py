"""What its policy no longer answers for: it was switched off or removed, or its scope no longer covers the node.

Every taint that a policy puts on nodes is named here with its owner. What `reclaim` has lent has its names, which are Koordinator's too: so the loop remembers on which nodes it was lent. Other keys of neaptide.io are users' own (`neaptide.io/pool`), or go
with what they are on (virtual nodes), and stay.
"""

from collections.abc import Callable, Container, Iterable

import numpy as np

from neaptide.model.actions import Reason, Ref, SetNodeResources, Untaint
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies import (
    consolidation_run,
    interruption,
    protected,
    provision_opening,
    reclaim,
    spot_rescheduler_spec,
)
from neaptide.policies.consolidation_candidates import TAINT as CONSOLIDATING
from neaptide.policies.consolidation_waves import ROOM
from neaptide.policies.reclaim_amounts import NAMES
from neaptide.policies.reclaim_tier import NAMES as TIER_NAMES
from neaptide.policies.spot_rescheduler_default import PREFER_SPOT
from neaptide.policies.spot_rescheduler_nodes import TAINT as RESCHEDULING

LEFTOVERS = "leftovers"
"""The name of the plan; each action in it has the name of the taint's owner."""
OWNERS = {
    interruption.TAINT: interruption.NAME,
    protected.TAINT: protected.NAME,
    RESCHEDULING: spot_rescheduler_spec.NAME,
    PREFER_SPOT: spot_rescheduler_spec.NAME,
    CONSOLIDATING: consolidation_run.NAME,
    ROOM: consolidation_run.NAME,
    provision_opening.TAINT: provision_opening.NAME,
}
"""By the key of a taint, the policy that puts it on nodes and takes it off."""
LENT = "lent"
"""What stands in place of a taint's key where resources that were lent are meant."""
MOST = 50
"""Taints taken off in one cycle."""


def name_of(node: str, key: str) -> str:
    """How a taint on a node, or what was lent there (`LENT`), is written down."""
    return f"{node} {key}"


def owner_of(name: str) -> str:
    """The policy that is to answer for what was written down so; empty for nobody."""
    key = name.partition(" ")[2]
    return reclaim.NAME if key == LENT else OWNERS.get(key, "")


def leftovers(
    snapshot: ClusterSnapshot, answers: Callable[[str, Ref], bool], by_hand: Container[str] = ()
) -> list[Untaint]:
    """Take taints off, of each node one key, for each write of a node holds for the version that was looked at.

    Args:
        snapshot: the cluster.
        answers: whether a policy (its name) still answers for its taint on a node.
        by_hand: taints (see `name_of`) that stay all the same, for a person has approved them.
    """
    ours = [row for row, each in enumerate(snapshot.taint_sets.values) if any(taint.key in OWNERS for taint in each)]
    rows = snapshot.nodes.indices()
    actions: list[Untaint] = []
    for row in rows[np.isin(snapshot.nodes.taints[rows], ours)].tolist() if ours else ():
        ref = snapshot.node_ref(row)
        for key in dict.fromkeys(each.key for each in snapshot.node_taints(row)):
            owner = OWNERS.get(key)
            if owner is not None and not answers(owner, ref) and name_of(ref.name, key) not in by_hand:
                actions.append(Untaint(policy=owner, target=ref, reason=_why(owner), key=key))
                break
    return actions[:MOST]


def lent_before(
    snapshot: ClusterSnapshot, lent: Iterable[str], answers: Callable[[str, Ref], bool], by_hand: Container[str] = ()
) -> list[SetNodeResources]:
    """Take back what was lent on nodes (their names), all of it at once: pods go on, and no more are placed on what nobody sizes any more."""
    names = dict.fromkeys((*NAMES, *TIER_NAMES))
    return [
        SetNodeResources(policy=reclaim.NAME, target=ref, reason=_why(reclaim.NAME), resources=names)
        for ref in (snapshot.node_ref(snapshot.nodes.by_name[each]) for each in lent if each in snapshot.nodes.by_name)
        if not answers(reclaim.NAME, ref) and name_of(ref.name, LENT) not in by_hand
    ]


def _why(owner: str) -> Reason:
    return Reason("LeftBehind", f"the policy {owner} is off, gone, or no longer for this node")
