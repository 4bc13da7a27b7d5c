"""Whom preemption spares, whatever their rank. The rule itself comes from above, where the policies have theirs."""

from collections.abc import Callable

from neaptide.model.actions import Reason
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.cycle.reservation_objects import is_stand_in

Protects = Callable[[ClusterSnapshot, int, float], Reason | None]
"""(snapshot, pod row, now) -> why the pod must not be evicted; None where it may be."""


def sparing_stand_ins(protects: Protects) -> Protects:
    """What stands for a reservation is nobody's to evict."""

    def protects_also(snapshot: ClusterSnapshot, pod: int, now: float) -> Reason | None:
        if is_stand_in(snapshot.pods.keys[pod]):
            return Reason("Reserved", "it is room that is kept")
        return protects(snapshot, pod, now)

    return protects_also
