"""The real nodes that tests share: a control plane of their own and two nodes for each worker, in namespaces of their own.

They want root and the packages of `make system-deps`; where one is missing the tests are skipped, and say what it is.
"""

import os
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from tests.controlplane import create_namespace
from tests.skips import MACHINE_CANNOT

from neaptide.testbed.cluster import Testbed
from neaptide.testbed.realnodes.cluster import RealNodes, even_shapes
from neaptide.testbed.realnodes.container_host import ContainerHost
from neaptide.testbed.realnodes.host import Host, lacking, survey
from neaptide.testbed.realnodes.pods import Pods

_numbers = count(1)


@pytest.fixture(scope="session")
def real_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNodes]:
    """Two nodes, real-1 and real-2, that run; a test that breaks one mends it."""
    yield from running_nodes(tmp_path_factory.mktemp("real-nodes"), 2)


@pytest.fixture(scope="session")
def container_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerHost]:
    """A host with containerd and no kubelet, up until the tests end; its user names a folder and an owner of his own."""
    _require()
    with ContainerHost(tmp_path_factory.mktemp("container-host")) as host:
        yield host


@pytest.fixture
def pods(real_nodes: RealNodes) -> Iterator[Pods]:
    """A namespace of the real nodes that no other test uses; its pods go at once when the test ends."""
    found = Pods(real_nodes, f"test-{next(_numbers)}")
    create_namespace(real_nodes.testbed, found.namespace)
    yield found
    found.kubectl("delete", "namespace", found.namespace, "--wait=false")
    found.kubectl("delete", "pods", "--all", "--grace-period=0", "--force", "--wait=false")


def running_nodes(directory: Path, count: int) -> Iterator[RealNodes]:
    """A control plane and nodes in a directory, up until the fixture ends; if the tests are killed, they end with them."""
    _require()
    testbed = Testbed(directory, leash=os.getpid())
    nodes = RealNodes(testbed, leash=os.getpid())
    try:
        testbed.up()
        nodes.up(even_shapes(count))
        yield nodes
    finally:
        nodes.down()
        testbed.down(purge=True)


def _require() -> None:
    host = survey()
    if problems := lacking(host):
        pytest.skip(f"real nodes cannot run here: {'; '.join(problems)}")
    if refusal := _refusal(host):
        pytest.skip(f"{MACHINE_CANNOT} run real nodes: {refusal}")


def _refusal(host: Host) -> str:
    """What a sandbox keeps root from, although everything that is needed is there; empty where it keeps it from nothing."""
    unshared = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True, check=False)  # noqa: S607 - the system's
    if unshared.returncode:
        return unshared.stderr.strip()
    for hierarchy in host.hierarchies:
        probe = hierarchy.path / f"neaptide-probe-{os.getpid()}"
        try:
            probe.mkdir()
            probe.rmdir()
        except OSError as error:
            return str(error)
    return ""
