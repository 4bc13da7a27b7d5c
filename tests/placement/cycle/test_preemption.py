"""Making room: whom, when not, and what becomes of the room."""

from typing import Any

import pytest
from msgspec.structs import replace
from tests.builders import node
from tests.placement.cycle.api import PROTECTED, Api, pod

from neaptide.model import objects as o
from neaptide.placement.cycle import actions as a
from neaptide.placement.cycle import events as e
from neaptide.placement.cycle.machine import SchedulingCycle
from neaptide.placement.cycle.profile import read_cycle_profile
from neaptide.policies.protection import protection


def running(name: str, on: str, priority: int = 5500, cpu: str = "1", **extra: Any) -> o.Pod:
    return pod(name, node=on, priority=priority, cpu=cpu, **extra)


def budget(name: str, allowed: int, **labels: str) -> o.PodDisruptionBudget:
    return o.PodDisruptionBudget(
        o.Metadata(name=name, namespace="default"),
        o.DisruptionBudgetSpec(selector=o.LabelSelector(labels)),
        o.DisruptionBudgetStatus(disruptions_allowed=allowed),
    )


ON_TWO_NODES: dict[str, tuple[list[Any], list[str]]] = {
    "none where there is room": ([running("x", "a")], []),
    "the lower band": ([running("mid", "a", 7500, "2"), running("batch", "b", 5500, "2")], ["batch"]),
    "of one band the lower priority": ([running("x", "a", 5600, "2"), running("y", "b", 5500, "2")], ["y"]),
    "the one that started last": (
        [
            running("old", "a", cpu="2", started="2026-01-01T00:00:00Z"),
            running("new", "b", cpu="2", started="2026-01-02T00:00:00Z"),
        ],
        ["new"],
    ),
    "the fewest": ([running("x", "a"), running("y", "a"), running("z", "b", cpu="2")], ["z"]),
    "the one whose budget allows it": (
        [running("x", "a", cpu="2", labels={"app": "x"}), running("y", "b", cpu="2"), budget("x", 0, app="x")],
        ["y"],
    ),
    "one whose budget does not allow it, if it cannot be helped": (
        [running("x", "a", cpu="2", labels={"app": "x"}), running("m", "b", 9800, "2"), budget("x", 0, app="x")],
        ["x"],
    ),
    "nobody who is protected": (
        [running("x", "a", cpu="2", annotations={PROTECTED: "true"}), running("m", "b", 7500, "2")],
        ["m"],
    ),
    "nobody of its own rank or above": ([running("x", "a", 9500, "2"), running("y", "b", 9600, "2")], []),
}


@pytest.mark.parametrize(("others", "evicted"), ON_TWO_NODES.values(), ids=ON_TWO_NODES)
def test_a_pod_preempts(others: list[Any], evicted: list[str]) -> None:
    api = Api([node("a", cpu="2"), node("b", cpu="2"), *others, pod("p", priority=9500, cpu="2")])
    api.settle()
    assert api.evicted == [f"default/{each}" for each in evicted]
    assert not api.over_committed()
    if evicted:
        assert api.node_of("p")


def test_no_more_pods_go_than_it_takes() -> None:
    others = [running("x", "a"), running("y", "a", 5600), running("m", "b", 7500, "2")]
    api = Api([node("a", cpu="2"), node("b", cpu="2"), *others, pod("p", priority=9500, cpu="1")])
    api.settle()
    assert api.evicted == ["default/x"]


def test_the_surplus_decides_between_equals() -> None:
    others = [running("big", "a", cpu="4"), running("small", "b", cpu="2")]
    api = Api([node("a", cpu="4"), node("b", cpu="2"), *others, pod("p", priority=9500, cpu="2")])
    api.settle()
    assert api.evicted == ["default/small"]


def test_a_pod_that_never_preempts_says_so() -> None:
    new = pod("p", priority=9500, cpu="2", spec={"preemption_policy": "Never"})
    api = Api([node("a", cpu="2"), running("x", "a", cpu="2"), new])
    api.settle()
    assert not api.evicted
    assert api.said["default/p"].endswith(
        "no new claims to deallocate, preemption: not eligible due to preemptionPolicy=Never."
    )


def test_room_is_not_made_where_it_would_not_help() -> None:
    new = pod("p", priority=9500, cpu="1", spec={"node_selector": {"disk": "ssd"}})
    api = Api([node("a", cpu="2"), running("x", "a", cpu="2"), new])
    api.settle()
    assert not api.evicted
    assert api.said["default/p"].endswith(
        "no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    )


def test_the_room_made_is_kept_from_others_of_the_same_or_a_lower_rank() -> None:
    api = Api([node("a", cpu="2"), running("x", "a", cpu="2"), pod("p", priority=9500, cpu="2")])
    api.lazy = True
    wanted = api.cycle()
    assert [type(each) for each in wanted] == [a.Nominate, a.Preempt, a.SetUnscheduled]
    api.delete("Pod", "default/x")
    api.lazy = False
    api.apply(pod("q", priority=9500, cpu="2"), pod("r", priority=5500, cpu="2"))
    api.cycle()
    assert not api.bound
    api.cycle(after=2.0)
    assert api.bound == [("default/p", "a")]


def test_room_is_made_once_while_victims_are_still_leaving() -> None:
    api = Api([node("a", cpu="2"), running("x", "a"), running("y", "a"), pod("p", priority=9500, cpu="1")])
    api.lazy = True
    first = [each for each in api.cycle() if isinstance(each, a.Preempt)]
    victim = first[0].evictions[0].target.name
    leaving = api.objects["Pod"][f"default/{victim}"]
    meta = replace(leaving.metadata, deletion_timestamp="2026-01-01T00:00:00Z")
    api.apply(replace(leaving, metadata=meta))
    assert not [each for each in api.cycle(after=400.0) if isinstance(each, a.Preempt)]
    api.delete("Pod", f"default/{victim}")
    api.lazy = False
    api.cycle(after=11.0)
    assert api.node_of("p") == "a"


def test_two_pods_do_not_count_on_the_same_victim() -> None:
    victims = [running("x", "a", cpu="2"), running("y", "a", cpu="2")]
    api = Api([node("a", cpu="4"), *victims, *(pod(f"p{each}", priority=9500, cpu="2") for each in range(2))])
    api.settle()
    assert sorted(api.evicted) == ["default/x", "default/y"]
    assert api.nodes_of("p0", "p1") == ["a", "a"]


def test_a_refused_eviction_ends_the_nomination_and_is_tried_again_after_the_backoff() -> None:
    api = Api([node("a", cpu="2"), running("x", "a", cpu="2"), pod("p", priority=9500, cpu="2")])
    api.refuse_evictions = True
    api.cycle()
    assert not api.machine.nominated()
    assert [each.node for each in api.actions if isinstance(each, a.Nominate)] == ["a", ""]
    api.refuse_evictions = False
    assert api.machine.due(api.now) == api.now + 1
    api.settle()
    assert api.node_of("p") == "a"


def test_room_that_a_deleted_pod_had_made_goes_to_the_next() -> None:
    api = Api([node("a", cpu="2"), running("x", "a", cpu="2"), pod("p", priority=9500, cpu="2")])
    api.lazy = True
    api.cycle()
    api.delete("Pod", "default/x")
    api.apply(pod("q", priority=5500, cpu="2"))
    api.cycle()
    api.delete("Pod", "default/p")
    api.lazy = False
    api.cycle(after=1.0)
    assert api.node_of("q") == "a"


def test_the_policies_own_rule_spares_bare_pods() -> None:
    api = Api([node("a", cpu="2"), running("x", "a", cpu="2", owner=None), pod("p", priority=9500, cpu="2")])
    api.machine = SchedulingCycle(api.profile, protects=protection)
    api.step(e.Listed(tuple(each for known in api.objects.values() for each in known.values())))
    api.settle()
    assert not api.evicted


def test_a_new_scheduler_keeps_the_room_that_an_old_one_made() -> None:
    new = pod("p", priority=9500, cpu="2")
    api = Api([node("a", cpu="2"), replace(new, status=o.PodStatus(nominated_node_name="a")), pod("q", cpu="2")])
    api.restart()
    api.settle()
    assert api.node_of("p") == "a"


def test_anti_affinity_is_met_by_evicting_only_those_in_the_way() -> None:
    apart = o.PodAffinityTerm("kubernetes.io/hostname", o.LabelSelector({"app": "x"}))
    spec = {"affinity": o.Affinity(pod_anti_affinity=o.PodAffinity((apart,)))}
    others = [running("x", "a", labels={"app": "x"}), running("y", "a", labels={"app": "y"})]
    api = Api([node("a", cpu="4"), *others, pod("p", priority=9500, cpu="1", spec=spec)])
    api.settle()
    assert api.evicted == ["default/x"]
    assert api.node_of("p") == "a"


def test_preemption_can_be_switched_off() -> None:
    profile = read_cycle_profile("preemption: {enabled: false}")
    api = Api([node("a", cpu="2"), running("x", "a", cpu="2"), pod("p", priority=9500, cpu="2")], profile)
    api.settle()
    assert not api.evicted


def test_a_pod_that_fits_no_node_even_empty_says_that_preemption_does_not_help() -> None:
    others = [running("x", "a", cpu="2"), running("y", "b", priority=9500, cpu="4"), running("z", "c", cpu="2")]
    kept = pod("kept", node="c", cpu="2", priority=9500)
    nodes = [node("a", cpu="2"), node("b", cpu="4"), node("c", cpu="4")]
    api = Api([*nodes, *others, kept, pod("p", priority=9500, cpu="4")])
    api.settle()
    assert api.said["default/p"] == (
        "0/3 nodes are available: 3 Insufficient cpu. no new claims to deallocate, preemption: 0/3 nodes are available: "
        "1 Insufficient cpu, 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."
    )
