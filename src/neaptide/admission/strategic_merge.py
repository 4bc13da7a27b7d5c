"""Kubernetes' strategic merge of a patch into a pod.

Objects are merged field by field, and null takes a field away. A list of objects that have a key is merged item by item, by that key; what is new goes to its end. All
other lists are replaced. Directives: `$patch` (replace, delete, merge), `$retainKeys`, `$deleteFromPrimitiveList/NAME`. Source: the patchStrategy and patchMergeKey
marks of core/v1's types.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

Json = Any
_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "resourceClaims": "name",
    "schedulingGates": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "ownerReferences": "uid",
}
"""What tells the items of a list apart, by the list's name."""
_SETS = ("finalizers",)
"""Lists of words, which are put together, new ones first."""
_DIRECTIVE, _RETAIN, _DELETE = "$patch", "$retainKeys", "$deleteFromPrimitiveList/"


def merged(original: Mapping[str, Json], patch: Mapping[str, Json]) -> dict[str, Json]:
    """The original with the patch in it; neither is changed."""
    if patch.get(_DIRECTIVE) == "replace":
        return _plain(patch)
    keep = patch.get(_RETAIN)
    found = {key: copy.deepcopy(value) for key, value in original.items() if keep is None or key in keep}
    for key, new in patch.items():
        if key.startswith(_DELETE):
            name = key.removeprefix(_DELETE)
            found[name] = [each for each in found.get(name, []) if each not in new]
        elif key.startswith("$"):
            continue
        elif new is None or (isinstance(new, Mapping) and new.get(_DIRECTIVE) == "delete"):
            found.pop(key, None)
        else:
            found[key] = _value(key, found.get(key), new)
    return found


def _value(key: str, old: Json, new: Json) -> Json:
    if isinstance(new, Mapping):
        return merged(old if isinstance(old, Mapping) else {}, new)
    if isinstance(new, list) and key in _KEYS:
        return _items(old if isinstance(old, list) else [], new, _KEYS[key])
    if isinstance(new, list) and key in _SETS and isinstance(old, list):
        return [*(each for each in new if each not in old), *old]
    return copy.deepcopy(new)


def _items(old: Sequence[Json], new: Sequence[Json], key: str) -> list[Json]:
    """A list of objects, merged by their key."""
    if any(set(item) == {_DIRECTIVE} and item[_DIRECTIVE] == "replace" for item in new):
        return [_plain(item) for item in new if set(item) != {_DIRECTIVE}]
    found = {item.get(key): item for item in old}
    for item in new:
        if item.get(_DIRECTIVE) == "delete":
            found.pop(item.get(key), None)
        else:
            found[item.get(key)] = merged(found.get(item.get(key), {}), item)
    return list(found.values())


def _plain(patch: Mapping[str, Json]) -> dict[str, Json]:
    """A patch into nothing."""
    return merged({}, {key: value for key, value in patch.items() if key != _DIRECTIVE})
