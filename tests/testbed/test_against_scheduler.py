"""A real kube-scheduler at work on 50 nodes: what it binds, and why it cannot, is what placement says of the same state."""

import http
import time
from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import Struct, field
from msgspec.structs import replace
from tests.controlplane import create_namespace
from tests.placement.clusters import HOST, NAMESPACES, nodes, often, pods
from tests.placement.random_clusters import furnished, stored
from tests.placement.random_volumes import Storage
from tests.placement.samples import samples
from tests.testbed.oracle import in_full

from neaptide.model import objects as o
from neaptide.model.manifests import from_json
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.placement.place import Placement
from neaptide.testbed.cluster import Testbed
from neaptide.testbed.components import component_named
from neaptide.testbed.load import add_nodes
from neaptide.testbed.server import RefusedError, Server

NODES, PODS = 50, 200
_WITHIN = 30.0  # seconds until the scheduler has said something of a pod
_PAUSE = 0.01
_IN_FLIGHT = 4
"""Binds that the scheduler reckons with before the API server has them: it tries the next pod while it binds."""
_SERVICES = {"front": {"app": "a"}, "back": {"app": "a", "tier": "1"}}


class Failure(Struct):
    """A FailedScheduling event: what it says of which pod, and the version that the cluster had when it was recorded."""

    pod: str
    note: str
    version: int
    since: int = 0
    """The version from which on the scheduler may have tried."""


class History(Struct):
    """What happened to pods: the version of each, when it came, and where and when it was bound."""

    came: dict[str, int] = field(default_factory=dict)
    pods: list[o.Pod] = field(default_factory=list)
    bound: list[tuple[int, str, str]] = field(default_factory=list)
    """Version, pod, node; in order."""


def test_binds_lie_in_the_feasible_set_and_refusals_have_the_same_words(own_control_plane: Testbed) -> None:
    add_nodes(own_control_plane.site, [_manifest(each) for each in samples(_nodes(), NODES)])
    with Server(component_named("kube-apiserver"), own_control_plane.site) as server:
        for name in NAMESPACES:
            create_namespace(own_control_plane, name)
            for service, selector in _SERVICES.items():
                spec = {"selector": selector, "ports": [{"port": 80}]}
                server.call(
                    "POST", f"/api/v1/namespaces/{name}/services", {"metadata": {"name": service}, "spec": spec}
                )
        start = _list(server, "/api/v1/pods").version
        _submit(server, samples(_pods(), 2 * PODS))
        history = _history(server, start)
        snapshot = _snapshot(server, history)
        failures = _failures(server, history)
    assert len(history.pods) == PODS
    assert len(history.bound) > PODS // 4
    assert len({each.pod for each in failures}) > PODS // 10
    different = list(_differences(snapshot, history, failures))
    assert not different, "\n".join(different)


def _differences(snapshot: ClusterSnapshot, history: History, failures: list[Failure]) -> Iterator[str]:
    """Binds are replayed in order. A refusal must be ours in one of the states since the pod was last looked at."""
    placement, left = Placement(snapshot), list(failures)
    versions = [version for version, _, _ in history.bound]
    earlier = [0] * (_IN_FLIGHT + 1) + versions
    for latest, (version, pod, node) in zip(earlier, [*history.bound, (1 << 62, "", "")], strict=False):
        for failure in [each for each in left if each.since < version and each.version > latest]:
            if _says(failure.note, placement.verdict(snapshot.pods.by_key[failure.pod]).message()):
                left.remove(failure)
        if pod:
            row, at = snapshot.pods.by_key[pod], snapshot.nodes.by_name[node]
            verdict = placement.verdict(row)
            if not verdict.feasible[at]:
                yield f"{pod} was bound to {node}, which placement refuses: {verdict.why_not(at)}"
            snapshot.assign(row, at)
    for failure in left:
        ours = placement.verdict(snapshot.pods.by_key[failure.pod]).message()
        yield f"{failure.pod}: {failure.note!r}, placement says at the end {ours!r}"


def _says(note: str, ours: str) -> bool:
    """Whether a note has our words; after them it tells of claims and of preemption."""
    return bool(ours) and (note == ours or note.startswith(f"{ours} "))


@st.composite
def _nodes(draw: st.DrawFn) -> o.Node:
    return draw(nodes("drawn", plain=draw(often(3))))


@st.composite
def _pods(draw: st.DrawFn) -> o.Pod:
    """Pods that the API server takes, most of them: no overhead without a runtime class, no priority without a class."""
    pod = draw(furnished(draw(pods("drawn", plain=draw(often(5)))), Storage(), []))
    containers = tuple(replace(each, image=each.image or "web") for each in pod.spec.containers)
    first = tuple(replace(each, image=each.image or "web") for each in pod.spec.init_containers)
    spec = replace(pod.spec, containers=containers, init_containers=first, overhead={}, priority=None)
    accepted: o.Pod = stored(replace(pod, spec=spec), None)
    return accepted


_numbers = iter(range(NODES))


def _manifest(node: o.Node) -> dict[str, Any]:
    """The node with a name of its own, for kwok to play."""
    name = f"node-{next(_numbers):02}"
    labels = node.metadata.labels | ({HOST: name} if HOST in node.metadata.labels else {})
    meta = replace(node.metadata, name=name, labels=labels, annotations={"kwok.x-k8s.io/node": "fake"})
    status = replace(node.status, capacity=node.status.allocatable)
    found: dict[str, Any] = in_full(replace(node, metadata=meta, status=status))
    return found


def _submit(server: Server, drawn: list[o.Pod]) -> None:
    """Create pods until there are enough, each once the scheduler has looked at the one before."""
    created = 0
    for number, pod in enumerate(drawn):
        if created == PODS:
            return
        space, name = pod.metadata.namespace, f"pod-{number:03}"
        path = f"/api/v1/namespaces/{space}/pods"
        try:
            server.call("POST", path, in_full(replace(pod, metadata=replace(pod.metadata, name=name))))
        except RefusedError as refusal:
            assert refusal.status == http.HTTPStatus.UNPROCESSABLE_ENTITY, refusal  # noqa: PT017 - some draws are invalid
            continue
        created += 1
        due = time.monotonic() + _WITHIN
        while not _looked_at(msgspec.json.decode(server.call("GET", f"{path}/{name}"), type=o.Pod)):
            assert time.monotonic() < due, f"the scheduler says nothing of {space}/{name}"
            time.sleep(_PAUSE)


def _looked_at(pod: o.Pod) -> bool:
    return bool(pod.spec.node_name) or any(each.type == "PodScheduled" for each in pod.status.conditions)


class _Meta(Struct, rename="camel"):
    resource_version: str = ""


class _Listed(Struct):
    metadata: _Meta
    items: list[msgspec.Raw] = []

    @property
    def version(self) -> int:
        return int(self.metadata.resource_version)


class _Watched(Struct):
    type: str
    object: o.Pod


class _Event(Struct):
    metadata: o.Metadata
    regarding: o.Metadata
    note: str = ""
    reason: str = ""


def _list(server: Server, path: str) -> _Listed:
    return msgspec.json.decode(server.call("GET", path), type=_Listed)


def _history(server: Server, start: int) -> History:
    """What happened since a version, from the API server's own record."""
    lines = server.call("GET", f"/api/v1/pods?watch=1&resourceVersion={start}&timeoutSeconds=2").splitlines()
    found, bound = History(), set()
    for line in lines:
        change = msgspec.json.decode(line, type=_Watched)
        pod, key = change.object, f"{change.object.metadata.namespace}/{change.object.metadata.name}"
        version = int(pod.metadata.resource_version)
        if change.type == "ADDED":
            found.came[key] = version
            found.pods.append(pod)
        if pod.spec.node_name and key not in bound:
            bound.add(key)
            found.bound.append((version, key, pod.spec.node_name))
    return found


def _snapshot(server: Server, history: History) -> ClusterSnapshot:
    """The cluster with all pods as they came."""
    snapshot = ClusterSnapshot()
    for path in ("/api/v1/namespaces", "/api/v1/nodes", "/api/v1/services"):
        found, left_out = from_json(server.call("GET", path), path)
        assert not left_out
        for each in found:
            snapshot.set(each.item)
    for pod in history.pods:
        snapshot.set(pod)
    return snapshot


def _failures(server: Server, history: History) -> list[Failure]:
    """All FailedScheduling events, each with the version of the one before it on the same pod."""
    events = (msgspec.json.decode(each, type=_Event) for each in _list(server, "/apis/events.k8s.io/v1/events").items)
    found = [
        Failure(f"{each.regarding.namespace}/{each.regarding.name}", each.note, int(each.metadata.resource_version))
        for each in events
        if each.reason == "FailedScheduling"
    ]
    latest = dict(history.came)
    for failure in sorted(found, key=lambda each: each.version):
        failure.since = latest[failure.pod]
        latest[failure.pod] = failure.version
    return found
