"""Which nodes Karpenter has chosen for pods that wait. It says so in Events alone, and counts on it for 20 seconds.

Source: Karpenter v1, the recorder's event `Nominated` ("Pod should schedule on: nodeclaim/NAME, node/NAME") and the window of its cluster state.
"""

import re
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct

from neaptide.kubeapi.client import Client
from neaptide.kubeapi.following import follow
from neaptide.kubeapi.resources import EVENTS
from neaptide.model.columns import NO_NODE
from neaptide.model.objects import Metadata
from neaptide.model.snapshot import ClusterSnapshot
from neaptide.model.times import seconds

WINDOW = 20.0
_WHO, _REASON = "karpenter", "Nominated"
_NODE = re.compile(r"\bnode/([^\s,]+)")


class _About(Struct, frozen=True):
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class _Source(Struct, frozen=True):
    component: str = ""


class _Series(Struct, frozen=True, rename="camel"):
    last_observed_time: str | None = None


class _Event(Struct, frozen=True, rename="camel"):
    """Of an Event, what says who was nominated where, and when."""

    metadata: Metadata
    regarding: _About = _About()
    note: str = ""
    reporting_controller: str = ""
    deprecated_source: _Source = _Source()
    deprecated_last_timestamp: str | None = None
    event_time: str | None = None
    series: _Series | None = None

    def time(self) -> float:
        """When it was said last, in seconds since the epoch; nan where that is not known."""
        again = self.series.last_observed_time if self.series is not None else None
        said = again or self.deprecated_last_timestamp or self.event_time or self.metadata.creation_timestamp
        return seconds(said)


class _Nominated(NamedTuple):
    uid: str
    node: str
    time: float


class Nominations:
    """What Karpenter has said of late, by pod (`namespace/name`)."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._said: dict[str, _Nominated] = {}
        self._given: dict[str, str] = {}
        """What stands in the snapshot by our word."""

    async def run(self, client: Client) -> None:
        """Follow its Events until cancelled."""
        selector = f"reason={_REASON}"
        await follow(client, EVENTS, sees=self.saw, gone=lambda _: None, only=lambda _: None, field_selector=selector)

    def saw(self, raw: Raw) -> str:
        """Take an Event in; its name."""
        event = msgspec.json.decode(raw, type=_Event)
        node, about, meta = _NODE.search(event.note), event.regarding, event.metadata
        if _WHO in (event.reporting_controller, event.deprecated_source.component) and about.kind == "Pod" and node:
            self._said[f"{about.namespace}/{about.name}"] = _Nominated(about.uid, node[1], event.time())
        return f"{meta.namespace}/{meta.name}"

    def apply(self, snapshot: ClusterSnapshot) -> None:
        """Nominate in the snapshot whom it has nominated, for as long as it counts on that."""
        now = self._clock()
        self._said = {key: each for key, each in self._said.items() if now - each.time < WINDOW}
        before, self._given = self._given, {}
        for key, each in self._said.items():
            row = snapshot.pods.by_key.get(key)
            if row is None or snapshot.pods.uids[row] != each.uid or snapshot.pods.node[row] != NO_NODE:
                continue
            if snapshot.pods.nominated.get(row, each.node) in (each.node, before.get(key)):
                snapshot.nominate(row, each.node)
                self._given[key] = each.node
        for key, node in before.items():
            row = snapshot.pods.by_key.get(key)
            if key not in self._given and row is not None and snapshot.pods.nominated.get(row) == node:
                snapshot.nominate(row, "")
