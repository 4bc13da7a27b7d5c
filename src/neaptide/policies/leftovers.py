"""Taints that their policy no longer answers for: it was switched off or removed, or its scope no longer covers the node.

Every taint that a policy puts on nodes is named here with its owner. Other keys of neaptide.io are users' own (`neaptide.io/pool`), or go
with what they are on (virtual nodes), and stay.
"""

from collections.abc import Callable, Container

import numpy as np

from neaptide.model.actions import Plan, Reason, Ref, Untaint
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies import consolidation_run, interruption, protected, provision_opening, spot_rescheduler_spec
from neaptide.policies.consolidation_candidates import TAINT as CONSOLIDATING
from neaptide.policies.consolidation_waves import ROOM
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
MOST = 50
"""Taints taken off in one cycle."""


def name_of(node: str, key: str) -> str:
    """How a taint on a node is written down."""
    return f"{node} {key}"


def leftovers(snapshot: ClusterSnapshot, answers: Callable[[str, Ref], bool], by_hand: Container[str] = ()) -> Plan:
    """Take off what is left behind, of each node one key, for each write of a node holds for the version that was looked at.

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
                why = Reason("LeftBehind", f"the policy {owner} is off, gone, or no longer for this node")
                actions.append(Untaint(policy=owner, target=ref, reason=why, key=key))
                break
    return Plan(LEFTOVERS, tuple(actions[:MOST]))
