"""Policy `spot-rescheduler`: pods leave on-demand nodes for spot nodes, so that on-demand nodes can go.

The profiles are spot_rescheduler_classic and spot_rescheduler_default. Here is decided whether it is time for a pass.
"""

from msgspec.structs import replace

from neaptide.model.actions import Plan
from neaptide.model.scope import Covers, everything
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.spot_rescheduler_classic import classic
from neaptide.policies.spot_rescheduler_default import PREFER_SPOT, default
from neaptide.policies.spot_rescheduler_nodes import TAINT, labelled
from neaptide.policies.spot_rescheduler_spec import NAME, SpotReschedulerMemory, SpotReschedulerSpec


class SpotRescheduler:
    """The policy."""

    name = NAME
    spec_type = SpotReschedulerSpec
    memory_type = SpotReschedulerMemory

    def plan(
        self,
        snapshot: ClusterSnapshot,
        spec: SpotReschedulerSpec,
        memory: SpotReschedulerMemory,
        now: float,
        covers: Covers = everything,
    ) -> tuple[Plan, SpotReschedulerMemory]:
        """Which nodes are drained, which pods leave, and why the others stay."""
        if memory.passed is not None and now < memory.passed + spec.housekeeping_interval_seconds:
            return Plan(NAME), memory
        if memory == SpotReschedulerMemory(memory.passed) and not _concerns(snapshot, spec):
            return Plan(NAME), replace(memory, passed=now)
        profile = classic if spec.profile == "classic" else default
        plan, after = profile(snapshot, spec, memory, now, covers)
        return plan, replace(after, passed=now)


def _concerns(snapshot: ClusterSnapshot, spec: SpotReschedulerSpec) -> bool:
    """Whether there is anything to do or to undo: a spot node, or a node that carries one of this policy's taints."""
    if labelled(snapshot, spec).spot.any():
        return True
    tainted = {
        number
        for number, taints in enumerate(snapshot.taint_sets.values)
        if any(each.key in (TAINT, PREFER_SPOT) for each in taints)
    }
    return bool(tainted) and any(int(row) in tainted for row in snapshot.nodes.taints[snapshot.nodes.indices()])
