"""CPUs of its own for a pod: which ones, so that cores, NUMA nodes and other pods' wishes are respected. Pure; shared by scheduler and tests.

Policies are Koordinator's: FullPCPUs takes whole cores, SpreadByPCPUs one thread of each core before the second of any. Exclusive at PCPULevel:
on no core with a pod that is exclusive so, too; at NUMANodeLevel: in no such NUMA node. As few NUMA nodes as can be: under SingleNUMANode one,
under Restricted no more than an empty machine would need. Source: koordinator pkg/scheduler/plugins/nodenumaresource.
"""

from collections.abc import Collection, Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

from neaptide.noderules.cpuset import Cpu

BIND_POLICIES = ("FullPCPUs", "SpreadByPCPUs")
EXCLUSIVE = ("", "None", "PCPULevel", "NUMANodeLevel")
NUMA_POLICIES = ("", "None", "BestEffort", "Restricted", "SingleNUMANode")
STRATEGIES = ("MostAllocated", "LeastAllocated")
_MOST_NUMA = 8
"""NUMA nodes of which all choices are looked at; on larger machines those with the most free CPUs."""


class CpuAsk(NamedTuple):
    """So many whole CPUs; `full_only` refuses where they are no whole cores."""

    cpus: int
    policy: str = "FullPCPUs"
    exclusive: str = ""
    numa_policy: str = ""
    strategy: str = "MostAllocated"
    full_only: bool = False


class Held(NamedTuple):
    """What a pod has already."""

    cpus: frozenset[int]
    exclusive: str = ""


def allocate(
    ask: CpuAsk, topology: Sequence[Cpu], held: Iterable[Held], reserved: Collection[int] = ()
) -> tuple[int, ...] | str:
    """The CPUs, ascending; or, in words, why there are none."""
    held = list(held)
    threads = max((sum(_core(cpu) == _core(each) for cpu in topology) for each in topology[:1]), default=1)
    if ask.full_only and ask.cpus % threads:
        return f"{ask.cpus} CPUs are no whole cores of {threads} threads"
    free = _free(ask, topology, held, reserved)
    if len(free) < ask.cpus:
        return "Insufficient CPUs to bind"
    by_numa: dict[int, list[Cpu]] = {}
    for cpu in free:
        by_numa.setdefault(cpu.numa, []).append(cpu)
    chosen = _numa_nodes(ask, topology, by_numa)
    if isinstance(chosen, str):
        return chosen
    candidates = [cpu for numa in chosen for cpu in by_numa[numa]]
    found = _full(ask.cpus, candidates, threads) if ask.policy == "FullPCPUs" else _spread(ask.cpus, candidates)
    if (
        ask.full_only
        and ask.policy == "FullPCPUs"
        and any(sum(_core(each) == _core(cpu) for each in found) < threads for cpu in found)
    ):
        return "Insufficient free cores to bind"
    return tuple(sorted(cpu.id for cpu in found))


def _free(ask: CpuAsk, topology: Sequence[Cpu], held: Sequence[Held], reserved: Collection[int]) -> list[Cpu]:
    taken = frozenset(reserved).union(*(each.cpus for each in held))
    alike = frozenset[int]().union(*(each.cpus for each in held if each.exclusive == ask.exclusive))
    cores = {_core(cpu) for cpu in topology if cpu.id in alike} if ask.exclusive == "PCPULevel" else set()
    nodes = {cpu.numa for cpu in topology if cpu.id in alike} if ask.exclusive == "NUMANodeLevel" else set()
    return [cpu for cpu in topology if cpu.id not in taken and _core(cpu) not in cores and cpu.numa not in nodes]


def _numa_nodes(ask: CpuAsk, topology: Sequence[Cpu], by_numa: dict[int, list[Cpu]]) -> tuple[int, ...] | str:
    """The fewest that hold it; among these the fullest, or, under LeastAllocated, the emptiest."""
    sizes: dict[int, int] = {}
    for cpu in topology:
        sizes[cpu.numa] = sizes.get(cpu.numa, 0) + 1
    nodes = sorted(by_numa, key=lambda numa: (-len(by_numa[numa]), numa))[:_MOST_NUMA]
    for count in range(1, len(nodes) + 1):
        fits = [each for each in combinations(nodes, count) if sum(len(by_numa[numa]) for numa in each) >= ask.cpus]
        if not fits:
            continue
        sign = 1 if ask.strategy == "MostAllocated" else -1
        best = min(fits, key=lambda each: (sign * sum(len(by_numa[numa]) for numa in each), sorted(each)))
        if ask.numa_policy == "SingleNUMANode" and count > 1:
            return "Insufficient CPUs in one NUMA node"
        if ask.numa_policy == "Restricted" and count > _needed(ask.cpus, sizes.values()):
            return "Insufficient CPUs in as few NUMA nodes as an empty machine would need"
        return best
    return "Insufficient CPUs to bind"


def _needed(cpus: int, sizes: Iterable[int]) -> int:
    """How many NUMA nodes hold so many CPUs while nobody has any."""
    left, count = cpus, 0
    for size in sorted(sizes, reverse=True):
        if left <= 0:
            break
        left, count = left - size, count + 1
    return count


def _core(cpu: Cpu) -> tuple[int, int, int]:
    """Of a machine: numbers of cores may be those within a socket."""
    return cpu.numa, cpu.socket, cpu.core


def _cores(cpus: Iterable[Cpu]) -> list[list[Cpu]]:
    """Free threads by core: NUMA node by NUMA node."""
    cores: dict[tuple[int, int, int], list[Cpu]] = {}
    for cpu in sorted(cpus, key=lambda each: each.id):
        cores.setdefault(_core(cpu), []).append(cpu)
    return [cores[key] for key in sorted(cores)]


def _full(wanted: int, cpus: Iterable[Cpu], threads: int) -> list[Cpu]:
    """Whole cores first; what is left from cores that are broken already, before one more is broken."""
    cores = _cores(cpus)
    found: list[Cpu] = []
    for core in [each for each in cores if len(each) == threads]:
        if wanted - len(found) >= threads:
            found += core
            cores.remove(core)
    for core in sorted(cores, key=len):
        found += core[: wanted - len(found)]
    return found


def _spread(wanted: int, cpus: Iterable[Cpu]) -> list[Cpu]:
    """A thread of each core in turn, those with the most free threads first."""
    cores = sorted(_cores(cpus), key=lambda core: -len(core))
    turns = [core[turn] for turn in range(max(map(len, cores), default=0)) for core in cores if turn < len(core)]
    return turns[:wanted]
