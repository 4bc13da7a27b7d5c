"""Lists of CPUs as the kernel reads and writes them: 0-3,8."""

from collections.abc import Iterable


def parse_cpus(text: str) -> frozenset[int]:
    """The CPUs of a list.

    Raises:
        ValueError: it is no such list.
    """
    found: set[int] = set()
    for part in text.strip().split(",") if text.strip() else ():
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def cpus_of(text: str) -> frozenset[int]:
    """The CPUs of a list; none of one that nobody can read."""
    try:
        return parse_cpus(text)
    except ValueError:
        return frozenset()


def cpu_list(cpus: Iterable[int]) -> str:
    """The list of some CPUs, spelled as the kernel does."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
