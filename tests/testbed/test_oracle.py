"""What placement says of a pod, held against kube-scheduler's own plugins, which the oracle runs on the same objects."""

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from tests.placement.large_clusters import large_scenes
from tests.placement.random_clusters import Scene, scenes
from tests.placement.shrinking import shrunk
from tests.testbed.oracle import Answer, Ask, answers, differences, manifests, oracle


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    with oracle() as asked:
        yield asked


@settings(
    max_examples=200,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(scenes())
def test_every_verdict_and_score_is_that_of_kube_scheduler_s_plugins(ask: Ask, scene: Scene) -> None:
    different = _different(scene, ask(scene))
    if different:
        note(manifests(_least(ask, scene)))
    assert not different


PAIRS = 100_000
"""Pods and nodes that each plugin must have had a look at."""
_FILTERS = [
    "NodeName",
    "NodeUnschedulable",
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
]
_SCORES = [
    "TaintToleration",
    "NodeAffinity",
    "NodeResourcesFit",
    "PodTopologySpread",
    "InterPodAffinity",
    "NodeResourcesBalancedAllocation",
    "ImageLocality",
]


@pytest.mark.slow
def test_every_plugin_agrees_on_many_pairs_of_pods_and_nodes(ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    looked, refused, scored = Counter[str](), Counter[str](), Counter[str]()
    for scene in large_scenes(seed=0):
        expected = ask(scene)
        if _different(scene, expected):
            least = _least(ask, scene)
            pytest.fail("\n".join([manifests(least), *_different(least, ask(least))]))
        for answer in expected:
            looked.update({plugin: len(scene.nodes) for plugin in answer.filters})
            refused.update({plugin: len(nodes) for plugin, nodes in answer.filters.items()})
            scored.update({plugin: len(nodes) for plugin, nodes in answer.scores.items()})
        if min(*(looked[each] for each in _FILTERS), *(scored[each] for each in _SCORES)) >= PAIRS:
            break
    with capsys.disabled():
        print("\npairs of pods and nodes: looked at, of these refused; scored")  # noqa: T201 - what the test is run for
        for plugin in dict.fromkeys([*_FILTERS, *_SCORES]):
            print(f"{plugin:32}{looked[plugin]:10,}{refused[plugin]:10,}{scored[plugin]:10,}")  # noqa: T201 - as above


def _least(ask: Ask, scene: Scene) -> Scene:
    """The scene without what does not matter for the difference."""
    return shrunk(scene, lambda smaller: bool(_different(smaller, ask(smaller))))


def _different(scene: Scene, expected: list[Answer]) -> list[str]:
    """Where placement says otherwise than the oracle has."""
    triples = zip(scene.pending, expected, answers(scene), strict=True)
    return [f"{pod.metadata.name}: {each}" for pod, theirs, ours in triples for each in differences(pod, theirs, ours)]
