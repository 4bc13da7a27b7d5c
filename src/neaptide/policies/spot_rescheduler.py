"""Policy `spot-rescheduler`: pods leave on-demand nodes for spot nodes, so that on-demand nodes can go.

The profiles are spot_rescheduler_classic and spot_rescheduler_default. Here is decided whether it is time for a pass.
"""

from msgspec.structs import replace

from neaptide.model.actions import Plan
from neaptide.model.scope import Covers, everything
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.spot_rescheduler_classic import classic
from neaptide.policies.spot_rescheduler_default import default
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
        profile = classic if spec.profile == "classic" else default
        plan, after = profile(snapshot, spec, memory, now, covers)
        return plan, replace(after, passed=now)
