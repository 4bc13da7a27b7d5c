"""Nodes that Karpenter has chosen for pods that wait: it says so in Events, which are followed on a real API server."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.builders import node, pod
from tests.kube.live import make, speaking
from tests.kube.providers.test_karpenter import definition
from tests.testbed.asking import done, one

from neaptide.kube.nominations import WINDOW, Nominations
from neaptide.kube.world import World
from neaptide.kubeapi.client import Client
from neaptide.model.objects import PodStatus
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.load import add_nodes
from neaptide.testbed.nodes import fake_node

NOW = 1_800_000_000.0


def event(
    *, name: str = "p", node: str = "a", uid: str = "uid-p", who: str = "karpenter", **fields: Any
) -> dict[str, Any]:
    """As Karpenter's recorder writes it."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.1", "namespace": "default"},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": name, "uid": uid},
        "reason": "Nominated",
        "message": f"Pod should schedule on: nodeclaim/default-7x, node/{node}",
        "type": "Normal",
        "source": {"component": who},
        **fields,
    }


def as_read(**fields: Any) -> msgspec.Raw:
    """The same in events.k8s.io/v1."""
    old = event(**fields)
    body = {
        "metadata": old["metadata"],
        "regarding": old["involvedObject"],
        "note": old["message"],
        "deprecatedSource": old["source"],
        "deprecatedLastTimestamp": "2027-01-15T08:00:00Z",
    }
    return msgspec.Raw(msgspec.json.encode(body))


def waiting(**fields: Any) -> ClusterSnapshot:
    snapshot = ClusterSnapshot()
    for each in (node("a"), node("b"), pod("p", **fields)):
        snapshot.set(each)
    return snapshot


def nominated(snapshot: ClusterSnapshot) -> dict[str, str]:
    return {snapshot.pods.keys[row]: name for row, name in snapshot.pods.nominated.items()}


def test_a_nomination_holds_for_its_window_and_then_is_taken_back() -> None:
    now = [NOW + 1]
    nominations, snapshot = Nominations(clock=lambda: now[0]), waiting()
    nominations.saw(as_read())
    nominations.apply(snapshot)
    assert nominated(snapshot) == {"default/p": "a"}
    now[0] = NOW + WINDOW + 1
    nominations.apply(snapshot)
    assert nominated(snapshot) == {}


@pytest.mark.parametrize(
    ("said", "there"),
    [
        ({"who": "somebody"}, {}),
        ({"uid": "another"}, {}),
        ({"name": "q"}, {}),
        ({}, {"node": "b"}),
    ],
    ids=[
        "who is not Karpenter",
        "of another pod by that name",
        "of a pod that is not there",
        "of a pod that has a node",
    ],
)
def test_what_nominates_nobody(said: dict[str, Any], there: dict[str, Any]) -> None:
    nominations, snapshot = Nominations(clock=lambda: NOW), waiting(**there)
    nominations.saw(as_read(**said))
    nominations.apply(snapshot)
    assert nominated(snapshot) == {}


def test_what_a_scheduler_has_said_of_a_pod_stands() -> None:
    nominations, snapshot = Nominations(clock=lambda: NOW), waiting()
    snapshot.set(replace(pod("p"), status=PodStatus(nominated_node_name="b")))
    nominations.saw(as_read())
    nominations.apply(snapshot)
    assert nominated(snapshot) == {"default/p": "b"}


def test_on_a_cluster_with_karpenters_kinds_its_events_are_followed(own_control_plane: Testbed) -> None:
    testbed = own_control_plane
    make(testbed, definition("nodepools", "NodePool"))
    done(testbed, "wait", "--for=condition=Established", "crd/nodepools.karpenter.sh", "--timeout=60s")
    add_nodes(testbed.site, [fake_node("a", {}, {"cpu": "1", "memory": "1Gi", "pods": "9"})])
    container = {"name": "main", "image": "web", "resources": {"requests": {"cpu": "4"}}}
    make(
        testbed,
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container]}},
        namespace="default",
    )
    uid = one(testbed, "pod", "p", "default")["metadata"]["uid"]
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    make(testbed, event(uid=uid, firstTimestamp=stamp, lastTimestamp=stamp), namespace="default")

    async def look(client: Client) -> dict[str, str]:
        async with World(client) as world:
            await world.synced()
            while not nominated(world.observe()):  # noqa: ASYNC110 - the world tells nobody
                await asyncio.sleep(0.05)
            return nominated(world.observe())

    assert speaking(testbed, look) == {"default/p": "a"}
