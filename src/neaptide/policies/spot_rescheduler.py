"""Policy `spot-rescheduler`: pods leave on-demand nodes for spot nodes, so that on-demand nodes can go.

The profiles are spot_rescheduler_classic and spot_rescheduler_default. Here is decided whether it is time for a pass.
"""

import msgspec
from msgspec.structs import replace

from neaptide.model.actions import Plan
from neaptide.model.derived import NODES, OBJECTS, PODS
from neaptide.model.scope import Covers, everything
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.spot_rescheduler_classic import classic
from neaptide.policies.spot_rescheduler_default import PREFER_SPOT, default
from neaptide.policies.spot_rescheduler_nodes import TAINT, labelled
from neaptide.policies.spot_rescheduler_spec import NAME, SpotReschedulerMemory, SpotReschedulerSpec

_LOOK_AGAIN_SECONDS = 300.0
"""Pods grow old enough to be moved, holds end: a cluster that has not changed is looked at again after that time."""


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
        if spec.profile == "classic":
            plan, after = classic(snapshot, spec, memory, now, covers)
        else:
            plan, after = _unless_seen(snapshot, spec, memory, now, covers)
        return plan, replace(after, passed=now)


def _unless_seen(
    snapshot: ClusterSnapshot, spec: SpotReschedulerSpec, memory: SpotReschedulerMemory, now: float, covers: Covers
) -> tuple[Plan, SpotReschedulerMemory]:
    """A pass of the default profile. One that found nothing to do is not made again until something has changed, or time has passed."""
    if covers is not everything:
        return default(snapshot, spec, memory, now, covers)
    noticed = [each.node for each in snapshot.interruptions]
    state = msgspec.msgpack.encode((spec, replace(memory, passed=None), noticed, now // _LOOK_AGAIN_SECONDS))
    idle: list[tuple[Plan, SpotReschedulerMemory]] = snapshot.derived.of((NAME, state), (NODES, PODS, OBJECTS), list)
    if idle:
        return idle[0]
    plan, after = default(snapshot, spec, memory, now, covers)
    if not plan.actions and not plan.later:
        idle.append((plan, after))
    return plan, after


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
