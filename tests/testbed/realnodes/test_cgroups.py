"""Control groups of both versions, on trees of plain files where this machine has but one of them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.model.cpusets import parse_cpus
from neaptide.testbed.errors import TestbedError
from neaptide.testbed.realnodes import cgroups

V1 = """\
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
/dev/vda / ext4 rw,relatime 0 0
"""


def test_each_controller_of_version_1_has_its_tree_and_version_2_is_beside_them() -> None:
    trees = cgroups.hierarchies(V1)
    assert cgroups.of_controller(trees, "cpuacct").path == Path("/sys/fs/cgroup/cpu,cpuacct")
    assert cgroups.of_controller(trees, "unified").path == Path("/sys/fs/cgroup/unified")
    assert not any(tree.delegates for tree in trees)
    with pytest.raises(TestbedError, match="no cgroup hierarchy of this machine has the controller 'cpuset'"):
        cgroups.of_controller(trees, "cpuset")


def test_a_node_of_version_2_is_kept_to_its_cpus_as_a_whole(tmp_path: Path) -> None:
    trees = _version_2(tmp_path, delegates=True)
    before = cgroups.delegated(trees)
    cgroups.create(trees, "node", "1")
    assert (tmp_path / "node/cpuset.cpus").read_text() == "1\n"
    assert (tmp_path / "node/system").is_dir()
    assert before == {str(tmp_path / "cgroup.subtree_control"): "memory"}


def test_a_root_that_delegates_nothing_is_named(tmp_path: Path) -> None:
    trees = _version_2(tmp_path, delegates=False)
    with pytest.raises(
        TestbedError, match=f"{tmp_path} does not give its groups the controllers cpu, cpuset, memory, pids"
    ):
        cgroups.create(trees, "node", "")


def test_pods_of_version_1_are_pinned_from_below_and_a_narrower_group_stays(tmp_path: Path) -> None:
    trees = (cgroups.Hierarchy(tmp_path, frozenset({"cpuset"}), unified=False),)
    wide, narrow = tmp_path / "node/kubepods/burstable/pod1", tmp_path / "node/kubepods/burstable/pod2"
    for group, cpus in {wide.parent.parent: "0-3", wide.parent: "0-3", wide: "0-3", narrow: "2"}.items():
        group.mkdir(parents=True, exist_ok=True)
        (group / "cpuset.cpus").write_text(f"{cpus}\n")
    cgroups.pin_pods(trees, "node", "1-2")
    assert (wide.parent.parent / "cpuset.cpus").read_text() == "1-2"
    assert (wide / "cpuset.cpus").read_text() == "1-2"
    assert (narrow / "cpuset.cpus").read_text() == "2\n"


@given(st.sets(st.integers(0, 300), min_size=1))
def test_a_list_of_cpus_means_what_the_kernel_means(cpus: set[int]) -> None:
    assert parse_cpus(",".join(map(str, sorted(cpus)))) == cpus
    assert parse_cpus(f"{min(cpus)}-{max(cpus)}\n") == set(range(min(cpus), max(cpus) + 1))


def _version_2(root: Path, *, delegates: bool) -> tuple[cgroups.Hierarchy, ...]:
    (root / "cgroup.subtree_control").write_text("memory\n")
    (root / "node").mkdir()
    (root / "node/cgroup.controllers").write_text("cpu cpuset memory pids" if delegates else "")
    return (cgroups.Hierarchy(root, cgroups.NEEDED, unified=True),)
