"""The CPUs of a node with their cores, sockets and NUMA nodes, from sysfs."""

from pathlib import Path

from neaptide.model.cpusets import cpus_of
from neaptide.noderules.cpuset import Cpu


def cpus(sysfs: str) -> tuple[Cpu, ...]:
    """Those that are online. Where sysfs does not tell a core or a socket, each CPU is a core of its own, on one socket."""
    system = Path(sysfs, "devices/system")
    numa = {
        cpu: int(node.name.removeprefix("node"))
        for node in sorted(system.glob("node/node[0-9]*"))
        for cpu in cpus_of(_text(node / "cpulist"))
    }
    return tuple(_cpu(system, cpu, numa.get(cpu, 0)) for cpu in sorted(cpus_of(_text(system / "cpu/online"))))


def _cpu(system: Path, cpu: int, numa: int) -> Cpu:
    told = system / f"cpu/cpu{cpu}/topology"
    siblings = cpus_of(_text(told / "thread_siblings_list") or _text(told / "core_cpus_list"))
    socket = _text(told / "physical_package_id").strip()
    return Cpu(cpu, min(siblings, default=cpu), int(socket) if socket.isdigit() else 0, numa)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
