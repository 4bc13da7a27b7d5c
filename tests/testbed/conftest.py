"""One control plane for all tests of a worker; each test works in a namespace of its own."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from tests.testbed.asking import done

from neaptide.pricing.load import shipped
from neaptide.pricing.offerings import offerings
from neaptide.testbed import cluster
from neaptide.testbed.load import add_nodes
from neaptide.testbed.nodes import DEFAULT_TYPES, Mix, draw

NODES = 20

_numbers = count(1)


@pytest.fixture(scope="session")
def testbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cluster.Testbed]:
    """A control plane with 20 nodes."""
    found = cluster.Testbed(tmp_path_factory.mktemp("testbed"))
    try:
        found.up()
        sold = [each for each in offerings(shipped()) if each.instance_type in DEFAULT_TYPES]
        add_nodes(found.site, draw(NODES, Mix(offerings=sold)))
        yield found
    finally:
        found.down(purge=True)


@pytest.fixture
def another(tmp_path: Path) -> Iterator[cluster.Testbed]:
    """A second control plane, with nothing in it."""
    found = cluster.Testbed(tmp_path / "another")
    try:
        found.up()
        yield found
    finally:
        found.down(purge=True)


@pytest.fixture
def namespace(testbed: cluster.Testbed) -> str:
    """A namespace that no other test uses."""
    name = f"test-{next(_numbers)}"
    done(testbed, "create", "namespace", name)
    return name
