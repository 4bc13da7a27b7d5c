"""What follows from a snapshot's tables and is asked for again and again: made once, and again only when a table has changed.

A large cluster changes little from one cycle to the next. Whatever a policy makes of all pods or all nodes before it decides
anything is kept here under a name, with the tables that it was made from; where none of them has changed since, it is handed
out again. So a cycle in which nothing happened costs what has to be decided, and not what there is to look at.
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Value = TypeVar("Value")

NODES = "nodes"
"""Nodes: which there are, what they have and promise, their labels, taints, prices."""
PODS = "pods"
"""Pods: which there are, where they are, their state; what is requested of nodes; owners; classes and shapes."""
USAGE = "usage"
"""What was measured of nodes and pods."""
CLASSES = "classes"
"""Classes and shapes: which there are. They are among what PODS says of pods, and change far less."""
OBJECTS = "objects"
"""Workloads, and all else that is neither a node nor a pod."""
TABLES = (NODES, PODS, CLASSES, USAGE, OBJECTS)
_MOST = 256
"""So many values are kept: a setting that has changed leaves the value of the old one behind."""


class Derived:
    """Values by name. What is built must depend on nothing but the tables that are named and what the name says."""

    def __init__(self) -> None:
        self._states = dict.fromkeys(TABLES, 0)
        self._latest = 0
        self._values: dict[Hashable, tuple[tuple[int, ...], Any]] = {}

    def changed(self, *tables: str) -> None:
        """Note that tables have changed."""
        self._latest += 1
        for table in tables:
            self._states[table] = self._latest

    @contextmanager
    def taken_back(self) -> Iterator[None]:
        """What changes inside is undone at the end: then the tables are in the states that they were in, and no state comes twice."""
        states = dict(self._states)
        try:
            yield
        finally:
            self._states = states

    def of(self, what: Hashable, tables: tuple[str, ...], build: Callable[[], Value]) -> Value:
        """The value of a name, to be read only: as it was built last, unless one of its tables has changed since."""
        state = tuple(self._states[table] for table in tables)
        known = self._values.get(what)
        if known is not None and known[0] == state:
            value: Value = known[1]
            return value
        value = build()
        if len(self._values) >= _MOST:
            self._values.clear()
        self._values[what] = (state, value)
        return value
