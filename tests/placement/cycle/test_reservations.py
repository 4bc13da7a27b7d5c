"""Room that is kept, for whom, and for how long."""

from typing import Any

import pytest
from msgspec.structs import replace
from tests.builders import node
from tests.placement.cycle.api import Api, pod

from neaptide.model import objects as o
from neaptide.model.scheduling_objects import (
    ControllerReference,
    ObjectReference,
    Reservation,
    ReservationOwner,
    ReservationSpec,
    ReservedTemplate,
)
from neaptide.placement.cycle import actions as a

WEB = o.LabelSelector({"app": "web"})
BY_LABEL = ReservationOwner(label_selector=WEB)


def reservation(name: str = "r", cpu: str = "2", owner: ReservationOwner = BY_LABEL, **spec: Any) -> Reservation:
    container = o.Container(name="main", resources=o.Resources(requests={"cpu": cpu}))
    template = ReservedTemplate(spec=o.PodSpec(containers=(container,), priority=5500))
    return Reservation(o.Metadata(name=name, uid=f"uid-{name}"), ReservationSpec(template, (owner,), **spec))


def phase(api: Api, name: str = "r") -> str:
    found: Reservation = api.objects["Reservation"][name]
    return found.status.phase


def web(name: str, cpu: str = "1", **extra: Any) -> o.Pod:
    return pod(name, cpu=cpu, labels={"app": "web"}, **extra)


def test_room_is_kept_for_its_owner_alone() -> None:
    api = Api([node("a", cpu="2"), reservation()])
    api.settle()
    assert phase(api) == "Available"
    api.apply(pod("other", cpu="1"))
    api.settle()
    assert not api.bound
    api.apply(web("w", "2"))
    api.settle()
    assert api.bound == [("default/w", "a")]
    assert api.annotations["default/w"] == {
        "scheduling.koordinator.sh/reservation-allocated": '{"name":"r","uid":"uid-r"}'
    }
    assert phase(api) == "Succeeded"


@pytest.mark.parametrize(
    "owner",
    [
        BY_LABEL,
        ReservationOwner(object=ObjectReference("Pod", "default", "w")),
        ReservationOwner(controller=ControllerReference("ReplicaSet", "web")),
    ],
    ids=["labels", "object", "controller"],
)
def test_owners_are_known_by(owner: ReservationOwner) -> None:
    api = Api([node("a", cpu="2"), reservation(owner=owner)])
    api.settle()
    api.apply(web("w"), pod("x", cpu="1", owner=("ReplicaSet", "x")))
    api.settle()
    assert "default/w" in dict(api.bound)


def test_room_for_many_owners_shrinks_and_grows() -> None:
    api = Api([node("a", cpu="3"), reservation(cpu="3", allocate_once=False)])
    api.settle()
    api.apply(web("w1"), pod("other", cpu="1"))
    api.settle()
    assert [key for key, _ in api.bound] == ["default/w1"]
    assert api.objects["Reservation"]["r"].status.allocated == {"cpu": "1000m"}
    api.delete("Pod", "default/w1")
    api.settle()
    assert not api.node_of("other")
    api.apply(web("w2", "3"))
    api.settle()
    assert api.node_of("w2") == "a"
    assert not api.over_committed()


def test_an_aligned_reservation_lets_its_owner_take_more_from_the_node() -> None:
    api = Api([node("a", cpu="3"), reservation(allocate_policy="Aligned")])
    api.settle()
    api.apply(web("w", "3"))
    api.settle()
    assert api.node_of("w") == "a"


def test_a_restricted_reservation_does_not() -> None:
    api = Api([node("a", cpu="3"), reservation(allocate_policy="Restricted")])
    api.settle()
    api.apply(web("w", "3"))
    api.settle()
    assert not api.bound


@pytest.mark.parametrize("spec", [{"ttl": "60s"}, {"expires": "1970-01-01T00:17:40Z"}], ids=["ttl", "expires"])
def test_room_is_given_back_when_the_time_is_over(spec: dict[str, Any]) -> None:
    item = reservation(**spec)
    item = replace(item, metadata=replace(item.metadata, creation_timestamp="1970-01-01T00:16:40Z"))
    api = Api([node("a", cpu="2"), item])
    api.cycle()
    api.apply(pod("other", cpu="2"))
    api.cycle(after=10.0)
    assert not api.bound
    assert api.machine.due(api.now) <= 1060.0
    api.cycle(after=60.0)
    api.settle()
    assert phase(api) == "Failed"
    assert api.node_of("other") == "a"


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (reservation(owner=ReservationOwner()), "spec.owners names nobody"),
        (reservation(allocate_policy="Loose"), "spec.allocatePolicy Loose is not known"),
        (reservation(ttl="soon"), "spec.ttl soon is no duration"),
        (reservation(cpu="many"), "'many' is not accepted"),
    ],
    ids=["nobody", "policy", "ttl", "amount"],
)
def test_a_reservation_that_makes_no_sense_fails_with_the_reason(item: Reservation, reason: str) -> None:
    api = Api([node("a"), item])
    api.settle()
    assert phase(api) == "Failed"
    assert any(reason in each.message for each in api.actions if isinstance(each, a.SetReservation))


def test_a_reservation_that_finds_no_room_stays_pending_and_says_why() -> None:
    api = Api([node("a", cpu="1"), reservation()])
    api.settle()
    assert phase(api) == "Pending"
    assert any("Insufficient cpu" in each.message for each in api.actions if isinstance(each, a.SetReservation))
    api.apply(node("b", cpu="2"))
    api.settle()
    assert phase(api) == "Available"


def test_a_node_that_goes_ends_its_reservations() -> None:
    api = Api([node("a", cpu="2"), reservation()])
    api.settle()
    api.delete("Node", "a")
    assert phase(api) == "Failed"


def test_kept_room_is_not_preempted() -> None:
    api = Api([node("a", cpu="2"), reservation()])
    api.settle()
    api.apply(pod("prod", priority=9500, cpu="2"))
    api.settle()
    assert not api.bound
    assert not api.evicted


def test_a_pod_may_ask_for_a_reservation_or_nothing() -> None:
    wish = {"scheduling.koordinator.sh/reservation-affinity": '{"name":"r"}'}
    api = Api([node("a", cpu="4"), web("w", annotations=wish)])
    api.settle()
    assert not api.bound
    assert "no reservations match reservation affinity" in api.said["default/w"]
    api.apply(reservation())
    api.settle()
    assert api.node_of("w") == "a"


def test_a_new_scheduler_knows_what_was_taken() -> None:
    api = Api([node("a", cpu="3"), reservation(cpu="3", allocate_once=False)])
    api.settle()
    api.apply(web("w1"))
    api.settle()
    api.restart()
    api.apply(pod("other", cpu="1"), web("w2", "2"))
    api.settle()
    assert {key for key, _ in api.bound} == {"default/w1", "default/w2"}
    assert not api.over_committed()


@pytest.mark.parametrize("asks", [True, False], ids=["with", "without"])
def test_a_rolling_update_on_a_full_cluster_while_batch_pods_churn(asks: bool) -> None:
    said = {"neaptide.io/reserve-on-update": "true"} if asks else {}
    service = o.Workload("Deployment", o.Metadata(name="web", namespace="default", annotations=said), o.WorkloadSpec(4))
    replicas = o.Workload(
        "ReplicaSet",
        o.Metadata(
            name="web-1",
            namespace="default",
            owner_references=(o.OwnerReference("Deployment", "web", controller=True),),
        ),
    )
    mine = ("ReplicaSet", "web-1")
    never = {"preemption_policy": "Never"}
    nodes = [node(each, cpu="2") for each in "ab"]
    old = [pod(f"old-{each}", node="ab"[each % 2], cpu="1", priority=9500, owner=mine) for each in range(4)]
    api = Api([*nodes, service, replicas, *old])
    waited = []
    for number in range(4):
        api.apply(pod(f"batch-{number}", cpu="1", priority=5500))
        api.delete("Pod", f"default/old-{number}")
        api.cycle(after=1.0)
        api.apply(pod(f"new-{number}", cpu="1", priority=9500, owner=mine, spec=never))
        api.cycle(after=1.0)
        waited.append(not api.node_of(f"new-{number}"))
    assert any(waited) is not asks
    if asks:
        assert not [key for key, _ in api.bound if "batch" in key]
        assert not api.objects["Reservation"]
    assert not api.over_committed()


def test_room_is_kept_on_the_node_that_a_pod_has_left_though_another_is_emptier() -> None:
    said = {"neaptide.io/reserve-on-update": "true"}
    service = o.Workload("Deployment", o.Metadata(name="web", namespace="default", annotations=said), o.WorkloadSpec(1))
    old = pod("old", node="full", cpu="1", owner=("Deployment", "web"))
    api = Api([node("full", cpu="1"), node("empty", cpu="8"), service, old])
    api.delete("Pod", "default/old")
    api.cycle(after=1.0)
    (kept,) = api.objects["Reservation"].values()
    assert (kept.status.phase, kept.status.node_name, kept.status.allocatable) == (
        "Available",
        "full",
        {"cpu": "1000m"},
    )


def test_scaling_down_keeps_no_room() -> None:
    said = {"neaptide.io/reserve-on-update": "true"}
    service = o.Workload("Deployment", o.Metadata(name="web", namespace="default", annotations=said), o.WorkloadSpec(1))
    old = [pod(f"old-{each}", node="a", cpu="1", owner=("Deployment", "web")) for each in range(2)]
    api = Api([node("a", cpu="2"), service, *old])
    api.delete("Pod", "default/old-0")
    assert not any(isinstance(each, a.CreateReservation) for each in api.actions)
