"""CPUs of its own for a pod, on two sockets of two cores of two threads, a NUMA node each: {0,4}{1,5} and {2,6}{3,7}."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.noderules.cpu_allocation import CpuAsk, Held, allocate
from neaptide.noderules.cpuset import Cpu

MACHINE = [Cpu(cpu, cpu % 4, cpu % 4 // 2, cpu % 4 // 2) for cpu in range(8)]


def held(*cpus: int, exclusive: str = "") -> Held:
    return Held(frozenset(cpus), exclusive)


CASES: dict[str, tuple[CpuAsk, list[Held], tuple[int, ...] | str]] = {
    "a whole core": (CpuAsk(2), [], (0, 4)),
    "a thread of each core": (CpuAsk(2, "SpreadByPCPUs"), [], (0, 1)),
    "a whole core beside a broken one": (CpuAsk(2), [held(0)], (1, 5)),
    "one thread from the core that is broken already": (CpuAsk(1), [held(0)], (4,)),
    "the fullest NUMA node that holds it": (CpuAsk(2), [held(2, 6)], (3, 7)),
    "the emptiest": (CpuAsk(2, strategy="LeastAllocated"), [held(2, 6)], (0, 4)),
    "two NUMA nodes where one does not hold it": (CpuAsk(6), [], (0, 1, 2, 4, 5, 6)),
    "not under SingleNUMANode": (CpuAsk(6, numa_policy="SingleNUMANode"), [], "Insufficient CPUs in one NUMA node"),
    "not spread out further than need be under Restricted": (
        CpuAsk(3, numa_policy="Restricted"),
        [held(0, 1), held(2, 3)],
        "Insufficient CPUs in as few NUMA nodes as an empty machine would need",
    ),
    "spread out under BestEffort": (CpuAsk(3, numa_policy="BestEffort"), [held(0, 1), held(2, 3)], (4, 5, 6)),
    "on no core of a pod that is exclusive, too": (
        CpuAsk(1, exclusive="PCPULevel"),
        [held(0, exclusive="PCPULevel")],
        (1,),
    ),
    "beside one that is not": (CpuAsk(1, exclusive="PCPULevel"), [held(0)], (4,)),
    "in no NUMA node of one that is exclusive so": (
        CpuAsk(2, exclusive="NUMANodeLevel"),
        [held(0, exclusive="NUMANodeLevel")],
        (2, 6),
    ),
    "no broken core where only whole ones do": (
        CpuAsk(4, full_only=True),
        [held(0), held(1), held(2)],
        "Insufficient free cores to bind",
    ),
    "no odd number where only whole cores do": (
        CpuAsk(3, full_only=True),
        [],
        "3 CPUs are no whole cores of 2 threads",
    ),
    "no more than is free": (CpuAsk(7), [held(0, 4)], "Insufficient CPUs to bind"),
}


@pytest.mark.parametrize(("ask", "others", "wanted"), CASES.values(), ids=CASES)
def test_which_cpus_a_pod_gets(ask: CpuAsk, others: list[Held], wanted: tuple[int, ...] | str) -> None:
    assert allocate(ask, MACHINE, others) == wanted


def test_reserved_cpus_are_nobodys() -> None:
    assert allocate(CpuAsk(2), MACHINE, [], reserved={0}) == (1, 5)


@given(
    st.lists(
        st.builds(
            CpuAsk,
            st.integers(1, 8),
            st.sampled_from(["FullPCPUs", "SpreadByPCPUs"]),
            st.sampled_from(["", "PCPULevel", "NUMANodeLevel"]),
            st.sampled_from(["", "SingleNUMANode", "Restricted"]),
            st.sampled_from(["MostAllocated", "LeastAllocated"]),
            st.just(value=False),
        ),
        max_size=8,
    )
)
def test_nobody_gets_what_another_has_and_each_gets_what_it_asked_for(asks: list[CpuAsk]) -> None:
    given_out: list[Held] = []
    for ask in asks:
        found = allocate(ask, MACHINE, given_out)
        if isinstance(found, str):
            assert given_out or ask.cpus > 8 or ask.numa_policy == "SingleNUMANode"
            continue
        assert len(set(found)) == ask.cpus
        assert not any(each.cpus & set(found) for each in given_out)
        if ask.numa_policy == "SingleNUMANode":
            assert len({MACHINE[cpu].numa for cpu in found}) == 1
        given_out.append(Held(frozenset(found), ask.exclusive))
