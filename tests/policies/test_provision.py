"""Provision buys what pods need that wait, at the lowest price, and nothing twice."""

from typing import Any

import msgspec
import pytest
from tests.builders import node, pod

from neaptide.model import objects as o
from neaptide.model.actions import FOR_LABEL, CreateNode, Nominate, Plan, Untaint
from neaptide.model.cloud import Coming
from neaptide.model.offerings import Offering
from neaptide.model.problems import FieldError
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.policies.provision import Provision, ProvisionMemory
from neaptide.policies.provision_opening import TAINT
from neaptide.policies.provision_spec import ProvisionSpec

NOW = 1.8e9
CREATED = "2026-01-01T00:00:00Z"


def sold(
    kind: str, cpu: int, price: float | None, *, capacity_type: str = "on-demand", zone: str = "a", **labels: str
) -> Offering:
    known = {"karpenter.sh/capacity-type": capacity_type, "topology.kubernetes.io/zone": zone, **labels}
    amounts = {"cpu": cpu * 1000, "memory": cpu * 4 << 30, "pods": 110}
    return Offering(kind, capacity_type, zone, price, amounts, known)


SMALL, LARGE = sold("small", 2, 0.1), sold("large", 8, 0.36)
SPOT = sold("small", 2, 0.03, capacity_type="spot")
OFFERS = (SMALL, LARGE, SPOT)


def waiting(name: str, cpu: str = "1", **fields: Any) -> o.Pod:
    made = pod(name, cpu=cpu, memory="1Gi", **fields)
    return msgspec.structs.replace(made, metadata=msgspec.structs.replace(made.metadata, creation_timestamp=CREATED))


def cluster(*pods: o.Pod, nodes: tuple[o.Node, ...] = (), offers: tuple[Offering, ...] = OFFERS) -> ClusterSnapshot:
    snapshot = ClusterSnapshot()
    for each in nodes:
        snapshot.set(each)
    for one in pods:
        snapshot.set(one)
    snapshot.offerings = offers
    return snapshot


def planned(
    snapshot: ClusterSnapshot, memory: ProvisionMemory | None = None, *, now: float = NOW, **spec: Any
) -> tuple[Plan, ProvisionMemory]:
    read = msgspec.convert({"reservePercent": 0, **spec}, ProvisionSpec)
    return Provision().plan(snapshot, read, memory or ProvisionMemory(), now)


def bought(plan: Plan) -> list[tuple[str, str]]:
    return sorted(
        (each.offering.instance_type, each.offering.capacity_type)
        for each in plan.actions
        if isinstance(each, CreateNode)
    )


def test_the_cheapest_mix_is_bought_and_takes_nobody_until_it_is_opened() -> None:
    plan, memory = planned(cluster(*(waiting(f"p{number}") for number in range(4))))
    assert bought(plan) == [("small", "spot"), ("small", "spot")]
    orders = [each for each in plan.actions if isinstance(each, CreateNode)]
    assert [each.key for order in orders for each in order.taints] == [TAINT, TAINT]
    assert memory.meant.keys() == {each.target.name for each in orders}
    assert sorted(name for each in memory.meant.values() for name in each.pods) == [
        f"default/p{number}" for number in range(4)
    ]


def test_without_nominating_pods_are_left_to_their_scheduler() -> None:
    plan, memory = planned(cluster(waiting("p")), nominate=False)
    (order,) = [each for each in plan.actions if isinstance(each, CreateNode)]
    assert (order.taints, memory.meant) == ((), {})


def test_pods_that_find_room_are_left_to_the_scheduler() -> None:
    plan, _ = planned(cluster(waiting("p"), nodes=(node("here"),)))
    assert plan.actions == ()


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"karpenter.sh/capacity-type": "on-demand"}, [("small", "on-demand")]),
        ({"node.kubernetes.io/instance-type": "large"}, [("large", "on-demand")]),
        ({"karpenter.sh/nodepool": "default"}, [("small", "spot")]),
    ],
    ids=["capacity type", "instance type", "pool"],
)
def test_what_a_pod_asks_of_its_node_is_kept(selector: dict[str, str], expected: list[tuple[str, str]]) -> None:
    plan, _ = planned(cluster(waiting("p", spec={"node_selector": selector})))
    assert bought(plan) == expected


def test_a_pod_that_no_offering_takes_is_declined_and_not_looked_at_again_until_something_changes() -> None:
    snapshot = cluster(waiting("huge", cpu="64"), waiting("fits"))
    plan, memory = planned(snapshot)
    assert [each.reason.code for each in plan.declined] == ["NoNodeFits"]
    snapshot.remove_pod("default/fits")
    plan, memory = planned(snapshot, memory)
    assert memory.helpless == ("default/huge",)
    again, same = planned(snapshot, memory)
    assert (again.actions, same) == ((), memory)
    assert [each.target.name for each in again.declined] == ["huge"]
    snapshot.offerings = (*OFFERS, sold("giant", 96, 4.0))
    plan, _ = planned(snapshot, memory)
    assert bought(plan) == [("giant", "on-demand")]


def test_pods_are_collected_until_none_has_come_for_a_while_but_not_for_ever() -> None:
    snapshot = cluster(waiting("p"))
    row = snapshot.pods.by_key["default/p"]
    snapshot.pods.created[row] = NOW - 0.5
    assert planned(snapshot)[0].actions == ()
    snapshot.set(waiting("old"))
    assert planned(snapshot)[0].actions != ()


def ordered(snapshot: ClusterSnapshot, plan: Plan, *, since: float) -> None:
    """The orders of a plan are on their way."""
    snapshot.coming = [Coming(each.order(), since) for each in plan.actions if isinstance(each, CreateNode)]


def joined(snapshot: ClusterSnapshot, *, at: str = "2027-01-15T07:59:50Z", ready: bool = True) -> list[str]:
    """What was on its way is there, under names of the cloud's own; these names."""
    names = []
    for number, each in enumerate(snapshot.coming):
        order = each.order
        made = node(
            f"ip-{number}", cpu="2", labels={**order.offering.labels, FOR_LABEL: order.name}, taints=order.taints
        )
        condition = o.NodeCondition(type="Ready", status=str(ready))
        names.append(made.metadata.name)
        snapshot.set(
            msgspec.structs.replace(
                made,
                metadata=msgspec.structs.replace(made.metadata, creation_timestamp=at),
                status=msgspec.structs.replace(made.status, conditions=(condition,)),
            )
        )
    snapshot.coming = []
    return names


def told(snapshot: ClusterSnapshot, plan: Plan) -> dict[str, str]:
    """Nominations are carried out; which pods they are about, and the node of each."""
    found = {each.target.name: each.node for each in plan.actions if isinstance(each, Nominate)}
    for name, where in found.items():
        snapshot.nominate(snapshot.pods.by_key[f"default/{name}"], where)
    return found


def opened(plan: Plan) -> list[str]:
    return sorted(each.target.name for each in plan.actions if isinstance(each, Untaint) and each.key == TAINT)


def test_pods_are_told_their_node_when_it_is_ready_and_it_is_opened_when_all_know() -> None:
    snapshot = cluster(*(waiting(f"p{number}") for number in range(4)))
    plan, memory = planned(snapshot)
    ordered(snapshot, plan, since=NOW)
    plan, memory = planned(snapshot, memory)
    assert plan.actions == ()
    names = joined(snapshot)
    plan, memory = planned(snapshot, memory)
    assert opened(plan) == []
    where = told(snapshot, plan)
    assert sorted(where.values()) == sorted([*names, *names])
    plan, memory = planned(snapshot, memory)
    assert (opened(plan), len(plan.actions)) == (names, len(names))
    assert planned(snapshot, memory)[0].actions == plan.actions  # until it is seen


def test_a_node_that_is_not_ready_is_not_opened() -> None:
    snapshot = cluster(waiting("p"))
    plan, memory = planned(snapshot)
    ordered(snapshot, plan, since=NOW)
    joined(snapshot, ready=False)
    assert planned(snapshot, memory)[0].actions == ()


def test_nodes_that_get_ready_together_are_opened_together() -> None:
    snapshot = cluster(waiting("p"))
    plan, memory = planned(snapshot)
    ordered(snapshot, plan, since=NOW)
    joined(snapshot, at="2027-01-15T08:00:00Z")
    assert planned(snapshot, memory)[0].actions == ()  # another may be a moment later
    assert told(snapshot, planned(snapshot, memory, now=NOW + 1)[0]) == {"p": "ip-0"}


def test_a_pod_whose_scheduler_has_forgotten_is_told_again_but_not_for_ever() -> None:
    snapshot = cluster(waiting("p"))
    plan, memory = planned(snapshot)
    ordered(snapshot, plan, since=NOW)
    joined(snapshot)
    for later in (0.0, 1.0, 9.0):
        plan, memory = planned(snapshot, memory, now=NOW + later)
        assert told(snapshot, plan) == {"p": "ip-0"}
        snapshot.nominate(snapshot.pods.by_key["default/p"], "")
    assert opened(planned(snapshot, memory, now=NOW + 10.0)[0]) == ["ip-0"]


def test_a_node_that_nobody_remembers_to_have_bought_is_opened() -> None:
    snapshot = cluster(waiting("p"))
    ordered(snapshot, planned(snapshot)[0], since=NOW)
    joined(snapshot)
    assert opened(planned(snapshot)[0]) == ["ip-0"]


@pytest.mark.parametrize(("waited", "expected"), [(2.0, 0), (60.0, 1)], ids=["a moment", "long"])
def test_nodes_are_opened_before_others_are_bought_for_pods_that_came_a_moment_ago(
    waited: float, expected: int
) -> None:
    snapshot = cluster(waiting("p"))
    plan, memory = planned(snapshot)
    ordered(snapshot, plan, since=NOW)
    joined(snapshot)
    late = snapshot.set_pod(waiting("late", cpu="8"))
    snapshot.pods.created[late] = NOW - waited
    plan, memory = planned(snapshot, memory)
    assert told(snapshot, plan) == {"p": "ip-0"}
    assert len(bought(plan)) == expected
    assert len(bought(planned(snapshot, memory)[0])) == 0  # it is opened now
    snapshot.set(node("ip-0", cpu="2"))
    assert len(bought(planned(snapshot, memory)[0])) == 1 - expected


def test_room_that_pods_are_promised_is_not_promised_to_others() -> None:
    snapshot = cluster(waiting("p0"), waiting("p1"))
    plan, memory = planned(snapshot)
    assert len(bought(plan)) == 1
    ordered(snapshot, plan, since=NOW)
    snapshot.set(waiting("late"))
    plan, memory = planned(snapshot, memory, now=NOW + 1)
    assert bought(plan) == [("small", "spot")]
    assert [each.pods for each in memory.meant.values()][1:] == [("default/late",)]


@pytest.mark.parametrize("nominate", [True, False])
def test_nothing_is_bought_twice_while_orders_are_on_their_way(*, nominate: bool) -> None:
    snapshot = cluster(*(waiting(f"p{number}") for number in range(6)))
    plan, memory = planned(snapshot, nominate=nominate)
    ordered(snapshot, plan, since=NOW)
    assert planned(snapshot, memory, nominate=nominate)[0].actions == ()


def test_an_order_that_has_failed_is_made_anew() -> None:
    snapshot = cluster(waiting("p"))
    _, memory = planned(snapshot)
    assert bought(planned(snapshot, memory, now=NOW + 1)[0]) == []  # it may not have been seen yet
    assert bought(planned(snapshot, memory, now=NOW + 10)[0]) == [("small", "spot")]


def test_a_node_that_does_not_come_in_time_is_no_longer_counted_on() -> None:
    snapshot = cluster(waiting("p"))
    plan, memory = planned(snapshot)
    ordered(snapshot, plan, since=NOW)
    plan, _ = planned(snapshot, memory, now=NOW + 901)
    assert bought(plan) == [("small", "spot")]
    assert [each.reason.code for each in plan.declined] == ["NotStarted"]


def test_a_node_that_has_joined_and_is_not_ready_counts_as_it_will_be() -> None:
    taint = o.Taint("node.kubernetes.io/not-ready", "", "NoSchedule")
    joined = node("new", labels={FOR_LABEL: "new"}, taints=(taint,))
    conditions = (o.NodeCondition(type="Ready", status="False"),)
    meta = msgspec.structs.replace(joined.metadata, creation_timestamp="2027-01-15T07:59:00Z")
    joined = msgspec.structs.replace(
        joined, metadata=meta, status=msgspec.structs.replace(joined.status, conditions=conditions)
    )
    assert planned(cluster(waiting("p"), nodes=(joined,)))[0].actions == ()


def test_pools_of_a_higher_weight_come_first_and_limits_hold() -> None:
    pools = [
        {"name": "first", "weight": 10, "limits": {"nodes": "1"}, "labels": {"team": "tide"}},
        {"name": "second", "requirements": [{"key": "karpenter.sh/capacity-type", "values": ["on-demand"]}]},
    ]
    plan, _ = planned(
        cluster(*(waiting(f"p{number}", cpu="1500m") for number in range(3))), pools=pools, nodeCostPerHour=1
    )
    orders = [each for each in plan.actions if isinstance(each, CreateNode)]
    assert [each.node_pool for each in orders].count("first") == 1
    assert {each.offering.capacity_type for each in orders if each.node_pool == "second"} <= {"on-demand"}
    assert orders[0].offering.labels["team"] == "tide"


def test_a_pool_that_wants_more_kinds_than_can_be_had_buys_nothing() -> None:
    wants = [{"key": "node.kubernetes.io/instance-type", "operator": "Exists", "minValues": 3}]
    plan, _ = planned(cluster(waiting("p")), pools=[{"name": "default", "requirements": wants}])
    assert plan.actions == ()
    assert "MinValues" in [each.reason.code for each in plan.declined]


def test_taints_of_the_pool_keep_other_pods_off_and_startup_taints_do_not_count() -> None:
    pools = [
        {
            "name": "gpu",
            "taints": [{"key": "gpu", "effect": "NoSchedule"}],
            "startupTaints": [{"key": "cni", "effect": "NoExecute"}],
        }
    ]
    tolerating = {"tolerations": (o.Toleration(key="gpu", operator="Exists"),)}
    plan, _ = planned(cluster(waiting("plain"), waiting("meant", spec=tolerating)), pools=pools)
    (order,) = [each for each in plan.actions if isinstance(each, CreateNode)]
    assert [each.key for each in order.taints] == ["gpu", "cni", TAINT]
    assert [each.target.name for each in plan.declined] == ["plain"]


def test_pods_that_keep_apart_get_a_node_each() -> None:
    apart = o.Affinity(
        pod_anti_affinity=o.PodAffinity(
            required_during_scheduling_ignored_during_execution=(
                o.PodAffinityTerm(
                    label_selector=o.LabelSelector(match_labels={"app": "web"}), topology_key="kubernetes.io/hostname"
                ),
            )
        )
    )
    pods = (waiting(f"p{number}", cpu="100m", labels={"app": "web"}, spec={"affinity": apart}) for number in range(3))
    plan, _ = planned(cluster(*pods))
    assert bought(plan) == [("small", "spot")] * 3


def test_an_unknown_price_is_not_bought() -> None:
    plan, _ = planned(cluster(waiting("p"), offers=(sold("free?", 8, None),)))
    assert [each.reason.code for each in plan.declined] == ["NothingOnSale", "NoNodeFits"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"pools": [{"name": "a"}, {"name": "a"}]}, r"pools\[\].name: 'a' is not accepted"),
        ({"pools": [{"limits": {"cpu": "many"}}]}, r"limits\[cpu\]: 'many' is not accepted"),
        ({"pools": [{"requirements": [{"key": "k", "operator": "Near"}]}]}, "operator: 'Near' is not accepted"),
    ],
    ids=["a pool twice", "no quantity", "no operator"],
)
def test_what_cannot_be_is_refused_with_the_field(spec: dict[str, Any], message: str) -> None:
    with pytest.raises((FieldError, msgspec.ValidationError), match=message):
        msgspec.convert(spec, ProvisionSpec)
