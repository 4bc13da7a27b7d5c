"""Making a failing scene small by leaving out objects and what they say: faster than hypothesis, which draws each try anew."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct, convert
from msgspec.structs import replace
from tests.placement.random_clusters import Scene
from tests.placement.random_volumes import Storage

from neaptide.model import objects as o

_OPENED = (Storage, o.Pod, o.PodSpec, o.Affinity, o.PodAffinity, o.NodeAffinity, o.Node, o.NodeSpec)
"""Structs that lose fields one by one; all others stay or go as a whole."""
_KEPT = ("metadata", "status", "node_name", "containers")
"""Fields without which nothing is valid."""


def shrunk(scene: Scene, fails: Callable[[Scene], bool]) -> Scene:
    """The scene without all that may be missing while it still fails."""
    for name in ("pending", "pods", "nodes", "services", "workloads", "namespaces", "storage"):
        scene = replace(scene, **{name: _least(getattr(scene, name), _put(scene, name), fails)})
    return scene


def _put(scene: Scene, name: str) -> Callable[[Any], Scene]:
    """What makes a scene with another value there; pods go with their nodes."""

    def put(value: Any) -> Scene:
        made = replace(scene, **{name: value})
        known = {node.metadata.name for node in made.nodes}
        return replace(made, pods=[each for each in made.pods if each.spec.node_name in known])

    return put


def _least(value: Any, put: Callable[[Any], Scene], fails: Callable[[Scene], bool]) -> Any:
    """The least of a value that still fails where `put` puts it."""
    kind: Any = type(value)
    if kind in (list, tuple):
        at = 0
        while at < len(value):
            before, after = value[:at], value[at + 1 :]
            if fails(put(before + after)):
                value = before + after
                continue
            item = _least(value[at], lambda each, b=before, a=after: put(b + kind([each]) + a), fails)  # type: ignore[misc] # binds the neighbours
            value, at = before + kind([item]) + after, at + 1
    elif isinstance(value, _OPENED):
        value = _least_struct(value, put, fails)
    return value


def _least_struct(value: Struct, put: Callable[[Any], Scene], fails: Callable[[Scene], bool]) -> Struct:
    plain = convert({}, type(value))
    for name in (each for each in value.__struct_fields__ if each not in _KEPT):
        if getattr(value, name) == getattr(plain, name):
            continue
        without = replace(value, **{name: getattr(plain, name)})
        if fails(put(without)):
            value = without
        else:
            item = _least(getattr(value, name), lambda each, of=value, n=name: put(replace(of, **{n: each})), fails)  # type: ignore[misc] # binds the field
            value = replace(value, **{name: item})
    return value
