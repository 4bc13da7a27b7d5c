"""What the kernel and the kubelet of a node offer, and what the agent does without where they do not."""

from pathlib import Path
from typing import NamedTuple

import msgspec

from neaptide.agent.files import Files
from neaptide.agent.groups import Groups
from neaptide.agent.pressure import Pressures

_STATIC = "CPU manager static; CPU sets are the kubelet's, best-effort pods are limited by quota"


class Feature(NamedTuple):
    """`without` says what is done where it is not there."""

    name: str
    there: bool
    without: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {'yes' if self.there else 'no'}{f'; {self.without}' if self.without and not self.there else ''}"


def features(groups: Groups, *, proc: str, sysfs: str, kubelet_root: str) -> list[Feature]:
    """What there is, in the order in which it is told; at least the tiers of the kubelet must be there."""
    layout, tier = groups.layout, groups.layout.tier("besteffort")
    one = layout.version == 1
    driver = "systemd" if layout.systemd else "cgroupfs"
    return [
        Feature(f"control groups version {layout.version}, driver {driver}, pods in {layout.tier('')}", there=True),
        Feature("CPU quota", groups.has(tier, "cpu.cfs_quota_us" if one else "cpu.max"), "no limit by quota"),
        Feature(
            "CPU burst", groups.has(tier, "cpu.cfs_burst_us" if one else "cpu.max.burst"), "only quotas are raised"
        ),
        Feature("CPU sets", groups.has(tier, "cpuset.cpus"), "no limit by CPU set"),
        Feature("idle groups (cpu.idle)", groups.has(tier, "cpu.idle"), "best-effort pods get the least weight"),
        Feature("memory QoS (memory.min, low, high)", groups.has(tier, "memory.low"), "no memory is protected"),
        Feature(
            "disk limits",
            groups.has(tier, "blkio.throttle.read_bps_device" if one else "io.max"),
            "best-effort pods use disks freely",
        ),
        Feature(
            "disk weights",
            any(groups.has(tier, file) for file in ("blkio.bfq.weight", "io.weight", "io.bfq.weight")),
            "all wait for disks alike",
        ),
        Feature(
            "pressure (PSI)",
            Pressures(layout, Files()).offered(),
            "services' waiting is seen in run queues and latencies alone, disks' limits stay as they are",
        ),
        *([Feature(_STATIC, there=True)] if cpu_manager_policy(kubelet_root) == "static" else []),
        *(
            Feature(f"{name}, which is not managed", there)
            for name, there in _unmanaged(groups, tier, proc, sysfs)
            if there
        ),
    ]


def cpu_manager_policy(kubelet_root: str) -> str:
    """The policy in the kubelet's state; empty where there is none."""
    try:
        state = msgspec.json.decode(Path(kubelet_root, "cpu_manager_state").read_bytes(), type=dict[str, object])
    except (OSError, msgspec.MsgspecError):
        return ""
    return str(state.get("policyName", ""))


def _unmanaged(groups: Groups, tier: str, proc: str, sysfs: str) -> list[tuple[str, bool]]:
    return [
        ("group identity (cpu.bvt_warp_ns)", groups.has(tier, "cpu.bvt_warp_ns")),
        ("cache and memory bandwidth (resctrl)", Path(sysfs, "fs/resctrl/schemata").exists()),
        ("cycles per instruction (CPU PMU)", Path(sysfs, "bus/event_source/devices/cpu").exists()),
        ("network bandwidth (tc)", Path(proc, "net/psched").exists()),
    ]
