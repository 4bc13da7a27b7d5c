"""Which CPUs best-effort pods get: spread over NUMA nodes and sockets, hyper-threads of a core kept together.

Source: koordinator pkg/koordlet/qosmanager/plugins/cpusuppress (policy `cpuset`).
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

MIN_CPUS = 2


class Cpu(NamedTuple):
    """One logical CPU; CPUs of one NUMA node and socket with the same `core` are hyper-threads of that core."""

    id: int
    core: int
    socket: int
    numa: int


class CpuPools(NamedTuple):
    """A node's CPUs, and which of them best-effort pods share with LSR pods or may not use at all.

    `denied` holds the CPUs of LSE pods, the reserved ones and those that SYSTEM pods have to themselves.
    """

    cpus: tuple[Cpu, ...]
    lsr: frozenset[int] = frozenset()
    denied: frozenset[int] = frozenset()

    def allowed(self) -> list[Cpu]:
        return [cpu for cpu in self.cpus if cpu.id not in self.denied]


def cpus_wanted(limit_milli: int, *, total: int, current: int) -> int:
    """How many CPUs a limit is worth: whole ones, two at least, and a tenth of `total` more than `current` at most.

    `current` is 0 where no CPU set is in force; then there is no step to keep.
    """
    wanted = max(-(-limit_milli // 1000), MIN_CPUS)
    return min(wanted, current + -(-total // 10)) if current else wanted


def best_effort_cpus(wanted: int, pools: CpuPools) -> list[int]:
    """CPUs for best-effort pods, from the LSR pool and the rest in proportion; all that are allowed where too few are."""
    allowed = pools.allowed()
    shared = [cpu for cpu in allowed if cpu.id in pools.lsr]
    others = [cpu for cpu in allowed if cpu.id not in pools.lsr]
    wanted = min(wanted, len(allowed))
    from_shared = wanted * len(shared) // len(allowed) if allowed else 0
    return pick(from_shared, shared) + pick(wanted - from_shared, others)


def pick(wanted: int, cpus: Collection[Cpu]) -> list[int]:
    """Up to `wanted` CPUs in the order of choice: NUMA nodes and sockets take turns, two threads of a core at a time.

    The largest group begins (ties: the one with the lowest CPU). What is left below two, and what has no sibling left,
    is taken one by one, the turns going on.
    """
    groups = _groups(cpus)
    chosen: list[int] = []
    turn = 0
    for size in (2, 1):
        idle = 0
        while wanted - len(chosen) >= size and idle < len(groups):
            taken = _take(groups[turn], size)
            chosen += taken
            idle = 0 if taken else idle + 1
            turn = (turn + 1) % len(groups)
    return chosen


def _groups(cpus: Collection[Cpu]) -> list[list[list[int]]]:
    """The threads of each core of each NUMA node and socket, in the order in which they are chosen."""
    groups: dict[tuple[int, int], dict[int, list[int]]] = {}
    for cpu in sorted(cpus, key=lambda each: (each.core, each.id)):
        groups.setdefault((cpu.numa, cpu.socket), {}).setdefault(cpu.core, []).append(cpu.id)
    cores = [list(group.values()) for group in groups.values()]
    return sorted(cores, key=lambda group: (-sum(map(len, group)), group[0][0]))


def _take(group: Sequence[list[int]], size: int) -> list[int]:
    """Take `size` threads of the first core that has so many left; nothing where none has."""
    for core in group:
        if len(core) >= size:
            taken = core[:size]
            del core[:size]
            return taken
    return []
