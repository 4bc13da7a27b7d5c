import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neaptide.model.problems import FieldError
from neaptide.placement.filters.node_resources_fit import NodeResourcesFit
from neaptide.placement.profile import DEFAULT, Profile, read_profile
from neaptide.placement.scores.most_allocated import MostAllocated
from neaptide.placement.scores.node_affinity import NodeAffinity
from neaptide.placement.scores.requested_to_capacity_ratio import Point, RequestedToCapacityRatio
from neaptide.placement.scores.resources import ResourceWeight


def test_the_default_profile_is_kube_scheduler_s() -> None:
    assert [each.name for each in DEFAULT.filters] == [
        "SchedulingGates",
        "NodeUnschedulable",
        "NodeName",
        "TaintToleration",
        "NodeAffinity",
        "NodePorts",
        "NodeResourcesFit",
        "VolumeRestrictions",
        "NodeVolumeLimits",
        "VolumeBinding",
        "VolumeZone",
        "PodTopologySpread",
        "InterPodAffinity",
        "DynamicResources",
    ]
    assert {each.name: each.weight for each in DEFAULT.scores} == {
        "TaintToleration": 3,
        "NodeAffinity": 2,
        "LeastAllocated": 1,
        "PodTopologySpread": 2,
        "InterPodAffinity": 2,
        "NodeResourcesBalancedAllocation": 1,
        "ImageLocality": 1,
    }


GOOD: dict[str, tuple[str, Profile]] = {
    "nothing": ("", DEFAULT),
    "names alone": ("scores: [MostAllocated, NodeAffinity]", Profile(scores=(MostAllocated(), NodeAffinity()))),
    "weights and parameters": (
        """
        filters:
        - name: NodeResourcesFit
          ignoredResources: [example.com/licence]
        scores:
        - name: RequestedToCapacityRatio
          weight: 5
          resources: [{name: nvidia.com/gpu, weight: 3}]
          shape: [{utilization: 0, score: 0}, {utilization: 100, score: 10}]
        """,
        Profile(
            (NodeResourcesFit(ignored_resources=("example.com/licence",)),),
            (
                RequestedToCapacityRatio(
                    weight=5, resources=(ResourceWeight("nvidia.com/gpu", 3),), shape=(Point(0, 0), Point(100, 10))
                ),
            ),
        ),
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_profiles_are_read(name: str) -> None:
    text, expected = GOOD[name]
    assert read_profile(text) == expected


BAD: dict[str, tuple[str, str, str, str]] = {
    "no YAML": ("a: [", "", "while parsing", "YAML"),
    "no map": ("[1]", "", "[1]", "a map with filters and scores"),
    "an unknown name": (
        "filters: [NodeNames]",
        "filters[0].name",
        "NodeNames",
        "one of SchedulingGates, NodeUnschedulable",
    ),
    "an unknown parameter": ("scores: [{name: MostAllocated, wait: 1}]", "scores[0]", "wait", "unknown field `wait`"),
    "a weight of nothing": (
        "scores: [{name: MostAllocated, weight: 0}]",
        "scores[0]",
        "0",
        "weight must be in 1..2147483647",
    ),
    "a weight in words": (
        "scores: [{name: MostAllocated, weight: much}]",
        "scores[0].weight",
        "much",
        "Expected `int`",
    ),
    "a name twice": ("scores: [MostAllocated, MostAllocated]", "scores[1]", "MostAllocated", "each name once"),
    "a curve that goes back": (
        "scores: [{name: RequestedToCapacityRatio, shape: [{utilization: 5, score: 1}, {utilization: 5, score: 2}]}]",
        "scores[0]",
        "RequestedToCapacityRatio",
        "increasing order of utilization",
    ),
    "an unknown part": ("plugins: []", "", "plugins", "unknown field `plugins`"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_profile_that_is_wrong_is_refused_with_field_value_and_what_is_accepted(name: str) -> None:
    text, field, value, accepted = BAD[name]
    with pytest.raises(FieldError) as caught:
        read_profile(text)
    assert caught.value.field == field
    assert value in caught.value.value
    assert accepted in caught.value.accepted


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["filters", "scores", "name", "weight", "MostAllocated"]), inner)
    ),
)


@given(anything)
def test_any_document_is_a_profile_or_a_field_error(document: object) -> None:
    with contextlib.suppress(FieldError):
        assert isinstance(read_profile(str(document)), Profile)
