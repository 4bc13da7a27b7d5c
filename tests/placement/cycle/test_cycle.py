"""Queue, cycle, bind, and what happens when a binding fails."""

import pytest
from msgspec.structs import replace
from tests.builders import node
from tests.placement.cycle.api import Api, pod

from neaptide.model import objects as o
from neaptide.model import storage_objects as storage
from neaptide.placement.cycle import actions as a
from neaptide.placement.cycle import events as e
from neaptide.placement.cycle.machine import SchedulingCycle
from neaptide.placement.cycle.profile import read_cycle_profile


def test_pods_are_bound_and_counted_at_once() -> None:
    api = Api([node("a", cpu="4"), node("b", cpu="4"), *(pod(f"p{each}", cpu="1") for each in range(20))])
    api.settle()
    assert len(api.bound) == 8
    assert not api.over_committed()
    waiting = set(api.objects["Pod"]) - {key for key, _ in api.bound}
    assert {api.said[key] for key in waiting} == {
        (
            "0/2 nodes are available: 2 Insufficient cpu. "
            "no new claims to deallocate, preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
        )
    }


def test_pods_of_other_schedulers_are_left_alone_and_counted() -> None:
    other = o.Pod(o.Metadata(name="other", namespace="default"), o.PodSpec())
    api = Api([node("a", cpu="1"), other, pod("mine", cpu="1")])
    api.settle()
    assert api.bound == [("default/mine", "a")]


def test_a_higher_band_is_tried_first_then_a_higher_priority() -> None:
    pods = [
        pod("batch", priority=5900, cpu="1"),
        pod("low", priority=9000, cpu="1"),
        pod("high", priority=9500, cpu="1"),
    ]
    api = Api([node("a", cpu="2"), *pods])
    api.cycle()
    assert api.bound == [("default/high", "a"), ("default/low", "a")]


def test_a_refused_binding_gives_the_room_back_and_is_tried_again_after_a_backoff() -> None:
    api = Api([node("a", cpu="1"), pod("p", cpu="1")])
    api.refuse_binds.add("default/p")
    api.cycle()
    assert not api.machine.assumed()
    assert not api.bound
    assert api.machine.due(api.now) == api.now + 1
    api.cycle(after=1.0)
    assert api.bound == [("default/p", "a")]


def test_a_pod_that_another_scheduler_bound_first_stays_where_it_is() -> None:
    api = Api([node("a"), node("b"), pod("p", cpu="1")])
    api.lazy = True
    bind = api.cycle()[0]
    assert isinstance(bind, a.Bind)
    other = {"a": "b", "b": "a"}[bind.node]
    found = api.objects["Pod"]["default/p"]
    api.apply(replace(found, spec=replace(found.spec, node_name=other)))
    api.carry_out([bind])
    assert api.node_of("p") == other
    assert not api.machine.assumed()
    assert not api.machine.waiting()


def test_status_updates_of_an_assumed_pod_do_not_take_its_node_away() -> None:
    api = Api([node("a", cpu="1"), pod("p", cpu="1"), pod("q", cpu="1")])
    api.lazy = True
    binds = [each for each in api.cycle() if isinstance(each, a.Bind)]
    api.apply(*list(api.objects["Pod"].values()))
    assert not any(isinstance(each, a.Bind) for each in api.cycle(after=400.0))
    api.carry_out(binds)
    assert len(api.bound) == 1
    assert not api.over_committed()


def test_a_pod_deleted_while_it_is_being_bound_gives_its_room_back() -> None:
    api = Api([node("a", cpu="1"), pod("p", cpu="1"), pod("q", cpu="1")])
    api.lazy = True
    binds = [each for each in api.cycle() if isinstance(each, a.Bind)]
    api.delete("Pod", f"default/{binds[0].pod.name}")
    api.lazy = False
    api.carry_out(binds)
    api.settle()
    assert len(api.bound) == 1


def test_a_pod_recreated_under_its_name_is_another_pod() -> None:
    api = Api([node("a", cpu="1"), pod("p", cpu="1")])
    api.lazy = True
    bind = api.cycle()[0]
    found = api.objects["Pod"]["default/p"]
    api.apply(replace(found, metadata=replace(found.metadata, uid="uid-new")))
    api.lazy = False
    api.carry_out([bind])
    assert not api.bound
    api.settle()
    assert api.bound == [("default/p", "a")]


def test_an_event_that_cannot_help_wakes_nobody() -> None:
    big = pod("big", cpu="8")
    api = Api([node("a", cpu="4"), big])
    api.cycle()
    api.apply(node("a", cpu="4", labels={"new": "label"}), node("b", cpu="4"))
    assert api.machine.due(api.now + 100) == api.now + 300
    api.apply(node("c", cpu="8"))
    api.cycle(after=1.0)
    assert api.node_of("big") == "c"


def test_a_pod_that_leaves_wakes_those_that_its_room_can_help() -> None:
    api = Api([node("a", cpu="2"), pod("one", cpu="2", node="a"), pod("two", cpu="2")])
    api.cycle()
    api.delete("Pod", "default/one")
    api.cycle(after=0.5)
    assert not api.bound, "its back-off is not over"
    api.cycle(after=0.5)
    assert api.node_of("two") == "a"


def test_the_backoff_doubles_up_to_ten_seconds() -> None:
    api = Api([node("a", cpu="1"), pod("p", cpu="1")])
    waits = []
    for _ in range(6):
        api.refuse_binds.add("default/p")
        api.cycle()
        waits.append(api.machine.due(api.now) - api.now)
        api.now = api.machine.due(api.now)
    assert waits == [1, 2, 4, 8, 10, 10]


def test_gated_pods_wait_until_their_gates_are_gone() -> None:
    gated = pod("p", cpu="1", spec={"scheduling_gates": (o.SchedulingGate("quota"),)})
    api = Api([node("a"), gated])
    api.settle()
    assert not api.bound
    api.apply(replace(gated, spec=replace(gated.spec, scheduling_gates=())))
    api.settle()
    assert api.node_of("p") == "a"


def test_resource_claims_are_refused_with_the_reason() -> None:
    api = Api([node("a"), pod("p", spec={"resource_claims": (o.ResourceClaim("gpu"),)})])
    api.settle()
    assert "pod has resource claims, which need kube-scheduler's plugin DynamicResources" in api.said["default/p"]


def test_a_pod_whose_amounts_cannot_be_read_gets_that_as_its_reason() -> None:
    api = Api([node("a"), pod("bad", cpu="many"), pod("good", cpu="1")])
    api.settle()
    assert api.node_of("good") == "a"
    assert "many" in api.said["default/bad"]


def test_a_node_that_goes_while_a_pod_is_bound_to_it_costs_only_the_backoff() -> None:
    api = Api([node("a", cpu="1"), pod("p", cpu="1")])
    api.lazy = True
    api.cycle()
    api.delete("Node", "a")
    api.lazy = False
    api.apply(node("b", cpu="1"))
    api.settle()
    assert api.bound == [("default/p", "b")]


def test_a_claim_that_waits_for_its_first_consumer_is_bound_before_the_pod() -> None:
    claim = storage.PersistentVolumeClaim(
        o.Metadata(name="data", namespace="default"),
        storage.ClaimSpec(storage_class_name="fast", access_modes=("ReadWriteOnce",)),
    )
    slow = storage.StorageClass(o.Metadata(name="fast"), "csi.example.com", "WaitForFirstConsumer")
    volumes = (o.Volume("data", o.ClaimSource("data")),)
    api = Api([node("a"), slow, claim, pod("p", spec={"volumes": volumes})])
    wanted = api.cycle()
    assert [each for each in wanted if isinstance(each, a.SelectNode)]
    assert not api.bound
    meta = replace(claim.metadata, annotations={"volume.kubernetes.io/selected-node": "a"})
    api.apply(replace(claim, metadata=meta))
    assert not api.bound
    api.apply(replace(claim, spec=replace(claim.spec, volume_name="v"), status=storage.ClaimStatus("Bound")))
    assert api.bound == [("default/p", "a")]


def test_a_claim_whose_provisioner_gives_the_node_up_sends_the_pod_back() -> None:
    claim = storage.PersistentVolumeClaim(
        o.Metadata(name="data", namespace="default"), storage.ClaimSpec(storage_class_name="fast")
    )
    fast = storage.StorageClass(o.Metadata(name="fast"), "csi.example.com", "WaitForFirstConsumer")
    api = Api([node("a"), fast, claim, pod("p", spec={"volumes": (o.Volume("data", o.ClaimSource("data")),)})])
    api.cycle()
    api.apply(replace(claim, metadata=replace(claim.metadata, annotations={"volume.kubernetes.io/selected-node": "a"})))
    api.apply(claim)
    assert not api.machine.assumed()
    assert "could not be provisioned" in api.machine.waiting()[0].message


def test_old_pods_of_low_priority_overtake_new_ones_within_their_band() -> None:
    old = pod("old", priority=5000, cpu="1")
    old = replace(old, metadata=replace(old.metadata, creation_timestamp="1970-01-01T00:00:00Z"))
    new = pod("new", priority=5100, cpu="1")
    new = replace(new, metadata=replace(new.metadata, creation_timestamp="1970-01-01T00:16:00Z"))
    api = Api([node("a", cpu="1")])
    api.now = 1300.0
    api.apply(old, new)
    api.cycle()
    assert [key for key, _ in api.bound] == ["default/old"]


def test_a_share_of_tries_goes_to_starving_pods_of_lower_bands() -> None:
    starving = [pod(f"batch{each}", priority=5500, cpu="1") for each in range(10)]
    api = Api([node("a", cpu="1")])
    api.apply(*starving)
    api.cycle()
    api.now += 4000
    for number in range(10):
        api.delete("Pod", api.bound[-1][0])
        api.apply(pod(f"prod{number}", priority=9500, cpu="1"))
        api.now += 11
        api.cycle()
    bands = ["batch" in key for key, _ in api.bound[1:]]
    assert 0 < sum(bands) <= 3


def test_a_new_scheduler_binds_nothing_twice() -> None:
    api = Api([node("a", cpu="2"), *(pod(f"p{each}", cpu="1") for each in range(3))])
    api.lazy = True
    wanted = api.cycle()
    api.restart()
    api.lazy = False
    api.settle()
    api.carry_out([each for each in wanted if isinstance(each, a.Bind)])
    assert len({key for key, _ in api.bound}) == len(api.bound) == 2
    assert not api.over_committed()


def test_bound_pods_are_announced() -> None:
    api = Api([node("a"), pod("p")])
    api.settle()
    said = [each for each in api.actions if isinstance(each, a.Emit)]
    assert [(each.reason, each.message) for each in said] == [("Scheduled", "Successfully assigned default/p to a")]


def _told(machine: SchedulingCycle, event: e.AnyEvent, now: float = 1000.0) -> list[str]:
    """The reasons of the Events that follow."""
    return [each.reason for each in machine.step(event, now) if isinstance(each, a.Emit)]


@pytest.mark.parametrize(
    "answered", ["before the pod is shown", "after it", "with a refusal, for the lease has gone", "never"]
)
def test_a_binding_is_announced_once_whoever_tells_of_it_first(answered: str) -> None:
    api = Api([node("a"), pod("p")])
    (bind,) = (each for each in api.machine.step(e.Cycle(), api.now) if isinstance(each, a.Bind))
    shown = pod("p", node="a")
    assert shown.metadata.uid == bind.pod.uid
    bound, refused = (
        e.Bound("default/p", bind.pod.uid),
        e.BindFailed("default/p", bind.pod.uid, "", "the lease is lost"),
    )
    order: dict[str, list[e.AnyEvent]] = {
        "before the pod is shown": [bound, e.Applied(shown)],
        "after it": [e.Applied(shown), bound],
        "with a refusal, for the lease has gone": [e.Applied(shown), refused],
        "never": [e.Applied(shown), e.Applied(shown)],
    }
    said = [_told(api.machine, each) for each in order[answered]]
    assert said == [["Scheduled"], []]


def test_a_pod_that_somebody_else_bound_is_not_announced() -> None:
    api = Api([node("a"), node("b"), pod("p")])
    (bind,) = (each for each in api.machine.step(e.Cycle(), api.now) if isinstance(each, a.Bind))
    elsewhere = "b" if bind.node == "a" else "a"
    assert not _told(api.machine, e.Applied(pod("p", node=elsewhere)))


def test_events_about_unknown_pods_change_nothing() -> None:
    api = Api([node("a")])
    api.step(e.Bound("default/p", "uid"))
    api.step(e.BindFailed("default/p", "uid", "Timeout", ""))
    api.step(e.PreemptionRefused("default/p", "uid", ""))
    api.step(e.Removed("Pod", "p", "default"))
    assert not api.actions


def test_pods_on_a_cluster_without_nodes_are_tried_as_soon_as_one_joins() -> None:
    api = Api([pod("p", cpu="1")])
    api.cycle()
    assert api.said["default/p"].startswith("no nodes available to schedule pods")
    api.now += 2
    api.apply(node("a"))
    api.cycle()
    assert api.bound == [("default/p", "a")]


def test_usage_that_falls_wakes_the_pods_that_a_hot_node_refused() -> None:
    profile = read_cycle_profile("filters: [NodeResourcesFit, LoadAware]\nscores: [LoadAware]")
    assert profile.asks_for_usage
    api = Api([node("a", cpu="10"), pod("p", cpu="1")], profile)

    def measured(cpu: float) -> None:
        api.machine.snapshot.set_node_usage(0, cpu, 0.0, api.now)
        api.step(e.Measured())

    measured(9000.0)
    api.cycle()
    assert "usage exceed threshold" in api.said["default/p"]
    assert not api.bound
    api.now += 30
    measured(1000.0)
    api.cycle()
    assert api.bound == [("default/p", "a")]
