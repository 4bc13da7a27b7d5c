"""NodeClaims of ours are made as Karpenter makes its own, and only nodes that have one are given back."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from tests.kube.live import speaking
from tests.testbed.asking import done

from neaptide.kube.providers.karpenter import Karpenter, KarpenterSettings, Pool, manifest
from neaptide.kubeapi.client import Client
from neaptide.kubeapi.pages import items_of
from neaptide.kubeapi.resources import NODE_CLAIMS, NODE_POOLS, NODES
from neaptide.model.actions import FOR_LABEL
from neaptide.model.cloud import CloudError, Order
from neaptide.model.objects import Taint
from neaptide.pricing.catalogue import Catalogue, InstancePrice
from neaptide.pricing.offerings import offerings
from neaptide.testbed.cluster import Testbed

CATALOGUE = Catalogue([InstancePrice("m.large", "spot", 0.1, zone="a", cpu_milli=1900, memory_mib=7000, pods=20)])
REF = {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"}
POOL: dict[str, Any] = {
    "apiVersion": "karpenter.sh/v1",
    "kind": "NodePool",
    "metadata": {"name": "default", "annotations": {"karpenter.sh/nodepool-hash": "7"}},
    "spec": {
        "template": {
            "metadata": {"labels": {"team": "tide"}},
            "spec": {
                "nodeClassRef": REF,
                "expireAfter": "720h",
                "taints": [{"key": "own", "value": "", "effect": "NoSchedule"}],
                "requirements": [
                    {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot", "on-demand"]},
                    {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
                ],
            },
        }
    },
}


def definition(plural: str, kind: str) -> dict[str, Any]:
    """Karpenter's kind without its rules: those are held against in the benchmark `consolidation_peer`, on the real thing."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.karpenter.sh"},
        "spec": {
            "group": "karpenter.sh",
            "names": {"plural": plural, "kind": kind, "singular": kind.lower(), "listKind": f"{kind}List"},
            "scope": "Cluster",
            "versions": [version],
        },
    }


@pytest.fixture(scope="module")
def karpenters_kinds(control_plane: Testbed) -> Iterator[Testbed]:
    names = [f"{plural}.karpenter.sh" for plural in ("nodepools", "nodeclaims")]
    for each in (definition("nodepools", "NodePool"), definition("nodeclaims", "NodeClaim")):
        done(control_plane, "apply", "-f", "-", content=msgspec.json.encode(each).decode())
    done(control_plane, "wait", "--for=condition=Established", "--timeout=60s", *(f"crd/{each}" for each in names))
    yield control_plane
    done(control_plane, "delete", "crd", *names)


def order(*, node_pool: str = "default", taints: tuple[Taint, ...] = ()) -> Order:
    return Order(name="n-1", offering=offerings(CATALOGUE)[0], node_pool=node_pool, taints=taints)


def test_a_node_claim_has_what_its_pools_template_says_and_asks_for_the_one_offering() -> None:
    made = manifest(order(taints=(Taint("room", "", "PreferNoSchedule"),)), msgspec.convert(POOL, Pool))
    assert made["metadata"]["labels"] == {
        "team": "tide",
        "karpenter.kwok.sh/kwoknodeclass": "default",
        "karpenter.sh/nodepool": "default",
        FOR_LABEL: "n-1",
    }
    assert made["metadata"]["annotations"] == {"karpenter.sh/nodepool-hash": "7"}
    asked = {each["key"]: each["values"] for each in made["spec"]["requirements"]}
    assert asked == {
        "kubernetes.io/os": ["linux"],
        "node.kubernetes.io/instance-type": ["m.large"],
        "karpenter.sh/capacity-type": ["spot"],
        "topology.kubernetes.io/zone": ["a"],
        "karpenter.sh/nodepool": ["default"],
    }
    assert [each["key"] for each in made["spec"]["taints"]] == ["own", "room"]
    assert made["spec"]["nodeClassRef"] == REF
    assert made["spec"]["expireAfter"] == "720h"


def test_a_node_is_given_back_by_its_node_claim_and_never_without_one(karpenters_kinds: Testbed) -> None:
    async def act(client: Client) -> tuple[list[str], list[str], str]:
        await client.create(NODE_POOLS, POOL)
        cloud = Karpenter(client, KarpenterSettings(), CATALOGUE)
        assert await cloud.create(order()) == "n-1"
        assert await cloud.create(order()) == "n-1"
        made = [each async for each in _names(client)]
        coming = [each.order.name for each in cloud.coming()]
        assert coming == ["n-1"]
        status = {"status": {"nodeName": "node-of-claim"}}
        await client.patch(NODE_CLAIMS, "n-1", status, subresource="status")
        await cloud.close()
        await cloud.delete("n-1")
        left = [each async for each in _names(client)]
        await client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "not-karpenters"}})
        try:
            await cloud.delete("not-karpenters")
        except CloudError as error:
            return made, left, str(error)
        finally:
            await client.delete(NODES, "not-karpenters")
        raise AssertionError(left)

    made, left, said = speaking(karpenters_kinds, act)
    assert made == ["n-1"]
    assert left == []
    assert said == "node not-karpenters has no NodeClaim: it is not Karpenter's"


def test_an_order_for_a_pool_that_is_not_there_is_refused_by_name(karpenters_kinds: Testbed) -> None:
    async def act(client: Client) -> str:
        try:
            await Karpenter(client, KarpenterSettings(), CATALOGUE).create(order(node_pool="nobodys"))
        except CloudError as error:
            return str(error)
        raise AssertionError

    assert speaking(karpenters_kinds, act) == "there is no NodePool nobodys"


async def _names(client: Client) -> AsyncIterator[str]:
    async for page in client.list(NODE_CLAIMS):
        for each in items_of(page, dict):
            yield str(each["metadata"]["name"])
