"""Gets many nodes and pods into a cluster quickly, and waits for the nodes."""

import http
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from msgspec import Struct

from neaptide.testbed.components import Site, component_named
from neaptide.testbed.errors import TestbedError
from neaptide.testbed.server import RefusedError, Server

_CONNECTIONS = 8
_PAUSE = 0.3
_SPARING = 4  # so many times as long as it took to look, until the next look: the server has other work
_PATIENCE = 60.0  # seconds without any more node getting ready
_NODES = "/api/v1/nodes"
_NOT_READY = "node.kubernetes.io/not-ready"


class _Condition(Struct):
    type: str
    status: str


class _Status(Struct):
    conditions: list[_Condition] = []


class _Taint(Struct):
    key: str


class _Spec(Struct):
    taints: list[_Taint] = []


class _Metadata(Struct):
    name: str


class _Node(Struct):
    metadata: _Metadata
    spec: _Spec
    status: _Status

    @property
    def takes_pods(self) -> bool:
        ready = any(each.type == "Ready" and each.status == "True" for each in self.status.conditions)
        return ready and all(taint.key != _NOT_READY for taint in self.spec.taints)


class _NodeList(Struct):
    items: list[_Node]


def add_nodes(site: Site, nodes: Sequence[Mapping[str, Any]], report: Callable[[float], None] = lambda _: None) -> int:
    """Create nodes and wait until they are ready; how many were new. Those that are there already stay as they are.

    Raises:
        TestbedError: the API server refuses one, or they do not get ready.
    """
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        created = sum(pool.map(lambda part: _create(site, nodes[part::_CONNECTIONS]), range(_CONNECTIONS)))
    await_ready(site, {str(node["metadata"]["name"]) for node in nodes}, report)
    return created


def add_pods(site: Site, pods: Sequence[Mapping[str, Any]]) -> int:
    """Create pods; how many were new. Those that are there already stay as they are.

    Raises:
        TestbedError: the API server refuses one.
    """
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        return sum(pool.map(lambda part: _create(site, pods[part::_CONNECTIONS]), range(_CONNECTIONS)))


def _create(site: Site, objects: Sequence[Mapping[str, Any]]) -> int:
    created = 0
    with Server(component_named("kube-apiserver"), site) as server:
        for each in objects:
            namespace = each["metadata"].get("namespace")
            try:
                server.call("POST", f"/api/v1/namespaces/{namespace}/pods" if namespace else _NODES, each)
                created += 1
            except RefusedError as refusal:
                if refusal.status != http.HTTPStatus.CONFLICT:
                    raise
    return created


def await_ready(
    site: Site, wanted: set[str], report: Callable[[float], None] = lambda _: None, *, log: str = "kwok"
) -> None:
    """Wait until nodes are ready and pods can be bound to them.

    Raises:
        TestbedError: for a minute no more of them got ready; it names the component whose log may say why.
    """
    most, due = 0, time.monotonic() + _PATIENCE
    with Server(component_named("kube-apiserver"), site) as server:
        while most < len(wanted):
            asked = time.monotonic()
            answer = server.call("GET", f"{_NODES}?resourceVersion=0")  # from the server's cache
            nodes = msgspec.json.decode(answer, type=_NodeList).items
            ready = len({node.metadata.name for node in nodes if node.takes_pods} & wanted)
            if ready > most:
                most, due = ready, time.monotonic() + _PATIENCE
            elif time.monotonic() > due:
                raise TestbedError(
                    f"{len(wanted) - most} of {len(wanted)} nodes do not get ready; see the log of {log}"
                )
            report(most / len(wanted))
            time.sleep(max(_PAUSE, _SPARING * (time.monotonic() - asked)))
