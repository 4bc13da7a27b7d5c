"""The order of writes, on a tree that refuses what a kernel of version 1 refuses."""

import errno
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from neaptide.agent.files import Files
from neaptide.agent.originals import Originals
from neaptide.agent.reconcile import Reconciler
from neaptide.model.cpusets import cpu_list, cpus_of

GROUPS = ("a", "a/b", "a/b/c", "a/d")
cpu_sets = st.sets(st.integers(0, 7), min_size=1)
quotas = st.integers(1000, 800_000) | st.just(-1)


class Kernel(Files):
    """Version 1: a group's CPUs are some of those above it, and its quota is no more than the nearest one above."""

    def write(self, path: str, text: str) -> None:
        file = Path(path)
        before = file.read_text()
        super().write(path, text)
        if not self._stands(file.name):
            super().write(path, before)
            raise OSError(errno.EINVAL, f"{text.strip()!r} in {path}")

    def _stands(self, name: str) -> bool:
        texts = {group: (self.root / group / name).read_text() for group in GROUPS}
        if name == "cpuset.cpus":
            return all(
                cpus_of(text) <= cpus_of(texts[group.rpartition("/")[0]])
                for group, text in texts.items()
                if "/" in group
            )
        return all(int(text) <= self._nearest(texts, group) for group, text in texts.items() if int(text) >= 0)

    def _nearest(self, texts: dict[str, str], group: str) -> float:
        while "/" in group:
            group = group.rpartition("/")[0]
            if int(texts[group]) >= 0:
                return int(texts[group])
        return float("inf")

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root


@given(st.lists(st.tuples(cpu_sets, cpu_sets, quotas, quotas), min_size=1, max_size=5))
def test_a_kernel_of_version_1_refuses_nothing_and_all_comes_back(
    rounds: list[tuple[set[int], set[int], int, int]],
) -> None:
    with (
        TemporaryDirectory() as directory,
        closing(Kernel(Path(directory))) as kernel,
        closing(Originals(kernel.root / "state", "boot")) as originals,
    ):
        root = kernel.root
        for group in GROUPS:
            (root / group).mkdir(parents=True, exist_ok=True)
            (root / group / "cpuset.cpus").write_text("0-7\n")
            (root / group / "cpu.cfs_quota_us").write_text("-1\n")
        before = _texts(root)
        reconciler = Reconciler(kernel, originals, nests=True)
        for outer, inner, most, least in rounds:
            wanted: dict[str, str | None] = {}
            for group in GROUPS:
                cpus = outer if group in ("a", "a/d") else (outer & inner or outer)
                low = most if group in ("a", "a/d") else _smaller(most, least)
                wanted[str(root / group / "cpuset.cpus")] = cpu_list(cpus)
                wanted[str(root / group / "cpu.cfs_quota_us")] = str(low)
            changes = reconciler.settle(wanted)
            assert not [change for change in changes if change.problem]
            assert {path: text.strip() for path, text in _texts(root).items()} == wanted
            assert reconciler.settle(wanted) == []
        assert not [change for change in reconciler.restore() if change.problem]
        assert _texts(root) == before


@given(st.sets(st.integers(0, 200)))
def test_a_list_of_cpus_survives_the_way_there_and_back(cpus: set[int]) -> None:
    assert cpus_of(cpu_list(cpus)) == cpus


def test_a_list_is_spelled_as_the_kernel_does_and_nonsense_is_no_cpu() -> None:
    assert cpu_list([3, 0, 1, 2, 8]) == "0-3,8"
    assert cpus_of("0-x") == frozenset()


def _smaller(one: int, other: int) -> int:
    return min((each for each in (one, other) if each >= 0), default=-1)


def _texts(root: Path) -> dict[str, str]:
    return {str(path): path.read_text() for group in GROUPS for path in (root / group).iterdir() if path.is_file()}
