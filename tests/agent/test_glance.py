"""Between two rounds: a service that begins to use much more is seen at once, and nothing else is taken for that."""

from pathlib import Path

import pytest
from tests.agent.trees import CPUS, SHAPES, Node, Shape

from neaptide.agent.files import Files
from neaptide.agent.glance import Glance
from neaptide.agent.groups import Groups
from neaptide.agent.originals import Originals
from neaptide.agent.readings import Readings
from neaptide.agent.reconcile import Reconciler

JUMPS = {
    "a service begins": ([0.0, 0.0, 0.5], True),
    "a service goes on": ([0.0, 0.5, 1.0], False),
    "a service ends": ([0.0, 0.5, 0.5], False),
    "a little more": ([0.0, 0.5, 1.3], False),
    "the first look": ([5.0], False),
    "the second": ([0.0, 5.0], False),
}


@pytest.mark.parametrize("shape", [SHAPES["version 1, cgroupfs"], SHAPES["version 2, systemd"]], ids=["v1", "v2"])
@pytest.mark.parametrize(("seconds", "jumped"), JUMPS.values(), ids=JUMPS)
def test_a_jump_of_services_is_a_tenth_of_the_node(
    tmp_path: Path, shape: Shape, seconds: list[float], *, jumped: bool
) -> None:
    node, groups = _node(tmp_path, shape)
    glance = Glance(groups)
    found = False
    for number, each in enumerate(seconds):
        _used(node, node.layout.tier(""), each + number)
        _used(node, node.layout.tier("besteffort"), float(number))
        found = glance.jumped(float(number), CPUS * 1000)
    assert found is jumped


def test_best_effort_pods_and_unreadable_files_are_no_jump(tmp_path: Path) -> None:
    node, groups = _node(tmp_path, Shape(2, systemd=False))
    glance = Glance(groups)
    for number in range(3):
        for tier in ("", "besteffort"):
            _used(node, node.layout.tier(tier), 2.0 * number)
        assert not glance.jumped(float(number), CPUS * 1000)
    node.path(node.layout.tier(""), "cpu.stat").unlink()
    groups._files.close()
    assert not glance.jumped(3.0, CPUS * 1000)


def test_a_node_of_some_of_its_machines_cpus_counts_these_alone(tmp_path: Path) -> None:
    node, groups = _node(tmp_path, Shape(2, systemd=False))
    readings = Readings(groups, groups._files, str(node.proc))
    node.path(node.layout.tier(""), "cpuset.cpus.effective").write_text("1,3\n")
    for used in (0, 50):
        lines = [f"cpu{cpu} {used * (cpu + 1)} 0 0 900 7 0 0 0 0 0" for cpu in range(CPUS)]
        (node.proc / "stat").write_text("\n".join(["cpu 9999 0 0 0 0 0 0 0 0 0", *lines]) + "\n")
        use = readings.cpu([], used / 50)
    assert readings.cpus == 2
    assert use is not None
    assert use.node == 1000 * (50 * 2 + 50 * 4) / 100


def _node(directory: Path, shape: Shape) -> tuple[Node, Groups]:
    node, files = Node(directory, shape), Files()
    return node, Groups(node.layout, files, Reconciler(files, Originals(None, ""), nests=shape.version == 1))


def _used(node: Node, group: str, seconds: float) -> None:
    if node.shape.version == 1:
        node.path(group, "cpuacct.usage").write_text(f"{round(seconds * 1e9)}\n")
    else:
        node.path(group, "cpu.stat").write_text(f"usage_usec {round(seconds * 1e6)}\n")
