"""A real kube-scheduler at work on 50 nodes: what it binds, and why it cannot, is what placement says of the same state."""

import http
import re
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
_SERVICES = {"front": {"app": "a"}, "back": {"app": "a", "tier": "1"}}
_ATTEMPTS = 3
"""The verbosity of the scheduler's log from which on it tells of each attempt."""
_SAID = re.compile(
    r"""(?P<begins>\] "Attempting to schedule pod"|\] "Unable to schedule pod; no fit; waiting"|\] "Error scheduling pod).*?"""
    r"""\bpod="(?P<pod>[^"]+)"(?:.* err="(?P<why>.*)")?"""
)


class Attempt(Struct):
    """What the scheduler looked at, one pod at a time, and why it found no node, if it found none."""

    pod: str
    refusal: str = ""


class History(Struct):
    """What the API server has seen: pods as they came, and where each was bound."""

    pods: list[o.Pod] = field(default_factory=list)
    bound: dict[str, str] = field(default_factory=dict)


def test_binds_lie_in_the_feasible_set_and_refusals_have_the_same_words(own_control_plane: Testbed) -> None:
    site = own_control_plane.site
    with Server(component_named("kube-scheduler"), site) as scheduler:
        scheduler.call("PUT", "/debug/flags/v", _ATTEMPTS)
    add_nodes(site, [_manifest(each) for each in samples(_nodes(), NODES)])
    with Server(component_named("kube-apiserver"), site) as server:
        for name in NAMESPACES:
            create_namespace(own_control_plane, name)
            for service, selector in _SERVICES.items():
                spec = {"selector": selector, "ports": [{"port": 80}]}
                server.call(
                    "POST", f"/api/v1/namespaces/{name}/services", {"metadata": {"name": service}, "spec": spec}
                )
        start = _list(server, "/api/v1/pods").version
        _submit(server, samples(_pods(), 2 * PODS))
        attempts = list(_attempts((site.directory / "logs" / "kube-scheduler.log").read_text()))
        history = _history(server, start)
        snapshot = _snapshot(server, history)
    assert len(history.pods) == PODS
    assert len(history.bound) > PODS // 4
    assert len({each.pod for each in attempts if each.refusal}) > PODS // 10
    different = list(_differences(snapshot, history, attempts))
    assert not different, "\n".join(different)


def _differences(snapshot: ClusterSnapshot, history: History, attempts: list[Attempt]) -> Iterator[str]:
    """Attempts are replayed in order: the scheduler reckons with a pod from the moment when it has found a node for it."""
    placement = Placement(snapshot)
    for attempt in attempts:
        row = snapshot.pods.by_key[attempt.pod]
        verdict = placement.verdict(row)
        if attempt.refusal:
            if not _says(attempt.refusal, verdict.message()):
                yield f"{attempt.pod}: {attempt.refusal!r}, placement says {verdict.message()!r}"
            continue
        node = history.bound[attempt.pod]
        at = snapshot.nodes.by_name[node]
        if not verdict.feasible[at]:
            yield f"{attempt.pod} was bound to {node}, which placement refuses: {verdict.why_not(at)}"
        snapshot.assign(row, at)


def _says(refusal: str, ours: str) -> bool:
    """Whether a refusal has our words; after them it tells of claims and of preemption."""
    return bool(ours) and (refusal == ours or refusal.startswith(f"{ours} "))


def _attempts(log: str) -> Iterator[Attempt]:
    """All attempts of a scheduler's log but the last, whose end it may not tell yet."""
    latest: Attempt | None = None
    for found in filter(None, map(_SAID.search, log.splitlines())):
        if "Attempting" in found["begins"]:
            if latest:
                yield latest
            latest = Attempt(found["pod"])
            continue
        assert latest, found.group()
        assert "Unable" in found["begins"], found.group()
        assert latest.pod == found["pod"], f"{found.group()}, in an attempt at {latest.pod}"
        latest.refusal = found["why"].replace(r"\"", '"')


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


def _list(server: Server, path: str) -> _Listed:
    return msgspec.json.decode(server.call("GET", path), type=_Listed)


def _history(server: Server, start: int) -> History:
    """What happened since a version, from the API server's own record."""
    lines = server.call("GET", f"/api/v1/pods?watch=1&resourceVersion={start}&timeoutSeconds=2").splitlines()
    found = History()
    for line in lines:
        change = msgspec.json.decode(line, type=_Watched)
        pod = change.object
        if change.type == "ADDED":
            found.pods.append(pod)
        if pod.spec.node_name:
            found.bound[f"{pod.metadata.namespace}/{pod.metadata.name}"] = pod.spec.node_name
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
