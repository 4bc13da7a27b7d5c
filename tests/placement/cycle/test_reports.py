"""What people can ask of a scheduler, and how it is set up."""

import pytest
from tests.builders import node
from tests.placement.cycle.api import Api, pod
from tests.placement.cycle.test_gangs import group, members

from neaptide.model.problems import FieldError
from neaptide.placement.cycle import actions as a
from neaptide.placement.cycle.profile import CycleProfile, read_cycle_profile


def test_the_longest_waits_are_told_with_their_reason() -> None:
    api = Api([node("a", cpu="1"), pod("x", cpu="2", priority=5500)])
    api.settle()
    api.now += 50
    api.apply(pod("y", cpu="2"))
    first, second = api.machine.longest_waits(api.now)
    assert (first.pod.name, first.band, first.seconds, first.attempts) == ("x", "batch", 50.0, 1)
    assert first.reason.startswith("0/1 nodes are available: 1 Insufficient cpu.")
    assert (second.pod.name, second.reason) == ("y", "not tried yet")
    assert len(api.machine.longest_waits(api.now, count=1)) == 1


def test_a_preview_says_what_would_be_preempted_and_changes_nothing() -> None:
    api = Api([node("a", cpu="1"), pod("x", node="a", cpu="1", priority=5500), pod("p", cpu="1", priority=9500)])
    before = api.machine.snapshot.digest()
    preview = api.machine.preview("default/p", api.now)
    assert (preview.node, [each.name for each in preview.victims]) == ("a", ["x"])
    assert api.machine.snapshot.digest() == before
    assert not api.evicted


def test_a_preview_of_a_pod_that_fits_names_the_node_and_of_one_that_never_will_the_reason() -> None:
    api = Api([node("a", cpu="1"), pod("p", cpu="1"), pod("q", cpu="5")])
    assert api.machine.preview("default/p", api.now).node == "a"
    assert "Insufficient cpu" in api.machine.preview("default/q", api.now).reason
    assert api.machine.preview("default/gone", api.now).reason


def test_the_status_of_a_pod_group_follows_its_pods() -> None:
    api = Api([node("a", cpu="4"), group("g", 2), *members("g", 2)])
    api.settle()
    api.cycle(after=1.0)
    said = [(each.phase, each.scheduled) for each in api.actions if isinstance(each, a.SetPodGroup)]
    assert said[-1] == ("Scheduled", 2)


def test_an_empty_profile_is_the_default() -> None:
    assert read_cycle_profile("") == CycleProfile()


def test_a_profile_picks_filters_scores_and_plugins() -> None:
    profile = read_cycle_profile("""
    schedulerName: batch
    scores: [MostAllocated]
    plugins: [ElasticQuota, {name: DeviceShare, policy: FGD, weight: 5}]
    backoff: {initial: 2, maximum: 20}
    fairness: {starvingShare: 0.2}
    """)
    assert [each.name for each in profile.plugins] == ["ElasticQuota", "DeviceShare"]
    assert (profile.scheduler_name, profile.backoff.maximum, profile.fairness.starving_share) == ("batch", 20, 0.2)


@pytest.mark.parametrize(
    "text",
    ["plugins: [Magic]", "fairness: {starvingShare: 2}", "backoff: {first: 1}", "plugins: [DeviceShare, DeviceShare]"],
)
def test_a_profile_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(FieldError):
        read_cycle_profile(text)
