"""What placement says of a pod, held against kube-scheduler's own plugins, which the oracle runs on the same objects."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, note, settings
from tests.placement.random_clusters import Scene, scenes
from tests.testbed.oracle import Ask, answers, differences, manifests, oracle


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    with oracle() as asked:
        yield asked


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(scenes())
def test_every_verdict_and_score_is_that_of_kube_scheduler_s_plugins(ask: Ask, scene: Scene) -> None:
    for pod, expected, found in zip(scene.pending, ask(scene), answers(scene), strict=True):
        different = differences(pod, expected, found)
        if different:
            note(manifests(scene))
        assert not different, pod.metadata.name
