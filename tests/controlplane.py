"""The control plane that tests share: one for each worker, started by the first test that wants it, ended with the worker.

A test that only asks the API takes `control_plane`, `kubeconfig` and `namespace`. There are no nodes unless the test makes some, and what it makes
outside its namespace it takes away again. A test that kills or freezes a component takes `own_control_plane`.
"""

import os
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from neaptide.testbed import tools
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.components import component_named
from neaptide.testbed.errors import TestbedError
from neaptide.testbed.server import Server

_NAMESPACES = "/api/v1/namespaces"
_ACCOUNT_WITHIN = 60.0  # seconds; a tenth of one where nothing else runs
_PAUSE = 0.02

_numbers = count(1)


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    """A control plane that runs, for tests that leave it running."""
    yield from running(tmp_path_factory.mktemp("control-plane"))


@pytest.fixture
def own_control_plane(tmp_path: Path) -> Iterator[Testbed]:
    """A control plane for this test alone, with nothing in it (starting it takes 4 to 6 s)."""
    yield from running(tmp_path / "own-control-plane")


@pytest.fixture(scope="session")
def kubeconfig(control_plane: Testbed) -> Path:
    """The administrator's, for the shared control plane."""
    return control_plane.kubeconfig


@pytest.fixture
def namespace(control_plane: Testbed) -> Iterator[str]:
    """A namespace of the shared control plane that no other test uses; in it, pods can be created at once."""
    name = f"test-{next(_numbers)}"
    create_namespace(control_plane, name)
    yield name
    with Server(component_named("kube-apiserver"), control_plane.site) as server:
        server.call("DELETE", f"{_NAMESPACES}/{name}")


@pytest.fixture(scope="session")
def helm() -> Path:
    """Helm 4."""
    return tools.helm()


@pytest.fixture(scope="session")
def prometheus() -> Path:
    """Prometheus."""
    return _installed(tools.prometheus)


@pytest.fixture(scope="session")
def promtool() -> Path:
    """Prometheus's checker of rules."""
    return _installed(tools.promtool)


def create_namespace(testbed: Testbed, name: str) -> None:
    """A namespace, once it has the account without which no pod is admitted."""
    with Server(component_named("kube-apiserver"), testbed.site) as server:
        server.call("POST", _NAMESPACES, {"metadata": {"name": name}})
        due = time.monotonic() + _ACCOUNT_WITHIN
        while not server.is_ready(f"{_NAMESPACES}/{name}/serviceaccounts/default"):
            assert time.monotonic() < due, "the controller manager gives the namespace no account"
            time.sleep(_PAUSE)


def running(directory: Path) -> Iterator[Testbed]:
    """A control plane in a directory, up until the fixture ends; if the tests are killed, it ends with them."""
    found = Testbed(directory, leash=os.getpid())
    try:
        found.up()
        yield found
    finally:
        found.down(purge=True)


def _installed(find: Callable[[], Path]) -> Path:
    try:
        return find()
    except TestbedError as error:
        pytest.skip(str(error))
