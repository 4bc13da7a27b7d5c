"""What placement says of a pod, held against kube-scheduler's own plugins, which the oracle runs on the same objects."""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace
from tests.placement.clusters import amounts, clusters, often, pods, snapshot_of
from tests.placement.reference import Cluster

from neaptide.model import objects as o
from neaptide.placement.place import Placement
from neaptide.testbed.build import ensure_built

pytestmark = pytest.mark.testbed


class Said(Struct):
    """Of a node, or of a pod whatever the node: who refuses, and why."""

    plugin: str
    reasons: list[str]


class Score(Struct):
    total: int


class Answer(Struct):
    """By the node's name: why it cannot take the pod, or its score."""

    message: str
    refused: Said | None = None
    refusals: dict[str, Said] = {}
    scores: dict[str, Score] = {}


Ask = Callable[[Cluster, o.Pod], Answer]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    program = [str(ensure_built(lambda _: None) / "neaptide-oracle")]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as oracle:  # noqa: S603 - our own build
        assert oracle.stdin is not None
        assert oracle.stdout is not None
        questions, answers = oracle.stdin, oracle.stdout

        def asked(cluster: Cluster, pod: o.Pod) -> Answer:
            spaces = [o.Namespace(o.Metadata(name=name, labels=labels)) for name, labels in cluster.namespaces.items()]
            scene = {"pod": pod, "nodes": cluster.nodes, "pods": cluster.pods, "namespaces": spaces}
            questions.write(msgspec.json.encode(_in_full(scene)) + b"\n")
            questions.flush()
            return msgspec.json.decode(answers.readline(), type=Answer)

        yield asked


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Cluster, o.Pod]:
    """A cluster as the API server would store it, and a pod for it; some pods have init containers, sidecars, overhead."""
    plain = draw(st.booleans())
    drawn = draw(clusters(plain=plain))
    bound = [_stored(draw(_wrapped(pod))) for pod in drawn.pods]
    return Cluster(_stored(drawn.nodes), bound, drawn.namespaces), _stored(
        draw(_wrapped(draw(pods("new", plain=plain))))
    )


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(scenes())
def test_every_verdict_and_score_is_that_of_kube_scheduler_s_plugins(ask: Ask, scene: tuple[Cluster, o.Pod]) -> None:
    expected = ask(*scene)
    for said in expected.refusals.values():
        said.reasons.sort()
    assert _answer(*scene) == expected


def _answer(cluster: Cluster, pod: o.Pod) -> Answer:
    """What placement says."""
    snapshot = snapshot_of(cluster, pod)
    placement = Placement(snapshot)
    row = snapshot.pods.by_key[f"{pod.metadata.namespace}/{pod.metadata.name}"]
    verdict = placement.verdict(row)
    if verdict.refused is not None:
        by, reason = verdict.refused
        return Answer(verdict.message(), Said(by.name, [reason]))
    names, scores = snapshot.nodes.names, placement.scores(row)
    return Answer(
        verdict.message(),
        refusals={
            names[node]: Said(refusal.filter, sorted(refusal.reasons))
            for node, refusal in placement.verdicts(row).items()
        },
        scores={names[node]: Score(int(scores[node])) for node in np.flatnonzero(verdict.feasible).tolist()},
    )


@st.composite
def _wrapped(draw: st.DrawFn, pod: o.Pod) -> o.Pod:
    """The pod with what counts into its requests besides its containers."""
    first: tuple[o.Container, ...] = ()
    if draw(often(2)):
        first = (o.Container("first", "", draw(st.sampled_from(["", "Always"])), o.Resources(draw(amounts))),)
    overhead = {"cpu": "250m", "memory": "100Mi"} if draw(often(1)) else {}
    metadata = replace(pod.metadata, uid=f"uid-of-{pod.metadata.name}")
    return replace(pod, metadata=metadata, spec=replace(pod.spec, init_containers=first, overhead=overhead))


def _stored(value: Any, labels: Mapping[str, str] = {}) -> Any:
    """What is drawn, without what the API server refuses, and with what it fills in; labels are those of the pod."""
    if isinstance(value, o.Pod):
        labels = value.metadata.labels
    if isinstance(value, Struct):
        value = replace(value, **{name: _stored(getattr(value, name), labels) for name in value.__struct_fields__})
    if isinstance(value, tuple | list):
        return type(value)(_stored(each, labels) for each in value)
    if isinstance(value, o.Requirement) and value.operator in ("Exists", "DoesNotExist"):
        return replace(value, values=())
    if isinstance(value, o.TopologySpreadConstraint):
        return _valid_spread(value)
    return _merged(value, labels) if isinstance(value, o.PodAffinityTerm) else value


def _valid_spread(spread: o.TopologySpreadConstraint) -> o.TopologySpreadConstraint:
    if spread.label_selector is None:
        spread = replace(spread, match_label_keys=())
    return spread if spread.when_unsatisfiable == "DoNotSchedule" else replace(spread, min_domains=None)


def _merged(term: o.PodAffinityTerm, labels: Mapping[str, str]) -> o.PodAffinityTerm:
    """With the requirements that the keys stand for; a key needs a selector, and is not among both."""
    if term.label_selector is None:
        return replace(term, match_label_keys=(), mismatch_label_keys=())
    others = tuple(key for key in term.mismatch_label_keys if key not in term.match_label_keys)
    found = [o.Requirement(key, "In", (labels[key],)) for key in term.match_label_keys if key in labels]
    found += [o.Requirement(key, "NotIn", (labels[key],)) for key in others if key in labels]
    selector = replace(term.label_selector, match_expressions=(*term.label_selector.match_expressions, *found))
    return replace(term, label_selector=selector, mismatch_label_keys=others)


def _in_full(value: Any) -> Any:
    """For JSON with every default written out, for the API's differ."""
    if isinstance(value, Struct):
        named = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        found = ((key, getattr(value, name)) for key, name in named)
        return {key: _in_full(each) for key, each in found if each is not None}
    if isinstance(value, dict):
        return {key: _in_full(each) for key, each in value.items()}
    return [_in_full(each) for each in value] if isinstance(value, tuple | list) else value
