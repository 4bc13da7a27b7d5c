"""What tests ask a control plane, through its kubectl; what they ask again and again until something holds, without it.

Each kubectl is a process that costs a tenth of a second of CPU: tests that look twenty times a second would keep a machine
busy with looking.
"""

import http
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from neaptide.testbed import cluster
from neaptide.testbed.components import component_named
from neaptide.testbed.server import RefusedError, Server

_PATIENCE = 240.0


class _Place(NamedTuple):
    """Where objects of a kind are."""

    group: str
    plural: str
    namespaced: bool = True


_KINDS = (
    *(_Place("/api/v1", plural) for plural in ("pods", "configmaps", "secrets")),
    _Place("/api/v1", "nodes", namespaced=False),
    *(_Place("/apis/apps/v1", plural) for plural in ("deployments", "statefulsets", "replicasets")),
    _Place("/apis/batch/v1", "jobs"),
    _Place("/apis/coordination.k8s.io/v1", "leases"),
    _Place("/apis/policy/v1", "poddisruptionbudgets"),
)
_PLACES = {name: place for place in _KINDS for name in (place.plural, place.plural.removesuffix("s"))}
_PLACES["pdb"] = _PLACES["poddisruptionbudgets"]
"""By what kubectl calls them."""


def done(testbed: cluster.Testbed, *arguments: str, content: str | None = None) -> str:
    """What kubectl prints; it must succeed."""
    found = testbed.kubectl(arguments, content=content)
    assert found.returncode == 0, found.stderr
    return found.stdout


def refused(testbed: cluster.Testbed, *arguments: str, content: str | None = None) -> str:
    """What kubectl complains of; it must fail."""
    found = testbed.kubectl(arguments, content=content)
    assert found.returncode != 0, found.stdout
    return found.stderr


def items(testbed: cluster.Testbed, *arguments: str) -> list[dict[str, Any]]:
    """The objects that `kubectl get` finds."""
    path = _path(arguments)
    if path is None:
        found: list[dict[str, Any]] = json.loads(done(testbed, "get", *arguments, "--output=json"))["items"]
        return found
    listed = _got(testbed, path)
    kind, version = str(listed["kind"]).removesuffix("List"), listed["apiVersion"]
    return [{"apiVersion": version, "kind": kind} | each for each in listed["items"]]


def one(testbed: cluster.Testbed, kind: str, name: str, namespace: str = "") -> dict[str, Any]:
    """An object as it is now; empty where it is not there."""
    where = ("--namespace", namespace) if namespace else ()
    path = _path((kind.lower(), *where))
    if path is None:
        answer = done(testbed, "get", kind, name, *where, "--output=json", "--ignore-not-found")
        return dict(json.loads(answer)) if answer else {}
    try:
        return _got(testbed, f"{path}/{name}")
    except RefusedError as refusal:
        if refusal.status == http.HTTPStatus.NOT_FOUND:
            return {}
        raise


def _got(testbed: cluster.Testbed, path: str) -> dict[str, Any]:
    with Server(component_named("kube-apiserver"), testbed.site, timeout=_PATIENCE) as server:
        return dict(json.loads(server.call("GET", path)))


def _path(arguments: Sequence[str]) -> str | None:
    """The path of what is asked for; None where only kubectl knows it."""
    match arguments:
        case [kind] if kind in _PLACES:
            namespace = "default"
        case [kind, "-n" | "--namespace", namespace] if kind in _PLACES:
            pass
        case [kind, "--all-namespaces" | "-A"] if kind in _PLACES:
            namespace = ""
        case _:
            return None
    place = _PLACES[kind]
    within = f"/namespaces/{namespace}" if namespace and place.namespaced else ""
    return f"{place.group}{within}/{place.plural}"


def state_of(testbed: cluster.Testbed, component: str) -> str:
    return next(each.state for each in testbed.status() if each.component == component)


def deployment(name: str, replicas: int) -> str:
    """A manifest; its pods ask for half a core and 1 GiB each."""
    labels = {"app": name}
    container = {"name": "main", "image": "web", "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})
