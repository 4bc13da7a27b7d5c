"""Nodes for the tests of the live world, in the control plane that they share with others."""

from collections.abc import Iterator

import pytest
from tests.testbed.asking import done

from neaptide.testbed.cluster import Testbed
from neaptide.testbed.load import add_nodes
from neaptide.testbed.nodes import fake_node

NODES = ("live-1", "live-2")


@pytest.fixture(scope="session")
def nodes(control_plane: Testbed) -> Iterator[tuple[str, ...]]:
    """The names of two nodes that kwok plays; other pods stay off them unless they are bound to one."""
    labels = {"neaptide.io/price-per-hour": "0.5"}
    amounts = {"cpu": "16", "memory": "64Gi", "pods": "110"}
    add_nodes(control_plane.site, [fake_node(name, labels, amounts) for name in NODES])
    yield NODES
    done(control_plane, "delete", "node", *NODES, "--wait=false")
