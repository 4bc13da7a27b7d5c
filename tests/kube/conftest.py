"""What the tests of the live world share: nodes in the control plane that they share with others, and one with the kinds of neaptide.io."""

import json
from collections.abc import Iterator

import pytest
from tests.testbed.asking import done

from neaptide.kube.crds.definitions import DEFINITIONS
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.load import add_nodes
from neaptide.testbed.nodes import fake_node

NODES = ("live-1", "live-2")


@pytest.fixture(scope="session")
def nodes(control_plane: Testbed) -> Iterator[tuple[str, ...]]:
    """The names of two nodes that kwok plays, with no pods but those that are bound to one of them.

    They stay until the worker ends. Were they free to take pods, what a later test makes would run on them, and kwok ends
    a Job's pods at once: whether a Job is finished must not depend on which tests came before.
    """
    labels = {"neaptide.io/price-per-hour": "0.5"}
    amounts = {"cpu": "16", "memory": "64Gi", "pods": "110"}
    taint = {"key": "neaptide.io/test", "effect": "NoSchedule"}
    manifests = [fake_node(name, labels, amounts) | {"spec": {"taints": [taint]}} for name in NODES]
    add_nodes(control_plane.site, manifests)
    yield NODES
    done(control_plane, "delete", "node", *NODES, "--wait=false")


@pytest.fixture
def installed(own_control_plane: Testbed) -> Testbed:
    """A control plane with the kinds of neaptide.io."""
    for each in DEFINITIONS:
        done(own_control_plane, "create", "-f", "-", content=json.dumps(each.manifest()))
    for each in DEFINITIONS:
        done(own_control_plane, "wait", "--for=condition=Established", f"crd/{each.name}")
    return own_control_plane
