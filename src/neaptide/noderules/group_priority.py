"""Best-effort pods always run below services: as idle groups where the kernel has them, else with the least weight.

An idle group runs when nobody beside it wants the CPU, and is preempted at once when somebody wakes. The tier of a quality class is never made
idle: shares of an idle group cannot be written, and the kubelet writes those of its tiers. (Koordinator writes cpu.bvt_warp_ns, which
only Anolis' kernel has.)
"""

from collections.abc import Iterable
from typing import NamedTuple

from neaptide.noderules.weights import LEAST_SHARES


class PrioritySettings(NamedTuple):
    """`use` is auto (idle groups where the kernel has them), idle, or weight."""

    enabled: bool = True
    use: str = "auto"


class GroupPriority(NamedTuple):
    """What a pod's group gets: idle, or else these shares (of 2 to 262144)."""

    idle: bool
    shares: int


def group_priorities(
    settings: PrioritySettings, best_effort: Iterable[str], *, kernel_has_idle: bool
) -> dict[str, GroupPriority]:
    """The setting by UID of each best-effort pod; other pods keep what Kubernetes gives them."""
    idle = settings.use == "idle" or (settings.use == "auto" and kernel_has_idle)
    if not settings.enabled or (idle and not kernel_has_idle):
        return {}
    return dict.fromkeys(best_effort, GroupPriority(idle, LEAST_SHARES))
