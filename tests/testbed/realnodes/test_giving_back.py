"""Whatever happened to real nodes, `down` gives the machine back as it was, and `up` begins with what a killed one left."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.controlplane import create_namespace
from tests.testbed.realnodes.footprint import footprint, settled

from neaptide.testbed.cluster import Testbed
from neaptide.testbed.realnodes.cluster import RealNodes, even_shapes
from neaptide.testbed.realnodes.host import lacking, survey
from neaptide.testbed.realnodes.pods import Pods, manifest

UP = """
import sys
from pathlib import Path
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.realnodes.cluster import RealNodes, even_shapes
RealNodes(Testbed(Path(sys.argv[1]))).up(even_shapes(1))
"""
_numbers = count(1)

NOTHING: dict[str, list[str]] = {"more": [], "less": []}


@pytest.fixture
def nodes(control_plane: Testbed) -> Iterator[RealNodes]:
    """None yet; those that the test starts are taken down, and their objects deleted."""
    if problems := lacking(survey()):
        pytest.skip(f"real nodes cannot run here: {'; '.join(problems)}")
    found = RealNodes(control_plane)
    yield found
    found.down()
    control_plane.kubectl(["delete", "node", "real-1", "--ignore-not-found"])


@pytest.fixture
def pods(nodes: RealNodes) -> Iterator[Pods]:
    """A namespace that no other test uses."""
    found = Pods(nodes, f"giving-back-{next(_numbers)}")
    create_namespace(nodes.testbed, found.namespace)
    yield found
    found.kubectl("delete", "pods", "--all", "--grace-period=0", "--force")
    found.kubectl("delete", "namespace", found.namespace, "--wait=false")


def nothing(nodes: RealNodes) -> None:
    """The nodes run when they are taken down."""
    assert {each.state for each in nodes.status()} == {"running"}


def kill_programs(nodes: RealNodes) -> None:
    nodes.kill("real-1", "kubelet")
    nodes.kill("real-1", "containerd")


def kill_keeper(nodes: RealNodes) -> None:
    nodes.kill("real-1", "machine")


def freeze_programs(nodes: RealNodes) -> None:
    nodes.freeze("real-1", "kubelet")
    nodes.freeze("real-1", "containerd")


def forget(nodes: RealNodes) -> None:
    (nodes.testbed.directory / "nodes" / "state.json").unlink()


def chosen(cases: dict[str, Any], *usual: str) -> list[Any]:
    """All of them; those that are not named take their time with the slow tests only."""
    marks = {name: [] if name in usual else [pytest.mark.slow] for name in cases}
    return [pytest.param(case, id=name, marks=marks[name]) for name, case in cases.items()]


CALAMITIES = {
    "nothing went wrong": nothing,
    "kubelet and containerd were killed": kill_programs,
    "what keeps the namespace was killed": kill_keeper,
    "kubelet and containerd are frozen": freeze_programs,
    "nobody remembers the nodes": forget,
}


@pytest.mark.parametrize(
    "calamity", chosen(CALAMITIES, "kubelet and containerd were killed", "nobody remembers the nodes")
)
def test_down_gives_the_machine_back(nodes: RealNodes, pods: Pods, calamity: Callable[[RealNodes], None]) -> None:
    directory, label = nodes.testbed.directory, _label(nodes)
    before = footprint(directory, label)
    nodes.up(even_shapes(1, ["0"]))
    pod = pods.run(manifest("running"))
    assert pods.execute(pod.name, "nproc") == "1\n"
    assert footprint(directory, label) - before
    calamity(nodes)
    nodes.down()
    assert settled(before, directory, label) == NOTHING
    assert not (directory / "nodes").exists()
    nodes.down()


STAGES: dict[str, Callable[[Path, str], bool]] = {
    "with the bridge made": lambda _, label: Path(f"/sys/class/net/nt{label}-1").exists(),
    "with the groups made": lambda _, label: bool(
        list(Path("/sys/fs/cgroup").glob(f"**/neaptide-{label}-real-1/system"))
    ),
    "with the namespace made": lambda directory, _: (directory / "nodes/real-1/run/machine-is-up").exists(),
    "with containerd running": lambda directory, _: (
        directory / "nodes/real-1/run/containerd/containerd.sock"
    ).exists(),
    "with the kubelet running": lambda directory, _: (directory / "nodes/real-1/kubelet.log").exists(),
}


@pytest.mark.parametrize("reached", chosen(STAGES, "with the namespace made", "with the kubelet running"))
def test_up_begins_with_what_a_killed_one_left(nodes: RealNodes, reached: Callable[[Path, str], bool]) -> None:
    directory, label = nodes.testbed.directory, _label(nodes)
    before = footprint(directory, label)
    with subprocess.Popen([sys.executable, "-c", UP, str(directory)]) as first:  # noqa: S603 - our own code
        due = time.monotonic() + 180
        while not reached(directory, label):
            assert time.monotonic() < due
            assert first.poll() is None
            time.sleep(0.001)
        first.send_signal(signal.SIGKILL)
    assert footprint(directory, label) - before
    nodes.up(even_shapes(1))
    assert {each.state for each in nodes.status()} == {"running"}
    nodes.down()
    assert settled(before, directory, label) == NOTHING


def test_nodes_on_a_leash_go_down_with_the_process_that_holds_it(nodes: RealNodes) -> None:
    directory, label = nodes.testbed.directory, _label(nodes)
    before = footprint(directory, label)
    with subprocess.Popen(["sleep", "100"]) as holder:  # noqa: S607 - wherever it is
        RealNodes(nodes.testbed, leash=holder.pid).up(even_shapes(1))
        holder.kill()
    assert settled(before, directory, label) == NOTHING


def test_the_command_brings_nodes_up_shows_them_and_takes_them_down(nodes: RealNodes) -> None:
    directory = nodes.testbed.directory
    said = _neaptide("up", "--directory", str(directory), "--real-nodes", "1")
    assert "1 nodes, 1 of them new" in said
    status = json.loads(_neaptide("status", "--directory", str(directory), "--output", "json"))
    assert {each["component"] for each in status} >= {"real-1/containerd", "real-1/kubelet"}
    assert "containerd" in _neaptide("logs", "real-1/containerd", "--directory", str(directory))
    assert _neaptide("up", "--directory", str(directory), "--real-nodes", "1").count("0 of them new") == 1


def _label(nodes: RealNodes) -> str:
    return nodes._label


def _neaptide(*arguments: str) -> str:
    command = [sys.executable, "-m", "neaptide", "testbed", *arguments]
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    assert found.returncode == 0, found.stderr
    return found.stdout
