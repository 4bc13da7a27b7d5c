"""A pod on its way in: read as plain JSON, changed by operations each of which is also one of a JSON Patch.

Rules add what is not there, so that they overwrite nothing of a user's, and admitting a pod twice changes nothing the second time. Only what a
cluster's administrator says of named pods in a profile sets what is there already: `change`, `set_entry`, `take_priority_class`. Source of the
operations: RFC 6902.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET, Struct, UnsetType

Json = Any
COMPUTED = ("priority", "preemptionPolicy")  # the API server derives both from the class, and refuses a contradiction
_AFFINITY = ("spec", "affinity", "nodeAffinity")
REQUIRED_NODES = (*_AFFINITY, "requiredDuringSchedulingIgnoredDuringExecution")
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


class Operation(Struct, frozen=True):
    """One operation of a JSON Patch."""

    op: str
    path: str
    value: Json | UnsetType = UNSET


class Draft:
    """A pod as the rules before have left it.

    Attributes:
        pod: the pod as plain JSON values; read freely, changed through the methods only.
        operations: what was changed, in order.
        warnings: sentences that the user sees.
    """

    def __init__(self, pod: dict[str, Json]) -> None:
        self.pod = pod
        self.operations: list[Operation] = []
        self.warnings: list[str] = []
        self._done: set[str] = set()

    @property
    def labels(self) -> Mapping[str, str]:
        found = (self.pod.get("metadata") or {}).get("labels")
        return found or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        found = (self.pod.get("metadata") or {}).get("annotations")
        return found or {}

    def label(self, key: str, value: str) -> None:
        """Set a label that the pod does not have."""
        if key not in self.labels:
            self.put(("metadata", "labels", key), value)

    def annotate(self, key: str, value: str) -> None:
        """Set an annotation that the pod does not have."""
        if key not in self.annotations:
            self.put(("metadata", "annotations", key), value)

    def put(self, path: Sequence[str], value: Json) -> None:
        """Set the field at a path, with the objects above it, where it is not there or is empty."""
        above, at = self.pod, 0
        for at, name in enumerate(path[:-1]):  # noqa: B007 - where it stopped is used below
            inner = above.get(name)
            if not isinstance(inner, dict):
                break
            above = inner
        else:
            at = len(path) - 1
        if above.get(path[at]) not in (None, "", [], {}):
            return
        for name in reversed(path[at + 1 :]):
            value = {name: value}
        above[path[at]] = value
        self._added(path[: at + 1], value)

    def append(self, path: Sequence[str], item: Json) -> None:
        """Add an item to the end of a list, with the objects above it, unless it is already in it."""
        there = self.get(path)
        if not there:
            self.put(path, [item])
        elif item not in there:
            there.append(item)
            self._added((*path, "-"), item)

    def get(self, path: Sequence[str]) -> Json:
        """The value at a path of names; None where there is none."""
        value: Json = self.pod
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def tolerate(self, toleration: Mapping[str, Json]) -> None:
        """Add a toleration."""
        self.append(("spec", "tolerations"), dict(toleration))

    def require_node(self, expression: Mapping[str, Json]) -> None:
        """Ask for nodes that meet one more expression: it is added to every term, for terms are alternatives."""
        path = (*REQUIRED_NODES, "nodeSelectorTerms")
        terms = self.get(path)
        if not terms:
            self.put(path, [{"matchExpressions": [dict(expression)]}])
            return
        for number, term in enumerate(terms):
            if not (term.get("matchExpressions") or term.get("matchFields")):
                continue  # an empty term selects no node, and must go on doing so
            expressions = term.get("matchExpressions")
            if not expressions:
                term["matchExpressions"] = [dict(expression)]
                self._added((*path, str(number), "matchExpressions"), [dict(expression)])
            elif expression not in expressions:
                expressions.append(dict(expression))
                self._added((*path, str(number), "matchExpressions", "-"), dict(expression))

    def prefer_nodes(self, weight: int, expressions: Sequence[Mapping[str, Json]]) -> None:
        """Prefer nodes that meet all of some expressions."""
        term = {"weight": weight, "preference": {"matchExpressions": [dict(each) for each in expressions]}}
        self.append((*_AFFINITY, _PREFERRED), term)

    def give_priority_class(self, name: str) -> None:
        """Set the priority class of a pod that has none, and let the API server compute from it what it had computed."""
        spec = self.pod.setdefault("spec", {})
        if spec.get("priorityClassName"):
            return
        self.put(("spec", "priorityClassName"), name)
        for computed in COMPUTED:
            if spec.pop(computed, None) is not None:
                self.operations.append(Operation("remove", pointer(("spec", computed))))

    def once(self, what: str) -> bool:
        """True the first time that this is asked of a draft."""
        first = what not in self._done
        self._done.add(what)
        return first

    def at(self, path: Sequence[str]) -> Json:
        """The value at a path of names and positions in lists; None where there is none."""
        value: Json = self.pod
        for name in path:
            if isinstance(value, list):
                value = value[int(name)]
            else:
                value = value.get(name) if isinstance(value, dict) else None
        return value

    def change(self, path: Sequence[str], value: Json) -> None:
        """Set the field at a path, whatever is there; None takes it away. What is above it must be there."""
        above = self.at(path[:-1])
        if value is None:
            if path[-1] in above:
                del above[path[-1]]
                self.operations.append(Operation("remove", pointer(path)))
        elif above.get(path[-1]) != value:
            above[path[-1]] = value
            self._added(path, value)

    def become(self, pod: Mapping[str, Json], path: Sequence[str] = ()) -> None:
        """Set every field that is otherwise in another pod, whatever is there; lists as a whole."""
        mine: dict[str, Json] = self.at(path)
        for key in [*mine, *(key for key in pod if key not in mine)]:
            old, new = mine.get(key), pod.get(key)
            if isinstance(old, dict) and isinstance(new, Mapping):
                self.become(new, (*path, key))
            elif old != new:
                self.change((*path, key), new)

    def set_entry(self, field: str, key: str, value: str) -> None:
        """Set a label or an annotation, whatever is there."""
        if self.get(("metadata", field)):
            self.change(("metadata", field, key), value)
        else:
            self.put(("metadata", field, key), value)

    def take_priority_class(self, name: str) -> None:
        """Set the priority class in place of another one, and let the API server compute from it what it had computed."""
        if self.get(("spec", "priorityClassName")) != name:
            self.change(("spec", "priorityClassName"), name)
            for computed in COMPUTED:
                self.change(("spec", computed), None)

    def warn(self, sentence: str) -> None:
        """Tell the user something, once."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)

    def _added(self, path: Sequence[str], value: Json) -> None:
        """Note an addition, with the value as it is now: the pod's own may be added to later."""
        self.operations.append(Operation("add", pointer(path), copy.deepcopy(value)))


def pointer(path: Sequence[str]) -> str:
    """A JSON Pointer (RFC 6901)."""
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in path)
