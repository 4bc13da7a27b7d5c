import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.noderules.cpuset import MIN_CPUS, Cpu, CpuPools, best_effort_cpus, cpus_wanted, pick

# Two sockets of two cores, the second threads numbered after the first ones.
EIGHT = tuple(Cpu(id=i, core=i % 4, socket=i % 4 // 2, numa=i % 4 // 2) for i in range(8))
# Four sockets of two cores, the threads of a core numbered side by side.
SIXTEEN = tuple(Cpu(id=i, core=i // 2, socket=i // 4, numa=i // 4) for i in range(16))


@pytest.mark.parametrize(
    ("wanted", "cpus", "expected"),
    [
        (3, EIGHT, [0, 4, 2]),
        (5, SIXTEEN, [0, 1, 4, 5, 8]),
        (0, EIGHT, []),
        (2, (), []),
        (8, EIGHT, [0, 4, 2, 6, 1, 5, 3, 7]),
        (20, EIGHT, [0, 4, 2, 6, 1, 5, 3, 7]),
        (2, EIGHT[:4], [0, 2]),
        (3, (EIGHT[1], *EIGHT[2:4], EIGHT[6]), [2, 6, 1]),
    ],
    ids=[
        "two sockets, an odd number",
        "four sockets, an odd number",
        "none",
        "no CPUs",
        "all",
        "more than there are",
        "no siblings left, sockets take turns",
        "the larger socket first",
    ],
)
def test_siblings_stay_together_and_sockets_take_turns(wanted: int, cpus: tuple[Cpu, ...], expected: list[int]) -> None:
    assert pick(wanted, cpus) == expected


@pytest.mark.parametrize(
    ("limit", "total", "current", "expected"),
    [(1200, 16, 4, 2), (1200, 16, 16, 2), (-500, 16, 16, 2), (6100, 16, 7, 7), (12_000, 16, 4, 6), (12_000, 16, 0, 12)],
    ids=["whole CPUs", "a fall is taken at once", "two at least", "rounded up", "a rise by a tenth", "none in force"],
)
def test_a_limit_is_worth_whole_cpus(limit: int, total: int, current: int, expected: int) -> None:
    assert cpus_wanted(limit, total=total, current=current) == expected


def test_denied_cpus_are_never_chosen_and_lsr_gives_its_part() -> None:
    pools = CpuPools(SIXTEEN, lsr=frozenset(range(8, 12)), denied=frozenset(range(4)))
    chosen = best_effort_cpus(6, pools)
    assert sum(cpu in pools.lsr for cpu in chosen) == 2
    assert len(chosen) == 6
    assert not set(chosen) & pools.denied


@given(
    st.lists(st.builds(Cpu, st.integers(0, 63), st.integers(0, 7), st.integers(0, 3), st.integers(0, 3)), max_size=40),
    st.integers(0, 50),
    st.frozensets(st.integers(0, 63)),
    st.frozensets(st.integers(0, 63)),
)
def test_as_many_as_wanted_or_all_that_are_allowed_each_once(
    cpus: list[Cpu], wanted: int, lsr: frozenset[int], denied: frozenset[int]
) -> None:
    pools = CpuPools(tuple({cpu.id: cpu for cpu in cpus}.values()), lsr=lsr, denied=denied)
    allowed = {cpu.id for cpu in pools.allowed()}
    chosen = best_effort_cpus(wanted, pools)
    assert len(chosen) == len(set(chosen)) == min(wanted, len(allowed))
    assert set(chosen) <= allowed


@given(st.integers(-10_000, 200_000), st.integers(1, 256), st.integers(1, 256))
def test_a_cpu_set_never_grows_by_more_than_a_tenth(limit: int, total: int, current: int) -> None:
    wanted = cpus_wanted(limit, total=total, current=current)
    assert min(MIN_CPUS, current + 1) <= wanted <= max(current + -(-total // 10), MIN_CPUS)
