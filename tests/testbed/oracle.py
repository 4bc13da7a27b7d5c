"""Asking the oracle, kube-scheduler's own plugins, and asking placement the same."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
import yaml
from msgspec import Struct
from msgspec.structs import replace
from tests.placement.random_clusters import Scene

from neaptide.model import objects as o
from neaptide.model.any_object import AnyObject
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.filters.dynamic_resources import DynamicResources
from neaptide.placement.filters.scheduling_gates import SchedulingGates
from neaptide.placement.place import Placement
from neaptide.placement.scores.least_allocated import LeastAllocated
from neaptide.placement.scores.node_affinity import NodeAffinity
from neaptide.placement.scores.taint_toleration import TaintToleration
from neaptide.testbed.build import ensure_built

Reasons = dict[str, list[str]]
"""By node: why it cannot take the pod."""


class Said(Struct):
    """Of a node, or of a pod whatever the node: who refuses, and why."""

    plugin: str
    reasons: list[str]


class Score(Struct):
    raw: int
    normalised: int


class Answer(Struct):
    """What is said of one pod; `filters` and `scores` have the plugins that had a look, by plugin and node."""

    message: str
    refused: Said | None = None
    refusals: dict[str, Said] = {}
    totals: dict[str, int] = {}
    filters: dict[str, Reasons] = {}
    scores: dict[str, dict[str, Score]] = {}


Ask = Callable[[Scene], list[Answer]]


@contextmanager
def oracle() -> Iterator[Ask]:
    """A running oracle."""
    program = [str(ensure_built(lambda _: None) / "neaptide-oracle")]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own build
        assert process.stdin is not None
        assert process.stdout is not None
        questions, answers = process.stdin, process.stdout

        def asked(scene: Scene) -> list[Answer]:
            questions.write(msgspec.json.encode(_question(scene)) + b"\n")
            questions.flush()
            line = answers.readline()
            assert line, "the oracle gave up; it says why on stderr"
            return msgspec.json.decode(line, type=list[Answer])

        yield asked


def manifests(scene: Scene) -> str:
    """The scene as YAML for kubectl; pods that have a node come as they are, for kubectl can bind by `spec.nodeName`."""
    items = [
        {"apiVersion": _GROUPS.get(_kind(each), "v1"), "kind": _kind(each), **in_full(each)} for each in scene.objects()
    ]
    return yaml.safe_dump_all(items, sort_keys=False)


_GROUPS = {
    "ReplicaSet": "apps/v1",
    "StatefulSet": "apps/v1",
    "StorageClass": "storage.k8s.io/v1",
    "CSINode": "storage.k8s.io/v1",
}


def _kind(item: AnyObject) -> str:
    return item.kind if isinstance(item, o.Workload) else type(item).__name__


def _question(scene: Scene) -> dict[str, Any]:
    stored = scene.storage
    return {
        "nodes": in_full(scene.nodes),
        "pods": in_full(scene.pods),
        "namespaces": in_full(scene.namespaces),
        "services": in_full(scene.services),
        "replicaSets": in_full([each for each in scene.workloads if each.kind == "ReplicaSet"]),
        "statefulSets": in_full([each for each in scene.workloads if each.kind == "StatefulSet"]),
        "persistentVolumeClaims": in_full(stored.claims),
        "persistentVolumes": in_full(stored.volumes),
        "storageClasses": in_full(stored.classes),
        "csiNodes": in_full(stored.csi_nodes),
        "pending": in_full(scene.pending),
    }


def in_full(value: Any) -> Any:
    """For JSON with our defaults written out, for the API's differ; empty lists, maps and texts are nowhere one."""
    if isinstance(value, Struct):
        named = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        found = ((key, getattr(value, name)) for key, name in named)
        return {key: in_full(each) for key, each in found if each not in (None, "", (), {})}
    if isinstance(value, dict):
        return {key: in_full(each) for key, each in value.items()}
    return [in_full(each) for each in value] if isinstance(value, tuple | list) else value


def answers(scene: Scene) -> list[Answer]:
    """What placement says, in the oracle's form; of every plugin, whether it had to look or not."""
    snapshot = scene.snapshot()
    placement = Placement(snapshot)
    keys = [f"{pod.metadata.namespace}/{pod.metadata.name}" for pod in scene.pending]
    return [_answer(placement, snapshot, snapshot.pods.by_key[key]) for key in keys]


def _answer(placement: Placement, snapshot: ClusterSnapshot, row: int) -> Answer:
    verdict = placement.verdict(row)
    if verdict.refused is not None:
        by, reason = verdict.refused
        return Answer(verdict.message(), Said(by.name, [reason]))
    names, rows, totals = snapshot.nodes.names, np.flatnonzero(verdict.feasible), placement.scores(row)
    view = placement.view
    pod = view.pod(row)
    found = Answer(
        verdict.message(),
        refusals={
            names[node]: Said(refusal.filter, sorted(refusal.reasons))
            for node, refusal in placement.verdicts(row).items()
        },
        totals={names[node]: int(totals[node]) for node in rows.tolist()},
    )
    for rule in placement.profile.filters:
        if not isinstance(rule, SchedulingGates | DynamicResources):
            failures = rule.failures(view, pod).items()
            reasons = {name: [why for why, failed in failures if failed[node]] for node, name in enumerate(names)}
            found.filters[rule.name] = {name: sorted(why) for name, why in reasons.items() if why}
    for score in placement.profile.scores if len(rows) else ():
        normalised = score.scores(view, pod, rows)
        if normalised is not None:
            raw = score.raw(view, pod, rows) if isinstance(score, TaintToleration | NodeAffinity) else None
            both = zip(
                rows.tolist(), normalised.tolist() if raw is None else raw.tolist(), normalised.tolist(), strict=True
            )
            plugin = "NodeResourcesFit" if isinstance(score, LeastAllocated) else score.name
            found.scores[plugin] = {names[node]: Score(*each) for node, *each in both}
    return found


def differences(pod: o.Pod, expected: Answer, found: Answer) -> list[str]:
    """Where placement says otherwise than the oracle; plugins that did not look have nothing against any node."""
    if pod.spec.resources is not None:
        expected = _with_pod_level(expected, found)
    said = [
        f"{what}: kube-scheduler says {theirs}, placement {ours}"
        for what, theirs, ours in (
            ("message", expected.message, found.message),
            ("refused", expected.refused, found.refused),
            ("refusals", _sorted(expected.refusals), found.refusals),
            ("totals", expected.totals, found.totals),
        )
        if theirs != ours
    ]
    for plugin in sorted({*expected.filters, *found.filters}):
        theirs = {node: sorted(why) for node, why in expected.filters.get(plugin, {}).items()}
        if theirs != (ours := found.filters.get(plugin, {})):
            said.append(f"{plugin} refuses {theirs}, placement {ours}")
    for plugin in sorted({*expected.scores, *found.scores}):
        wanted, got = expected.scores.get(plugin, {}), found.scores.get(plugin, {})
        if _normalised(wanted) != _normalised(got) and (
            (wanted and got) or len({*_normalised(wanted or got).values()}) > 1
        ):
            said.append(f"{plugin} scores {_normalised(wanted)}, placement {_normalised(got)}")
        elif plugin in ("TaintToleration", "NodeAffinity") and wanted and got and wanted != got:
            said.append(f"{plugin} has {wanted}, placement {got}")
    return said


def _with_pod_level(expected: Answer, found: Answer) -> Answer:
    """The answer had kube-scheduler's NodeResourcesFit scored by the pod's own resources, as docs/placement.md explains."""
    theirs, ours = (each.scores.get("NodeResourcesFit", {}) for each in (expected, found))
    if theirs.keys() != ours.keys():
        return expected
    totals = {node: total - theirs[node].normalised + ours[node].normalised for node, total in expected.totals.items()}
    return replace(expected, totals=totals, scores=expected.scores | {"NodeResourcesFit": ours})


def _sorted(refusals: dict[str, Said]) -> dict[str, Said]:
    return {node: Said(each.plugin, sorted(each.reasons)) for node, each in refusals.items()}


def _normalised(scores: dict[str, Score]) -> dict[str, int]:
    return {node: each.normalised for node, each in scores.items()}
