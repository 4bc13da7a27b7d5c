"""Gangs: together or not at all."""

import json

import pytest
from tests.builders import node
from tests.placement.cycle.api import Api, pod

from neaptide.model import objects as o
from neaptide.model.scheduling_objects import PodGroup, PodGroupSpec
from neaptide.placement.cycle.gangs import GANG, POD_GROUP_LABEL


def group(name: str, minimum: int, **annotations: str) -> PodGroup:
    said = {GANG + key.replace("_", "-"): value for key, value in annotations.items()}
    return PodGroup(o.Metadata(name=name, namespace="default", annotations=said), PodGroupSpec(minimum))


def members(gang: str, count: int, cpu: str = "1", priority: int = 5500) -> list[o.Pod]:
    labels = {POD_GROUP_LABEL: gang}
    return [pod(f"{gang}-{each}", cpu=cpu, labels=labels, priority=priority) for each in range(count)]


def annotated(gang: str, count: int, minimum: int, cpu: str = "1", **more: str) -> list[o.Pod]:
    said = {"name": gang, "min-available": str(minimum), **{key.replace("_", "-"): text for key, text in more.items()}}
    annotations = {GANG + key: text for key, text in said.items()}
    return [pod(f"{gang}-{each}", cpu=cpu, annotations=annotations, priority=5500) for each in range(count)]


def test_a_gang_that_fits_is_bound_together() -> None:
    api = Api([node("a", cpu="2"), node("b", cpu="2"), group("g", 4), *members("g", 4)])
    api.cycle()
    assert len(api.bound) == 4


@pytest.mark.parametrize("pods", [members("g", 4), annotated("g", 4, 4)], ids=["PodGroup", "annotations"])
def test_a_gang_that_does_not_fit_holds_nothing(pods: list[o.Pod]) -> None:
    api = Api([node("a", cpu="3"), group("g", 4), *pods, pod("other", cpu="3", priority=5000)])
    api.settle()
    assert api.bound == [("default/other", "a")]
    assert "3 of 4 pods of gang default/g found a node" in api.said["default/g-0"]


def test_a_gang_waits_for_its_members() -> None:
    api = Api([node("a"), group("g", 3), *members("g", 2)])
    api.settle()
    assert api.said["default/g-0"] == "gang default/g has 2 of the 3 pods that it needs together"
    api.apply(members("g", 3)[2])
    api.settle()
    assert len(api.bound) == 3


def test_pods_beyond_the_minimum_may_wait() -> None:
    api = Api([node("a", cpu="3"), group("g", 2), *members("g", 4)])
    api.settle()
    assert len(api.bound) == 3
    api.delete("Pod", api.bound[0][0])
    api.settle()
    assert len(api.bound) == 4, "the gang had its minimum once"


def test_a_non_strict_gang_keeps_what_it_has_for_its_waiting_time() -> None:
    pods = annotated("g", 3, 3, mode="NonStrict", waiting_time="30s")
    api = Api([node("a", cpu="2"), *pods, pod("other", cpu="2", priority=5000)])
    api.cycle()
    assert not api.bound
    assert len(api.machine.assumed()) == 2
    api.cycle(after=29.0)
    assert not api.bound
    api.cycle(after=2.0)
    api.cycle(after=11.0)
    assert not api.over_committed()
    assert all("g-" not in key for key, _ in api.bound)


def test_a_non_strict_gang_is_bound_when_the_last_one_finds_a_node() -> None:
    api = Api([node("a", cpu="2"), *annotated("g", 3, 3, mode="NonStrict")])
    api.cycle()
    api.apply(node("b", cpu="1"))
    api.cycle(after=1.0)
    assert len(api.bound) == 3


def test_gangs_of_a_group_go_together() -> None:
    groups = json.dumps(["default/g", "default/h"])
    pods = [*annotated("g", 2, 2, groups=groups), *annotated("h", 2, 2, groups=groups)]
    api = Api([node("a", cpu="3"), *pods])
    api.settle()
    assert not api.bound
    api.apply(node("b", cpu="1"))
    api.settle()
    assert len(api.bound) == 4


def test_two_gangs_that_need_the_same_room_do_not_block_each_other() -> None:
    api = Api([node("a", cpu="4"), group("g", 3), group("h", 3)])
    api.apply(*(each for pair in zip(members("g", 3), members("h", 3), strict=True) for each in pair))
    api.settle()
    assert len({key.split("-")[0] for key, _ in api.bound}) == 1
    assert len(api.bound) == 3


@pytest.mark.parametrize(
    ("pods", "reason"),
    [
        (members("g", 1), "PodGroup default/g not found"),
        (
            [*annotated("g", 1, 1), *(pod("g-9", annotations={GANG + "name": "g", GANG + "min-available": "2"}),)],
            "the pods of gang default/g differ in gang.scheduling.koordinator.sh/min-available: 1, 2",
        ),
        (annotated("g", 1, 0), "gang default/g has a minimum of 0; accepted: a number of pods from 1 on"),
        (annotated("g", 1, 1, mode="Loose"), "gang default/g has the mode Loose; accepted: one of Strict, NonStrict"),
        (
            annotated("g", 1, 1, waiting_time="soon"),
            "gang default/g has the waiting-time soon; accepted: a duration such as 10m",
        ),
    ],
    ids=["no PodGroup", "members differ", "minimum of 0", "unknown mode", "malformed waiting time"],
)
def test_a_gang_that_makes_no_sense_says_why(pods: list[o.Pod], reason: str) -> None:
    api = Api([node("a"), *pods])
    api.settle()
    assert not api.bound
    assert api.said["default/g-0"] == reason


def test_a_gang_preempts_for_all_of_its_pods_or_for_none() -> None:
    others = [pod(f"x{each}", node="a", cpu="1", priority=3500) for each in range(2)]
    small = Api([node("a", cpu="2"), *others, group("g", 3), *members("g", 3)])
    small.settle()
    assert not small.evicted
    large = Api([node("a", cpu="2"), node("b", cpu="1"), *others, group("g", 3), *members("g", 3)])
    large.settle()
    assert len(large.evicted) == 2
    assert len(large.bound) == 3
    assert not large.over_committed()


def test_a_gang_goes_on_after_a_restart() -> None:
    api = Api([node("a", cpu="4"), group("g", 3), *members("g", 3)])
    api.lazy = True
    wanted = api.cycle()
    api.carry_out(wanted[:1])
    api.restart()
    api.lazy = False
    api.settle()
    assert len(api.bound) == 3
