"""A control plane with nodes, which these tests may break and must mend; each test works in a namespace of its own."""

from collections.abc import Iterator
from itertools import count

import pytest
from tests.controlplane import create_namespace, running

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
    for found in running(tmp_path_factory.mktemp("testbed")):
        sold = [each for each in offerings(shipped()) if each.instance_type in DEFAULT_TYPES]
        add_nodes(found.site, draw(NODES, Mix(offerings=sold)))
        yield found


@pytest.fixture
def namespace(testbed: cluster.Testbed) -> str:
    """A namespace that no other test uses."""
    name = f"test-{next(_numbers)}"
    create_namespace(testbed, name)
    return name
