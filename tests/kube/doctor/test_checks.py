"""What `doctor` finds in clusters that have one thing wrong, and that it finds nothing in one that has not."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from tests.builders import node, pod

from neaptide.kube.doctor.checks import examine
from neaptide.kube.doctor.finding import Finding, Seen
from neaptide.kube.doctor.rights import NEEDED
from neaptide.kubeapi.resources import PLANS, POLICIES, PRICE_CATALOGUES, Resource
from neaptide.model import objects as o
from neaptide.model.node_pools import NodePool, NodePoolDisruption, NodePoolSpec
from neaptide.model.snapshot import ClusterSnapshot

NOW = 1_800_000_000.0
OURS = frozenset({POLICIES, PLANS, PRICE_CATALOGUES})
LEADING = {"neaptide-system/neaptide": ("neaptide-0", NOW - 5)}
KARPENTER = Resource("karpenter.sh", "v1", "nodeclaims", "NodeClaim", namespaced=False)


def cluster(*items: Any, usage: float = 1000.0, price: float = 1.0) -> ClusterSnapshot:
    snapshot = ClusterSnapshot()
    for item in (node("n"), *items):
        snapshot.set(item)
    for row in snapshot.nodes.indices().tolist():
        snapshot.set_node_usage(row, usage, usage, NOW)
        snapshot.set_price(row, price)
    return snapshot


def seen(*items: Any, usage: float = 1000.0, price: float = 1.0, **fields: Any) -> Seen:
    known = {"served": OURS, "leases": LEADING, "rights": dict.fromkeys(NEEDED, True), **fields}
    return Seen(cluster(*items, usage=usage, price=price), NOW, **known)


def priority_class(name: str, **fields: Any) -> o.PriorityClass:
    return o.PriorityClass(o.Metadata(name=name), value=5500, **fields)


def budget(name: str, allowed: int) -> o.PodDisruptionBudget:
    return o.PodDisruptionBudget(
        o.Metadata(name=name, namespace="default"),
        o.DisruptionBudgetSpec(selector=o.LabelSelector({"app": "web"})),
        o.DisruptionBudgetStatus(disruptions_allowed=allowed),
    )


def without(*verbs: str) -> Mapping[Any, bool]:
    return {right: str(right) not in verbs for right in NEEDED}


def node_pool(name: str, after: str) -> NodePool:
    return NodePool(o.Metadata(name=name), NodePoolSpec(disruption=NodePoolDisruption(consolidate_after=after)))


def consolidation(mode: str, *, schedule: Any = None, **scope: Any) -> bytes:
    spec = {"policy": "consolidation", "mode": mode, "scope": scope} | ({"schedule": schedule} if schedule else {})
    return json.dumps(
        {"apiVersion": "neaptide.io/v1alpha1", "kind": "Policy", "metadata": {"name": "less"}, "spec": spec}
    ).encode()


WEB = pod("web", node="n", labels={"app": "web"})
NEVER = priority_class("koord-batch", preemption_policy="Never")

CASES: dict[str, tuple[Seen, str, str, str]] = {
    "the CRDs are missing": (seen(served=frozenset(), leases={}), "note", "installed", "does not know Policy, Plan"),
    "leases may not be seen": (seen(leases=None), "note", "installed", "whether a controller runs cannot be told"),
    "nobody leads": (seen(leases={}), "warning", "installed", "no controller holds a lease"),
    "the leader died": (
        seen(leases={"ns/neaptide": ("neaptide-0", NOW - 90)}), "problem", "installed", "neaptide-0 renewed it 90 s ago",
    ),
    "the lease was given up": (seen(leases={"ns/neaptide": ("", NOW - 1)}), "problem", "installed", "nobody holds it"),
    "pods passed the webhook by": (
        seen(fail_open={"pods.neaptide.io": 3.0}), "problem", "admission", "3 pods were admitted without the webhook",
    ),
    "evictions are not allowed": (seen(rights=without("create pods/eviction")), "note", "rights", "create pods/eviction"),
    "nodes may not be listed": (seen(rights=without("list nodes")), "warning", "rights", "list nodes"),
    "something was not seen": (seen(unseen=["could not see nodes: forbidden"]), "warning", "rights", "could not see nodes"),
    "Karpenter is there": (seen(served=OURS | {KARPENTER}), "note", "Karpenter", "API group karpenter.sh"),
    "koord-manager is there": (
        seen(leases=LEADING | {"koordinator-system/koord-manager": ("x", NOW)}), "warning", "Koordinator", "lease koord-manager",
    ),
    "Karpenter consolidates the same nodes": (
        seen(node_pool("work", "0s"), node_pool("jobs", "Never"), policies={"less": consolidation("Enforce")}), "warning", "consolidation",
        "the Policy less consolidates the nodes of 1 NodePools that Karpenter consolidates too (work)",
    ),
    "the Policies cannot be read beside Karpenter's": (
        seen(node_pool("work", "0s"), policies=None), "warning", "consolidation", "Policies cannot be read",
    ),
    "another scheduler": (
        seen(pod("train", node="n", spec={"scheduler_name": "volcano"})), "note", "schedulers", "1 pods ask for the scheduler volcano",
    ),
    "a webhook that fails closed": (
        seen(webhooks={"istio": "Fail", "ours": "Ignore"}), "warning", "admission", "the webhook istio is asked",
    ),
    "offline work preempts": (seen(priority_class("koord-batch")), "problem", "priorities", "koord-batch may preempt"),
    "services have no class": (
        seen(NEVER, WEB), "warning", "priorities", "1 workloads of the band prod have no priority class (ReplicaSet default/web)",
    ),
    "a budget allows nothing": (seen(WEB, budget("b", 0)), "warning", "disruption budgets", "(default/b)"),
    "two budgets for a pod": (
        seen(WEB, budget("a", 1), budget("b", 1)), "warning", "disruption budgets", "1 pods have several",
    ),
    "a bare pod": (seen(pod("alone", node="n", owner=None)), "note", "pods", "(default/alone)"),
    "nobody measures": (seen(usage=float("nan")), "warning", "usage", "the use of 1 of 1 nodes is not known"),
    "a node has no price": (seen(price=float("nan")), "warning", "prices", "the price of 1 of 1 nodes is not known (n)"),
}  # fmt: skip


@pytest.mark.parametrize(("found", "severity", "about", "message"), CASES.values(), ids=CASES.keys())
def test_one_thing_that_is_wrong_is_found_with_a_fix(found: Seen, severity: str, about: str, message: str) -> None:
    findings = [each for each in examine(found) if each.about == about and message in each.message]
    assert [each.severity for each in findings] == [severity]
    assert findings[0].fix or severity == "note"


def test_a_cluster_with_nothing_wrong_has_only_its_leader_named() -> None:
    assert [each.message for each in examine(seen(NEVER, budget("unused", 0)))] == [
        "lease neaptide-system/neaptide: the controller neaptide-0 leads"
    ]


def test_problems_come_first() -> None:
    found = examine(seen(priority_class("koord-free"), leases={}, served=OURS | {KARPENTER}))
    ranks = [("problem", "warning", "note").index(each.severity) for each in found]
    assert ranks == sorted(ranks)
    assert isinstance(found[0], Finding)


POOLED = node("pooled", labels={"karpenter.sh/nodepool": "work", "team": "a"})


@pytest.mark.parametrize(
    ("items", "policy"),
    [
        ((node_pool("work", "0s"),), consolidation("Recommend")),
        ((node_pool("work", "0s"),), consolidation("Off")),
        ((node_pool("work", "Never"),), consolidation("Enforce")),
        ((node_pool("work", "0s"), POOLED), consolidation("Enforce", nodeSelector={"matchLabels": {"team": "b"}})),
        ((node_pool("work", "0s"),), b'{"metadata": {"name": "odd"}, "spec": {"policy": "consolidation", "mode": "Sometimes"}}'),
        ((), consolidation("Enforce")),
    ],
    ids=["it recommends", "it is off", "Karpenter never does", "its scope has other nodes", "it cannot be read", "no NodePools"],
)  # fmt: skip
def test_one_consolidator_is_not_warned_of(items: tuple[Any, ...], policy: bytes) -> None:
    assert "consolidation" not in {each.about for each in examine(seen(*items, policies={"less": policy}))}


def test_a_scope_that_has_some_nodes_of_a_node_pool_is_warned_of() -> None:
    policy = consolidation("Enforce", nodeSelector={"matchLabels": {"team": "a"}})
    found = examine(seen(node_pool("work", "30s"), POOLED, policies={"less": policy}))
    assert "consolidation" in {each.about for each in found}


def test_a_schedule_that_is_closed_now_does_not_hide_what_comes_later() -> None:
    schedule = {"windows": [{"schedule": "0 0 29 2 *", "durationSeconds": 1}]}
    policy = consolidation("Enforce", schedule=schedule)
    found = examine(seen(node_pool("work", "0s"), policies={"less": policy}))
    assert "consolidation" in {each.about for each in found}
